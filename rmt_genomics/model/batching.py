"""Sequences of many lengths as padded batches, and what a batch must be.

Dimensions: b batch, n base pairs.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from rmt_genomics.dna import encode
from rmt_genomics.errors import DataError
from rmt_genomics.model.bidirectional_encoder import LONG_BP
from rmt_genomics.model.tokenization import N


def pad(codes: Sequence[np.ndarray]) -> tuple[UInt8[Tensor, "b n"], Int[Tensor, " b"]]:
    """Stack sequences of base codes, padded with N at the end; and their lengths."""
    lengths = torch.tensor([len(each) for each in codes])
    batch = torch.full((len(codes), int(lengths.max())), N, dtype=torch.uint8)
    for row, each in zip(batch, codes, strict=True):
        row[: len(each)] = torch.from_numpy(each)
    return batch, lengths


def batches_of_similar_length(
    lengths: Sequence[int], *, max_rows: int = 64, max_bp: int = LONG_BP
) -> list[list[int]]:
    """Group indices, longest first, so that a padded batch stays within ``max_bp``.

    A sequence longer than that makes a batch of its own.
    """
    batches: list[list[int]] = []
    widest = 0
    for place in sorted(range(len(lengths)), key=lambda each: -lengths[each]):
        full = not batches or len(batches[-1]) == max_rows
        if full or (len(batches[-1]) + 1) * widest > max_bp:
            batches.append([])
            widest = lengths[place]
        batches[-1].append(place)
    return batches


def encode_each(sequence: str, place: int) -> np.ndarray:
    """Return base codes, or say which sequence is wrong."""
    if not isinstance(sequence, str | bytes):
        kind = type(sequence).__name__
        raise DataError(f"sequence {place}: is a {kind}, but must be text, such as 'ACGT'.")
    if not sequence:
        raise DataError(f"sequence {place}: is empty, but must have at least 1 bp")
    try:
        return encode(sequence)
    except DataError as error:
        raise DataError(f"sequence {place}: {error}") from error


def check_batch(codes: Tensor, lengths: Tensor) -> None:
    """Raise ValueError unless each length is within its row."""
    if codes.ndim != 2 or not len(codes):
        raise ValueError(f"codes has shape {tuple(codes.shape)}, but must be (b, n), b at least 1")
    if lengths.shape != (len(codes),) or lengths.is_floating_point():
        raise ValueError(
            f"lengths is {lengths.dtype} of shape {tuple(lengths.shape)}, but must be whole "
            f"numbers of shape ({len(codes)},): one a row of codes"
        )
    low, high = int(lengths.min()), int(lengths.max())
    if low < 1 or high > codes.shape[1]:
        raise ValueError(
            f"lengths lie between {low} and {high}, but must be between 1 and {codes.shape[1]}, "
            "the width of codes"
        )


def ending_in_n(codes: UInt8[Tensor, "b n"], lengths: Int[Tensor, " b"]) -> UInt8[Tensor, "b n"]:
    """Return a checked batch with N wherever a row has ended, whatever stood there."""
    check_batch(codes, lengths)
    beyond = torch.arange(codes.shape[1], device=codes.device) >= lengths[:, None]
    return codes.masked_fill(beyond, N)
