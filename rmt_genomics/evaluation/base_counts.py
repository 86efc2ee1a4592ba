"""Models that predict a base by counting: what a pretrained network is compared with.

A Markov model of order k knows the k bases before a base; a context model of order k those on both
sides. Orders are smoothed by the order below (interpolation with a prior of ``PRIOR`` counts, as in
MacKay and Peto 1995, doi:10.1017/S1351324900000218), the lowest by one quarter for each base. Where
a context goes beyond the end of the sequence or holds an N, the order below predicts.

Only contexts that occur where bases are predicted are counted, so that orders of 12 bases need
little memory. Both strands are counted and predicted.

Dimensions: n positions that are predicted.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rmt_genomics.dna.alphabet import UNKNOWN, Codes, reverse_complement_codes

MARKOV_ORDERS, CONTEXT_ORDERS = range(13), range(1, 7)
PRIOR = 16.0
_BLOCK_BP = 1 << 23
_SEPARATOR = np.full(1, UNKNOWN, dtype=np.uint8)
_NONE = -1

Numbers = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


def contexts(codes: Codes, orders: int, *, both_sides: bool) -> Iterator[Numbers]:
    """Yield the number of the context of each base, for order 0, 1, ... and ``orders``.

    -1 where the context is not known. The context of an order ends with that of the order below.

    Examples:
        >>> from rmt_genomics.dna.alphabet import encode
        >>> [one.tolist() for one in contexts(encode("ACNG"), 1, both_sides=False)]
        [[0, 0, 0, 0], [-1, 0, 1, -1]]
    """
    numbers = np.zeros(len(codes), np.int32)
    is_known = np.ones(len(codes), bool)
    yield numbers.copy()
    num_bases = 0
    for order in range(1, orders + 1):
        for shift in (order, -order) if both_sides else (order,):
            base = np.full(len(codes), UNKNOWN, np.uint8)
            if order < len(codes):
                to, of = slice(order, None), slice(None, -order)
                base[to if shift > 0 else of] = codes[of if shift > 0 else to]
            is_known &= base < UNKNOWN
            numbers += (base.astype(np.int32) & 3) << (2 * num_bases)
            num_bases += 1
        yield np.where(is_known, numbers, _NONE)


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """The bases to be predicted, and the context of each by order: ``(n,)`` each."""

    bases: Codes
    contexts: Sequence[Numbers]

    @classmethod
    def of(
        cls, sequences: Iterable[tuple[Codes, Codes]], orders: int, *, both_sides: bool
    ) -> "Predicted":
        """Collect the bases of sequences, both strands of each: base codes and masked bases."""
        bases: list[Codes] = []
        found: list[list[Numbers]] = [[] for _ in range(orders + 1)]
        for codes, targets in sequences:
            for strand, masked in (
                (codes, targets),
                (reverse_complement_codes(codes), reverse_complement_codes(targets)),
            ):
                at = np.flatnonzero(masked < UNKNOWN)
                bases.append(masked[at])
                of_orders = contexts(strand, orders, both_sides=both_sides)
                for collected, numbers in zip(found, of_orders, strict=True):
                    collected.append(numbers[at])
        return cls(np.concatenate(bases), [np.concatenate(each) for each in found])


def bits_per_base(train: Iterable[Codes], predicted: Predicted, *, both_sides: bool) -> list[float]:
    """Count training sequences; return the mean bits of the predicted bases for each order."""
    orders = len(predicted.contexts) - 1
    width = 2 if both_sides else 1
    counts, rows = [], []
    slots: list[Numbers] = []
    for order, numbers in enumerate(predicted.contexts):
        unique, row = np.unique(numbers, return_inverse=True)
        slot = np.full(4 ** (width * order), _NONE, np.int32)
        is_known = unique >= 0
        slot[unique[is_known]] = np.flatnonzero(is_known)
        slots.append(slot)
        rows.append(row)
        counts.append(np.zeros((len(unique), 4)))
    for block in _blocks(train):
        for strand in (block, reverse_complement_codes(block)):
            of_orders = contexts(strand, orders, both_sides=both_sides)
            for numbers, slot, count in zip(of_orders, slots, counts, strict=True):
                at = np.flatnonzero((strand < UNKNOWN) & (numbers >= 0))
                cell = slot[numbers[at]]
                is_wanted = cell >= 0
                cells = 4 * cell[is_wanted].astype(np.int64) + strand[at[is_wanted]]
                count += np.bincount(cells, minlength=count.size).reshape(count.shape)
    return list(_interpolated(predicted, counts, rows))


def _interpolated(
    predicted: Predicted, counts: Sequence[Floats], rows: Sequence[npt.NDArray[np.int64]]
) -> Iterator[float]:
    probabilities = np.full((len(predicted.bases), 4), 0.25)
    at = np.arange(len(predicted.bases))
    for numbers, count, row in zip(predicted.contexts, counts, rows, strict=True):
        of_row = count[row]
        total = of_row.sum(axis=1, keepdims=True)
        smoothed = (of_row + PRIOR * probabilities) / (total + PRIOR)
        probabilities = np.where((numbers >= 0)[:, None], smoothed, probabilities)
        yield float(-np.log2(probabilities[at, predicted.bases]).mean())


def _blocks(sequences: Iterable[Codes]) -> Iterator[Codes]:
    """Join sequences, with an N between them, into long ones."""
    waiting: list[Codes] = []
    size = 0
    for codes in sequences:
        waiting += [codes, _SEPARATOR]
        size += len(codes)
        if size >= _BLOCK_BP:
            yield np.concatenate(waiting)
            waiting, size = [], 0
    if waiting:
        yield np.concatenate(waiting)
