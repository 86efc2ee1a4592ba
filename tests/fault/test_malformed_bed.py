"""BED files that break a rule, for labels and for intervals."""

import re
from pathlib import Path

import pytest

from rmt_genomics.datasets import read_intervals, read_labels
from rmt_genomics.errors import DataError

LENGTHS = {"chr1": 40_000, "chr2": 50}

MALFORMED = {
    "the wrong genome": (
        "1\t0\t10\ta\nMT\t0\t10\tb\n",
        "toy.bed: the FASTA file lacks 2 of 2 records named here ('1' (line 1), 'MT' (line 2)), "
        "but must have all. 1 would match but for the prefix chr: '1' here, 'chr1' in the FASTA "
        "file.",
    ),
    "another version": (
        "chr1\t0\t10\ta\nchr2\t20\t51\tb\n",
        "toy.bed:2: chr2:20-51 must satisfy start < end <= 50, the length of chr2.",
    ),
    "nothing inside": ("chr1\t4\t4\ta\n", "toy.bed:1: chr1:4-4 must satisfy 0 <= start < end"),
    "negative": ("chr1\t-1\t4\ta\n", "toy.bed:1: start '-1' must be a whole number, 0 or more."),
    "a wrong strand": ("chr1\t0\t4\ta\t0\tx\n", "toy.bed:1: strand 'x' is unknown, but must be"),
    "ragged": (
        "chr1\t0\t4\ta\nchr1\t8\t9\n",
        "toy.bed:2: the line has 3 tab-separated cells, but must have 4, as the header: record, "
        "start, end, label.",
    ),
    "ragged blanks": ("chr1 0 4 a\nchr1 8 9 b c\n", "toy.bed:2: the line has 5 space-separated"),
    "more columns than six": (
        "chr1\t0\t4\ta\t0\t+\t0\t4\n",
        "toy.bed:1: the BED line has 8 columns, but must have 3 to 6: record, start, end, label, "
        "score, strand. Remove the others: cut -f 1-6.",
    ),
    "empty": ("", "toy.bed: the file is empty, but must have a header line"),
    "only comments": ("# nothing\ntrack name=x\n", "toy.bed: the file is empty, but must have a"),
    "only a header": ("#chrom\tstart\tend\tname\n", "toy.bed: there is no line below the header"),
    "a number with letters": ("chrom\tstart\tend\tname\nchr1\t1k\t2k\ta\n", "start '1k' must be a"),
}
ONLY_AS_LABELS = {
    "no label": (
        "chr1\t0\t4\n",
        "toy.bed:1: the header lacks label, but must be 'record label [group] [split]' or 'record "
        "start end [strand] label [group] [split]'. In a BED file, the label is the fourth column.",
    ),
    "a dot for none": ("chr1\t0\t4\t.\n", "toy.bed:1: the label is empty, but every line must"),
    "an interval twice": (
        "chr1\t0\t4\ta\nchr1\t0\t4\tb\n",
        "toy.bed:2: chr1:0-4(+) was already at line 1, but must have one line. Join several",
    ),
}


def check(path: Path, message: str, read) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read(path, LENGTHS)

    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [read_labels, read_intervals])
@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_refused(tmp_path: Path, case: str, read) -> None:
    content, message = MALFORMED[case]
    path = tmp_path / "toy.bed"
    path.write_text(content)

    check(path, message, read)


@pytest.mark.parametrize("case", ONLY_AS_LABELS)
def test_as_labels_a_file_is_refused(tmp_path: Path, case: str) -> None:
    content, message = ONLY_AS_LABELS[case]
    path = tmp_path / "toy.bed"
    path.write_text(content)

    check(path, message, read_labels)
    assert read_intervals(path, LENGTHS)  # nothing else is wrong with it


def test_a_table_without_places_is_no_file_of_intervals(tmp_path: Path) -> None:
    path = tmp_path / "toy.tsv"
    path.write_text("record\tlabel\nchr1\ta\n")

    check(
        path, "toy.tsv:1: the header lacks start, end, but intervals need record,", read_intervals
    )
