"""The k-mer composition of a whole sequence, as features beside its memory.

What a k-mer regression sees, the classifier then sees too, and learns together with the rest (a
wide part beside a deep one: Cheng et al. 2016, arXiv:1606.07792). Both strands are counted as
one, so these features are the same for a sequence and its reverse complement.

Dimensions: b batch, n base pairs, d model width, K = 4**k k-mers.
"""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from rmt_genomics.model.tokens import BP_AT_ONCE, N, number_kmers


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
