"""Kinds of labels, and warnings of coordinates, columns and labels that look wrong."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import Example, LabelScheme, read_intervals, read_labels
from rmt_genomics.datasets.label_checks import are_continuous
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from rmt_genomics.parsing import read_number

MEASURED = [f"{number / 8}" for number in range(40)]


def some(labels: list[str]) -> list[Example]:
    return [
        Example(Interval(f"r{index}", 0, 9), whole=True, labels=(label,))
        for index, label in enumerate(labels)
    ]


def table(path: Path, labels: list[str]) -> tuple[Path, dict[str, int]]:
    """Write a labels file; its records are r0, r1 and so on."""
    path.write_text("record\tlabel\n" + "".join(f"r{i}\t{x}\n" for i, x in enumerate(labels)))
    return path, {f"r{index}": 9 for index in range(len(labels))}


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
def test_auto_is_regression_only_for_many_numbers_that_are_not_all_whole(
    labels: list[str], task: str
) -> None:
    if len({read_number(item) for item in labels}) == 1:
        assert not are_continuous([(item,) for item in labels])
        return
    assert LabelScheme.of(some(labels)).task == task


def test_the_task_can_be_set() -> None:
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
        (["1.5", "1.50"], "all 2 examples have the label 1.5, but there must be at least two d"),
        ([], "there are no examples, but a regression needs some"),
    ],
)
def test_a_regression_needs_different_numbers(labels: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        LabelScheme.of(some(labels), "regression")


def test_several_labels_are_refused_for_regression() -> None:
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
            f"{tmp_path}/l.tsv: 5 of 45 labels cannot be read as numbers ('high' at line 42, "
            "'low' at line 43, 'high' at line 44, ...), but the others can (such as '0.0') and "
            "labels must be of one kind. Fill them in, or remove these lines. If all are class "
            "names, set data.task (split: --task) to 'classification'."
        )

    @pytest.mark.parametrize("missing", ["NA", "nan", "N/A", "None", "-", "?", "inf"])
    def test_a_missing_value_among_numbers_is_refused(self, tmp_path: Path, missing: str) -> None:
        with pytest.raises(DataError, match=r"1 of 4 labels cannot be read as num.* at line 3"):
            read_labels(*table(tmp_path / "l.tsv", ["0", missing, "1", "1"]))

    def test_decimal_commas_are_recognised(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="Write numbers with a decimal point, not a comma"):
            read_labels(*table(tmp_path / "l.tsv", ["0,5", "1,25"]), task="regression")

    def test_names_and_numbers_as_classes_give_a_warning(self, tmp_path: Path) -> None:
        chromosomes = [*map(str, range(1, 23)), "X", "Y"] * 9
        with pytest.warns(RMTGenomicsWarning, match="the label is a name in 18 of 216 examples"):
            examples = read_labels(*table(tmp_path / "l.tsv", chromosomes))
        assert len(LabelScheme.of(examples).classes) == 24

    def test_with_task_classification_mixed_labels_only_give_a_warning(
        self, tmp_path: Path
    ) -> None:
        where = table(tmp_path / "l.tsv", [*MEASURED, "NA"])
        with pytest.warns(RMTGenomicsWarning, match="Each is taken as a class"):
            assert len(read_labels(*where, task="classification")) == 41

    def test_many_whole_numbers_are_classes_with_a_warning(self, tmp_path: Path) -> None:
        where = table(tmp_path / "l.tsv", [str(number) for number in range(40)])
        with pytest.warns(RMTGenomicsWarning, match="40 different whole numbers, and each is tak"):
            read_labels(*where)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for task in ("classification", "regression"):
                read_labels(*where, task=task)

    def test_for_a_multilabel_model_all_labels_may_be_empty_or_single(self, tmp_path: Path) -> None:
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


def test_python_itself_would_read_infinity() -> None:
    """Guard the guard: Python itself reads it as a number."""
    assert math.isinf(float("1e999"))


LENGTHS = {"chr1": 100, "chr2": 50}


def write_bed(folder: Path, content: str | bytes) -> Path:
    path = folder / "toy.bed"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["chr1 1 100 a", "chr2 1 50 b"], id="whole records"),
        pytest.param(["chr1 1 20 a", "chr1 21 70 b", "chr1 71 90 a"], id="side by side"),
    ],
)
def test_coordinates_that_look_one_based_give_a_warning(tmp_path: Path, lines: list[str]) -> None:
    path = write_bed(tmp_path, "\n".join(lines))

    with pytest.warns(RMTGenomicsWarning, match=r"toy\.bed: all coordinates look 1-based with the"):
        read_labels(path, LENGTHS)
    with pytest.warns(RMTGenomicsWarning, match="read as 0-based and half-open, without the f"):
        read_intervals(path, LENGTHS)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["chr1 0 20 a", "chr1 20 70 b"], id="from 0"),
        pytest.param(["chr1 1 100 a", "chr2 0 50 b"], id="one record from 0"),
        pytest.param(["chr1 1 20 a"], id="one alone, not to the end"),
        pytest.param(["chr1 1 20 a", "chr1 30 70 b"], id="apart"),
    ],
)
def test_other_coordinates_give_no_warning(tmp_path: Path, lines: list[str]) -> None:
    assert len(read_labels(write_bed(tmp_path, "\n".join(lines)), LENGTHS)) == len(lines)


def test_unused_columns_are_counted_and_named(tmp_path: Path) -> None:
    path = write_bed(tmp_path, "record\tlabel\tgenus\tfamily\nchr1\ta\tx\ty\nchr2\tb\tx\ty\n")

    with pytest.warns(RMTGenomicsWarning, match=r"toy\.bed:1: 2 columns not used: genus, family"):
        read_labels(path, LENGTHS)
    with pytest.warns(RMTGenomicsWarning, match="1 column not used: family"):
        read_labels(path, LENGTHS, group_column="genus")


def test_numbers_and_names_as_labels_give_a_warning(tmp_path: Path) -> None:
    path = write_bed(tmp_path, "record\tlabel\nchr1\t1\nchr2\tNA\n")

    with pytest.warns(RMTGenomicsWarning) as output:
        read_labels(path, LENGTHS)

    assert [str(item.message) for item in output] == [
        f"{path}: the label is a name in 1 of 2 examples (such as 'NA') and a number in the "
        "others (such as '1'). Each is taken as a class; remove lines whose label is not known."
    ]


@pytest.mark.parametrize("labels", ["01", ["a", "16S"], ["1e3", "-2.5"]])
def test_labels_of_one_kind_give_no_warning(tmp_path: Path, labels: list[str]) -> None:
    path = write_bed(tmp_path, "record\tlabel\nchr1\t{}\nchr2\t{}\n".format(*labels))
    assert len(read_labels(path, LENGTHS)) == 2


@pytest.mark.parametrize(
    ("spellings", "shown"),
    [
        (("gc", "GC"), "'gc' (2) and 'GC' (1)"),
        (("1", "1.0"), "'1' (2) and '1.0' (1)"),
        (("gc", "gc\u200b"), r"'gc' (2) and 'gc\u200b' (1)"),
        (("caf\u00e9", "cafe\u0301"), r"'caf\xe9' (2) and 'cafe\u0301' (1)"),
        (("low gc", "low  gc"), "'low gc' (2) and 'low  gc' (1)"),
        (("a1", "a\uff11"), r"'a1' (2) and 'a\uff11' (1)"),
    ],
)
def test_spellings_of_one_label_give_a_warning_with_counts(
    tmp_path: Path, spellings: tuple[str, str], shown: str
) -> None:
    one, other = spellings
    labels = [one, one, other, *(["7", "8"] if one == "1" else ["x", "y"])]

    with pytest.warns(RMTGenomicsWarning, match="1 label spelled in several ways") as it:
        examples = read_labels(*table(tmp_path / "l.tsv", labels), task="classification")

    assert f": {shown}. If they are one class" in str(it[0].message)
    assert [example.labels[0] for example in examples] == labels  # nothing is changed


@pytest.mark.parametrize("labels", [["a", "b", "ab"], ["1", "2", "10"], ["K-12", "K12", "k_12"]])
def test_different_labels_give_no_warning_of_spellings(tmp_path: Path, labels: list[str]) -> None:
    read_labels(*table(tmp_path / "l.tsv", labels))


def test_equal_numbers_of_a_regression_are_no_spellings(tmp_path: Path) -> None:
    read_labels(*table(tmp_path / "l.tsv", [*MEASURED, "1", "1.0", "1.00"]))
