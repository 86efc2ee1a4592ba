"""Which positions a segment has once memory is put around it, and which may attend to which.

The queries are [ read memory ][ tokens ][ write memory ]. The keys are the same positions and,
before them, the cached tokens of earlier segments.

Dimensions: b batch, n tokens in a segment, p cached tokens, i queries, j = p + i keys.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool
from torch import Tensor

from rmt_genomics.rmt.config import RMTConfig


class PositionCounts(NamedTuple):
    """Numbers of positions of each kind, in the order of the keys."""

    cached: int
    read: int
    tokens: int
    write: int

    @property
    def queries(self) -> int:
        """Positions of the segment and its memory, without cached ones."""
        return self.read + self.tokens + self.write

    @property
    def token_slice(self) -> slice:
        """Where the tokens are among the queries."""
        return slice(self.read, self.read + self.tokens)


def attention_mask(
    config: RMTConfig,
    counts: PositionCounts,
    device: torch.device,
    *,
    is_token: Bool[Tensor, "b n"] | None = None,
    is_cached: Bool[Tensor, "b p"] | None = None,
    hide_read_memory: bool = False,
) -> Bool[Tensor, "_ 1 _ j"] | None:
    """Return True where a query may attend to a key; None if every query may attend to every key.

    Padding is attended to by itself only. So every query has a key, and no softmax is nan.

    Args:
        config: ``causal`` and ``memory_not_causal`` are used.
        counts: How many positions there are.
        device: Where the mask is needed.
        is_token: True where a token is real; None = all.
        is_cached: True where a cached token is real; None = all.
        hide_read_memory: Tokens and write memory do not attend to the read memory.
    """
    given = is_token if is_token is not None else is_cached
    if given is None:
        is_real = None
    else:
        b, ones = len(given), given.new_ones
        parts = [
            ones(b, counts.cached) if is_cached is None else is_cached,
            ones(b, counts.read),
            ones(b, counts.tokens) if is_token is None else is_token,
            ones(b, counts.write),
        ]
        is_real = rearrange(torch.cat(parts, dim=1), "b j -> b 1 1 j")
    if not (config.causal or hide_read_memory):
        return is_real  # memory is always real, so every query has a key
    keep = torch.ones(
        counts.queries, counts.cached + counts.queries, dtype=torch.bool, device=device
    )
    own = keep[:, counts.cached :]  # a view: writing to it writes to keep
    if config.causal and config.memory_not_causal:
        # Write memory attends to everything, read memory to itself, tokens to what is before them.
        end = counts.token_slice.stop
        own[:end] = own[:end].tril()
        own[: counts.read, : counts.read] = True
    elif config.causal:
        own.copy_(own.tril())
    if hide_read_memory:
        own[counts.read :, : counts.read] = False
    keep = rearrange(keep, "i j -> 1 1 i j")
    if is_real is None:
        return keep
    itself = torch.zeros_like(keep)
    itself[:, :, :, counts.cached :] = torch.eye(counts.queries, dtype=torch.bool, device=device)
    return itself | (keep & is_real)
