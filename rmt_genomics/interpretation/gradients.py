"""How much each base adds to a score: gradient x input, and integrated gradients.

A model reads tokens. Here it reads *soft tokens*, weights of all token ids (``rmt.embedding``), so
that there is a gradient for each of them. Replay hands these gradients out a segment at a time
(``rmt.replay.InputGradients``): a record of any length needs the activations of one segment, and
the result.

- *Gradient x input*: the gradient at the record, for the token that is there less that for N.
- *Integrated gradients* (Sundararajan et al. 2017, arXiv:1703.01365): its mean on the straight line
  from a record of N to the record. They add up to the difference of the two scores.

Both strands are read, and their gradients are added in forward coordinates. A k-mer token shares
what it has among its k bases. Features of the whole sequence are added to the same bases: those on
k-mers are linear in the k-mers of the record, so each k-mer has an exact part.

Dimensions: b batch, t tokens of a segment with its halo, v vocabulary, d model width, a points of
the line, n base pairs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Integer, Shaped
from torch import Tensor, nn

from rmt_genomics.dna.alphabet import UNKNOWN, Codes
from rmt_genomics.interpretation.occlusion import PrefixMemory
from rmt_genomics.interpretation.tracks import Target
from rmt_genomics.model.bidirectional_encoder import (
    BothStrands,
    bases_of_tokens,
    tokenize_both_strands,
)
from rmt_genomics.model.kmer_features import (
    NUM_BUCKETS,
    Composition,
    buckets_of,
    count_kmers,
    reverse_complement_counts,
)
from rmt_genomics.model.kmer_regression import FeatureRegression
from rmt_genomics.model.tokenization import BP_AT_ONCE
from rmt_genomics.rmt import (
    InputGradients,
    RunOutput,
    Segment,
    replay_with_outputs,
)
from rmt_genomics.rmt.runtime import evaluating
from rmt_genomics.rmt.segments import borders

FIRST_PARTS, MOST_POINTS = 4, 240  # of the line from N to the record
MOST_CHANGE = 1 / 4  # of the score in a part, relative to that on the whole line
_POINTS_A_PART, _SHORTEST_PART, _LEAST_SHARE = 4, 2.0**-20, 1 / 64
TOLERANCE = 0.008  # of the difference of scores: what integrated gradients may miss
_TOKENS_AT_ONCE = 1 << 15  # in a batch of points
_FLOATS_AT_ONCE = 1 << 23  # in the memories that replay keeps
_COMPOSITION_POINTS = 32


def network_gradients(
    target: Target,
    codes: Codes,
    points: Float[np.ndarray, " a"],
    weights: Float[np.ndarray, " a"],
    on_read: Callable[[int], object] = lambda _: None,
) -> np.ndarray:
    """Return the weighted sum of the network's gradients at points from N (0) to the record (1).

    ``on_read`` is called with the bp read, each counted once per point.

    Returns:
        ``(4, n)``: the gradient of A, C, G, T at each base, less that of N; both strands added.
    """
    encoder = target.model.encoder
    total = _StrandGradients(encoder, codes)
    at_once = _points_at_once(total)
    for first in range(0, len(points), at_once):
        own = torch.from_numpy(points[first : first + at_once])
        total.weights = torch.from_numpy(weights[first : first + at_once])
        with evaluating(target.model), _frozen(target.model), torch.enable_grad():
            score = target.network(_encode(encoder, _SoftSegments(encoder, total.ids, own), total))
            score.sum().backward()  # type: ignore[no-untyped-call]
        on_read(len(own) * len(codes))
    return total.on_forward_strand()


def network_scores(
    target: Target,
    codes: Codes,
    points: Float[np.ndarray, " a"],
    on_read: Callable[[int], object] = lambda _: None,
) -> np.ndarray:
    """Return the network's part of the score at points from N (0) to the record (1)."""
    encoder = target.model.encoder
    total = _StrandGradients(encoder, codes)
    at_once, scores = _points_at_once(total), []
    for first in range(0, len(points), at_once):
        own = torch.from_numpy(points[first : first + at_once])
        with evaluating(target.model), torch.no_grad():
            strands = _encode(encoder, _SoftSegments(encoder, total.ids, own), total)
            scores.append(target.network(strands).double().cpu().numpy())
        on_read(len(own) * len(codes))
    return np.concatenate(scores)


def gradient_times_input(target: Target, prefix: PrefixMemory) -> np.ndarray:
    """Return the gradient of each base less that of N, ``(4, n)``, of the network alone.

    ``prefix`` is the record; what was computed for it is not computed again.
    """
    encoder = target.model.encoder
    total = _StrandGradients(encoder, prefix.codes)
    segments = _SoftSegments(encoder, total.ids, torch.ones(1))
    memories = torch.cat([prefix.memory_before[1:], prefix.last_memory[None]])
    outputs = tuple(prefix.readouts) if encoder.readout == "written" else ()
    with evaluating(target.model), _frozen(target.model), torch.enable_grad():
        known = RunOutput(memories.clone(), outputs, ())
        score = target.network(_encode(encoder, segments, total, known))
        score.sum().backward()  # type: ignore[no-untyped-call]
    return total.on_forward_strand()


def integrated_gradients(
    target: Target, codes: Codes, on_read: Callable[[int], object] = lambda _: None
) -> np.ndarray:
    """Return the mean gradient from N to the record, ``(4, n)``, of the network alone.

    The score of a model that decides may jump somewhere on the line, so the line is first divided
    where the score changes, which takes predictions only. Each part has the points of a Gauss
    quadrature; where the bases do not add up to the difference of the scores at its ends, it is
    halved, until there are ``MOST_POINTS``.
    """
    ends = np.linspace(0, 1, FIRST_PARTS + 1)
    scores = dict(zip(ends.tolist(), network_scores(target, codes, ends, on_read), strict=True))
    _divide_line(target, codes, scores, on_read)
    parts = list(pairwise(sorted(scores)))
    path = sum(abs(scores[end] - scores[start]) for start, end in parts) or 1.0
    allowed = TOLERANCE * abs(scores[1.0] - scores[0.0])
    nodes, weights = np.polynomial.legendre.leggauss(_POINTS_A_PART)
    known = np.flatnonzero(codes < UNKNOWN)
    bases, num_points = np.zeros((UNKNOWN, len(codes)), np.float32), 0
    while parts:
        start, end = parts.pop(0)  # the longest of those that were halved
        middle, half = (start + end) / 2, (end - start) / 2
        own = network_gradients(target, codes, middle + half * nodes, half * weights, on_read)
        num_points += len(nodes)
        change = scores[end] - scores[start]
        error = abs(own[codes[known], known].sum(dtype=np.float64) - change)
        is_good = error <= allowed * max(half + abs(change) / path / 2, _LEAST_SHARE)
        if is_good or num_points >= MOST_POINTS or half < _SHORTEST_PART:
            bases += own
            continue
        scores[middle] = float(network_scores(target, codes, np.array([middle]), on_read)[0])
        parts += [(start, middle), (middle, end)]
    return bases


def _divide_line(
    target: Target,
    codes: Codes,
    scores: dict[float, float],
    on_read: Callable[[int], object],
) -> None:
    """Add points to ``scores`` until the score changes little from one to the next."""
    while len(scores) * _POINTS_A_PART <= MOST_POINTS:
        limit = MOST_CHANGE * (max(scores.values()) - min(scores.values()))
        parts = pairwise(sorted(scores))
        middles = [
            (start + end) / 2
            for start, end in parts
            if abs(scores[end] - scores[start]) > limit and end - start > _SHORTEST_PART
        ]
        if not middles:
            break
        found = network_scores(target, codes, np.array(middles), on_read)
        scores |= dict(zip(middles, found.tolist(), strict=True))


def _points_at_once(total: "_StrandGradients") -> int:
    """Return how many points are read in one batch."""
    step = total.encoder.step
    size = min(step.config.tokens_per_segment, total.num_tokens)
    kept = -(-total.num_tokens // size) * step.memory.read_identity.numel()
    return max(1, min(_TOKENS_AT_ONCE // (2 * size), _FLOATS_AT_ONCE // (2 * kept)))


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Take the gradients of parameters away: only those of the input are wanted."""
    trained = [each for each in module.parameters() if each.requires_grad]
    try:
        for each in trained:
            each.requires_grad_(False)  # noqa: FBT003  # PyTorch's signature
        yield
    finally:
        for each in trained:
            each.requires_grad_(True)  # noqa: FBT003


def _encode(
    encoder: BothStrands,
    segments: "_SoftSegments",
    gradients: "_StrandGradients",
    known: RunOutput | None = None,
) -> Float[Tensor, "a two_d"]:
    """Return the pooled memories of both strands; backward fills ``gradients``."""

    def attach(segment: Segment) -> tuple[Segment, Tensor]:
        leaf = segments.soften(segment.tokens).detach().requires_grad_()
        return segment._replace(tokens=leaf), leaf

    run = replay_with_outputs(
        encoder.step,
        segments,
        encoder.step.memory.initial(2 * len(segments.points)),
        inputs=InputGradients(attach, gradients.add),
        known=known,
    )
    readouts = torch.stack(run.outputs) if encoder.readout == "written" else run.memories
    is_read = torch.ones(readouts.shape[:2], dtype=torch.bool, device=readouts.device)
    pooled: Tensor = encoder.pool([(readouts, is_read)])
    return rearrange(pooled, "(a strand) d -> a (strand d)", strand=2)


class _SoftSegments(Sequence[Segment]):
    """Both strands of a record as tokens, soft ones where needed, a segment at a time.

    Each point of the line from N to the record has two rows: forward strand, reverse strand.
    """

    def __init__(
        self, encoder: BothStrands, ids: Integer[Tensor, "strand tokens"], points: Tensor
    ) -> None:
        self.encoder, self.ids, self.points = encoder, ids, points
        self.size, self.num_tokens = encoder.config.tokens_per_segment, ids.shape[1]

    def __len__(self) -> int:
        return -(-self.num_tokens // self.size)

    def __getitem__(self, index: Any) -> Any:
        if index >= len(self):
            raise IndexError(index)
        start, stop, left, right = borders(
            index, self.size, self.num_tokens, self.encoder.config.halo
        )
        tokens = self.ids[:, start - left : stop + right]
        if not self.is_record:
            tokens = self.soften(tokens)
        return Segment(tokens, None, left, stop - start, is_start=start == 0)

    @property
    def is_record(self) -> bool:
        """Whether the record itself is read, so that ids are the same and faster."""
        return self.points.tolist() == [1.0]

    def soften(self, tokens: Shaped[Tensor, "rows t *v"]) -> Float[Tensor, "a_strand t v"]:
        """Return soft tokens at each point of the line, for ids of both strands."""
        if tokens.is_floating_point():
            return tokens
        weight = _token_embeddings(self.encoder)
        known = F.one_hot(tokens.long(), len(weight)).to(weight.dtype)
        unknown = torch.zeros_like(known[0, 0])
        unknown[id_of_n(self.encoder)] = 1
        points = self.points.to(known)[:, None, None, None]
        return rearrange(unknown + points * (known - unknown), "a strand t v -> (a strand) t v")


def _token_embeddings(encoder: BothStrands) -> Tensor:
    return encoder.transformer.embed.embedding.weight  # ``check_has_gradients``


def id_of_n(encoder: BothStrands) -> int:
    """Return the token of an unknown base, the last one."""
    return encoder.tokenizer.vocabulary_size - 1


class _StrandGradients:
    """Adds up the gradients of soft tokens, by the bases that they are made of."""

    def __init__(self, encoder: BothStrands, codes: Codes) -> None:
        self.encoder, self.codes = encoder, codes
        self.num_tokens = encoder.tokenizer.num_tokens(len(codes))
        self.ids = tokenize_both_strands(encoder, codes, 0, self.num_tokens)
        self.weights = torch.ones(1)  # of the points whose gradients are added next
        dtype = _token_embeddings(encoder).dtype
        self.strands = torch.zeros(2, len(codes), UNKNOWN, dtype=dtype)  # on the CPU

    def add(self, index: int, gradient: Float[Tensor, "a_strand t v"]) -> None:
        """Receive the gradient of a segment and its halo, from replay."""
        start, stop, left, right = borders(
            index, self.encoder.config.tokens_per_segment, self.num_tokens, self.encoder.config.halo
        )
        rows = rearrange(gradient, "(a strand) t v -> a strand t v", strand=2)
        summed = torch.einsum("a s t v, a -> s t v", rows, self.weights.to(rows))
        relative = summed - summed[..., id_of_n(self.encoder), None]
        tokenizer = self.encoder.tokenizer
        first, _ = bases_of_tokens(tokenizer, len(self.codes), start - left, stop + right)
        if tokenizer.kind == "base":
            self.strands[:, first : first + relative.shape[1]] += relative[..., :UNKNOWN].cpu()
            return
        ids = self.ids[:, start - left : stop + right].long()
        num_kmers = min(
            max(0, tokenizer.count_kmers(len(self.codes))[0] - start + left), ids.shape[1]
        )
        k, stride = tokenizer.k, tokenizer.stride
        for offset in range(k):  # a base of each k-mer in turn
            share = _of_other_bases(ids[:, :num_kmers], relative[:, :num_kmers], k, offset) / k
            end = first + offset + num_kmers * stride
            self.strands[:, first + offset : end : stride][:, :num_kmers] += share.cpu()
        if num_kmers < ids.shape[1]:  # single bases after the last k-mer
            letters = relative[:, num_kmers:, 4**k : 4**k + UNKNOWN].cpu()
            tail = bases_of_tokens(
                tokenizer, len(self.codes), start - left + num_kmers, stop + right
            )[0]
            self.strands[:, tail : tail + letters.shape[1]] += letters

    def on_forward_strand(self) -> np.ndarray:
        """Return the sum over both strands, ``(4, n)``, in forward coordinates."""
        forward, reverse = self.strands
        both = forward + reverse.flip(0, 1)  # the last base first, and A as T
        return np.ascontiguousarray(both.T.numpy())


def _of_other_bases(
    ids: Integer[Tensor, "b t"], relative: Float[Tensor, "b t v"], k: int, offset: int
) -> Float[Tensor, "b t bases"]:
    """Return the entries of the k-mers that A, C, G or T at one of their bases would make."""
    place = 4 ** (k - 1 - offset)
    others = torch.stack([ids + (base - ids // place % 4) * place for base in range(4)], dim=2)
    is_known = (ids < 4**k)[..., None]
    entries: Tensor = relative.gather(2, others.where(is_known, 0)) * is_known
    return entries


class FeatureTerms(NamedTuple):
    """The parts of a score that come from features of the whole sequence."""

    bases: np.ndarray
    """``(4, n)`` float32: exact parts of the k-mers, shared by their bases."""

    terms: dict[str, float]
    """By kind: the score of the record less that of a record of N. Those of proteins are not in
    ``bases``."""


def feature_terms(target: Target, codes: Codes) -> FeatureTerms:
    """Attribute the k-mer features of a record to its bases.

    A k-mer of a regression, or of the hashed linear model, has its weight. A hidden layer on
    frequencies is not linear: its k-mers have integrated gradients of their frequencies, which add
    up to what the layer adds.
    """
    model = target.model
    row = torch.from_numpy(codes)[None]
    bases = np.zeros((UNKNOWN, len(codes)), np.float32)
    terms: dict[str, float] = {}
    with evaluating(model), torch.no_grad():
        for regression in model.regressions or ():
            assert isinstance(regression, FeatureRegression)
            change = (regression(row) - regression.bias).double()[0, target.index] * target.scale
            if regression.kmers.orf_codons is not None:
                terms["protein"] = float(change)
                continue
            k = regression.kmers.k
            total = count_kmers(row, k).sum().clamp(min=1).item()
            weight = regression.weight[:, target.index].double().cpu() / total * target.scale
            terms["stranded-kmer" if regression.kmers.is_stranded else "kmer"] = float(change)
            _spread(codes, k, _parts_in(weight), bases)
        if model.proteins is not None:
            ends = (model.proteins(each) for each in (row, torch.full_like(row, UNKNOWN)))
            found, none = (float(target.features_of("protein", each)) for each in ends)
            terms["protein"] = found - none
        if model.wide is not None:
            terms["wide"] = float(model.wide(row).double()[0, target.index]) * target.scale
            for index, k in enumerate(model.wide.ks):
                _spread(codes, k, _hashed_weights(target, row, index, k), bases)
    for kind, layer in (("kmer", model.composition), ("stranded-kmer", model.stranded)):
        if layer is not None:
            weight, terms[kind] = _composition_weights(target, layer, kind, row)
            _spread(codes, layer.k, _parts_in(weight), bases)
    return FeatureTerms(bases, terms)


Lookup = Callable[[Tensor, Tensor], Tensor]  # numbers of k-mers on both strands -> their parts


def _parts_in(table: Float[Tensor, " kmers"]) -> Lookup:
    """Look up parts by the number of a k-mer on the forward strand."""
    return lambda forward, _: table[forward]


def _spread(codes: Codes, k: int, parts: Lookup, bases: np.ndarray) -> None:
    """Add the part of each k-mer without N, and of those that other bases would make, in place."""
    for start in range(0, len(codes) - k + 1, BP_AT_ONCE):
        block = torch.from_numpy(codes[start : start + BP_AT_ONCE + k - 1]).long()
        count = len(block) - k + 1
        digits = torch.stack([block[offset : offset + count] for offset in range(k)])
        is_known = (digits < UNKNOWN).all(dim=0)
        digits = digits.where(is_known, 0)
        places = 4 ** torch.arange(k - 1, -1, -1)
        forward = (digits * places[:, None]).sum(dim=0)
        reverse = ((3 - digits) * places.flip(0)[:, None]).sum(dim=0)
        for offset in range(k):
            for base in range(UNKNOWN):
                change = base - digits[offset]
                part = parts(forward + change * places[offset], reverse - change * 4**offset)
                where = slice(start + offset, start + offset + count)
                bases[base, where] += (part * is_known / k).float().cpu().numpy()


def _hashed_weights(target: Target, row: Tensor, index: int, k: int) -> Lookup:
    """Return the parts of k-mers of one length in the hashed linear model."""
    wide = target.model.wide
    assert wide is not None
    weights = wide.weight[index * NUM_BUCKETS : (index + 1) * NUM_BUCKETS, target.index].cpu()
    is_known = row[0] < UNKNOWN
    num_kmers = int(is_known.unfold(0, k, 1).all(dim=1).sum()) if row.shape[1] >= k else 0
    scale = min(num_kmers, 4**k // 2) ** 0.5 / max(1, num_kmers) * target.scale
    return lambda forward, reverse: weights[buckets_of(forward, reverse, k)].double() * scale


def _composition_weights(
    target: Target, layer: Composition, kind: str, row: Tensor
) -> tuple[Tensor, float]:
    """Return the part of each k-mer of the forward strand, and their sum over the record.

    Integrated gradients, along the square roots of the frequencies that the layer reads.
    """
    forward = count_kmers(row, layer.k)
    reverse = reverse_complement_counts(forward, layer.k)
    counts = torch.stack([forward, reverse] if layer.is_stranded else [forward + reverse])[:, 0]
    roots = (counts / counts.sum(dim=1, keepdim=True).clamp(min=1) * counts.shape[1]).sqrt()
    roots = roots.to(layer.hidden.weight)
    parts = torch.zeros_like(roots)
    nodes, weights = np.polynomial.legendre.leggauss(_COMPOSITION_POINTS)
    with evaluating(target.model), _frozen(target.model), torch.enable_grad():
        for point, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            read = (point * roots).requires_grad_()
            score = target.features_of(kind, _hidden(layer, read))
            (gradient,) = torch.autograd.grad(score, read)
            parts += weight * gradient * roots
        ends = [
            float(target.features_of(kind, _hidden(layer, each))) for each in (0 * roots, roots)
        ]
    each = parts.double().cpu() / counts.cpu().clamp(min=1)  # of one k-mer of the record
    other = reverse_complement_counts(each[-1:], layer.k)[0]
    return each[0] + other, ends[1] - ends[0]


def _hidden(layer: Composition, roots: Float[Tensor, "strands kmers"]) -> Float[Tensor, "1 e"]:
    """Return the features of a hidden layer on frequencies, given their square roots."""
    return rearrange(F.gelu(layer.hidden(roots - 1)), "strands d -> 1 (strands d)")
