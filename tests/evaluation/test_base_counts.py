"""Counting models against a slow twin that is written with dictionaries."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from rmt_genomics.dna.alphabet import UNKNOWN, Codes, reverse_complement_codes
from rmt_genomics.evaluation import base_counts
from rmt_genomics.evaluation.base_counts import PRIOR, Predicted, bits_per_base


def context_of(codes: Sequence[int], at: int, order: int, *, both_sides: bool) -> tuple[int, ...]:
    """Return the bases around a base; () if the context is not known and not empty."""
    left, right = max(0, at - order), at + 1 + order if both_sides else at + 1
    found = (*codes[left:at], *codes[at + 1 : right])
    is_whole = len(found) == order * (2 if both_sides else 1)
    return found if is_whole and UNKNOWN not in found else (-1,)


def strands_of(codes: Codes) -> list[list[int]]:
    return [codes.tolist(), reverse_complement_codes(codes).tolist()]


def plain_counts(
    train: Sequence[Codes], order: int, *, both_sides: bool
) -> Counter[tuple[int, ...]]:
    """Count (order, context, base) of both strands."""
    counts: Counter[tuple[int, ...]] = Counter()
    for strand in (strand for sequence in train for strand in strands_of(sequence)):
        for at, base in enumerate(strand):
            for k in range(order + 1):
                context = context_of(strand, at, k, both_sides=both_sides)
                if base != UNKNOWN and context != (-1,):
                    counts[(k, *context, base)] += 1
    return counts


def plain_bits(
    train: Sequence[Codes], masked: Sequence[tuple[Codes, Codes]], order: int, *, both_sides: bool
) -> float:
    """Predict base by base with counts in dictionaries."""
    counts, bits = plain_counts(train, order, both_sides=both_sides), []
    predicted = [
        (strand, at, base)
        for codes, targets in masked
        for strand, wanted in zip(strands_of(codes), strands_of(targets), strict=True)
        for at, base in enumerate(wanted)
        if base != UNKNOWN
    ]
    for strand, at, base in predicted:
        probability = [0.25] * 4
        for k in range(order + 1):
            context = context_of(strand, at, k, both_sides=both_sides)
            if context == (-1,):
                continue
            own = [counts[(k, *context, each)] for each in range(4)]
            probability = [
                (count + PRIOR * before) / (sum(own) + PRIOR)
                for count, before in zip(own, probability, strict=True)
            ]
        bits.append(-math.log2(probability[base]))
    return sum(bits) / len(bits)


@pytest.mark.parametrize(("both_sides", "orders"), [(False, 4), (True, 2)])
@pytest.mark.parametrize("block_bp", [1 << 23, 20])
def test_the_models_are_those_of_a_plain_loop(
    monkeypatch: pytest.MonkeyPatch, *, both_sides: bool, orders: int, block_bp: int
) -> None:
    monkeypatch.setattr(base_counts, "_BLOCK_BP", block_bp)
    random = np.random.default_rng(0)
    weights = [0.3, 0.2, 0.15, 0.3, 0.05]
    train = [random.choice(5, n, p=weights).astype(np.uint8) for n in (40, 3, 60)]
    codes = [random.choice(5, n, p=weights).astype(np.uint8) for n in (25, 2)]
    masked = [
        (one, np.where(random.random(len(one)) < 0.5, one, UNKNOWN).astype(np.uint8))
        for one in codes
    ]

    predicted = Predicted.of(masked, orders, both_sides=both_sides)
    bits = bits_per_base(train, predicted, both_sides=both_sides)

    expected = [
        plain_bits(train, masked, order, both_sides=both_sides) for order in range(orders + 1)
    ]
    assert bits == pytest.approx(expected, rel=1e-12)
    assert len(set(bits)) == orders + 1


def test_a_repeat_is_predicted_from_enough_bases_only() -> None:
    repeat = np.array([0, 0, 1, 0, 0, 2] * 400, np.uint8)  # what follows AA depends on 3 bases
    predicted = Predicted.of([(repeat[:60], repeat[:60])], 3, both_sides=False)

    bits = bits_per_base([repeat], predicted, both_sides=False)

    assert bits[2] > 0.3
    assert bits[3] < 0.15
