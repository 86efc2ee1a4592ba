"""Intervals from BED and other tables. What is refused is in tests/fault."""

import gzip
from pathlib import Path

import pytest

from rmt_genomics.datasets import Example, read_intervals, read_labels
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import RMTGenomicsWarning

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

    with pytest.warns(RMTGenomicsWarning, match="1 columns are not used: name"):
        (example,) = read_labels(write(tmp_path, content), LENGTHS)

    assert example.labels == ("a", "b")


@pytest.mark.parametrize("columns", [3, 4, 5, 6])
def test_intervals_need_no_label(tmp_path: Path, columns: int) -> None:
    lines = ["\t".join(line.split("\t")[:columns]) for line in BED6.splitlines()]

    found = read_intervals(write(tmp_path, "\n".join(lines)), LENGTHS)

    assert [(each.record, each.start, each.end) for each in found] == [
        ("chr1", 0, 10),
        ("chr2", 20, 50),
    ]
    assert [each.strand for each in found] == (["-", "+"] if columns == 6 else ["+", "+"])


def test_intervals_may_come_from_a_labels_table(tmp_path: Path) -> None:
    content = "label,record,start,end,strand\nx,chr1,5,9,-\n"
    assert read_intervals(write(tmp_path, content), LENGTHS) == [Interval("chr1", 5, 9, "-")]


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["chr1 1 100 a", "chr2 1 50 b"], id="whole records"),
        pytest.param(["chr1 1 20 a", "chr1 21 70 b", "chr1 71 90 a"], id="side by side"),
    ],
)
def test_coordinates_that_look_one_based_are_warned_of(tmp_path: Path, lines: list[str]) -> None:
    path = write(tmp_path, "\n".join(lines))

    with pytest.warns(RMTGenomicsWarning, match=r"toy\.bed: all coordinates look as if counting"):
        read_labels(path, LENGTHS)
    with pytest.warns(RMTGenomicsWarning, match="read as 0-based and half-open: the first base of"):
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
def test_other_coordinates_are_not(tmp_path: Path, lines: list[str]) -> None:
    assert len(read_labels(write(tmp_path, "\n".join(lines)), LENGTHS)) == len(lines)


def test_columns_that_are_not_used_are_named_with_their_count(tmp_path: Path) -> None:
    path = write(tmp_path, "record\tlabel\tgenus\tfamily\nchr1\ta\tx\ty\nchr2\tb\tx\ty\n")

    with pytest.warns(RMTGenomicsWarning, match=r"toy\.bed:1: 2 columns are not used: genus, fam"):
        read_labels(path, LENGTHS)
    with pytest.warns(RMTGenomicsWarning, match="1 columns are not used: family"):
        read_labels(path, LENGTHS, group_column="genus")


def test_numbers_and_names_as_labels_are_warned_of(tmp_path: Path) -> None:
    path = write(tmp_path, "record\tlabel\nchr1\t1\nchr2\tNA\n")

    with pytest.warns(RMTGenomicsWarning) as told:
        read_labels(path, LENGTHS)

    assert [str(each.message) for each in told] == [
        f"{path}: 1 of 2 examples have a name as label (such as 'NA') and the others a number "
        "(such as '1'). Each is taken as a class; leave lines out whose label is not known."
    ]


@pytest.mark.parametrize("labels", ["01", ["a", "16S"], ["1e3", "-2.5"]])
def test_labels_of_one_kind_are_not(tmp_path: Path, labels: list[str]) -> None:
    path = write(tmp_path, "record\tlabel\nchr1\t{}\nchr2\t{}\n".format(*labels))
    assert len(read_labels(path, LENGTHS)) == 2
