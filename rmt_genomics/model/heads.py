"""From the encoding of a sequence to one logit per class.

Dimensions: b batch, c classes, d model width, e width of the encoding ``[forward | reverse]``; with
composition features (of k-mers, of proteins, or both) that of ``[forward | reverse | features]``.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


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
