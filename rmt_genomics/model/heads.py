"""From the both-strand encoding to one logit a class.

Dimensions: b batch, c classes, d model width; ``two_d`` is ``[forward | reverse]``.
"""

from jaxtyping import Float
from torch import Tensor, nn


class ConcatHead(nn.Linear):
    """A linear map of both halves: may use which strand said what.

    Args:
        dim: Model width d.
        num_classes: Classes c.
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__(2 * dim, num_classes)

    def forward(self, encoding: Float[Tensor, "b two_d"]) -> Float[Tensor, "b c"]:
        """Return one logit a class."""
        return super().forward(encoding)


class SymmetricHead(nn.Module):
    """The same map of each half, added: swapping the halves changes no bit of the sum.

    Args:
        dim: Model width d.
        num_classes: Classes c.
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.each = nn.Linear(dim, num_classes)

    def forward(self, encoding: Float[Tensor, "b two_d"]) -> Float[Tensor, "b c"]:
        """Return one logit a class, equal on both strands."""
        forward, reverse = encoding.chunk(2, dim=-1)
        logits: Tensor = self.each(forward) + self.each(reverse)
        return logits


HEADS: dict[str, type[ConcatHead] | type[SymmetricHead]] = {
    "concat": ConcatHead,
    "symmetric": SymmetricHead,
}
