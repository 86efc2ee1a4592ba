"""What a record's score would be if some of its bases were others, for many such changes.

Up to the first segment that reads a changed base, the memory is that of the unchanged record: it is
computed once (``PrefixMemory``). On the reverse strand that prefix is the record's end. So a change
in the middle costs half of a prediction; where memory is reset before each segment, it costs the
changed segments alone.

Occlusion replaces one piece of a record after the other, by N or by its own bases in another
order, shuffled such that each pair of neighbours is as common as before (Altschul and Erickson
1985). The effect of a piece is the score of the record less that without the piece. In-silico
mutagenesis (``mutate``) changes each base of an interval to each other one.

Dimensions: s segments, e edits (rows of a batch), m memory tokens, d model width, c classes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor

from rmt_genomics.dna.alphabet import UNKNOWN, Codes, reverse_complement_codes
from rmt_genomics.interpretation.tracks import Target
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.bidirectional_encoder import (
    SEGMENTS_AT_ONCE,
    BothStrands,
    bases_of_tokens,
    segment_blocks,
)
from rmt_genomics.model.classifier import Encoding
from rmt_genomics.model.tokenization import to_device, tokenize
from rmt_genomics.rmt import Segment
from rmt_genomics.rmt.runtime import evaluating
from rmt_genomics.rmt.segments import borders

MOST_PIECES = 256  # by default: in longer records neighbouring segments are one piece
_MOST_ROWS, _TOKENS_AT_ONCE = 64, 1 << 16
_SHARE_POINTS = 32  # of an integral over a smooth function


class Edit(NamedTuple):
    """Bases of a record, from ``start`` on (forward strand), that are others than they were."""

    start: int
    codes: Codes

    @property
    def end(self) -> int:
        """The base after the last changed one."""
        return self.start + len(self.codes)

    def on_other_strand(self, length_bp: int) -> "Edit":
        """Return the same change, as the reverse complement of the record has it."""
        return Edit(length_bp - self.end, reverse_complement_codes(self.codes))

    def applied_to(self, codes: Codes) -> Codes:
        """Return a copy of the record with this change."""
        changed = codes.copy()
        changed[self.start : self.end] = self.codes
        return changed


class EditedLogits(NamedTuple):
    """Logits of a record with edits, one row per edit."""

    total: Float[Tensor, "e c"]
    direct: Float[Tensor, "e c"]
    """As if later segments had read the memory of the unchanged record: the rest of the effect
    comes through the memory."""


class PrefixMemory:
    """One reading of a record: the memory before each segment, and what each segment wrote.

    Args:
        model: A trained model.
        codes: Base codes of the record, forward strand.
        on_read: Called now and then with the bp read since the last call.
    """

    def __init__(
        self, model: RMTClassifier, codes: Codes, on_read: Callable[[int], object] = lambda _: None
    ) -> None:
        self.model, self.codes = model, codes
        self.strands = (codes, reverse_complement_codes(codes))
        encoder = model.encoder
        before, readouts, done_bp = [], [], 0
        with evaluating(model), torch.inference_mode():
            memory = encoder.step.memory.initial(2)
            for segments, read_bp in segment_blocks(encoder, codes):
                for segment in segments:
                    before.append(memory)
                    memory, readout = _step(encoder, segment, memory)
                    readouts.append(readout)
                on_read(read_bp - done_bp)
                done_bp = read_bp
            self.memory_before = torch.stack(before)
            self.last_memory = memory
            self.readouts = torch.stack(readouts)
            self.pooled = self._pool(self.readouts)
            self._encoding = Encoding(
                rearrange(self.pooled, "strand d -> 1 (strand d)"), *self._features([codes])
            )
            self.logits = model.logits(self._encoding)
        size, halo = encoder.config.tokens_per_segment, encoder.config.halo
        num_tokens = encoder.tokenizer.num_tokens(len(codes))
        self._borders = [borders(index, size, num_tokens, halo) for index in range(len(before))]
        reads = [
            bases_of_tokens(encoder.tokenizer, len(codes), start - left, stop + right)
            for start, stop, left, right in self._borders
        ]
        self._first_bp, self._end_bp = np.array(reads).T

    def logits_of(
        self, edits: Sequence[Edit], *, with_direct: bool = False
    ) -> Iterator[EditedLogits]:
        """Yield the logits of the record with each edit alone, a batch of edits at a time.

        Without ``with_direct`` the direct part is not computed: it is the total.
        """
        rows = max(1, min(_MOST_ROWS, _TOKENS_AT_ONCE // self._borders[0][1]))
        for first in range(0, len(edits), rows):
            batch = edits[first : first + rows]
            with evaluating(self.model), torch.inference_mode():
                halves = []
                for strand in range(2):
                    own = batch
                    if strand:
                        own = [edit.on_other_strand(len(self.codes)) for edit in batch]
                    halves.append(_EditedStrand(self, strand, own).pooled(with_direct=with_direct))
                total, direct = (torch.cat(each, dim=1) for each in zip(*halves, strict=True))
                changed = [edit.applied_to(self.codes) for edit in batch]
                features = self._features(changed)
                logits = self._logits(Encoding(total, *features))
                own_logits = self._logits(Encoding(direct, *features)) if with_direct else logits
            yield EditedLogits(logits, own_logits)

    def segments_that_read(self, edit: Edit) -> tuple[int, int]:
        """Return the first and the last segment that read a changed base (edit of that strand)."""
        first = int(np.searchsorted(self._end_bp, edit.start, side="right"))
        last = int(np.searchsorted(self._first_bp, edit.end, side="left")) - 1
        return first, max(first, last)

    def segment_edges(self) -> np.ndarray:
        """Return where the segments of a strand begin, in bp of that strand, and its end."""
        tokenizer, length_bp = self.model.encoder.tokenizer, len(self.codes)
        starts = [
            bases_of_tokens(tokenizer, length_bp, start, start + 1)[0]
            for start, *_ in self._borders
        ]
        return np.array([*starts, length_bp])

    def segment(self, strand: int, index: int, edits: Sequence[Edit]) -> Segment:
        """Return a segment of one strand, with a row for each edit."""
        start, stop, left, _ = self._borders[index]
        first, end = int(self._first_bp[index]), int(self._end_bp[index])
        rows = np.repeat(self.strands[strand][None, first:end], len(edits), axis=0)
        for row, edit in zip(rows, edits, strict=True):
            begin, stop_bp = max(first, edit.start), min(end, edit.end)
            if begin < stop_bp:
                row[begin - first : stop_bp - first] = edit.codes[
                    begin - edit.start : stop_bp - edit.start
                ]
        codes = to_device(torch.from_numpy(rows), self.model.device)
        lengths = torch.full((len(edits),), end - first, device=codes.device)
        tokens, _ = tokenize(self.model.encoder.tokenizer, codes, lengths)
        return Segment(tokens, None, left, stop - start, is_start=start == 0)

    def _pool(self, readouts: Float[Tensor, "s b m d"]) -> Float[Tensor, "b d"]:
        is_read = torch.ones(readouts.shape[:2], dtype=torch.bool, device=readouts.device)
        pooled: Tensor = self.model.encoder.pool([(readouts, is_read)])
        return pooled

    def _logits(self, encoding: Encoding) -> Float[Tensor, "e c"]:
        """Return the logits; exactly those of the record where the encoding is that of the record.

        (The rows of a product of matrices are rounded differently in a batch.)
        """
        pairs = zip(encoding, self._encoding, strict=True)
        same = [
            own.eq(base).all(dim=1) for own, base in pairs if own is not None and base is not None
        ]
        is_same = torch.stack(same).all(dim=0)[:, None]
        return torch.where(is_same, self.logits, self.model.logits(encoding))

    def _features(self, records: Sequence[Codes]) -> list[Tensor | None]:
        """Return the features of the whole sequence of some records, one by one."""
        model = self.model
        rows = [model.sequence_features(torch.from_numpy(codes)[None]) for codes in records]
        parts = zip(*rows, strict=True)
        return [None if part[0] is None else torch.cat(part) for part in parts]


class _EditedStrand:
    """Reads one strand of a record with some edits, one row for each."""

    def __init__(self, prefix: PrefixMemory, strand: int, edits: Sequence[Edit]) -> None:
        self.prefix, self.strand = prefix, strand
        self.edits = edits
        self.reach = np.array([prefix.segments_that_read(edit) for edit in edits])
        self.is_reset = prefix.model.encoder.config.memory_reset == "segment"
        self.base = prefix.readouts[:, strand]
        self.changed: dict[int, tuple[Tensor, Tensor]] = {}
        """By segment: the rows with a changed base in it, and their read-outs."""

    def pooled(self, *, with_direct: bool) -> tuple[Float[Tensor, "e d"], Float[Tensor, "e d"]]:
        """Return the pooled memory of each row; and as if only changed segments read it anew."""
        pool = self.prefix.model.encoder.pool
        total: Tensor = pool(self._read())
        if self.is_reset or not with_direct:  # then nothing comes through the memory
            return total, total
        return total, pool(self._direct())

    def _read(self) -> Iterator[tuple[Float[Tensor, "s e m d"], Bool[Tensor, "s e"]]]:
        first, last = torch.from_numpy(self.reach.T)
        memory = self.prefix.model.encoder.step.memory.initial(len(self.edits))
        for indices, block in self._blocks():
            for index in indices:
                begins = (first == index).nonzero()[:, 0]
                memory[begins] = self.prefix.memory_before[index, self.strand]
                is_active = (first <= index) & (last >= index if self.is_reset else first >= 0)
                rows = is_active.nonzero()[:, 0]
                if not len(rows):
                    continue
                edits = [self.edits[row] for row in rows.tolist()]
                segment = self.prefix.segment(self.strand, index, edits)
                memory[rows], readout = _step(self.prefix.model.encoder, segment, memory[rows])
                block[index - indices[0], rows] = readout
                own = (last[rows] >= index).nonzero()[:, 0]
                if len(own):
                    self.changed[index] = rows[own], readout[own]
            yield block, torch.ones(block.shape[:2], dtype=torch.bool, device=block.device)

    def _direct(self) -> Iterator[tuple[Float[Tensor, "s e m d"], Bool[Tensor, "s e"]]]:
        for indices, block in self._blocks():
            for index in indices:
                if index in self.changed:
                    rows, readout = self.changed[index]
                    block[index - indices[0], rows] = readout
            yield block, torch.ones(block.shape[:2], dtype=torch.bool, device=block.device)

    def _blocks(self) -> Iterator[tuple[range, Float[Tensor, "s e m d"]]]:
        """Yield the read-outs of the unchanged record, a block of segments at a time."""
        num_segments = len(self.base)
        for start in range(0, num_segments, SEGMENTS_AT_ONCE):
            indices = range(start, min(start + SEGMENTS_AT_ONCE, num_segments))
            base = self.base[start : indices.stop]
            yield indices, repeat(base, "s m d -> s e m d", e=len(self.edits)).clone()


def _step(
    encoder: BothStrands, segment: Segment, memory: Float[Tensor, "b m d"]
) -> tuple[Float[Tensor, "b m d"], Float[Tensor, "b m d"]]:
    """Return the memory after a segment, and what the head reads of it."""
    state = encoder.step(segment, memory, ())
    assert state.output is not None
    return state.memory, state.output if encoder.readout == "written" else state.memory


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Effects of the pieces of a record on the logits."""

    starts: np.ndarray  # (e,), forward strand, 0-based
    ends: np.ndarray  # (e,), not included
    effects: np.ndarray  # (e, c): logits of the record less those without the piece
    through_memory: np.ndarray
    """(e, c): the part of the effects that comes through the memory of other segments."""


def segment_pieces(
    model: RMTClassifier, length_bp: int, piece_bp: int | None = None
) -> list[tuple[int, int]]:
    """Return the pieces of a record: its segments, or pieces of ``piece_bp``.

    Of more than ``MOST_PIECES`` segments, as many neighbours as needed are one piece.
    """
    if piece_bp is not None:
        starts = list(range(0, length_bp, piece_bp))
    else:
        size = model.encoder.config.tokens_per_segment
        num_tokens = model.encoder.tokenizer.num_tokens(length_bp)
        together = -(-num_tokens // (size * MOST_PIECES))
        starts = [
            bases_of_tokens(model.encoder.tokenizer, length_bp, token, token + 1)[0]
            for token in range(0, num_tokens, size * together)
        ]
    return list(zip(starts, [*starts[1:], length_bp], strict=True))


def occlude(
    prefix: PrefixMemory,
    pieces: Sequence[tuple[int, int]],
    *,
    shuffle: bool = False,
    seed: int = 0,
    on_read: Callable[[int], object] = lambda _: None,
) -> Pieces:
    """Replace one piece after the other, by N or by a shuffle, and return the effects.

    ``on_read`` is called with the bp of the pieces that are done.
    """
    random = np.random.default_rng(seed)
    edits = [
        Edit(
            start,
            shuffle_dinucleotides(prefix.codes[start:end], random)
            if shuffle
            else np.full(end - start, UNKNOWN, np.uint8),
        )
        for start, end in pieces
    ]
    effects, through = [], []
    done = 0
    for total, direct in prefix.logits_of(edits, with_direct=True):
        effects.append((prefix.logits - total).double().cpu().numpy())
        through.append((direct - total).double().cpu().numpy())
        on_read(sum(len(edit.codes) for edit in edits[done : done + len(total)]))
        done += len(total)
    starts, ends = np.array(pieces, np.int64).T
    return Pieces(starts, ends, np.concatenate(effects), np.concatenate(through))


def shuffle_dinucleotides(codes: Codes, random: np.random.Generator) -> Codes:
    """Return the bases in another order, with the same count of each pair of neighbours.

    The first and the last base stay (Altschul and Erickson 1985). N counts as a fifth base.
    """
    if len(codes) < 3:
        return codes.copy()
    successors = [codes[1:][codes[:-1] == base] for base in range(UNKNOWN + 1)]
    last = int(codes[-1])
    while True:  # draw the last step away from each base until all of them lead to the last base
        ends = [int(random.integers(len(each))) if len(each) else -1 for each in successors]
        if all(
            _leads_to(last, base, successors, ends) for base in range(5) if len(successors[base])
        ):
            break
    for base, each in enumerate(successors):
        if base != last and len(each):
            rest = np.delete(each, ends[base])
            successors[base] = np.append(random.permutation(rest), each[ends[base]])
        else:
            successors[base] = random.permutation(each)
    queues = [iter(each.tolist()) for each in successors]
    shuffled = np.empty_like(codes)
    base = shuffled[0] = int(codes[0])
    for position in range(1, len(codes)):
        base = shuffled[position] = next(queues[base])
    return shuffled


def _leads_to(last: int, base: int, successors: Sequence[Codes], ends: Sequence[int]) -> bool:
    """Whether the chosen last steps lead from a base to the last base of the sequence."""
    for _ in range(UNKNOWN + 1):
        if base == last:
            return True
        base = int(successors[base][ends[base]]) if ends[base] >= 0 else last
    return base == last


def segment_shares(
    prefix: PrefixMemory,
    score: Callable[[Tensor], Tensor],
    pieces: Sequence[tuple[int, int]],
) -> np.ndarray:
    """Return what each piece adds to the score of a network with mean pooling, without a rerun.

    The pooled memory is the mean over segments, so each segment has an exact part of it. A linear
    head passes these parts on as they are; of a head with a hidden layer each part has the mean
    gradient from zero to the pooled memory. They add up to the score less that of a memory of
    zeros. The part of a segment of either strand is divided evenly over its bases.

    Args:
        prefix: The record; the model has mean pooling.
        score: Maps the pooled memories of both strands ``(b, 2 * dim)`` to scores.
        pieces: Start and end of each piece; they follow each other.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_SHARE_POINTS)
    pooled = rearrange(prefix.pooled.clone(), "strand d -> 1 (strand d)")
    gradient = torch.zeros_like(pooled)
    with evaluating(prefix.model), torch.enable_grad():
        for point, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            read = (point * pooled).requires_grad_()
            (own,) = torch.autograd.grad(score(read).sum(), read)
            gradient += weight * own
    by_strand = rearrange(gradient, "1 (strand d) -> strand d", strand=2)
    means = prefix.readouts.clone().mean(dim=2) / len(prefix.readouts)
    shares = torch.einsum("s b d, b d -> b s", means, by_strand).double().cpu().numpy()
    ends = np.array([end for _, end in pieces])
    edges = np.concatenate([[pieces[0][0]], ends])
    total = np.zeros(len(pieces))
    own_edges = prefix.segment_edges()
    for strand_edges, own in (
        (own_edges, shares[0]),
        (len(prefix.codes) - own_edges[::-1], shares[1][::-1]),
    ):
        sums = np.concatenate([[0.0], np.cumsum(own)])
        total += np.diff(np.interp(edges, strand_edges, sums))
    return total


def mutate(
    prefix: PrefixMemory,
    target: Target,
    start: int,
    end: int,
    on_done: Callable[[int], object] = lambda _: None,
) -> np.ndarray:
    """Return how each base would change the score, ``(4, end - start)`` float32.

    The change is centred: the mean over the four bases is subtracted, so that the entry of the base
    that is there is positive where others lower the score. The entries of an N are zero.

    Args:
        prefix: The record.
        target: The score.
        start: First base that is changed, 0-based, forward strand.
        end: The base after the last one.
        on_done: Called with the number of variants that were read since the last call.
    """
    codes = prefix.codes
    edits = [
        Edit(position, np.array([base], np.uint8))
        for position in range(start, end)
        for base in range(UNKNOWN)
        if base != codes[position] < UNKNOWN
    ]
    changes = np.zeros((UNKNOWN, end - start))
    reference = float(target.of_logits(prefix.logits)[0])
    done = 0
    for logits, _ in prefix.logits_of(edits):
        scores = target.of_logits(logits).double().cpu().numpy()
        for edit, score in zip(edits[done:], scores, strict=False):
            changes[edit.codes[0], edit.start - start] = score - reference
        done += len(scores)
        on_done(len(scores))
    centred: np.ndarray = (changes - changes.mean(axis=0)).astype(np.float32)
    return centred
