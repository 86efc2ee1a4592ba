"""K-mers that each say something by themselves: a wide part beside the deep one.

Each k-mer of each chosen length has a weight of its own for each class, and what all k-mers of a
sequence say is added to the logits (a wide part beside a deep one: Cheng et al. 2016,
arXiv:1606.07792; of k-mers of several lengths as string kernels are: Leslie et al. 2002,
doi:10.1142/9789812799623_0053). Long k-mers share weights at random (the hashing trick: Weinberger
et al. 2009, arXiv:0902.2206). Both strands are counted as one, so the logits are the same for a
sequence and its reverse complement.

Dimensions: b batch, n base pairs, c classes, p k-mers.
"""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from rmt_genomics.model.tokens import BP_AT_ONCE, N

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
