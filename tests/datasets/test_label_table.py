"""Label tables and BED files: separators, quotes, headers. Refusals are in tests/fault."""

import gzip
from pathlib import Path

import pytest

from rmt_genomics.datasets import Example, read_intervals, read_labels
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError, RMTGenomicsWarning

LENGTHS = {"chr1": 100, "chr2": 50}
BED6 = "chr1\t0\t10\tenhancer\t900\t-\nchr2\t20\t50\tsilencer\t0\t+\n"
EXAMPLES = [
    Example(Interval("chr1", 0, 10, "-"), whole=False, labels=("enhancer",)),
    Example(Interval("chr2", 20, 50, "+"), whole=False, labels=("silencer",)),
]


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "toy.bed"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(BED6, id="plain"),
        pytest.param(gzip.compress(BED6.encode()), id="gzip"),
        pytest.param(BED6.replace("\t", " "), id="blanks"),
        pytest.param(BED6.replace("\n", "\r\n"), id="CRLF"),
        pytest.param("# made by hand\ntrack name=x\nbrowser position\n" + BED6, id="comments"),
        pytest.param("#chrom\tstart\tend\tname\tscore\tstrand\n" + BED6, id="header with #"),
        pytest.param("chrom\tchromStart\tchromEnd\tname\tscore\tstrand\n" + BED6, id="header"),
        pytest.param("record\tstart\tend\tlabel\tscore\tstrand\n" + BED6, id="our header"),
    ],
)
def test_labels_are_in_column_four_and_strands_in_six(tmp_path: Path, content: str | bytes) -> None:
    assert read_labels(write(tmp_path, content), LENGTHS) == EXAMPLES


def test_a_header_may_name_another_column_as_label(tmp_path: Path) -> None:
    content = "chrom\tstart\tend\tname\tlabel\nchr1\t0\t10\tpeak1\ta;b\n"

    with pytest.warns(RMTGenomicsWarning, match="1 column not used: name"):
        (example,) = read_labels(write(tmp_path, content), LENGTHS)

    assert example.labels == ("a", "b")


@pytest.mark.parametrize("columns", [3, 4, 5, 6])
def test_intervals_need_no_label(tmp_path: Path, columns: int) -> None:
    lines = ["\t".join(line.split("\t")[:columns]) for line in BED6.splitlines()]

    intervals = read_intervals(write(tmp_path, "\n".join(lines)), LENGTHS)

    assert [(item.record, item.start, item.end) for item in intervals] == [
        ("chr1", 0, 10),
        ("chr2", 20, 50),
    ]
    assert [item.strand for item in intervals] == (["-", "+"] if columns == 6 else ["+", "+"])


def test_intervals_may_come_from_a_labels_table(tmp_path: Path) -> None:
    content = "label,record,start,end,strand\nx,chr1,5,9,-\n"
    assert read_intervals(write(tmp_path, content), LENGTHS) == [Interval("chr1", 5, 9, "-")]


QUOTED = [  # cells as spreadsheets and pandas write them, label, group
    ('"lytic"', "lytic", "g"),
    ('"say ""lytic"""', 'say "lytic"', "g"),
    ('5" long', '5" long', "g"),
]


@pytest.mark.parametrize(("cell", "label", "group"), QUOTED)
def test_quotes_around_a_cell_are_removed(
    tmp_path: Path, cell: str, label: str, group: str
) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text(f"record\tlabel\tgroup\nr1\t{cell}\t{group}\nr2\tb\th\n")

    first, second = read_labels(path, {"r1": 9, "r2": 9})

    assert (first.labels, first.group) == ((label,), group)
    assert (second.labels, second.group) == (("b",), "h")


def test_a_cell_over_several_lines_is_read_as_one_with_a_warning(tmp_path: Path) -> None:
    """As pandas writes a table in a table; the lines after it keep their numbers."""
    path = tmp_path / "labels.tsv"
    table = '"id\nr1    3201\nName: g, dtype: int64"'
    path.write_text(f"record\tlabel\tgroup\nr1\ta\t{table}\nr2\tb\th\nr3\t\tx\n")
    lengths = {"r1": 9, "r2": 9, "r3": 9}

    with (
        pytest.raises(DataError, match=r":6: the label is empty"),
        pytest.warns(RMTGenomicsWarning, match="1 row with a quoted cell over several lines"),
    ):
        read_labels(path, lengths)
    path.write_text(path.read_text().replace("r3\t\tx", "r3\tc\tx"))
    with pytest.warns(RMTGenomicsWarning, match=r"several lines \(the first at line 2\)"):
        examples = read_labels(path, lengths)

    assert [example.labels[0] for example in examples] == ["a", "b", "c"]
    assert examples[0].group == "id r1 3201 Name: g, dtype: int64"


@pytest.mark.parametrize("cell", ['"a', '"a"b', '"a\nb\t"c'])
def test_a_quote_that_is_not_closed_is_refused_where_it_begins(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text(f"record\tlabel\nr1\ta\nr2\t{cell}\nr3\tb\n")
    with pytest.raises(DataError, match=r"labels.tsv:3: a cell in .* begins with a quote that is"):
        read_labels(path, {"r1": 9, "r2": 9, "r3": 9})
