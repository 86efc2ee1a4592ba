"""A classifier as two programs of tensors: one reads a segment, one is the head.

What the loop over segments hands on is in their arguments and results, so the loop can be written
without PyTorch. The pooling of read-outs is in the segment program, and the features of the whole
sequence in the head. Where the functions of ``model`` cannot be exported, since they read a long
sequence in blocks, there is a twin here; the tests compare them.

Dimensions: b batch rows (strands in the segment program, records in the head), t tokens of a
segment with its halo, m memory tokens, d model width, n base pairs, c classes, f different k-mers.
"""

from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import torch
import torch.nn.functional as F
from einops import reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from rmt_genomics.dna.genetic_code import CLASS_OF_CODON, STOP
from rmt_genomics.dna.kmers import canonical_index
from rmt_genomics.model.bidirectional_encoder import BothStrands
from rmt_genomics.model.classifier import Encoding, RMTClassifier
from rmt_genomics.model.kmer_features import (
    Composition,
    HashedKmerLinear,
    ProteinComposition,
    buckets_of,
)
from rmt_genomics.model.pooling import AttentionMemory
from rmt_genomics.model.tokenization import N
from rmt_genomics.prediction.training_range import ROUNDING, TrainingRange, gc_of_kmers
from rmt_genomics.rmt import Segment


class SegmentProgram(nn.Module):
    """Read one segment: memory and pooled read-outs before it in, those after it out.

    Pooled read-outs are ``[vector: d | weight | peak]``, zeros at the start; the vector divided by
    the weight is what the head reads. The peak is the highest score of attention pooling.
    """

    def __init__(self, encoder: BothStrands, pooling: str) -> None:
        super().__init__()
        self.step, self.readout, self.pooling = encoder.step, encoder.readout, pooling
        self.halo = encoder.config.halo
        self.score = encoder.pool.score if isinstance(encoder.pool, AttentionMemory) else None

    def forward(
        self,
        tokens: Int[Tensor, "b t"],
        keep: Bool[Tensor, "b t"],
        memory: Float[Tensor, "b m d"],
        pooled: Float[Tensor, "b d_and_2"],
    ) -> tuple[Float[Tensor, "b m d"], Float[Tensor, "b d_and_2"]]:
        """Return memory and pooled read-outs after the segment.

        ``tokens`` has the whole halo on both sides. ``keep`` is True where a token is real; each
        row has a real token between the halos.
        """
        left, right = self.halo
        segment = Segment(tokens, keep, left, tokens.shape[1] - left - right)
        state = self.step(segment, memory, ())
        readout = state.output if self.readout == "written" else state.memory
        return state.memory, self._pool(pooled, readout)

    def _pool(
        self, pooled: Float[Tensor, "b d_and_2"], readout: Float[Tensor, "b m d"]
    ) -> Float[Tensor, "b d_and_2"]:
        """Add a read-out; the same as the classes of ``POOLINGS``, one segment at a time."""
        vector, weight, peak = pooled.split([readout.shape[2], 1, 1], dim=1)
        mean, one = reduce(readout, "b m d -> b d", "mean"), torch.ones_like(weight)
        if self.pooling == "last":
            vector, weight = mean, one
        elif self.pooling == "mean":
            vector, weight = vector + mean, weight + one
        elif self.pooling == "max":
            largest = reduce(readout, "b m d -> b d", "max")
            vector = torch.where(weight > 0, torch.maximum(vector, largest), largest)
            weight = one
        else:
            assert self.score is not None
            scores = self.score(readout)
            highest = reduce(scores, "b m 1 -> b 1", "max")
            highest = torch.where(weight > 0, torch.maximum(peak, highest), highest)
            weights, fade = (scores - highest[:, None]).exp(), (peak - highest).exp()
            vector = fade * vector + (weights * readout).sum(dim=1)
            weight, peak = fade * weight + weights.sum(dim=1), highest
        return torch.cat([vector, weight, peak], dim=1)


class HeadProgram(nn.Module):
    """Turn the pooled read-outs of both strands, and the bases, into probabilities.

    The bases are for the features of the whole sequence; a model without any does not read them.

    Args:
        model: The classifier.
        temperature: That of its calibration; None = it has none.
        training_range: The composition of its training examples; None = not known.
    """

    def __init__(
        self,
        model: RMTClassifier,
        temperature: float | None = None,
        training_range: TrainingRange | None = None,
    ) -> None:
        super().__init__()
        self.model, self.temperature = model, temperature
        self.notes = None if training_range is None else CompositionNotes(training_range)
        # Those that are left out of the model have zeros: nothing is counted for them.
        self.regressions = [(each, bool(each.weight.any())) for each in model.regressions or ()]
        self.outputs = ["logits", "outputs"]
        """Names of what is returned: logits; probabilities, or the value of a regression; and, if
        there are any, calibrated probabilities, which classes are predicted, and which notes on the
        composition hold."""

        self.outputs += ["calibrated"] if temperature is not None else []
        self.outputs += [] if model.config.task == "regression" else ["called"]
        self.outputs += ["notes"] if self.notes is not None else []

    @property
    def reads_codes(self) -> bool:
        """Whether the bases are needed."""
        has_regressions = any(is_used for _, is_used in self.regressions)
        return self.notes is not None or has_regressions or any(True for _ in self._modules_read())

    def _modules_read(self) -> Iterator[nn.Module]:
        """Yield the modules of features that were trained with the network."""
        model = self.model
        for module in (model.composition, model.stranded, model.proteins, model.wide):
            if module is not None:
                yield module

    def forward(
        self, pooled: Float[Tensor, "b 2 d_and_2"], codes: Int[Tensor, "b n"] | None = None
    ) -> tuple[Tensor, ...]:
        """Return what ``outputs`` names.

        Args:
            pooled: What the segment program returned for the last segment of the forward strand,
                and of the reverse strand.
            codes: Base codes, padded at the end with N, to at least ``MIN_BP``.
        """
        strands = (pooled[..., :-2] / pooled[..., -2:-1]).flatten(1)
        logits = self.model.logits(Encoding(strands, *self._sequence_features(codes)))
        results = [logits, self.model.outputs(logits)]
        if self.temperature is not None:
            results.append(self.model.outputs(logits.double() / self.temperature))
        if self.model.config.task != "regression":
            results.append(self._called(results[1]))
        if self.notes is not None:
            assert codes is not None
            results.append(self.notes(count_kmers(codes, 4)))
        return tuple(results)

    def _called(self, probabilities: Float[Tensor, "b c"]) -> Bool[Tensor, "b c"]:
        """Do as ``predicted_classes``."""
        thresholds = self.model.config.thresholds
        if self.model.config.task == "multilabel":
            return probabilities >= torch.tensor(thresholds or [0.5]).double()
        if thresholds is not None:
            is_second = probabilities[:, 1:] >= thresholds[0]
            return torch.cat([~is_second, is_second], dim=1)
        classes = torch.arange(probabilities.shape[1])
        return probabilities.argmax(dim=1, keepdim=True) == classes

    def _sequence_features(
        self, codes: Int[Tensor, "b n"] | None
    ) -> tuple[Float[Tensor, "b _"] | None, Float[Tensor, "b c"] | None]:
        """Do as ``RMTClassifier.sequence_features``, with functions that can be exported."""
        features, linear = [], []
        for module in self._modules_read():
            assert codes is not None
            if isinstance(module, HashedKmerLinear):
                linear += [module.of_counts(*hash_kmers(codes, k), k) for k in module.ks]
            elif isinstance(module, ProteinComposition):
                counts = count_amino_acids(codes, module.k, module.orf_codons)
                features.append(module.of_counts(counts))
            elif isinstance(module, Composition):
                features.append(module.of_counts(count_kmers(codes, module.k)))
        for regression, is_used in self.regressions:
            if not is_used:
                linear.append(regression.bias[None])
                continue
            assert codes is not None
            k, orf_codons = regression.kmers.k, regression.kmers.orf_codons
            if orf_codons is None:
                linear.append(regression.of_counts(count_kmers(codes, k)))
            else:
                linear.append(regression.of_counts(count_amino_acids(codes, k, orf_codons)))
        return (
            torch.cat(features, dim=-1) if features else None,
            sum(linear[1:], linear[0]) if linear else None,
        )


MIN_BP = 32  # of the base codes that the head reads: no k-mer is longer


def number_kmers(
    codes: Int[Tensor, "b n"], k: int, base: int = 4
) -> tuple[Int[Tensor, "b kmers"], Bool[Tensor, "b kmers"]]:
    """Return the number of each k-mer of codes below ``base``, and whether it has no other code."""
    num_kmers = codes.shape[1] - k + 1
    numbers, is_known = torch.zeros_like(codes[:, :num_kmers]), codes[:, :num_kmers] < base
    for offset in range(k):
        digit = codes[:, offset : offset + num_kmers]
        numbers, is_known = base * numbers + digit, is_known & (digit < base)
    return numbers, is_known


def _count(
    numbers: Int[Tensor, "b kmers"], is_counted: Bool[Tensor, "b kmers"], size: int
) -> Int[Tensor, "b size"]:
    counts = torch.zeros(numbers.shape[0], size + 1, dtype=torch.long, device=numbers.device)
    index = torch.where(is_counted, numbers, size)
    return counts.scatter_add(1, index, torch.ones_like(index))[:, :size]


def count_kmers(codes: Int[Tensor, "b n"], k: int) -> Int[Tensor, "b f"]:
    """Do as ``kmer_features.count_kmers``."""
    return _count(*number_kmers(codes, k), 4**k)


def count_amino_acids(codes: Int[Tensor, "b n"], k: int, orf_codons: int) -> Int[Tensor, "b f"]:
    """Do as ``kmer_features.count_amino_acid_kmers``."""
    table = torch.from_numpy(CLASS_OF_CODON).long()
    counts = []
    for strand in (codes, torch.where(codes < N, 3 - codes, N).flip(1)):
        codons = table[25 * strand[:, :-2] + 5 * strand[:, 1:-1] + strand[:, 2:]]
        for frame in range(3):
            classes = codons[:, frame::3]
            is_stop = (classes == STOP).long()
            orf = is_stop.cumsum(dim=1)  # a number for each reading frame
            lengths = torch.zeros_like(F.pad(orf, (0, 1))).scatter_add(1, orf, 1 - is_stop)
            is_open = lengths.gather(1, orf) >= max(k, orf_codons)
            numbers, is_known = number_kmers(classes, k, STOP)
            counts.append(_count(numbers, is_known & is_open[:, : numbers.shape[1]], STOP**k))
    return sum(counts[1:], counts[0])


def hash_kmers(
    codes: Int[Tensor, "b n"], k: int
) -> tuple[Int[Tensor, "b kmers"], Int[Tensor, "b kmers"]]:
    """Do as ``kmer_features.hash_kmers``."""
    forward, is_known = number_kmers(codes, k)
    reverse, _ = number_kmers(torch.where(codes < N, 3 - codes, 0).flip(1), k)
    buckets = buckets_of(forward, reverse.flip(1), k)
    return torch.where(is_known, buckets, 0), is_known.long()


class CompositionNotes(nn.Module):
    """Which notes of ``TrainingRange`` hold, by the counts of 4-mers; none if there is no 4-mer."""

    def __init__(self, training_range: TrainingRange) -> None:
        super().__init__()
        arrays = {each.name: getattr(training_range, each.name) for each in fields(training_range)}
        canonical = canonical_index(4)
        arrays |= {"canonical": np.eye(canonical.max() + 1)[canonical], "of_kmers": gc_of_kmers()}
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(array).double())

    def forward(self, counts: Int[Tensor, "b f"]) -> Bool[Tensor, "b notes"]:
        """Return whether ``LOWER_GC``, ``HIGHER_GC`` and ``OTHER_KMERS`` hold."""
        canonical = counts.double() @ self.canonical
        total = canonical.sum(dim=1, keepdim=True)
        frequencies = canonical / total.clamp(min=1)
        scale = (total / self.min_kmers).sqrt().clamp(max=1)
        lowest, mean, highest = self.gc
        gc = scale * (frequencies @ self.of_kmers[:, None] - mean)
        deviations = (frequencies - self.mean) @ self.whitening.T
        distance = scale * deviations.square().mean(dim=1, keepdim=True).sqrt()
        holds = [
            gc < lowest - mean - ROUNDING,
            gc > highest - mean + ROUNDING,
            distance > self.max_distance * (1 + ROUNDING),
        ]
        return torch.cat(holds, dim=1) & (total > 0)
