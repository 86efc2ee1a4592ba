"""A classifier as two programs of tensors: one reads a segment, one is the head.

What the loop over segments hands on is in their arguments and results, so the loop can be written
without PyTorch. The pooling of read-outs is in the segment program, and the features of the whole
sequence in the head. Where the functions of ``model`` cannot be exported, since they read a long
sequence in blocks, there is a twin here; the tests compare them.

Dimensions: b batch rows (strands in the segment program, records in the head), t tokens of a
segment with its halo, m memory tokens, d model width, n base pairs, c classes, f different k-mers.
"""

from dataclasses import fields

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from rmt_genomics.dna.genetic_code import CLASS_OF_CODON, STOP
from rmt_genomics.dna.kmers import canonical_index
from rmt_genomics.model.bidirectional_encoder import BothStrands
from rmt_genomics.model.classifier import Encoding, RMTClassifier
from rmt_genomics.model.kmer_features import (
    Composition,
    ProteinComposition,
    buckets_of,
)
from rmt_genomics.model.kmer_regression import FeatureRegression, KmerSpec
from rmt_genomics.model.pooling import AttentionMemory
from rmt_genomics.model.tokenization import N
from rmt_genomics.prediction.training_range import ROUNDING, TrainingRange, gc_of_kmers
from rmt_genomics.rmt import Segment, SegmentTransformer


class SegmentProgram(nn.Module):
    """Read one segment: memory and pooled read-outs before it in, those after it out.

    Pooled read-outs are ``[vector: d | weight | peak]``, zeros at the start; the vector divided by
    the weight is what the head reads. The peak is the highest score of attention pooling.
    """

    def __init__(self, encoder: BothStrands, pooling: str) -> None:
        super().__init__()
        assert isinstance(encoder.step, SegmentTransformer), "others cannot be exported"
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
        vector, weight, peak = torch.split(pooled, [readout.shape[2], 1, 1], dim=1)
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
        self.regressions = [
            (each, bool(each.weight.any()))
            for each in model.regressions or ()
            if isinstance(each, FeatureRegression)
        ]
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
        parts = (self.notes, self.model.wide, *self._hidden_layers())
        return any(part is not None for part in parts) or any(used for _, used in self.regressions)

    def _hidden_layers(self) -> tuple[Composition | ProteinComposition | None, ...]:
        return self.model.composition, self.model.stranded, self.model.proteins

    def forward(
        self, pooled: Float[Tensor, "b 2 d_and_2"], codes: Int[Tensor, "b n"] | None = None
    ) -> tuple[Tensor, ...]:
        """Return what ``outputs`` names.

        Args:
            pooled: What the segment program returned for the last segment of the forward strand,
                and of the reverse strand.
            codes: Base codes, padded at the end with N to a multiple of 3, of at least
                ``CODONS_AT_LEAST`` codons.
        """
        strands = (pooled[..., :-2] / pooled[..., -2:-1]).flatten(1)
        counts = None if codes is None else Counts(codes, self._largest_k())
        logits = self.model.logits(Encoding(strands, *self._sequence_features(strands, counts)))
        results = [logits, self.model.outputs(logits)]
        if self.temperature is not None:
            results.append(self.model.outputs(logits.double() / self.temperature))
        if self.model.config.task != "regression":
            results.append(self._called(results[1]))
        if self.notes is not None:
            assert counts is not None
            results.append(self.notes(counts.kmers(4)))
        return tuple(results)

    def _largest_k(self) -> int:
        """Return the length of the longest k-mer of bases that is counted, for any purpose."""
        features = self.model.config.features_by_kind
        return max([4, *(each.ks[-1] for kind, each in features.items() if kind != "protein")])

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
        self, strands: Float[Tensor, "b d"], counts: "Counts | None"
    ) -> tuple[Float[Tensor, "b _"] | None, Float[Tensor, "b c"] | None]:
        """Do as ``RMTClassifier.sequence_features``, with functions that can be exported."""
        features, linear = [], []
        for layer in self._hidden_layers():
            if layer is not None:
                assert counts is not None
                features.append(layer.of_counts(counts.of(layer)))
        if (wide := self.model.wide) is not None:
            assert counts is not None
            linear += [wide.of_counts(*counts.hashed(k), k) for k in wide.ks]
        for regression, is_used in self.regressions:
            if is_used:
                assert counts is not None
                linear.append(regression.of_counts(counts.of(regression.kmers)))
            else:
                linear.append(regression.bias.expand(strands.shape[0], -1))
        return (
            torch.cat(features, dim=-1) if features else None,
            sum(linear[1:], linear[0]) if linear else None,
        )


CODONS_AT_LEAST = 11  # no k-mer is longer than that


class Counts:
    """Count k-mers of base codes; their numbers are computed once, for all lengths up to one."""

    def __init__(self, codes: Int[Tensor, "b n"], largest_k: int) -> None:
        self.codes = codes
        forward, reverse = torch.zeros_like(codes), torch.zeros_like(codes)
        is_known = forward == 0
        self.numbers: list[tuple[Tensor, Tensor, Tensor]] = [(forward, reverse, is_known)]
        for k in range(1, largest_k + 1):
            base = codes[:, k - 1 :]
            forward, reverse, is_known = (each[:, : base.shape[1]] for each in self.numbers[-1])
            forward, reverse = 4 * forward + base, reverse + (3 - base) * 4 ** (k - 1)
            self.numbers.append((forward, reverse, is_known & (base < N)))

    def of(self, part: Composition | ProteinComposition | KmerSpec) -> Int[Tensor, "b f"]:
        """Return what a part of the model reads: k-mers of bases, or of amino acids."""
        orf_codons: int | None = getattr(part, "orf_codons", None)
        if orf_codons is None:
            return self.kmers(part.k)
        return count_amino_acids(self.codes, part.k, orf_codons)

    def kmers(self, k: int) -> Int[Tensor, "b f"]:
        """Return what ``kmer_features.count_kmers`` does."""
        forward, _, is_known = self.numbers[k]
        return _count(forward, is_known, 4**k)

    def hashed(self, k: int) -> tuple[Int[Tensor, "b kmers"], Int[Tensor, "b kmers"]]:
        """Return what ``kmer_features.hash_kmers`` does."""
        forward, reverse, is_known = self.numbers[k]
        return torch.where(is_known, buckets_of(forward, reverse, k), 0), is_known.long()


def count_amino_acids(codes: Int[Tensor, "b n"], k: int, orf_codons: int) -> Int[Tensor, "b f"]:
    """Return what ``kmer_features.count_amino_acid_kmers`` does; n is a multiple of 3."""
    both = torch.cat([codes, torch.where(codes < N, 3 - codes, N).flip(1)])
    first, second, third = (
        both,
        F.pad(both[:, 1:], (0, 1), value=N),
        F.pad(both[:, 2:], (0, 2), value=N),
    )
    classes = torch.from_numpy(CLASS_OF_CODON).long()[25 * first + 5 * second + third]
    classes = rearrange(classes, "b (codon frame) -> b codon frame", frame=3)
    is_stop = classes == STOP
    orf = is_stop.long().cumsum(dim=1)  # a number for each reading frame
    lengths = torch.zeros_like(F.pad(orf, (0, 0, 0, 1))).scatter_add(1, orf, (~is_stop).long())
    is_counted = lengths.gather(1, orf) >= max(k, orf_codons)
    numbers = torch.zeros_like(classes)
    for offset in range(k):
        amino_acid = classes[:, offset:]
        numbers = STOP * numbers[:, : amino_acid.shape[1]] + amino_acid
        is_counted = is_counted[:, : amino_acid.shape[1]] & (amino_acid < STOP)
    counts = _count(numbers.flatten(1), is_counted.flatten(1), STOP**k)
    return reduce(counts, "(strand b) f -> b f", "sum", strand=2)


def _count(
    numbers: Int[Tensor, "b kmers"], is_counted: Bool[Tensor, "b kmers"], size: int
) -> Int[Tensor, "b size"]:
    counts = torch.zeros(numbers.shape[0], size + 1, dtype=torch.long, device=numbers.device)
    index = torch.where(is_counted, numbers, size)
    return counts.scatter_add(1, index, torch.ones_like(index))[:, :size]


class CompositionNotes(nn.Module):
    """Which notes of ``TrainingRange`` hold, by the counts of 4-mers; none if there is no 4-mer."""

    gc: Tensor
    mean: Tensor
    whitening: Tensor
    max_distance: Tensor
    min_kmers: Tensor
    canonical: Tensor
    gc_of_kmers: Tensor

    def __init__(self, training_range: TrainingRange) -> None:
        super().__init__()
        arrays = {each.name: getattr(training_range, each.name) for each in fields(training_range)}
        canonical = canonical_index(4)
        arrays |= {
            "canonical": np.eye(canonical.max() + 1)[canonical],
            "gc_of_kmers": gc_of_kmers(),
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(array).double())

    def forward(self, counts: Int[Tensor, "b f"]) -> Bool[Tensor, "b notes"]:
        """Return whether ``LOWER_GC``, ``HIGHER_GC`` and ``OTHER_KMERS`` hold."""
        canonical = counts.double() @ self.canonical
        total = canonical.sum(dim=1, keepdim=True)
        frequencies = canonical / total.clamp(min=1)
        scale = (total / self.min_kmers).sqrt().clamp(max=1)
        lowest, mean, highest = self.gc
        gc = scale * (frequencies @ self.gc_of_kmers[:, None] - mean)
        deviations = (frequencies - self.mean) @ self.whitening.T
        distance = scale * deviations.square().mean(dim=1, keepdim=True).sqrt()
        holds = [
            gc < lowest - mean - ROUNDING,
            gc > highest - mean + ROUNDING,
            distance > self.max_distance * (1 + ROUNDING),
        ]
        return torch.cat(holds, dim=1) & (total > 0)
