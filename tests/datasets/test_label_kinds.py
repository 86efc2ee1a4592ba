"""Numbers as labels: measured values, names of classes, and what is neither."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import Example, LabelScheme, read_labels
from rmt_genomics.datasets.examples import are_measured, number_of
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError, RMTGenomicsWarning

MEASURED = [f"{number / 8}" for number in range(40)]


def some(labels: list[str]) -> list[Example]:
    return [
        Example(Interval(f"r{place}", 0, 9), whole=True, labels=(label,))
        for place, label in enumerate(labels)
    ]


def table(path: Path, labels: list[str]) -> tuple[Path, dict[str, int]]:
    """Write a labels file; its records are r0, r1 and so on."""
    path.write_text("record\tlabel\n" + "".join(f"r{i}\t{x}\n" for i, x in enumerate(labels)))
    return path, {f"r{place}": 9 for place in range(len(labels))}


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_is_read_as_it_is_written(number: float) -> None:
    assert number_of(repr(number)) == number


@pytest.mark.parametrize(
    "label", ["nan", "inf", "1e999", "1_000", "0x10", "", "1,5", "\u0661", "1 2", "--1", "."]
)
def test_what_is_no_plain_finite_number_is_none(label: str) -> None:
    assert number_of(label) is None


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (MEASURED, "regression"),
        (MEASURED[:20], "regression"),
        (["0.50", "0.5"] * 20, "multiclass"),  # one value, written in two ways
        (MEASURED[:19] * 2, "multiclass"),
        ([str(number) for number in range(40)], "multiclass"),
        (["0.0", "1.0"] * 20, "binary"),
        ([*MEASURED, "high"], "multiclass"),
        ([f"{float(number):.1f}" for number in range(40)], "multiclass"),
    ],
)
def test_auto_is_regression_only_for_many_numbers_not_all_whole(
    labels: list[str], task: str
) -> None:
    if len({number_of(each) for each in labels}) == 1:
        assert not are_measured([(each,) for each in labels])
        return
    assert LabelScheme.of(some(labels)).task == task


def test_a_user_may_say_what_labels_are() -> None:
    assert LabelScheme.of(some(MEASURED), "classification").task == "multiclass"
    scheme = LabelScheme.of(some(["3", "1", "1"]), "regression")
    assert (scheme.task, scheme.classes) == ("regression", ("label",))
    with pytest.raises(DataError, match="the task is 'ranking', but must be one of auto, class"):
        LabelScheme.of(some(MEASURED), "ranking")


@given(
    numbers=st.lists(st.floats(-1e300, 1e300), min_size=2).filter(lambda all_: len(set(all_)) > 1)
)
def test_targets_are_the_numbers_in_float64(numbers: list[float]) -> None:
    examples = some([repr(number) for number in numbers])
    targets = LabelScheme.of(examples, "regression").targets(examples)
    assert targets.dtype == np.float64
    assert targets.tolist() == numbers


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["1.5", "NA"], "r1: the label is 'NA', but for regression it must be a number"),
        (["1.5", "1.50"], "all 2 examples have the label 1.5, but there must be two different"),
        ([], "there are no examples, but a regression needs some"),
    ],
)
def test_a_regression_of_anything_else_is_refused(labels: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        LabelScheme.of(some(labels), "regression")


def test_several_labels_are_no_number() -> None:
    both = [Example(Interval("r", 0, 9), whole=True, labels=("1.5", "2.5"))]
    with pytest.raises(DataError, match=r"r: the label is '1.5;2.5', but for regression"):
        LabelScheme.of(both, "regression")


class TestAFile:
    """Mixed kinds are refused with lines and counts, or warned of where they may be meant."""

    def test_numbers_with_words_among_them_are_refused(self, tmp_path: Path) -> None:
        labels = [*MEASURED, "high", "low", "high", "low", "low"]
        with pytest.raises(DataError) as caught:
            read_labels(*table(tmp_path / "l.tsv", labels))
        assert str(caught.value) == (
            f"{tmp_path}/l.tsv: 5 of 45 labels are no numbers ('high' at line 42, 'low' at line "
            "43, 'high' at line 44, ...) and the others are (such as '0.0'), but labels must be of "
            "one kind. Fill them in, or leave these lines out. If each names a class, set "
            "data.task (split: --task) to 'classification'."
        )

    @pytest.mark.parametrize("missing", ["NA", "nan", "N/A", "None", "-", "?", "inf"])
    def test_a_word_for_missing_among_numbers_is_refused(
        self, tmp_path: Path, missing: str
    ) -> None:
        with pytest.raises(DataError, match=r"1 of 4 labels are no numbers .* at line 3"):
            read_labels(*table(tmp_path / "l.tsv", ["0", missing, "1", "1"]))

    def test_a_comma_in_numbers_is_recognised(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="Write a point in numbers, not a comma"):
            read_labels(*table(tmp_path / "l.tsv", ["0,5", "1,25"]), task="regression")

    def test_names_that_are_partly_numbers_are_warned_of(self, tmp_path: Path) -> None:
        chromosomes = [*map(str, range(1, 23)), "X", "Y"] * 9
        with pytest.warns(RMTGenomicsWarning, match="18 of 216 examples have a name as label"):
            examples = read_labels(*table(tmp_path / "l.tsv", chromosomes))
        assert len(LabelScheme.of(examples).classes) == 24

    def test_a_user_who_says_classification_is_only_warned(self, tmp_path: Path) -> None:
        where = table(tmp_path / "l.tsv", [*MEASURED, "NA"])
        with pytest.warns(RMTGenomicsWarning, match="Each is taken as a class"):
            assert len(read_labels(*where, task="classification")) == 41

    def test_many_whole_numbers_are_classes_with_a_hint(self, tmp_path: Path) -> None:
        where = table(tmp_path / "l.tsv", [str(number) for number in range(40)])
        with pytest.warns(RMTGenomicsWarning, match="40 different whole numbers, and each is tak"):
            read_labels(*where)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for task in ("classification", "regression"):
                read_labels(*where, task=task)

    def test_for_a_multilabel_model_a_label_may_be_empty_everywhere(self, tmp_path: Path) -> None:
        where = table(tmp_path / "l.tsv", ["a", "", "b"])
        with pytest.raises(DataError, match=":3: the label is empty, but every line must"):
            read_labels(*where)
        examples = read_labels(*where, task="multilabel")
        assert [example.labels for example in examples] == [("a",), (), ("b",)]
        assert LabelScheme(("a", "b"), "multilabel").targets(examples).tolist() == [
            [1, 0],
            [0, 0],
            [0, 1],
        ]


def test_infinity_is_kept_out() -> None:
    """Guard the guard: Python itself reads it as a number."""
    assert math.isinf(float("1e999"))
