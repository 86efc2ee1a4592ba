"""Bins of numbers: nearly equal in size, every value in one, and none where all are equal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import Example, split_examples
from rmt_genomics.datasets.splits import bin_edges, bins_to_try, places_in, split_by_shares
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60).map(np.array)
SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def some(numbers: np.ndarray, groups: list[str] | None = None) -> list[Example]:
    return [
        Example(
            Interval(f"r{place}", 0, 9),
            whole=True,
            labels=(repr(float(number)),),
            group=groups[place] if groups else None,
        )
        for place, number in enumerate(numbers)
    ]


def numbers_of(part: tuple[Example, ...]) -> np.ndarray:
    return np.array([float(each.labels[0]) for each in part])


def test_quarters_by_hand() -> None:
    numbers = np.array([5.0, 1, 2, 3, 4, 6, 7, 8])
    edges = bin_edges(numbers, 4)
    assert np.bincount(places_in(edges, numbers)).tolist() == [1, 2, 2, 3]
    assert edges.tolist() == [2.0, 4.0, 6.0]


def test_equal_values_are_one_bin() -> None:
    assert bin_edges(np.array([3.0, 3, 3]), 4).tolist() == []
    assert bin_edges(np.array([3.0, 3, 3, 9]), 2).tolist() == []


@given(numbers=values, fraction=st.floats(0.05, 0.9))
def test_every_value_is_in_one_bin_and_no_bin_is_empty(
    numbers: np.ndarray, fraction: float
) -> None:
    for bins in bins_to_try(numbers, fraction):
        assert (bins.sum(axis=1) == 1).all()
        assert (bins.sum(axis=0) > 0).all()
    assert bins.shape == (len(numbers), 1)  # the last one tried asks for nothing


@pytest.mark.parametrize("seed", range(5))
def test_each_part_has_its_share_of_low_and_high_numbers(seed: int) -> None:
    numbers = np.random.default_rng(seed).lognormal(sigma=2, size=200)
    split = split_by_shares(some(numbers), SHARES, by_group=False, seed=seed)
    for part, share in ((split.train, 0.6), (split.validation, 0.2), (split.test, 0.2)):
        assert len(part) == pytest.approx(200 * share, abs=6)
        for low, high in ((0, 50), (50, 100), (100, 150), (150, 200)):
            within = (numbers_of(part) >= np.sort(numbers)[low]) & (
                numbers_of(part) <= np.sort(numbers)[high - 1]
            )
            assert within.sum() == pytest.approx(50 * share, abs=2)


def test_without_bins_a_part_may_miss_the_high_numbers() -> None:
    """Guard the guard: what the test above asks for does not come by chance."""
    numbers = np.random.default_rng(0).lognormal(sigma=2, size=200)
    highest = set(np.argsort(numbers)[150:])
    missed = [
        abs(len(highest & set(np.random.default_rng(seed).permutation(200)[:40])) - 10)
        for seed in range(20)
    ]
    assert max(missed) > 2


def test_groups_stay_whole_although_each_has_numbers_of_its_own() -> None:
    """Ten bins would each be in one group, so that nothing could be held out."""
    numbers = np.arange(60) + 0.5
    groups = [f"g{place // 12}" for place in range(60)]
    split = split_examples(some(numbers, groups), validation_fraction=0.2, seed=0)
    held = {example.group for example in split.validation}
    assert len(held) == 1
    assert not held & {example.group for example in split.train}


def test_one_group_cannot_be_divided() -> None:
    numbers = np.arange(60) + 0.5
    with pytest.raises(DataError, match="60 examples in 1 groups give no validation part"):
        split_examples(some(numbers, ["g"] * 60), validation_fraction=0.2, seed=0)


def test_a_few_examples_give_few_to_validation() -> None:
    split = split_examples(
        some(np.arange(10) / 4), validation_fraction=0.2, seed=0, task="regression"
    )
    assert len(split.validation) == 2


@given(
    numbers=st.lists(st.floats(-9, 9), min_size=3, max_size=40).filter(lambda x: len(set(x)) > 1)
)
def test_parts_are_disjoint_and_complete_and_repeat(numbers: list[float]) -> None:
    examples = some(np.array(numbers))
    options = {"validation_fraction": 0.3, "seed": 3, "task": "regression"}
    split = split_examples(examples, **options)
    assert sorted([*split.train, *split.validation], key=id) == sorted(examples, key=id)
    assert split == split_examples(examples, **options)
