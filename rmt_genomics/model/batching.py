"""Padded batches of sequences of similar length, and the checks on a batch.

Dimensions: b batch, n base pairs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from rmt_genomics.dna import encode
from rmt_genomics.dna.alphabet import pad_codes
from rmt_genomics.dna.python_inputs import each_letters
from rmt_genomics.errors import ConfigError, DataError
from rmt_genomics.model.bidirectional_encoder import LONG_BP
from rmt_genomics.model.tokenization import N, to_device
from rmt_genomics.parsing import shown

MAX_ROWS = 64  # sequences in a batch


def compute_in_batches(
    lengths: Sequence[int],
    compute: Callable[[list[int]], np.ndarray],
    row_shape: tuple[int, ...],
    *,
    dtype: Any = np.float64,
    batch_size: int | None = None,
) -> np.ndarray:
    """Run a computation on batches of similar length; return its rows in the order of ``lengths``.

    ``compute`` gets the indices of the sequences of a batch, and returns one row for each of them.
    """
    rows = np.empty((len(lengths), *row_shape), dtype=dtype)
    for batch in batches_of_similar_length(lengths, max_rows=check_batch_size(batch_size)):
        rows[batch] = compute(batch)
    return rows


def check_batch_size(batch_size: int | None) -> int:
    """Return the most sequences in a batch: those that were asked for, or 64.

    Raises:
        ConfigError: If it is not a number of sequences.
    """
    if batch_size is None:
        return MAX_ROWS
    is_whole = isinstance(batch_size, int | np.integer) and not isinstance(batch_size, bool)
    if not is_whole or batch_size < 1:
        raise ConfigError(
            f"batch_size is {shown(batch_size)}, but must be a whole number from 1 on: the most "
            "sequences that are computed together. None = 64, or fewer if they are long."
        )
    return int(batch_size)


def batches_of_similar_length(
    lengths: Sequence[int], *, max_rows: int = MAX_ROWS, max_bp: int = LONG_BP
) -> list[list[int]]:
    """Group indices, longest sequence first, so that a padded batch stays within ``max_bp``.

    A sequence longer than that makes a batch of its own.
    """
    batches: list[list[int]] = []
    width = 0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        is_full = not batches or len(batches[-1]) == max_rows
        if is_full or (len(batches[-1]) + 1) * width > max_bp:
            batches.append([])
            width = lengths[index]
        batches[-1].append(index)
    return batches


def encode_sequences(sequences: Any, *, caller: str) -> list[np.ndarray]:
    """Return the base codes of each sequence.

    Raises:
        DataError: Naming ``caller`` or the index of the sequence, if one is not DNA.
    """
    codes = []
    for index, letters in enumerate(each_letters(sequences, caller)):
        if not letters:
            raise DataError(f"sequence {index}: is empty, but must have at least 1 bp")
        try:
            codes.append(encode(letters))
        except DataError as error:
            raise DataError(f"sequence {index}: {error}") from error
    return codes


def pad(
    sequences: Sequence[np.ndarray], device: torch.device | None = None
) -> tuple[UInt8[Tensor, "b n"], Int[Tensor, " b"]]:
    """Stack base codes, padded with N at the end; return them and their lengths, checked.

    There is at least one sequence, and none is empty. Without a device they stay on the CPU.
    """
    codes, lengths = map(torch.from_numpy, pad_codes(sequences))
    check_batch(codes, lengths)  # on the CPU, where the check does not wait for a GPU
    if device is None:
        return codes, lengths
    return to_device(codes, device), to_device(lengths, device)


def check_batch(codes: Tensor, lengths: Tensor) -> None:
    """Raise ValueError unless each length is within its row."""
    if codes.ndim != 2 or not len(codes):
        raise ValueError(f"codes has shape {tuple(codes.shape)}, but must be (b, n), b at least 1")
    are_whole = lengths.dtype != torch.bool and not torch.is_floating_point(lengths)
    if lengths.shape != (len(codes),) or not are_whole:
        raise ValueError(
            f"lengths is {lengths.dtype} of shape {tuple(lengths.shape)}, but must be whole "
            f"numbers of shape ({len(codes)},): one per row of codes"
        )
    low, high = torch.stack(torch.aminmax(lengths)).tolist()  # waits for a GPU only once
    if low < 1 or high > codes.shape[1]:
        raise ValueError(
            f"lengths lie between {low} and {high}, but must be between 1 and {codes.shape[1]}, "
            "the width of codes"
        )


def mask_padding(codes: UInt8[Tensor, "b n"], lengths: Int[Tensor, " b"]) -> UInt8[Tensor, "b n"]:
    """Return a checked batch with N beyond the length of each row, whatever it held there."""
    check_batch(codes, lengths)
    rule = "but base codes are whole numbers from 0 to 4 (A, C, G, T, N)"
    if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
        raise ValueError(f"codes is {codes.dtype}, {rule}")
    is_beyond = torch.arange(codes.shape[1], device=codes.device) >= lengths[:, None]
    masked = codes.masked_fill(is_beyond, N)
    is_wrong = (masked < 0) | (masked > N)
    if is_wrong.any():
        row, position = is_wrong.nonzero()[0].tolist()
        value = masked[row, position].item()
        raise ValueError(f"codes: position {position} of row {row} holds {value}, {rule}")
    return masked.to(torch.uint8)
