"""Labels become numbers, and only those that fit."""

import numpy as np
import pytest

from rmt_genomics.datasets.examples import Example, LabelScheme
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError


def example(*labels: str, record: str = "chr1") -> Example:
    return Example(Interval(record, 0, 10), whole=True, labels=labels)


@pytest.mark.parametrize(
    ("labels", "classes", "task"),
    [
        ([("b",), ("a",), ("b",)], ("a", "b"), "binary"),
        ([("c",), ("a",), ("b",)], ("a", "b", "c"), "multiclass"),
        ([("b", "a"), ("a",)], ("a", "b"), "multilabel"),
        ([("b",), ("a",), ()], ("a", "b"), "multilabel"),
        ([("a",), ()], ("a",), "multilabel"),
    ],
)
def test_classes_and_task_are_derived_from_the_examples(
    labels: list[tuple[str, ...]], classes: tuple[str, ...], task: str
) -> None:
    assert LabelScheme.of([example(*item) for item in labels]) == LabelScheme(classes, task)


def test_a_label_becomes_its_class_index() -> None:
    targets = LabelScheme(("a", "b", "c"), "multiclass").targets(
        [example("c"), example("a"), example("b")]
    )

    assert targets.dtype == np.int64
    assert targets.tolist() == [2, 0, 1]


def test_several_labels_become_a_multi_hot_vector() -> None:
    targets = LabelScheme(("a", "b"), "multilabel").targets(
        [example("b"), example(), example("b", "a")]
    )

    assert targets.dtype == np.float32
    assert targets.tolist() == [[0, 1], [0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("classes", "task", "message"),
    [
        (("a",), "multiclass", "all examples have the label 'a', but there must be at least two"),
        (("a", "b"), "multiclass", "the task is 'multiclass' with 2 classes, but two classes are"),
        (("a", "b", "c"), "binary", "the task is 'binary' with 3 classes, but two classes are"),
        (("a", "a"), "multilabel", r"the classes are \('a', 'a'\), but must be different names"),
        (
            ("a", "b"),
            "ranking",
            "the task is 'ranking', but must be one of binary, multiclass, mul",
        ),
        (
            ("a", "b"),
            "regression",
            r"classes are \('a', 'b'\), but a regression must have one, ",
        ),
    ],
)
def test_classes_and_task_must_fit(classes: tuple[str, ...], task: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        LabelScheme(classes, task)


def test_one_class_only_is_refused() -> None:
    with pytest.raises(DataError, match=r"all examples have the label 'a', .*Add examples of ano"):
        LabelScheme.of([example("a"), example("a")])


def test_no_label_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="no label in 2 examples, but some must have one"):
        LabelScheme.of([example(), example()])


def test_an_unknown_label_is_refused() -> None:
    scheme = LabelScheme(("lysogenic", "lytic"), "binary")
    with pytest.raises(DataError) as caught:
        scheme.targets([example("lytic"), example("Lytic", record="phage9")])

    assert str(caught.value) == (
        "phage9: the label 'Lytic' is unknown, but must be one of lysogenic, lytic. "
        "Did you mean 'lytic'?"
    )


def test_two_labels_are_refused_where_one_is_needed() -> None:
    scheme = LabelScheme(("a", "b"), "binary")
    with pytest.raises(DataError, match="chr1: has 2 labels, but must have one: the task is bin"):
        scheme.targets([example("a", "b")])


@pytest.mark.parametrize(
    ("labels", "split", "message"),
    [
        (("a", "a"), None, r"chr1: the labels are \('a', 'a'\), but must be different names"),
        (("",), None, r"chr1: the labels are \('',\), but must be different names"),
        (("a",), "val", "chr1: the split is 'val', but must be one of train, validation, test"),
    ],
)
def test_an_invalid_example_is_refused(
    labels: tuple[str, ...], split: str | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Example(Interval("chr1", 0, 10), whole=True, labels=labels, split=split)


@pytest.mark.parametrize("label", ["a;b", "a\tb", "a\nb", "\x1b[31m"])
def test_a_label_that_a_table_cannot_hold_is_refused(label: str) -> None:
    with pytest.raises(DataError, match="the label"):
        example(label)
    if ";" not in label:
        with pytest.raises(DataError, match=r"or group .* must be printable text"):
            Example(Interval("r", 0, 9), whole=True, labels=("a",), group=label)
