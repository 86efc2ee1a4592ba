"""Malformed labels files are refused with place, value, rule and remedy."""

import re
from pathlib import Path

import pytest

from rmt_genomics.datasets.labels import read_labels, read_split
from rmt_genomics.errors import DataError

LENGTHS = {"chr1": 40_000, "chr2": 50}
HEADERS = "'record label [group] [split]' or 'record start end [strand] label [group] [split]'"
PARTS = "record\tstart\tend\tlabel\n"

MALFORMED = {
    "empty": ("", f"labels.tsv: the file is empty, but must have a header line: {HEADERS}."),
    "only comments": ("# nothing\n\n", "labels.tsv: the file is empty, but must have a header"),
    "only a header": ("record\tlabel\n", "labels.tsv: there is no line below the header, but at"),
    "no header": (
        "chr1\tyes\nchr2\tno\n",
        f"labels.tsv:1: the header has the column 'chr1', but must be {HEADERS}.",
    ),
    "an unknown column": (
        "# note\nrecord\tlabels\nchr1\tyes\n",
        f"labels.tsv:2: the header has the column 'labels', but must be {HEADERS}. "
        "Did you mean 'label'?",
    ),
    "a column in capitals": ("Record\tlabel\nchr1\tyes\n", "Did you mean 'record'?"),
    "blanks": (
        "record label\nchr1 yes\n",
        f"labels.tsv:1: the header is 'record label', but must be {HEADERS}, "
        "with tabs between the columns. Save the file as tab-separated text.",
    ),
    "a column twice": ("record\tlabel\tlabel\n", "labels.tsv:1: the header has a column twice"),
    "a group that is named twice": (
        "record\tlabel\tgroup\tgroup\n",
        "labels.tsv:1: the header has a column twice, but names must differ.",
    ),
    "no label column": ("record\tgroup\nchr1\tg\n", "labels.tsv:1: the header lacks label, but"),
    "start without end": ("record\tstart\tlabel\nchr1\t0\tyes\n", "the header lacks end, but must"),
    "strand without interval": ("record\tstrand\tlabel\n", "the header lacks start, end, but must"),
    "a short line": (
        "record\tlabel\nchr1\tyes\nchr2\n",
        "labels.tsv:3: the line has 1 tab-separated cell, but must have 2, as the header: "
        "record, label.",
    ),
    "blanks for tabs": (PARTS + "chr1 0 4 yes\n", "labels.tsv:2: the line has 1 tab-separated"),
    "an empty label": (
        "record\tlabel\nchr1\t\n",
        "labels.tsv:2: the label is empty, but every line must have one. "
        "Fill it in, or remove the line.",
    ),
    "an empty record": ("record\tlabel\n\tyes\n", "labels.tsv:2: the record is empty, but every"),
    "an empty group": ("record\tlabel\tgroup\nchr1\tyes\t\n", "labels.tsv:2: the group is empty"),
    "nothing between semicolons": (
        "record\tlabel\nchr1\ta;;b\nchr2\ta\n",
        "labels.tsv:2: chr1: the labels are ('a', '', 'b'), but must be different names. "
        "Remove what is empty or repeated.",
    ),
    "a label twice": (
        "record\tlabel\nchr1\ta;a\nchr2\ta\n",
        "labels.tsv:2: chr1: the labels are ('a', 'a')",
    ),
    "past the end": (
        PARTS + "chr1\t10000\t42768\tyes\n",
        "labels.tsv:2: chr1:10000-42768 must satisfy start < end <= 40000, the length of chr1. "
        "Coordinates are 0-based and half-open.",
    ),
    "nothing inside": (PARTS + "chr1\t4\t4\ty\n", "labels.tsv:2: chr1:4-4 must satisfy 0 <= start"),
    "backwards": (PARTS + "chr1\t9\t4\ty\n", "labels.tsv:2: chr1:9-4 must satisfy 0 <= start"),
    "negative": (
        PARTS + "chr1\t-1\t4\ty\n",
        "labels.tsv:2: start '-1' must be a whole number, 0 or more.",
    ),
    "a broken number": (PARTS + "chr1\t0\t4.5\ty\n", "labels.tsv:2: end '4.5' must be a whole"),
    "a wrong strand": (
        "record\tstart\tend\tstrand\tlabel\nchr1\t0\t4\tx\tyes\n",
        "labels.tsv:2: strand 'x' is unknown, but must be one of + - .",
    ),
    "a wrong split": (
        "record\tlabel\tsplit\nchr1\tyes\ttrian\nchr2\tno\ttest\n",
        "labels.tsv:2: the split is 'trian', but must be one of train, validation "
        "(or val, dev, valid), test. Did you mean 'train'?",
    ),
    "a record twice": (
        "record\tlabel\nchr1\tyes\nchr2\tno\nchr1\tno\n",
        "labels.tsv:4: chr1 was already at line 2, but must have one line. "
        "Join several labels by ';'.",
    ),
    "a line twice": (
        "record\tlabel\nchr1\tyes\nchr2\tno\nchr1\tyes\n",
        "labels.tsv:4: chr1 was already at line 2, but must have one line. Remove one of them.",
    ),
    "an interval twice": (
        PARTS + "chr1\t0\t4\tyes\nchr1\t0\t4\tno\n",
        "labels.tsv:3: chr1:0-4(+) was already at line 2, but must have one line.",
    ),
    "a record without label": (
        "record\tlabel\nchr2\tyes\n",
        "labels.tsv: no label for 1 of 2 records of the FASTA file ('chr1'), but every record "
        "must have one. Add their lines, or leave the records out: --unlabelled skip.",
    ),
    "a label without record": (
        "record\tlabel\nchr1\tyes\nplasmid\tno\n",
        "labels.tsv: the FASTA file lacks 1 of 2 records named here ('plasmid' (line 3)), "
        "but must have all. It has 'chr1', 'chr2'.",
    ),
    "an interval without record": (
        PARTS + "chr11\t0\t4\tyes\n",
        "labels.tsv: the FASTA file lacks 1 of 1 records named here ('chr11' (line 2)), but "
        "must have all. It has 'chr1', 'chr2'. Did you mean 'chr1'?",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_refused(tmp_path: Path, case: str) -> None:
    content, message = MALFORMED[case]
    path = tmp_path / "labels.tsv"
    path.write_text(content)

    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read_labels(path, LENGTHS)

    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_group_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text("record\tlabel\tgenus\nchr1\ta\tx\nchr2\tb\ty\n")

    with pytest.raises(DataError, match=r"lacks 'genuss', but data\.group .*mean 'genus'\?"):
        read_labels(path, LENGTHS, group_column="genuss")


def refusal(path: Path, names: list[str], records: list[str]) -> str:
    """Return the error for a labels file with these names and a FASTA file with these records."""
    path.write_text("record\tlabel\n" + "".join(f"{name}\tyes\n" for name in names))
    with pytest.raises(DataError) as caught:
        read_labels(path, dict.fromkeys(records, 10))
    return str(caught.value)


def test_many_labels_without_record_are_counted_and_five_shown(tmp_path: Path) -> None:
    names = [f"contig{number}" for number in range(8)]

    message = refusal(tmp_path / "labels.tsv", ["chr1", *names], ["chr1"])

    assert "the FASTA file lacks 8 of 9 records named here ('contig0' (line 3), " in message
    assert ", 'contig1' (line 4), 'contig2' (line 5), " in message
    assert "'contig4' (line 7), ...), but must have all" in message
    assert "contig5" not in message


def test_many_records_without_label_are_counted_and_five_shown(tmp_path: Path) -> None:
    records = [f"contig{number}" for number in range(8)]

    message = refusal(tmp_path / "labels.tsv", ["chr1"], ["chr1", *records])

    assert "no label for 8 of 9 records of the FASTA file ('contig0', " in message
    assert "'contig4', ...), but every record must have one" in message


@pytest.mark.parametrize(
    ("name", "record", "cause"),
    [
        ("NC_000913", "NC_000913.3", "the version suffix (such as .1)"),
        ("NC_000913.2", "NC_000913.3", "the version suffix (such as .1)"),
        ("1", "chr1", "the prefix chr"),
        ("Chr7", "7", "the prefix chr"),
        ("Plasmid", "plasmid", "upper and lower case"),
    ],
)
def test_the_likely_cause_is_named(tmp_path: Path, name: str, record: str, cause: str) -> None:
    message = refusal(tmp_path / "labels.tsv", [name], [record, "other"])

    expected = f"1 would match but for {cause}: {name!r} here, {record!r} in the FASTA file."
    assert message.endswith(expected)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.tsv"
    path.write_bytes(b"record\tlabel\nchr1\tna\xefve\n")

    with pytest.raises(DataError) as caught:
        read_labels(path, LENGTHS)

    assert str(caught.value) == (
        f"{path}:2: the file is not UTF-8 text, but must be. "
        "Save it as UTF-8 with tabs, or convert it, for example: iconv -f latin1 -t utf-8."
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.tsv: there is no such file, but it must be a lab"):
        read_labels(tmp_path / "none.tsv", LENGTHS)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder, but must be a labels file"):
        read_labels(tmp_path, LENGTHS)


BREAKING = ["a\x1b[31mb", "a\x07", "\x00rich", "a\x0bb", "a\x0cb", "a\x85b", "a\u2028b", '"a\tb"']


@pytest.mark.parametrize("column", ["label", "group"])
@pytest.mark.parametrize("name", BREAKING)
def test_a_name_that_would_break_our_files_is_refused_where_it_is_read(
    tmp_path: Path, column: str, name: str
) -> None:
    other = "group" if column == "label" else "label"
    path = tmp_path / "labels.tsv"
    path.write_text(f"record\t{column}\t{other}\nr1\tx\tx\nr2\t{name}\ty\n", encoding="utf-8")

    with pytest.raises(DataError, match=r"labels\.tsv:3: r2: the label or group .* must be print"):
        read_labels(path, {"r1": 9, "r2": 9})


def test_a_number_of_thousands_of_digits_is_refused_in_one_short_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text(f"record\tstart\tend\tlabel\nr1\t0\t{'9' * 5000}\ta\n")

    with pytest.raises(DataError, match=r"labels\.tsv:2: end '9+\.\.\.9+' .* whole number") as it:
        read_labels(path, {"r1": 9})
    assert len(str(it.value)) < 300 + len(str(path))


LONG = "L" * 140_000


@pytest.mark.parametrize(
    "text",
    [
        f"record\tlabel\n{LONG}\ta\n",
        f"{LONG}\n",
        f"record\t{LONG}\n",
        f"record\tstart\tend\tlabel\nr1\t{LONG}\t2\ta\n",
        f"record\tstart\tend\tstrand\tlabel\nr1\t0\t2\t{LONG}\ta\n",
        f"record\tlabel\tsplit\nr1\ta\t{LONG}\n",
        f'record\tlabel\nr1\t"{LONG}\n',
        f"record\tlabel\nr1\t{LONG};\n",
        f"record\tlabel\nr1\ta\t{LONG}\n",
    ],
)
def test_a_long_cell_is_cut_in_the_message(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text(text)

    with pytest.raises(DataError) as caught:
        read_labels(path, {"r1": 9})
    assert len(str(caught.value)) < 500 + len(str(path))


SPLIT = "record\tstart\tend\tstrand\tlabel\tsplit\nr1\t0\t4\t+\ta;b\ttrain\nr1\t4\t8\t+\t\ttest\n"


def test_the_split_of_a_run_is_read_without_its_sequences(tmp_path: Path) -> None:
    (tmp_path / "split.tsv").write_text(SPLIT)

    first, second = read_split(tmp_path / "split.tsv")

    assert (str(first.interval), first.labels, first.split) == ("r1:0-4(+)", ("a", "b"), "train")
    assert (second.labels, second.split) == ((), "test")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("r1\t4", "r1\t" + "9" * 5000, r"split\.tsv:3: start '9+\.\.\.9+' .* whole number"),
        ("r1\t4", "r1\tx", r"split\.tsv:3: start 'x' must be a whole number"),
        ("\t8\t", "\t4\t", r"split\.tsv:3: r1:4-4 must satisfy 0 <= start < end"),
        ("\t+\t\ttest", "", r"split\.tsv:3: the line has 3 tab-separated cells, but must have 6"),
        ("end\t", "", r"split\.tsv:1: the header lacks end, but must be"),
        ("label", "lab", r"split\.tsv:1: the header has the column 'lab', but must be"),
        ("test", "tset", r"split\.tsv:3: the split is 'tset', but must be one of"),
        (
            "a;b",
            "a;;b",
            r"split\.tsv:2: r1:0-4.*: the labels are \('a', '', 'b'\), but must be different",
        ),
        ("a;b", "a\x00", r"split\.tsv:2: r1:0-4.*: the label or group 'a\\x00' has the character"),
    ],
)
def test_a_damaged_split_of_a_run_is_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    (tmp_path / "split.tsv").write_text(SPLIT.replace(old, new))

    with pytest.raises(DataError, match=message):
        read_split(tmp_path / "split.tsv")
