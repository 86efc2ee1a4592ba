"""Folds: each example is tested once, groups stay whole, and every model learns every class."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from rmt_genomics.datasets import Example
from rmt_genomics.datasets.folds import Fold, assign_folds
from rmt_genomics.datasets.splits import Split
from rmt_genomics.errors import ConfigError, DataError
from tests.datasets.test_splits import make


def splits(
    examples: Sequence[Example], folds: int, how: str = "auto", seed: int = 0
) -> list[Split]:
    return [
        Fold(number, folds).split(examples, how=how, validation_fraction=0.2, seed=seed)
        for number in range(1, folds + 1)
    ]


@pytest.mark.parametrize("group_size", [0, 3])
@pytest.mark.parametrize(("folds", "seed"), [(2, 0), (3, 1), (5, 2)])
def test_each_example_is_tested_once_and_parts_are_those_of_a_training(
    folds: int, seed: int, group_size: int
) -> None:
    groups = [f"g{index // group_size}" for index in range(60)] if group_size else None
    examples = make("aab" * 20, groups)

    found = splits(examples, folds, seed=seed)

    tested = Counter(example.interval.record for split in found for example in split.test)
    assert tested == {example.interval.record: 1 for example in examples}
    for split in found:
        parts = (split.train, split.validation, split.test)
        assert sum(map(len, parts)) == 60
        for part in parts:
            assert {label for example in part for label in example.labels} == {"a", "b"}
        named = [{example.group for example in part} for part in parts]
        assert not group_size or sum(map(len, named)) == 20
    assert found == splits(examples, folds, seed=seed)


def test_classes_are_in_proportion() -> None:
    examples = make("a" * 40 + "b" * 20)

    fold_of = assign_folds(examples, 5, seed=3)

    assert np.bincount(fold_of).tolist() == [12] * 5
    assert np.bincount(fold_of[40:]).tolist() == [4] * 5


def test_numbers_are_in_proportion_too() -> None:
    examples = make([f"{index}.5" for index in range(60)])

    for split in splits(examples, 3):
        values = [float(example.labels[0]) for example in split.test]
        assert abs(float(np.mean(values)) - 30) < 3


def test_labels_of_several_are_all_in_training() -> None:
    labels = [("a",), ("a", "b"), ("c",), (), ("a", "c")] * 8
    examples = [
        replace(example, labels=of_one)
        for example, of_one in zip(make("x" * 40), labels, strict=True)
    ]

    for split in splits(examples, 4):
        assert {label for example in split.train for label in example.labels} == {"a", "b", "c"}
        assert any("b" in example.labels for example in split.test)


@pytest.mark.parametrize("folds", [1, 0, -3, 10**9])
def test_the_number_of_folds_has_limits(folds: int) -> None:
    with pytest.raises(ConfigError, match=f"--folds is {folds}, but must be from 2 to 10,000"):
        Fold(1, folds)


@pytest.mark.parametrize(
    ("labels", "groups", "folds", "words"),
    [
        ("ab" * 6, ["x", "x", "y", "y"] * 3, 3, "--folds is 3, but there are only 2 groups"),
        ("a" * 9 + "b" * 2, None, 3, "the class 'b' has only 2 examples, and each fold needs one"),
        ("a" * 9 + "b" * 3, list("xyzxyzxyz") + ["w"] * 3, 3, "class 'b' in two of them, but each"),
        ("ab" * 6, ["x", None] * 6, 2, "r1 has no group, but a split by group needs one"),
    ],
)
def test_too_few_groups_or_examples_are_refused(
    labels: str, groups: list[str | None] | None, folds: int, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        splits(make(labels, groups), folds)


def test_fewer_numbers_than_folds_are_refused() -> None:
    with pytest.raises(DataError, match="--folds is 30, but there are only 25 examples"):
        splits(make([f"{index}.5" for index in range(25)]), 30)


def test_named_parts_and_divided_groups_are_refused() -> None:
    named = make("ab" * 6, splits=["train", "test"] * 6)
    with pytest.raises(ConfigError, match="the labels name the parts of the split"):
        splits(named, 2)
    with pytest.raises(ConfigError, match=r"or data\.split is 'column'"):
        splits(make("ab" * 6), 2, "column")
    with pytest.raises(ConfigError, match=r"data\.split is 'stratified', but the exam"):
        splits(make("ab" * 6, list("xyz") * 4), 2, "stratified")
    with pytest.raises(DataError, match="r0 has no group"):
        splits(make("ab" * 6), 2, "group")
