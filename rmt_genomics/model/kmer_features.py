"""The k-mer composition of a whole sequence, as features beside its memory.

What a k-mer regression sees, the classifier then sees too, and learns together with the rest (a
wide part beside a deep one: Cheng et al. 2016, arXiv:1606.07792). Both strands are counted as
one, so these features are the same for a sequence and its reverse complement.

Dimensions: b batch, n base pairs, d model width, K = 4**k k-mers.
"""

import torch
from einops import rearrange
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from rmt_genomics.dna.genetic_code import CLASS_OF_CODON, STOP, expected_kmer_frequencies
from rmt_genomics.model.tokenization import BP_AT_ONCE, N, number_kmers


class Composition(nn.Module):
    """Shares of all k-mers of both strands, and one hidden layer on them.

    Args:
        k: Bases in a k-mer.
        dim: Features to make.
    """

    def __init__(self, k: int, dim: int) -> None:
        super().__init__()
        self.k = k
        self.hidden = nn.Linear(4**k, dim)

    def forward(self, codes: UInt8[Tensor, "b n"]) -> Float[Tensor, "b d"]:
        """Return features of each row; padding must be N, which no k-mer holds.

        The codes may lie on another device than the weights: only counts are moved.
        """
        weight = self.hidden.weight
        precise = torch.promote_types(weight.dtype, torch.float32)  # counts may be large
        counts = both_strands(count_kmers(codes, self.k), self.k).to(weight.device, precise)
        shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
        relative = (shares * shares.shape[1]).sqrt() - 1
        features: Tensor = nn.functional.gelu(self.hidden(relative.to(weight)))
        return features


def count_kmers(codes: UInt8[Tensor, "b n"], k: int) -> Int[Tensor, "b kmers"]:
    """Count the k-mers without N of each row: AA..A first, TT..T last."""
    places = 4**k + N + 1  # a k-mer that holds an N is the letter N, behind the others
    rows = torch.arange(len(codes), device=codes.device)[:, None] * places
    counts = torch.zeros(len(codes) * places, dtype=torch.long, device=codes.device)
    at_once = max(1, BP_AT_ONCE // len(codes))
    for start in range(0, codes.shape[1] - k + 1, at_once):
        part = codes[:, start : start + at_once + k - 1]
        ids = torch.zeros(len(codes), part.shape[1] - k + 1, dtype=torch.int32, device=codes.device)
        number_kmers(ids, part, k, 1)
        counts += torch.bincount((ids + rows).flatten(), minlength=len(counts))
    return counts.view(len(codes), places)[:, : 4**k]


def both_strands(counts: Int[Tensor, "b kmers"], k: int) -> Int[Tensor, "b kmers"]:
    """Add the counts of the other strand: there each k-mer stands reversed and complemented."""
    letters = list(range(1, k + 1))
    by_letter = counts.reshape(len(counts), *[4] * k)
    other = by_letter.flip(letters).permute(0, *reversed(letters))
    return counts + other.reshape(counts.shape)


_NORM = 30.0  # of the features, where each word is as common as chance makes it: docs/LOG.md
_READ_AT_ONCE = 256  # reading frames: some 100,000 codons


class ProteinComposition(nn.Module):
    """Shares of all words of k amino acids in open reading frames, and one hidden layer on them.

    Args:
        k: Amino acids in a word.
        orf_codons: Codons without a stop that make a reading frame count.
        dim: Features to make.
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
        """Return features of each row; padding must be N, at which every reading frame ends.

        A word weighs as chance would have it, or rare words, of which there are most, would be
        fitted before common ones. The codes may lie on another device than the weights: only
        counts are moved.
        """
        weight = self.hidden.weight
        precise = torch.promote_types(weight.dtype, torch.float32)  # counts may be large
        counts = count_words(codes, self.k, self.orf_codons).to(weight.device, precise)
        shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
        weighed = shares.sqrt() * self.weights.to(shares)  # a twin's may lie on another device
        features: Tensor = nn.functional.gelu(self.hidden(weighed.to(weight)))
        return features


def count_words(codes: UInt8[Tensor, "b n"], k: int, orf_codons: int) -> Int[Tensor, "b words"]:
    """Count the words in the open reading frames of both strands of each row.

    A frame that is open where the sequence begins or ends counts if what is seen of it is long
    enough.
    """
    counts = torch.zeros(len(codes) * STOP**k, dtype=torch.long, device=codes.device)
    for strand in (codes, torch.where(codes < N, 3 - codes, N).to(codes.dtype).flip(1)):
        for frame in range(3):
            _count_in(translate(strand[:, frame:]), k, max(k, orf_codons), counts)
    return counts.view(len(codes), STOP**k)


def translate(codes: UInt8[Tensor, "b n"]) -> UInt8[Tensor, "b f"]:
    """Return the class of amino acids of each whole codon, and a stop behind the last one."""
    table = torch.from_numpy(CLASS_OF_CODON).to(codes.device)
    whole = rearrange(codes[:, : codes.shape[1] // 3 * 3], "b (f base) -> b f base", base=3)
    found = codes.new_full((len(codes), whole.shape[1] + 1), STOP)
    at_once = max(1, BP_AT_ONCE // len(codes))
    for start in range(0, whole.shape[1], at_once):
        part = whole[:, start : start + at_once].int()
        numbers = part[..., 0] * 25 + part[..., 1] * 5 + part[..., 2]
        found[:, start : start + numbers.shape[1]] = table[numbers]
    return found


def _count_in(
    classes: UInt8[Tensor, "b f"], k: int, orf_codons: int, counts: Int[Tensor, " all"]
) -> None:
    """Add the words of the long enough stretches without a stop to ``counts``, row after row."""
    letters = classes.flatten()
    stops = (letters == STOP).nonzero()[:, 0]
    lengths = torch.diff(stops, prepend=stops.new_tensor([-1])) - 1
    is_open = lengths >= orf_codons
    ends, lengths = stops[is_open], lengths[is_open]
    for start in range(0, len(ends), _READ_AT_ONCE):
        end, length = (each[start : start + _READ_AT_ONCE] for each in (ends, lengths))
        words = length - k + 1
        before = words.cumsum(0) - words
        first = (end - length - before).repeat_interleave(words)
        places = first + torch.arange(len(first), device=first.device)
        numbers = places // classes.shape[1]  # the row
        for offset in range(k):
            numbers = numbers * STOP + letters[places + offset]
        counts += torch.bincount(numbers, minlength=len(counts))


_PLACES = 1 << 18  # weights of a class for k-mers of one length
_SPREAD = 0x9E3779B1  # an odd number; times it, near k-mers come to lie far apart (Knuth)


class WideKmers(nn.Module):
    """One logit a class: the sum of the weights of all k-mers, for k-mers of several lengths.

    Args:
        ks: Bases in a k-mer; one or more lengths.
        num_classes: Classes c.
    """

    def __init__(self, ks: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.ks = ks
        self.weight = nn.Parameter(torch.zeros(len(ks) * _PLACES, num_classes))

    def forward(self, codes: UInt8[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """Return one logit a class; padding must be N, which no k-mer holds.

        The share of a k-mer counts, times the square root of how many different k-mers there can
        be in the sequence, so that sequences of any length have features of about the same norm.
        """
        logits = self.weight.new_zeros(len(codes), self.weight.shape[1])
        for which, k in enumerate(self.ks):
            total, known = self._sum(codes, which, k)
            different = known.clamp(max=4**k // 2).sqrt()
            logits = logits + total * (different / known.clamp(min=1)).to(total)
        return logits

    def _sum(
        self, codes: UInt8[Tensor, "b n"], which: int, k: int
    ) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b 1"]]:
        """Return the sum of the weights of all k-mers without N, and the number of these."""
        weights = self.weight[which * _PLACES : (which + 1) * _PLACES]
        total = weights.new_zeros(len(codes), weights.shape[1])
        known = torch.zeros(len(codes), 1, device=weights.device)
        at_once = max(1, BP_AT_ONCE // len(codes))
        for start in range(0, codes.shape[1] - k + 1, at_once):
            part = codes[:, start : start + at_once + k - 1]
            places, counts = (each.to(weights.device) for each in canonical(part, k))
            total = total + nn.functional.embedding_bag(
                places, weights, per_sample_weights=counts.to(weights), mode="sum"
            )
            known = known + counts.sum(dim=1, keepdim=True)
        return total, known


def canonical(codes: UInt8[Tensor, "b n"], k: int) -> tuple[Int[Tensor, "b p"], Int[Tensor, "b p"]]:
    """Return a number below ``_PLACES`` for each k-mer, alike on both strands; and 0 where it
    holds an N, else 1."""
    count = codes.shape[1] - k + 1
    here = torch.zeros(len(codes), count, dtype=torch.long, device=codes.device)
    there, known = here.clone(), torch.ones_like(here)
    for offset in range(k):
        letter = codes[:, offset : offset + count].long()
        known &= letter != N
        here = here * 4 + letter
        there += (3 - letter) << (2 * offset)
    number = torch.minimum(here, there)
    if 4**k > _PLACES:
        number = ((number * _SPREAD) & 0xFFFFFFFF) >> 14
    return number.masked_fill(known == 0, 0), known
