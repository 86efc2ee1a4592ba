"""k-mer features of a whole sequence: compositions, and a linear model of hashed k-mers.

They let the classifier see what a k-mer regression sees, and learn it together with the rest (a
linear, "wide" part beside a deep one: Cheng et al. 2016, arXiv:1606.07792). Both strands are
counted together, so all of this is the same for a sequence and its reverse complement; except the
stranded composition, of which the reverse complement swaps the halves.

Padding must be N, which is in no k-mer. Codes may be on another device than the weights: only
counts are moved.

Dimensions: b batch, n base pairs, d model width, c classes, f codons of a reading frame.
"""

from collections.abc import Iterator

import torch
from einops import rearrange
from jaxtyping import Float, Int, Num, UInt8
from torch import Tensor, nn

from rmt_genomics.dna.genetic_code import CLASS_OF_CODON, STOP, expected_kmer_frequencies
from rmt_genomics.model.tokenization import BP_AT_ONCE, N, number_kmers


class Composition(nn.Module):
    """Fractions of all k-mers, and one hidden layer of ``dim`` features on them.

    Of both strands counted as one; or, if ``is_stranded``, of the forward strand and of its reverse
    complement, with the same layer: ``[forward | reverse]``.
    """

    def __init__(self, k: int, dim: int, *, is_stranded: bool = False) -> None:
        super().__init__()
        self.k, self.is_stranded = k, is_stranded
        self.hidden = nn.Linear(4**k, dim)

    def forward(self, codes: UInt8[Tensor, "b n"]) -> Float[Tensor, "b features"]:
        """Return the features of each row, ``dim`` or ``2 * dim``."""
        return self.of_counts(count_kmers(codes, self.k))

    def of_counts(self, forward: Int[Tensor, "b kmers"]) -> Float[Tensor, "b features"]:
        """Return the features for ``count_kmers`` of each row."""
        reverse = reverse_complement_counts(forward, self.k)
        strands = (forward, reverse) if self.is_stranded else (forward + reverse,)
        return torch.cat([self._features(counts) for counts in strands], dim=-1)

    def _features(self, counts: Int[Tensor, "b kmers"]) -> Float[Tensor, "b d"]:
        fractions = fractions_of(counts, self.hidden.weight)
        relative = (fractions * fractions.shape[1]).sqrt() - 1
        features: Tensor = nn.functional.gelu(self.hidden(relative.to(self.hidden.weight)))
        return features


def fractions_of(counts: Int[Tensor, "b kmers"], weight: Tensor) -> Float[Tensor, "b kmers"]:
    """Return the fraction of each k-mer, where ``weight`` is and at least in float32."""
    precise = torch.promote_types(weight.dtype, torch.float32)  # counts may be large
    counts = counts.to(weight.device, precise)
    return counts / counts.sum(dim=1, keepdim=True).clamp(min=1)


def blocks_of(codes: UInt8[Tensor, "b n"], k: int) -> Iterator[UInt8[Tensor, "b block"]]:
    """Cut rows into blocks that hold each k-mer once."""
    block_bp = max(1, BP_AT_ONCE // len(codes))
    for start in range(0, codes.shape[1] - k + 1, block_bp):
        yield codes[:, start : start + block_bp + k - 1]


def count_kmers(codes: UInt8[Tensor, "b n"], k: int) -> Int[Tensor, "b kmers"]:
    """Count the k-mers without N of each row: AA..A first, TT..T last."""
    num_ids = 4**k + N + 1  # a k-mer that holds an N is the token of N, the last id
    offsets = torch.arange(len(codes), device=codes.device)[:, None] * num_ids
    counts = torch.zeros(len(codes) * num_ids, dtype=torch.long, device=codes.device)
    for block in blocks_of(codes, k):
        size = (len(codes), block.shape[1] - k + 1)
        ids = torch.zeros(size, dtype=torch.int32, device=codes.device)
        number_kmers(ids, block, k, 1)
        counts += torch.bincount((ids + offsets).flatten(), minlength=len(counts))
    return counts.view(len(codes), num_ids)[:, : 4**k]


def reverse_complement_counts(counts: Num[Tensor, "b kmers"], k: int) -> Num[Tensor, "b kmers"]:
    """Return the counts (or weights) of the other strand: each k-mer is reverse-complemented."""
    bases = list(range(1, k + 1))  # one axis per base of the k-mer
    forward = counts.reshape(counts.shape[0], *[4] * k)  # not len(): see segment_transformer
    return forward.flip(bases).permute(0, *reversed(bases)).reshape(counts.shape)


# The norm of the features of a sequence with chance composition
# (docs/development/experiments/plasmid-genes.md).
_NORM = 30.0
_FRAMES_AT_ONCE = 256  # reading frames: some 100,000 codons


class ProteinComposition(nn.Module):
    """Fractions of all k-mers of amino acids in open reading frames, and one hidden layer on them.

    A reading frame counts from ``orf_codons`` codons without a stop on.
    """

    weights: Tensor

    def __init__(self, k: int, orf_codons: int, dim: int) -> None:
        super().__init__()
        self.k, self.orf_codons = k, orf_codons
        self.hidden = nn.Linear(STOP**k, dim)
        by_chance = torch.from_numpy(expected_kmer_frequencies(k))
        weights = _NORM * (by_chance / by_chance.square().sum()).sqrt()
        self.register_buffer("weights", weights.float(), persistent=False)

    def forward(self, codes: UInt8[Tensor, "b n"]) -> Float[Tensor, "b d"]:
        """Return the features of each row; every reading frame ends at an N."""
        return self.of_counts(count_amino_acid_kmers(codes, self.k, self.orf_codons))

    def of_counts(self, counts: Int[Tensor, "b kmers"]) -> Float[Tensor, "b d"]:
        """Return the features for ``count_amino_acid_kmers`` of each row."""
        fractions = fractions_of(counts, self.hidden.weight)
        # Without these weights the many rare k-mers would be fitted before the common ones. (.to:
        # the buffer of a model that shares the weights of another may still be on another device.)
        weighted = fractions.sqrt() * self.weights.to(fractions)
        features: Tensor = nn.functional.gelu(self.hidden(weighted.to(self.hidden.weight)))
        return features


def count_amino_acid_kmers(
    codes: UInt8[Tensor, "b n"], k: int, orf_codons: int
) -> Int[Tensor, "b kmers"]:
    """Count the k-mers of amino acid classes in the open reading frames of both strands.

    A frame that is open where the sequence begins or ends counts if the part inside the sequence
    is long enough.
    """
    counts = torch.zeros(len(codes) * STOP**k, dtype=torch.long, device=codes.device)
    for strand in (codes, torch.where(codes < N, 3 - codes, N).to(codes.dtype).flip(1)):
        for frame in range(3):
            _count_in_frame(translate(strand[:, frame:]), k, max(k, orf_codons), counts)
    return counts.view(len(codes), STOP**k)


def translate(codes: UInt8[Tensor, "b n"]) -> UInt8[Tensor, "b f"]:
    """Return the amino acid class of each whole codon, and a stop after the last one."""
    table = torch.from_numpy(CLASS_OF_CODON).to(codes.device)
    codons = rearrange(codes[:, : codes.shape[1] // 3 * 3], "b (f base) -> b f base", base=3)
    classes = codes.new_full((len(codes), codons.shape[1] + 1), STOP)
    codons_at_once = max(1, BP_AT_ONCE // len(codes))
    for start in range(0, codons.shape[1], codons_at_once):
        block = codons[:, start : start + codons_at_once].int()
        numbers = block[..., 0] * 25 + block[..., 1] * 5 + block[..., 2]
        classes[:, start : start + numbers.shape[1]] = table[numbers]
    return classes


def _count_in_frame(
    classes: UInt8[Tensor, "b f"], k: int, orf_codons: int, counts: Int[Tensor, " all"]
) -> None:
    """Add the k-mers of the open reading frames to ``counts``, row after row."""
    flat = classes.flatten()  # each row ends with a stop, so no frame crosses two rows
    stops = (flat == STOP).nonzero()[:, 0]
    lengths = torch.diff(stops, prepend=stops.new_tensor([-1])) - 1
    is_open = lengths >= orf_codons
    ends, lengths = stops[is_open], lengths[is_open]
    for start in range(0, len(ends), _FRAMES_AT_ONCE):
        end = ends[start : start + _FRAMES_AT_ONCE]
        length = lengths[start : start + _FRAMES_AT_ONCE]
        num_kmers = length - k + 1
        kmers_before = num_kmers.cumsum(0) - num_kmers
        first = (end - length - kmers_before).repeat_interleave(num_kmers)
        positions = first + torch.arange(len(first), device=first.device)
        numbers = positions // classes.shape[1]  # the row
        for offset in range(k):
            numbers = numbers * STOP + flat[positions + offset]
        counts += torch.bincount(numbers, minlength=len(counts))


NUM_BUCKETS = 1 << 18  # weights per class and k-mer length; k-mers of k > 9 share them
HASH_MULTIPLIER = 0x9E3779B1  # multiplicative hashing (Knuth): similar k-mers get distant buckets


class HashedKmerLinear(nn.Module):
    """A linear model of hashed k-mers, of one or more lengths.

    The logit of a class is the sum of the weights of all k-mers.
    """

    def __init__(self, ks: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.ks = ks
        self.weight = nn.Parameter(torch.zeros(len(ks) * NUM_BUCKETS, num_classes))

    def forward(self, codes: UInt8[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """Return one logit per class.

        The feature of a k-mer is its fraction times the square root of how many different k-mers
        the sequence can have, so that sequences of any length have features of about the same norm.
        """
        wide_logits = self.weight.new_zeros(len(codes), self.weight.shape[1])
        for index, k in enumerate(self.ks):
            weights = self.weight[index * NUM_BUCKETS : (index + 1) * NUM_BUCKETS]
            total = torch.zeros_like(wide_logits)
            num_kmers = torch.zeros(len(codes), 1, device=weights.device)
            for block in blocks_of(codes, k):
                buckets, is_known = (part.to(weights.device) for part in hash_kmers(block, k))
                total = total + nn.functional.embedding_bag(
                    buckets, weights, per_sample_weights=is_known.to(weights), mode="sum"
                )
                num_kmers = num_kmers + is_known.sum(dim=1, keepdim=True)
            wide_logits = wide_logits + scaled(total, num_kmers, k)
        return wide_logits

    def of_counts(
        self, buckets: Int[Tensor, "b buckets"], counts: Int[Tensor, "b buckets"], k: int
    ) -> Float[Tensor, "b c"]:
        """Return the part of the k-mers of one length, given how many of a row are in a bucket."""
        index = self.ks.index(k)
        weights = self.weight[index * NUM_BUCKETS : (index + 1) * NUM_BUCKETS]
        total = (weights[buckets] * counts[..., None]).sum(dim=1)
        return scaled(total, counts.sum(dim=1, keepdim=True), k)


def scaled(
    total: Float[Tensor, "b c"], num_kmers: Num[Tensor, "b 1"], k: int
) -> Float[Tensor, "b c"]:
    """Scale the sums of the weights of all k-mers of each row, as ``HashedKmerLinear`` says."""
    num_different = num_kmers.clamp(max=4**k // 2).sqrt()
    return total * (num_different / num_kmers.clamp(min=1)).to(total)


def hash_kmers(
    codes: UInt8[Tensor, "b n"], k: int
) -> tuple[Int[Tensor, "b kmers"], Int[Tensor, "b kmers"]]:
    """Return the bucket of each canonical k-mer, below ``NUM_BUCKETS``, and 1 if it has no N."""
    num_kmers = codes.shape[1] - k + 1
    forward = torch.zeros(len(codes), num_kmers, dtype=torch.long, device=codes.device)
    reverse, is_known = forward.clone(), torch.ones_like(forward)
    for offset in range(k):
        base = codes[:, offset : offset + num_kmers].long()
        is_known &= base != N
        forward = forward * 4 + base
        reverse += (3 - base) << (2 * offset)
    return buckets_of(forward, reverse, k).masked_fill(is_known == 0, 0), is_known


def buckets_of(
    forward: Int[Tensor, "*kmers"], reverse: Int[Tensor, "*kmers"], k: int
) -> Int[Tensor, "*kmers"]:
    """Return the buckets of k-mers by their numbers on both strands."""
    buckets = torch.minimum(forward, reverse)
    if 4**k > NUM_BUCKETS:
        buckets = ((buckets * HASH_MULTIPLIER) & 0xFFFFFFFF) >> 14
    return buckets
