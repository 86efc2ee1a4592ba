"""From written memories to one vector per sequence.

Memories come in chunks of segments: all at once when a gradient is wanted, a few at a time when a
long record streams through. Each pooling folds chunk after chunk into a small state, so both ways
run the same code.

Dimensions: s segments of a chunk, b batch, m memory tokens, d model width.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor, nn

Chunks = Iterable[tuple[Tensor, Tensor]]


class Pooling(nn.Module, ABC):
    """Fold chunks of memories into one vector per row.

    Args:
        dim: Model width d.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, chunks: Chunks) -> Float[Tensor, "b d"]:
        """Pool the memories ``[s, b, m, d]``; ``[s, b]`` is True where a row read a segment."""
        state = None
        for memories, is_read in chunks:
            state = self.add(state, memories, is_read)
        return self.finish(state)

    @abstractmethod
    def add(
        self, state: Any, memories: Float[Tensor, "s b m d"], is_read: Bool[Tensor, "s b"]
    ) -> Any:
        """Return the state after one more chunk; before the first it is None."""

    @abstractmethod
    def finish(self, state: Any) -> Float[Tensor, "b d"]:
        """Return one vector per row."""


class LastMemory(Pooling):
    """The mean of the last written memory over its m tokens: the *pooled memory*."""

    def add(
        self, state: Any, memories: Float[Tensor, "s b m d"], is_read: Bool[Tensor, "s b"]
    ) -> Tensor:
        """Keep the last; that of a sequence that has ended does not change any more."""
        del state, is_read
        return memories[-1]

    def finish(self, state: Tensor) -> Float[Tensor, "b d"]:
        """Average over memory tokens."""
        return reduce(state, "b m d -> b d", "mean")


class MeanMemory(Pooling):
    """The mean over all segments a sequence has, and over memory tokens."""

    def add(
        self, state: Any, memories: Float[Tensor, "s b m d"], is_read: Bool[Tensor, "s b"]
    ) -> tuple[Tensor, Tensor]:
        """Add up memories and count segments."""
        pooled = reduce(memories, "s b m d -> s b d", "mean")
        total = (pooled * is_read[..., None]).sum(dim=0)
        count = is_read.sum(dim=0)
        return (total, count) if state is None else (state[0] + total, state[1] + count)

    def finish(self, state: tuple[Tensor, Tensor]) -> Float[Tensor, "b d"]:
        """Divide by the number of segments."""
        total, count = state
        return total / count[:, None]


class MaxMemory(Pooling):
    """The largest value of each feature over all segments and memory tokens."""

    def add(
        self, state: Any, memories: Float[Tensor, "s b m d"], is_read: Bool[Tensor, "s b"]
    ) -> Tensor:
        """Take the larger."""
        seen = memories.masked_fill(~rearrange(is_read, "s b -> s b 1 1"), -torch.inf)
        largest = reduce(seen, "s b m d -> b d", "max")
        return largest if state is None else torch.maximum(state, largest)

    def finish(self, state: Tensor) -> Float[Tensor, "b d"]:
        """Return the largest."""
        return state


class AttentionMemory(Pooling):
    """A learned weighting of all memory tokens of all segments (a running softmax)."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.score = nn.Linear(dim, 1)

    def add(
        self, state: Any, memories: Float[Tensor, "s b m d"], is_read: Bool[Tensor, "s b"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Weigh a chunk, and rescale what came before to the largest score so far."""
        scores = rearrange(self.score(memories), "s b m 1 -> s b m")
        scores = scores.masked_fill(~is_read[..., None], -torch.inf)
        peak = reduce(scores, "s b m -> b", "max").detach()
        if state is not None:
            peak = torch.maximum(peak, state[0])
        weights = (scores - rearrange(peak, "b -> b 1")).exp()
        total = reduce(weights, "s b m -> b", "sum")
        weighted = torch.einsum("s b m, s b m d -> b d", weights, memories)
        if state is not None:
            fade = (state[0] - peak).exp()
            total, weighted = total + fade * state[1], weighted + fade[:, None] * state[2]
        return peak, total, weighted

    def finish(self, state: tuple[Tensor, Tensor, Tensor]) -> Float[Tensor, "b d"]:
        """Divide by the total weight."""
        _, total, weighted = state
        return weighted / total[:, None]


POOLINGS: dict[str, type[Pooling]] = {
    "last": LastMemory,
    "mean": MeanMemory,
    "max": MaxMemory,
    "attention": AttentionMemory,
}
