"""From the encoding of a sequence to one logit per class: a hidden layer, then a linear map.

The mean over segments of what a memoryless encoder wrote is linear in its segments, so a linear map
of it cannot tell a mixture of two sources from one source; a hidden layer can.

Dimensions: b batch, c classes, d model width, e width of the encoding ``[forward | reverse]``; with
features of the whole sequence (of k-mers, of proteins) that of ``[forward | reverse | features]``.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


class HiddenLayer(nn.Module):
    """A hidden layer for each strand, with the same weights: other strand, other half."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, strands: Float[Tensor, "b two_d"]) -> Float[Tensor, "b two_d"]:
        """Return the hidden features of both strands, forward first."""
        both = rearrange(strands, "b (strand d) -> b strand d", strand=2)
        return rearrange(F.gelu(self.linear(both)), "b strand d -> b (strand d)")


class ConcatHead(nn.Linear):
    """A linear map of the whole encoding: it may use which strand a feature is from.

    ``num_features`` counts those of the whole sequence, after those of the strands.
    """

    def __init__(self, dim: int, num_classes: int, num_features: int = 0) -> None:
        super().__init__(2 * dim + num_features, num_classes)


class SymmetricHead(nn.Module):
    """The same map of both strands, added: swapping the strands changes no bit of the sum.

    The arguments are those of ``ConcatHead``.
    """

    def __init__(self, dim: int, num_classes: int, num_features: int = 0) -> None:
        super().__init__()
        self.sizes = [dim, dim, num_features]
        self.each = nn.Linear(dim, num_classes)
        self.shared = nn.Linear(num_features, num_classes, bias=False) if num_features else None

    def forward(self, encoding: Float[Tensor, "b e"]) -> Float[Tensor, "b c"]:
        """Return one logit per class, equal on both strands."""
        forward, reverse, features = torch.split(encoding, self.sizes, dim=-1)
        logits: Tensor = self.each(forward) + self.each(reverse)
        return logits if self.shared is None else logits + self.shared(features)


HEADS: dict[str, type[ConcatHead] | type[SymmetricHead]] = {
    "concat": ConcatHead,
    "symmetric": SymmetricHead,
}
