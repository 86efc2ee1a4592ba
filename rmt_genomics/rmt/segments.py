"""Cut tokens into segments, lazily, with the halo that the stem needs.

The sequences of a batch have different lengths. They are sorted, longest first, so that the batch
rows that reach into a segment are the first ones; rows that have ended are not computed at all.

Dimensions: b batch, n tokens in a segment, v vocabulary; ``active`` batch rows that have not ended.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from rmt_genomics.rmt.argument_checks import INTEGERS, check_tensor
from rmt_genomics.rmt.config import as_declared


class Segment(NamedTuple):
    """Consecutive tokens read in one pass, with their neighbours.

    Attributes:
        tokens: Token ids, ``left`` halo tokens, ``length`` tokens, then the right halo. Or soft
            tokens, a weight of each id (see ``embedding``).
        keep: True where ``tokens`` is real; None = everywhere.
        left: Halo tokens on the left; 0 at the start of a sequence.
        length: Tokens ``n`` of the segment itself.
        is_start: Nothing was read before it.
        may_be_empty: A batch row may have no real token here; its memory is then not updated.
    """

    tokens: Integer[Tensor, "active with_halo"] | Float[Tensor, "active with_halo v"]
    keep: Bool[Tensor, "active with_halo"] | None
    left: int
    length: int
    is_start: bool = False
    may_be_empty: bool = False

    @property
    def keep_inside(self) -> Bool[Tensor, "active n"] | None:
        """``keep`` without the halo."""
        return None if self.keep is None else self.keep[:, self.left : self.left + self.length]


class Segments(Sequence[Segment]):
    """The segments of a batch, cut when asked for.

    Args:
        tokens: Token ids ``[b, total]``, padded at the end with any valid id.
        lengths: Tokens of each batch row, longest first, each between 1 and ``total``.
        segment_length: Tokens in a full segment; only the last segment of a row may be shorter.
        halo: Neighbouring tokens (left, right) that each segment includes.
    """

    def __init__(
        self,
        tokens: Integer[Tensor, "b total"],
        lengths: Sequence[int],
        segment_length: int,
        halo: tuple[int, int] = (0, 0),
    ) -> None:
        check_tensor("tokens", tokens, INTEGERS, "must hold integers")
        self.tokens = tokens
        self.lengths: list[int] = [as_declared("a length", int, length) for length in lengths]
        self.segment_length: int = as_declared("segment_length", int, segment_length)
        left, right = (as_declared("halo", int, count) for count in halo)
        self.halo = left, right
        if self.segment_length < 1 or left < 0 or right < 0:
            raise ValueError(
                f"segment_length is {segment_length} and halo is {halo}, but a segment holds at "
                "least 1 token, and a halo at least 0"
            )
        if tokens.ndim != 2:
            raise ValueError(f"tokens has shape {tuple(tokens.shape)}, but must be (b, total)")
        b, total = tokens.shape
        if len(self.lengths) != b:
            raise ValueError(f"lengths has {len(self.lengths)} entries, but tokens has {b} rows")
        if self.lengths != sorted(self.lengths, reverse=True):
            raise ValueError(f"lengths is {self.lengths}, but must be sorted, longest first")
        if not self.lengths or self.lengths[-1] < 1 or self.lengths[0] > total:
            raise ValueError(
                f"lengths is {self.lengths}, but each must be between 1 and {total}, the width of "
                "tokens"
            )
        self._lengths = torch.tensor(self.lengths, device=tokens.device)  # copied once

    def __len__(self) -> int:
        return -(-self.lengths[0] // self.segment_length)

    def __getitem__(self, index: int | slice) -> Any:
        """Return segment ``index``, of the batch rows that reach into it; a list for a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        start = index * self.segment_length
        lengths = [length for length in self.lengths if length > start]
        start, stop, left, right = borders(index, self.segment_length, lengths[0], self.halo)
        window = self.tokens[: len(lengths), start - left : stop + right]
        keep = None
        if lengths[-1] < stop + right:
            positions = torch.arange(start - left, stop + right, device=window.device)
            keep = positions < self._lengths[: len(lengths), None]
        return Segment(window, keep, left, stop - start, is_start=index == 0)


def borders(
    index: int, segment_length: int, num_tokens: int, halo: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return where a segment starts and stops, and how many halo tokens there are on each side."""
    start = index * segment_length
    stop = min(start + segment_length, num_tokens)
    return start, stop, min(halo[0], start), min(halo[1], num_tokens - stop)
