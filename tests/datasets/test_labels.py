"""Labels files: what is read from correct ones. Refusals are in tests/fault."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets.examples import Example, LabelScheme
from rmt_genomics.datasets.labels import COLUMNS, read_labels
from rmt_genomics.dna.record_types import Interval

LENGTHS = {"chr1": 100, "chr2": 50}
WHOLE = "record\tlabel\nchr1\tyes\nchr2\tno\n"
PARTS = "record\tstart\tend\tstrand\tlabel\nchr1\t0\t10\t-\tyes\nchr1\t90\t100\t.\tno\n"


def read(folder: Path, content: str | bytes) -> list[Example]:
    path = folder / "labels.tsv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_labels(path, LENGTHS)


def test_whole_records_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, WHOLE) == [
        Example(Interval("chr1", 0, 100), whole=True, labels=("yes",)),
        Example(Interval("chr2", 0, 50), whole=True, labels=("no",)),
    ]


def test_intervals_are_read_and_other_records_need_no_label(tmp_path: Path) -> None:
    assert read(tmp_path, PARTS) == [
        Example(Interval("chr1", 0, 10, "-"), whole=False, labels=("yes",)),
        Example(Interval("chr1", 90, 100, "."), whole=False, labels=("no",)),
    ]


def test_without_a_strand_column_the_strand_is_forward(tmp_path: Path) -> None:
    (example,) = read(tmp_path, "record\tstart\tend\tlabel\nchr1\t0\t10\tyes\n")
    assert example.interval.strand == "+"


def test_both_strands_of_an_interval_may_be_labelled(tmp_path: Path) -> None:
    header = "record\tstart\tend\tstrand\tlabel\n"
    examples = read(tmp_path, header + "chr1\t0\t9\t+\tyes\nchr1\t0\t9\t-\tno\n")
    assert [example.labels for example in examples] == [("yes",), ("no",)]


def test_group_and_split_are_read(tmp_path: Path) -> None:
    header, *lines = WHOLE.splitlines()
    content = f"{header}\tgroup\tsplit\n{lines[0]}\tg1\ttrain\n{lines[1]}\tg2\ttest\n"

    examples = read(tmp_path, content)

    assert [(item.group, item.split) for item in examples] == [("g1", "train"), ("g2", "test")]


@pytest.mark.parametrize("word", ["val", "dev", "valid", "validation", "Validation"])
def test_validation_has_several_names(tmp_path: Path, word: str) -> None:
    content = f"record\tlabel\tsplit\nchr1\tyes\t{word}\nchr2\tno\ttrain\n"
    assert [item.split for item in read(tmp_path, content)] == ["validation", "train"]


def test_several_labels_are_joined_by_semicolons(tmp_path: Path) -> None:
    examples = read(tmp_path, "record\tlabel\nchr1\tb; a\nchr2\ta\n")
    assert [example.labels for example in examples] == [("b", "a"), ("a",)]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(WHOLE.replace("\n", "\r\n"), id="CRLF"),
        pytest.param(WHOLE.replace("\n", "\r"), id="CR"),
        pytest.param(WHOLE.rstrip(), id="no last newline"),
        pytest.param("\n" + WHOLE.replace("\n", "\n \t\n"), id="blank lines"),
        pytest.param(b"\xef\xbb\xbf" + WHOLE.encode(), id="byte order mark"),
        pytest.param("# made by hand\n#\n" + WHOLE, id="comments"),
        pytest.param(WHOLE.replace("\t", " \t  "), id="white space"),
    ],
)
def test_ordinary_variants_of_text_files_are_read(tmp_path: Path, content: str | bytes) -> None:
    assert read(tmp_path, content) == read(tmp_path, WHOLE)


def test_below_the_header_a_hash_is_part_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text("record\tlabel\n#1\tyes\n")
    assert read_labels(path, {"#1": 5})[0].name == "#1"


def test_an_example_is_named_after_its_record_or_interval(tmp_path: Path) -> None:
    assert [example.name for example in read(tmp_path, WHOLE)] == ["chr1", "chr2"]
    assert read(tmp_path, PARTS)[0].name == "chr1:0-10(-)"


@given(columns=st.permutations(COLUMNS))
def test_columns_may_be_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, columns: list[str]
) -> None:
    cells = {
        "record": "chr1", "start": "0", "end": "10", "strand": "-",
        "label": "yes", "group": "g", "split": "val",
    }  # fmt: skip
    content = "\t".join(columns) + "\n" + "\t".join(cells[column] for column in columns)

    (example,) = read(tmp_path_factory.mktemp("columns"), content)

    expected = Example(
        Interval("chr1", 0, 10, "-"), whole=False, labels=("yes",), group="g", split="validation"
    )
    assert example == expected


def test_an_empty_label_among_several_means_none_of_them(tmp_path: Path) -> None:
    examples = read(tmp_path, "record\tlabel\nchr1\tb;a\nchr2\t\n")

    assert [example.labels for example in examples] == [("b", "a"), ()]
    assert LabelScheme.of(examples).targets(examples).tolist() == [[1, 1], [0, 0]]
