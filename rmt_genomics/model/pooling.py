"""From the read-out of each segment to one vector per sequence.

The read-out is what a segment wrote, or the memory it carries on (``model.readout``); both are
called memories here. They come in chunks of segments: all at once when a gradient is wanted, a few
at a time when a long record streams through. Each pooling folds chunk after chunk into a small
state, so both ways run the same code.

A chunk is the memories ``[s, b, m, d]``, and ``[s, b]``: True where a row read a segment.

Dimensions: s segments of a chunk, b batch, m memory tokens, d model width.
"""

from collections.abc import Iterable

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor, nn

Chunks = Iterable[tuple[Float[Tensor, "s b m d"], Bool[Tensor, "s b"]]]


class Pooling(nn.Module):
    """Fold chunks of memories into one vector per row."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim


class LastMemory(Pooling):
    """The mean over the m memory tokens of the last segment a sequence has: the *pooled memory*."""

    def forward(self, chunks: Chunks) -> Float[Tensor, "b d"]:
        """Keep the last memory of each row, and average it."""
        last: Tensor | None = None
        for memories, is_read in chunks:
            index = is_read.sum(dim=0).clamp(min=1) - 1  # a row reads the first segments, or none
            own = memories[index, torch.arange(len(index), device=index.device)]
            last = own if last is None else torch.where(is_read[0][:, None, None], own, last)
        assert last is not None
        return reduce(last, "b m d -> b d", "mean")


class MeanMemory(Pooling):
    """The mean over all segments a sequence has, and over memory tokens."""

    def forward(self, chunks: Chunks) -> Float[Tensor, "b d"]:
        """Add up memories, and divide by the number of segments."""
        sums, counts = [], []
        for memories, is_read in chunks:
            pooled = reduce(memories, "s b m d -> s b d", "mean")
            sums.append((pooled * is_read[..., None]).sum(dim=0))
            counts.append(is_read.sum(dim=0))
        return sum(sums[1:], start=sums[0]) / sum(counts[1:], start=counts[0])[:, None]


class MaxMemory(Pooling):
    """The largest value of each feature over all segments and memory tokens."""

    def forward(self, chunks: Chunks) -> Float[Tensor, "b d"]:
        """Return the largest of the largest of each chunk."""
        largest: Tensor | None = None
        for memories, is_read in chunks:
            seen = memories.masked_fill(~rearrange(is_read, "s b -> s b 1 1"), -torch.inf)
            own = reduce(seen, "s b m d -> b d", "max")
            largest = own if largest is None else torch.maximum(largest, own)
        assert largest is not None
        return largest


class AttentionMemory(Pooling):
    """A learned weighting of all memory tokens of all segments (a running softmax)."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.score = nn.Linear(dim, 1)

    def forward(self, chunks: Chunks) -> Float[Tensor, "b d"]:
        """Weigh chunk after chunk, and rescale what came before to the largest score so far."""
        state: tuple[Tensor, Tensor, Tensor] | None = None
        for memories, is_read in chunks:
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
            state = peak, total, weighted
        pooled: Tensor = weighted / total[:, None]
        return pooled


POOLINGS: dict[str, type[Pooling]] = {
    "last": LastMemory,
    "mean": MeanMemory,
    "max": MaxMemory,
    "attention": AttentionMemory,
}
