"""Parts of a data set: disjoint, complete, and never dividing a group."""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rmt_genomics.datasets import Example
from rmt_genomics.datasets.splits import (
    Split,
    _unique_rows,
    bin_edges,
    bin_indices,
    candidate_bins,
    split_by_fractions,
    split_examples,
)
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsWarning


def make(
    labels: Sequence[str],
    groups: Sequence[str | None] | None = None,
    splits: Sequence[str | None] | None = None,
) -> list[Example]:
    """Make one whole record a label."""
    nothing = [None] * len(labels)
    return [
        Example(Interval(f"r{index}", 0, 10), True, (label,), group, split)  # noqa: FBT003
        for index, (label, group, split) in enumerate(
            zip(labels, groups or nothing, splits or nothing, strict=True)
        )
    ]


def divide(examples: list[Example], **options: object) -> Split:
    return split_examples(examples, **({"validation_fraction": 0.25, "seed": 0} | options))


def test_stratified_parts_have_the_same_fraction_of_each_class() -> None:
    split = divide(make(["a"] * 40 + ["b"] * 8))

    assert Counter(item.labels[0] for item in split.validation) == {"a": 10, "b": 2}
    assert len(split.train) == 36
    assert split.test == ()


def test_a_rare_class_is_in_both_parts_if_possible() -> None:
    split = divide(make(["a"] * 40 + ["b"] * 2 + ["c"]))

    assert Counter(item.labels[0] for item in split.validation) == {"a": 10, "b": 1}
    assert {item.labels[0] for item in split.train} == {"a", "b", "c"}


def test_examples_without_any_of_several_labels_are_split_like_a_class() -> None:
    kinds = {(): 20, ("a",): 8, ("a", "b"): 12}
    labels = [item for item, count in kinds.items() for _ in range(count)]
    examples = [
        replace(example, labels=item)
        for example, item in zip(make("x" * len(labels)), labels, strict=True)
    ]

    split = divide(examples)
    shared = split_by_fractions(
        examples, {"train": 0.5, "validation": 0.25, "test": 0.25}, by_group=False, seed=0
    )

    for part in (split.validation, shared.validation, shared.test):
        assert sum(not item.labels for item in part) == 5


def test_groups_are_held_out_whole() -> None:
    split = divide(make("aabb" * 10, groups=[f"g{index // 2}" for index in range(40)]))

    in_train = {item.group for item in split.train}
    in_validation = {item.group for item in split.validation}
    assert not in_train & in_validation
    assert Counter(item.labels[0] for item in split.validation) == {"a": 4, "b": 4}


labels_and_groups = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 8).map(str)), min_size=4, max_size=60
)


@pytest.mark.parametrize("how", ["group", "stratified"])
@given(drawn=labels_and_groups, fraction=st.floats(0.05, 0.9), seed=st.integers(0, 99))
def test_parts_are_disjoint_and_complete(
    drawn: list[tuple[str, str]], fraction: float, seed: int, how: str
) -> None:
    labels, groups = zip(*drawn, strict=True)
    assume(len(set(labels)) > 1)
    examples = make(labels, groups if how == "group" else None)

    try:
        split = divide(examples, how=how, validation_fraction=fraction, seed=seed)
    except DataError as error:
        assert "part cannot be made from" in str(error)  # noqa: PT017
        return

    together = [*split.train, *split.validation, *split.test]
    assert sorted(item.name for item in together) == sorted(item.name for item in examples)
    assert split.validation
    assert {item.labels for item in split.train} == {item.labels for item in examples}
    in_train = {item.group for item in split.train if item.group}
    assert not in_train & {item.group for item in split.validation}


def test_the_seed_determines_the_split() -> None:
    examples = make("ab" * 30)

    assert divide(examples, seed=1) == divide(examples, seed=1)
    assert divide(examples, seed=1) != divide(examples, seed=2)


def test_the_split_column_is_used() -> None:
    splits = ["train", "train", "validation", "test"] * 2
    examples = make("abababab"[:4] * 2, splits=splits)

    split = divide(examples)

    assert split.train == (examples[0], examples[1], examples[4], examples[5])
    assert split.validation == (examples[2], examples[6])
    assert split.test == (examples[3], examples[7])


def test_a_column_without_validation_gets_it_from_train_by_group() -> None:
    groups = [f"g{index // 4}" for index in range(40)]
    splits = ["train"] * 32 + ["test"] * 8
    examples = make("ab" * 20, groups, splits)

    split = divide(examples)

    assert split.test == tuple(examples[32:])
    assert len(split.validation) == 8
    assert len({item.group for item in split.validation}) == 2


def test_auto_chooses_the_method() -> None:
    grouped = make("ab" * 8, groups=[f"g{index // 4}" for index in range(16)])
    plain = make("ab" * 8)

    assert divide(grouped) == divide(grouped, how="group")
    assert divide(plain) == divide(plain, how="stratified")


def test_each_of_several_labels_is_split_in_proportion() -> None:
    examples = [
        Example(Interval(f"r{index}", 0, 9), whole=True, labels=("a", "b")[: index % 3])
        for index in range(30)
    ]

    split = divide(examples, validation_fraction=0.5)

    held = Counter(label for item in split.validation for label in item.labels)
    assert held == {"a": 10, "b": 5}


@pytest.mark.parametrize(
    ("examples", "how", "message"),
    [
        (make("aaaa"), "auto", "all examples have the label 'a', but there must be at least"),
        (
            make("abcd"),
            "auto",
            "a validation part cannot be made from 4 examples, as each class has one example, but "
            "training needs one, and every class must stay in train. Add examples of each class, ",
        ),
        (
            make("aabb", groups="gghh"),
            "auto",
            "from 4 examples in 2 groups, but training needs one, and every class must stay in "
            "train. Add examples of other groups, or name the parts in a split column.",
        ),
        (
            make("abab", groups=["g", "g", "h", "h"], splits=["train", "test", "test", "test"]),
            "auto",
            "no example in train for 1 of 2 classes (such as 'b'), but every class needs",
        ),
        (
            make("abab", splits=["test", "test", "validation", "test"]),
            "auto",
            "the split column has no example for train, but training needs some. Write train in",
        ),
        (
            make("abab", groups=["g", "h", "g", "i"], splits=["train", "train", "test", "test"]),
            "column",
            "the group 'g' is in train and in test, but a group must stay in one part",
        ),
        (
            make("aab", splits=["train", "validation", "test"]),
            "column",
            "no example in train for 1 of 2 classes (such as 'b'), but every class needs",
        ),
        (
            make("ab", splits=["train", None]),
            "auto",
            "no split for 1 of 2 examples (such as r1), but data.split 'column' needs one",
        ),
        (make("ab"), "column", "no split for 2 of 2 examples (such as r0), but data.split"),
        (make("ab"), "group", "r0 has no group, but a split by group needs one for every example."),
        (make("ab", groups=["g", None]), "auto", "r1 has no group, but a split by group needs"),
    ],
)
def test_impossible_splits_are_refused(examples: list[Example], how: str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        divide(examples, how=how)


def test_a_group_divided_by_the_split_column_is_refused() -> None:
    examples = make(
        "abab" * 2, groups=["g"] * 2 + ["h"] * 6, splits=["train"] * 4 + ["validation"] * 4
    )
    with pytest.raises(DataError, match="the group 'h' is in train and in validation"):
        divide(examples)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"how": "random"}, "data.split is 'random', but must be one of auto, column, group, st"),
        ({"how": "stratified"}, "data.split is 'stratified', but the examples have groups, which"),
        ({"validation_fraction": 0.0}, "data.validation_fraction is 0.0, but must be between 0"),
        ({"validation_fraction": 1.0}, "data.validation_fraction is 1.0, but must be between 0"),
    ],
)
def test_a_wrong_setting_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        divide(make("abab", groups="gghh"), **options)


FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}


def split_by(examples: list[Example], **options: Any) -> Split:
    return split_by_fractions(
        examples, **({"fractions": FRACTIONS, "by_group": True, "seed": 0} | options)
    )


@given(drawn=labels_and_groups, seed=st.integers(0, 99))
def test_three_parts_are_disjoint_and_complete_and_have_every_class(
    drawn: list[tuple[str, str]], seed: int
) -> None:
    labels, groups = zip(*drawn, strict=True)
    assume(len(set(labels)) > 1)
    examples = make(labels, groups)

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            split = split_by(examples, seed=seed)
    except DataError as error:
        assert re.search("part cannot be made from|no example in train", str(error))  # noqa: PT017
        return

    parts = [split.train, split.validation, split.test]
    together = [item.name for part in parts for item in part]
    assert sorted(together) == sorted(item.name for item in examples)
    has_all = all({item.labels for item in part} == {(x,) for x in labels} for part in parts)
    assert has_all == (not caught)
    groups_of_parts = [{item.group for item in part} for part in parts]
    assert sum(map(len, groups_of_parts)) == len(set(groups))


def test_the_parts_have_the_given_fractions_of_each_class() -> None:
    split = split_by(make("aab" * 20, groups=[f"g{index // 2}" for index in range(60)]))

    counts = [
        Counter(item.labels[0] for item in part)
        for part in (split.train, split.validation, split.test)
    ]
    assert counts == [{"a": 24, "b": 12}, {"a": 8, "b": 4}, {"a": 8, "b": 4}]


def test_there_is_no_test_part_if_its_fraction_is_zero() -> None:
    split = split_by(make("ab" * 10), fractions=FRACTIONS | {"test": 0.0}, by_group=False)

    assert split.test == ()
    assert len(split.validation) == 4


def test_a_class_in_too_few_groups_is_named() -> None:
    examples = make("ab" * 10 + "cc", groups=[str(index) for index in range(20)] + ["x", "y"])

    message = (
        "1 of 3 classes are too small to be in all 3 parts, so no example of them is in some "
        "(missing in validation: 1), such as 'c', which is in 2 groups. What is not in train "
    )
    with pytest.warns(RMTGenomicsWarning, match=re.escape(message)):
        split_by(examples)


def test_the_part_that_cannot_be_made_is_named() -> None:
    with pytest.raises(DataError, match="a test part cannot be made from 4 examples in 1 group,"):
        split_by(make("abab", groups="gggg"))


def test_the_best_of_several_orders_is_taken() -> None:
    """With one order, the large groups that happen to come first would spoil the shares."""
    sizes = [13, 11, 9, 7, 5, 5, 3, 3, 2, 2]
    groups = [str(index) for index, size in enumerate(sizes) for _ in range(size)]

    for seed in range(10):
        held = split_by(make("ab" * 30, groups), seed=seed)
        assert abs(len(held.validation) - 12) <= 1
        assert abs(len(held.test) - 12) <= 1


values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60).map(np.array)
THREE_PARTS = {"train": 0.6, "validation": 0.2, "test": 0.2}


def with_numbers(numbers: np.ndarray, groups: list[str] | None = None) -> list[Example]:
    return [
        Example(
            Interval(f"r{index}", 0, 9),
            whole=True,
            labels=(repr(float(number)),),
            group=groups[index] if groups else None,
        )
        for index, number in enumerate(numbers)
    ]


def numbers_of(part: tuple[Example, ...]) -> np.ndarray:
    return np.array([float(item.labels[0]) for item in part])


def test_edges_of_quarters_are_as_computed_by_hand() -> None:
    numbers = np.array([5.0, 1, 2, 3, 4, 6, 7, 8])
    edges = bin_edges(numbers, 4)
    assert np.bincount(bin_indices(edges, numbers)).tolist() == [1, 2, 2, 3]
    assert edges.tolist() == [2.0, 4.0, 6.0]


def test_equal_values_are_in_one_bin() -> None:
    assert bin_edges(np.array([3.0, 3, 3]), 4).tolist() == []
    assert bin_edges(np.array([3.0, 3, 3, 9]), 2).tolist() == []


@given(numbers=values, fraction=st.floats(0.05, 0.9))
def test_every_value_is_in_one_bin_and_no_bin_is_empty(
    numbers: np.ndarray, fraction: float
) -> None:
    for bins in candidate_bins(numbers, fraction):
        assert (bins.sum(axis=1) == 1).all()
        assert (bins.sum(axis=0) > 0).all()
    assert bins.shape == (len(numbers), 1)  # the last one tried asks for nothing


@pytest.mark.parametrize("seed", range(5))
def test_each_part_has_low_and_high_numbers_in_proportion(seed: int) -> None:
    numbers = np.random.default_rng(seed).lognormal(sigma=2, size=200)
    split = split_by_fractions(with_numbers(numbers), THREE_PARTS, by_group=False, seed=seed)
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


def test_groups_stay_whole_although_their_numbers_differ() -> None:
    """Ten bins would each be in one group, so that nothing could be held out."""
    numbers = np.arange(60) + 0.5
    groups = [f"g{index // 12}" for index in range(60)]
    split = split_examples(with_numbers(numbers, groups), validation_fraction=0.2, seed=0)
    held = {example.group for example in split.validation}
    assert len(held) == 1
    assert not held & {example.group for example in split.train}


def test_one_group_cannot_be_divided() -> None:
    numbers = np.arange(60) + 0.5
    with pytest.raises(
        DataError, match="a validation part cannot be made from 60 examples in 1 gr"
    ):
        split_examples(with_numbers(numbers, ["g"] * 60), validation_fraction=0.2, seed=0)


def test_few_examples_give_a_small_validation_part() -> None:
    split = split_examples(
        with_numbers(np.arange(10) / 4), validation_fraction=0.2, seed=0, task="regression"
    )
    assert len(split.validation) == 2


@given(
    numbers=st.lists(st.floats(-9, 9), min_size=3, max_size=40).filter(lambda x: len(set(x)) > 1)
)
def test_parts_of_numbers_are_disjoint_complete_and_reproducible(numbers: list[float]) -> None:
    examples = with_numbers(np.array(numbers))
    options = {"validation_fraction": 0.3, "seed": 3, "task": "regression"}
    split = split_examples(examples, **options)
    assert sorted([*split.train, *split.validation], key=id) == sorted(examples, key=id)
    assert split == split_examples(examples, **options)


@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, 3), min_size=width, max_size=width), min_size=1, max_size=20
        )
    )
)
def test_different_rows_are_those_of_numpy(rows: list[list[int]]) -> None:
    table = np.array(rows, dtype=np.float64)

    different, index_of = _unique_rows(table)

    assert sorted(map(tuple, different)) == list(map(tuple, np.unique(table, axis=0)))
    assert np.array_equal(different[index_of], table)


def test_a_class_in_few_groups_is_divided_over_all_parts() -> None:
    """Test is made first, and would take all groups but one."""
    sizes = {"rare": (1, 1, 1, 20), "common": (1,) * 60}
    rows = [
        (label, f"{label}{group}")
        for label, groups in sizes.items()
        for group, size in enumerate(groups)
        for _ in range(size)
    ]
    examples = make(*zip(*rows, strict=True))
    fractions = {"train": 0.4, "validation": 0.3, "test": 0.3}

    parts = split_by_fractions(examples, fractions, by_group=True, seed=0)

    for part in (parts.train, parts.validation, parts.test):
        assert {label for item in part for label in item.labels} == {"rare", "common"}


def test_a_class_of_few_large_groups_is_in_all_parts() -> None:
    """Each group is more than twice what validation should have."""
    labels = [label for label in "abc" for _ in range(5 * 83)]
    groups = [f"{label}{index // 83}" for label in "abc" for index in range(5 * 83)]
    fractions = {"train": 0.8, "validation": 0.1, "test": 0.1}

    parts = split_by_fractions(make(labels, groups), fractions, by_group=True, seed=0)

    for part, size in ((parts.test, 83), (parts.validation, 83), (parts.train, 3 * 83)):
        assert Counter(item.labels[0] for item in part) == dict.fromkeys("abc", size)
