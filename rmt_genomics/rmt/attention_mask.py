"""Which rows a wrapped segment has, and which row may look at which.

The rows asked about are [ read memory ][ tokens ][ write memory ]; what they may look at are
these rows and, before them, the ``past``: cached tokens of earlier segments.

Dimensions: b batch, n tokens in a segment, p cached tokens, i rows, j = p + i.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool
from torch import Tensor


class Layout(NamedTuple):
    """Numbers of rows, in the order in which they stand."""

    past: int
    read: int
    tokens: int
    write: int

    @property
    def rows(self) -> int:
        """Rows of the wrapped segment itself."""
        return self.read + self.tokens + self.write


class Sight(NamedTuple):
    """What decides who sees whom, beside the layout.

    Attributes:
        causal: Tokens see nothing after themselves.
        memory_not_causal: Read rows see each other.
        hide_read: Tokens and write rows do not see the read memory.
        is_token: True where a token is real; None = all.
        is_past: True where a cached token is real; None = all.
    """

    causal: bool
    memory_not_causal: bool = True
    hide_read: bool = False
    is_token: Bool[Tensor, "b n"] | None = None
    is_past: Bool[Tensor, "b p"] | None = None


def who_sees_whom(
    layout: Layout, sight: Sight, device: torch.device
) -> Bool[Tensor, "_ 1 _ j"] | None:
    """Return True where a row may look at a row; None if everybody sees everybody.

    Real tokens and memory are seen, padding by itself alone. So no row is left without anything
    to see, which would make it nan.
    """
    if not (sight.causal or sight.hide_read):
        if sight.is_token is None and sight.is_past is None:
            return None
        return rearrange(_is_real(layout, sight), "b j -> b 1 1 j")  # all see the memory
    keep = torch.ones(layout.rows, layout.past + layout.rows, dtype=torch.bool, device=device)
    own = keep[:, layout.past :]
    if sight.causal:
        _hide_what_comes_later(own, layout, memory_not_causal=sight.memory_not_causal)
    if sight.hide_read:
        own[layout.read :, : layout.read] = False
    keep = rearrange(keep, "i j -> 1 1 i j")
    if sight.is_token is None and sight.is_past is None:
        return keep
    itself = torch.zeros_like(keep)
    itself[:, :, :, layout.past :] = torch.eye(layout.rows, dtype=torch.bool, device=device)
    return itself | (keep & rearrange(_is_real(layout, sight), "b j -> b 1 1 j"))


def _hide_what_comes_later(own: Tensor, layout: Layout, *, memory_not_causal: bool) -> None:
    """Blind tokens to what follows them; the write memory sees all but later write rows."""
    tokens_end = layout.read + layout.tokens
    if memory_not_causal:
        own[:tokens_end] = own[:tokens_end].tril()
        own[: layout.read, : layout.read] = True
    else:
        own.copy_(own.tril())


def _is_real(layout: Layout, sight: Sight) -> Bool[Tensor, "b j"]:
    """Say which of the past and own rows hold something."""
    given = sight.is_token if sight.is_token is not None else sight.is_past
    assert given is not None
    ones = given.new_ones
    rows = len(given)
    past = ones(rows, layout.past) if sight.is_past is None else sight.is_past
    token = ones(rows, layout.tokens) if sight.is_token is None else sight.is_token
    return torch.cat([past, ones(rows, layout.read), token, ones(rows, layout.write)], dim=1)
