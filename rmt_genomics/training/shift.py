"""Move sequences by a few base pairs, so that no label is tied to one exact place.

Dimensions: b batch, n base pairs.
"""

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from rmt_genomics.model.tokens import N


def shifted(
    codes: UInt8[Tensor, "b n"], lengths: Int[Tensor, " b"], at_most: int
) -> UInt8[Tensor, "b n"]:
    """Move each row by a random number of base pairs, to the left or to the right.

    What moves beyond an end is cut off, and N comes in at the other: lengths stay as they are.
    The same seed of PyTorch gives the same numbers. A row is moved by less than its length.

    Args:
        codes: Base codes, padded at the end; left as they are.
        lengths: Base pairs of each row.
        at_most: Most base pairs to move by.
    """
    moves = torch.randint(-at_most, at_most + 1, (len(codes),)).tolist()
    moved = codes.clone()
    for row, (length, move) in enumerate(zip(lengths.tolist(), moves, strict=True)):
        move = max(1 - length, min(length - 1, move))
        if move > 0:
            moved[row, move:length] = codes[row, : length - move]
            moved[row, :move] = N
        elif move < 0:
            moved[row, : length + move] = codes[row, -move:length]
            moved[row, length + move : length] = N
    return moved
