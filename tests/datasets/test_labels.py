"""Labels files: what is ordinary just works. What is refused is in tests/fault."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets.examples import Example, LabelScheme
from rmt_genomics.datasets.labels import COLUMNS, read_labels
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError, RMTGenomicsWarning

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

    assert [(each.group, each.split) for each in examples] == [("g1", "train"), ("g2", "test")]


@pytest.mark.parametrize("word", ["val", "dev", "valid", "validation", "Validation"])
def test_validation_has_several_names(tmp_path: Path, word: str) -> None:
    content = f"record\tlabel\tsplit\nchr1\tyes\t{word}\nchr2\tno\ttrain\n"
    assert [each.split for each in read(tmp_path, content)] == ["validation", "train"]


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
def test_ordinary_files_just_work(tmp_path: Path, content: str | bytes) -> None:
    assert read(tmp_path, content) == read(tmp_path, WHOLE)


def test_below_the_header_a_hash_is_part_of_a_name(tmp_path: Path) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text("record\tlabel\n#1\tyes\n")
    assert read_labels(path, {"#1": 5})[0].name == "#1"


def test_an_example_is_called_by_what_it_is(tmp_path: Path) -> None:
    assert [example.name for example in read(tmp_path, WHOLE)] == ["chr1", "chr2"]
    assert read(tmp_path, PARTS)[0].name == "chr1:0-10(-)"


@given(columns=st.permutations(COLUMNS))
def test_columns_may_stand_in_any_order(
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


QUOTED = [  # cells as spreadsheets and pandas write them, label, group
    ('"lytic"', "lytic", "g"),
    ('"say ""lytic"""', 'say "lytic"', "g"),
    ('5" long', '5" long', "g"),
    ('"with\ttab"', "with\ttab", "g"),
]


@pytest.mark.parametrize(("cell", "label", "group"), QUOTED)
def test_a_quoted_cell_is_what_is_in_the_quotes(
    tmp_path: Path, cell: str, label: str, group: str
) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text(f"record\tlabel\tgroup\nr1\t{cell}\t{group}\nr2\tb\th\n")

    first, second = read_labels(path, {"r1": 9, "r2": 9})

    assert (first.labels, first.group) == ((label,), group)
    assert (second.labels, second.group) == (("b",), "h")


def test_a_cell_over_several_lines_is_one_line_and_told_of(tmp_path: Path) -> None:
    """As pandas writes a table in a table; the lines after it keep their numbers."""
    path = tmp_path / "labels.tsv"
    table = '"id\nr1    3201\nName: g, dtype: int64"'
    path.write_text(f"record\tlabel\tgroup\nr1\ta\t{table}\nr2\tb\th\nr3\t\tx\n")
    lengths = {"r1": 9, "r2": 9, "r3": 9}

    with (
        pytest.raises(DataError, match=r":6: the label is empty"),
        pytest.warns(RMTGenomicsWarning, match="goes on over several lines"),
    ):
        read_labels(path, lengths)
    path.write_text(path.read_text().replace("r3\t\tx", "r3\tc\tx"))
    with pytest.warns(RMTGenomicsWarning, match=r"1 lines \(such as line 2\) have a quoted cell"):
        examples = read_labels(path, lengths)

    assert [example.labels[0] for example in examples] == ["a", "b", "c"]
    assert examples[0].group == "id r1 3201 Name: g, dtype: int64"


@pytest.mark.parametrize("cell", ['"a', '"a"b', '"a\nb\t"c'])
def test_a_quote_that_is_not_closed_is_refused_where_it_begins(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text(f"record\tlabel\nr1\ta\nr2\t{cell}\nr3\tb\n")
    with pytest.raises(DataError, match=r"labels.tsv:3: a cell of .* begins with a quote that is"):
        read_labels(path, {"r1": 9, "r2": 9, "r3": 9})
