"""From the both-strand encoding to one logit a class.

Dimensions: b batch, c classes, d model width, e width of the encoding ``[forward | reverse]``; with
composition (of k-mers, of proteins, or both) that of ``[forward | reverse | composition]``.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ConcatHead(nn.Linear):
    """A linear map of both halves: may use which strand said what.

    Args:
        dim: Model width d.
        num_classes: Classes c.
        shared: Features that both strands share, behind those of the strands.
        ready: Features behind these that are logits: 0, or one a class. They are added.
    """

    def __init__(self, dim: int, num_classes: int, shared: int = 0, *, ready: int = 0) -> None:
        super().__init__(2 * dim + shared, num_classes)
        self.ready = ready

    def forward(self, encoding: Float[Tensor, "b e"]) -> Float[Tensor, "b c"]:
        """Return one logit a class."""
        learned, ready = torch.split(encoding, [self.in_features, self.ready], dim=-1)
        logits = super().forward(learned)
        return logits + ready if self.ready else logits


class SymmetricHead(nn.Module):
    """The same map of each half, added: swapping the halves changes no bit of the sum.

    Args:
        dim: Model width d.
        num_classes: Classes c.
        shared: Features that both strands share, behind those of the strands.
        ready: Features behind these that are logits: 0, or one a class. They are added.
    """

    def __init__(self, dim: int, num_classes: int, shared: int = 0, *, ready: int = 0) -> None:
        super().__init__()
        self.sizes = [dim, dim, shared, ready]
        self.each = nn.Linear(dim, num_classes)
        self.shared = nn.Linear(shared, num_classes, bias=False) if shared else None

    def forward(self, encoding: Float[Tensor, "b e"]) -> Float[Tensor, "b c"]:
        """Return one logit a class, equal on both strands."""
        forward, reverse, shared, ready = torch.split(encoding, self.sizes, dim=-1)
        logits: Tensor = self.each(forward) + self.each(reverse)
        logits = logits if self.shared is None else logits + self.shared(shared)
        return logits + ready if ready.shape[-1] else logits


HEADS: dict[str, type[ConcatHead] | type[SymmetricHead]] = {
    "concat": ConcatHead,
    "symmetric": SymmetricHead,
}
