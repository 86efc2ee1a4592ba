"""What the open reading frames of a whole sequence are made of, as features beside its memory.

Genes of one family differ in most of their bases, and less in what they mean. All six reading
frames are cut at stop codons; what is long without one is likely to be a gene. Its words of k amino
acids, in ten classes (``dna.genetic_code``), are counted. Both strands count as one, so these
features are the same for a sequence and its reverse complement.

Dimensions: b batch, n base pairs, f codons of a frame, d model width, words = 10**k.
"""

import torch
from einops import rearrange
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from rmt_genomics.dna.genetic_code import CLASS_OF_CODON, STOP, word_shares
from rmt_genomics.model.tokens import BP_AT_ONCE, N

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
        by_chance = torch.from_numpy(word_shares(k))
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
