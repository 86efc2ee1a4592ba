"""Malformed sequence files other than FASTA are refused with place, rule and remedy."""

import csv
import gzip
import os
import re
from pathlib import Path

import pytest

from rmt_genomics.datasets import open_sequences
from rmt_genomics.dna.sequence_files import read_encoded, read_records, sequence_files
from rmt_genomics.errors import DataError, RMTGenomicsWarning, one_line
from tests.sequence_files import CSV, EMBL, FASTA, FASTQ, GENBANK


@pytest.fixture(autouse=True)
def as_in_a_new_process() -> None:
    csv.field_size_limit(131_072)


MALFORMED = {  # name of the case: name of the file, content, message
    "FASTQ cut in a sequence": (
        "toy.fastq",
        FASTQ[: FASTQ.index(b"+")],
        "toy.fastq: record 1 breaks the FASTQ format (End of file without quality information), "
        "but must have an '@' line, its sequence, a '+' line and one quality value per base. Check "
        "that the file is complete.",
    ),
    "FASTQ cut in a quality": ("toy.fastq", FASTQ[:-9], "toy.fastq: record 2 breaks the FASTQ"),
    "a quality of another length": (
        "toy.fastq",
        b"@r2\nAC\n+\nII\n@r1\nACGT\n+\nIII\n",
        "toy.fastq: record 2 breaks the FASTQ format (Lengths of sequence and quality values "
        "differs for r1 (4 and 3))",
    ),
    "FASTQ of another name after +": (
        "toy.fastq",
        b"@r1\nACGT\n+r2\nIIII\n",
        "record 1 breaks the FASTQ format (Sequence and quality captions differ)",
    ),
    "FASTQ with text between": (
        "toy.fastq",
        b"hello\n" + FASTQ,
        "toy.fastq: record 1 breaks the FASTQ format (Records in Fastq files should start with",
    ),
    "FASTQ names twice": (
        "toy.fastq",
        FASTQ + FASTQ,
        "toy.fastq: record 3: record 'chr1' was already at record 1, but record names",
    ),
    "FASTQ without a name": (
        "toy.fastq",
        b"@\nACGT\n+\nIIII\n",
        "toy.fastq: record 1: the '@' line has no name, but every record needs one, right after",
    ),
    "FASTQ without letters": (
        "toy.fastq",
        b"@r1\n\n+\n\n",
        "toy.fastq: record 1: record 'r1' has no sequence, but must have at least one letter.",
    ),
    "FASTQ protein": ("toy.fastq", b"@r1\nAFL\n+\nIII\n", "record 'r1': position 1 holds 'F'"),
    "empty FASTQ": ("toy.fq", b"", "toy.fq: the file is empty, but must have at least one FASTQ r"),
    "cut gzip of FASTQ": (
        "toy.fq",
        gzip.compress(FASTQ)[:-9],
        "toy.fq: the compressed file is trunc",
    ),
    "GenBank cut in its sequence": (
        "toy.gb",
        GENBANK[:-20],
        "toy.gb: record 2 breaks the GenBank format (Premature end of file in sequence data), but "
        "must be complete, with its sequence, and end with '//'. Download the file again.",
    ),
    "GenBank cut in its header": (
        "toy.gb",
        GENBANK[: GENBANK.index(b"FEATURES")],
        "toy.gb: record 1 breaks the GenBank format (",
    ),
    "GenBank with letters missing": (
        "toy.gb",
        GENBANK.replace(b"ggattcggat", b"ggatt", 1),
        "toy.gb: record 2 breaks the GenBank format (Expected sequence length 180, found 175",
    ),
    "GenBank without letters": (
        "toy.gb",
        GENBANK[: GENBANK.index(b"ORIGIN")] + b"CONTIG      join(X1.1:1..14)\n//\n",
        "toy.gb: record 1: record 'chr1' has no sequence, but must have at least one letter.",
    ),
    "GenBank of protein": (
        "toy.gb",
        GENBANK.replace(b"acgtacgtac", b"mlsefpqmls"),
        "toy.gb: record 'chr1': position 1 holds 'L', but a DNA letter is one of",
    ),
    "GenBank twice": ("toy.gb", GENBANK * 2, "record 3: record 'chr1' was already at record 1"),
    "empty GenBank": ("toy.gb", b"\n", "toy.gb: the file is empty, but must have at least one Gen"),
    "EMBL cut": ("toy.embl", EMBL[:-20], "toy.embl: record 2 breaks the EMBL format (Premature"),
    "EMBL cut in its header": ("toy.embl", EMBL[:150], "toy.embl: record 1 breaks the EMBL format"),
    "CSV without a sequence column": (
        "toy.csv",
        b"seq,label\nACGT,1\n",
        "toy.csv:1: the columns are seq, label, but one must be 'sequence'. Rename the column "
        "in the first line.",
    ),
    "TSV without a header": ("toy.tsv", b"ACGT\t1\n", "toy.tsv:1: the columns are acgt, 1, but"),
    "a row with a cell too few": (
        "toy.csv",
        b"sequence,label\nACGT,1\nACGT\n",
        "toy.csv:3: the number of cells is 1, but must be 2 as in the header: sequence, label.",
    ),
    "a row with a cell too many": (
        "toy.csv",
        b"sequence,label\nAC,1,2\n",
        "toy.csv:2: the number of cells is 3",
    ),
    "a row without sequence": (
        "toy.csv",
        b"sequence,label\nACGT,1\n,0\n",
        "toy.csv:3: record 'toy:1' has no sequence, but must have at least one letter. Remove",
    ),
    "a row without name": (
        "toy.csv",
        CSV.replace(b"chr1", b""),
        "toy.csv:2: the name is empty, bu",
    ),
    "a row twice": ("toy.csv", CSV + b"at,chr1,AC\n", "toy.csv:4: record 'chr1' was already at li"),
    "a column twice": (
        "toy.csv",
        b"sequence,a,a\nAC,1,2\n",
        "toy.csv:1: the header names a column",
    ),
    "blanks that do not separate k-mers": (
        "toy.csv",
        b"sequence\nACGT\nACG GTT\n",
        "toy.csv:3: the sequence has blanks between its letters, but may have them only between",
    ),
    "a table of protein": ("toy.csv", b"sequence\nACGT\nMLS\n", "record 'toy:1': position 1 holds"),
    "a name of two lines": (
        "toy.csv",
        CSV.replace(b"chr1", b'"chr1\nchr9"'),
        r"toy.csv:3: the name of the record is 'chr1\nchr9', but must not have control characters "
        r"such as \n. Rename the record, or check the format of the file.",
    ),
    "a GenBank name with an escape code": (
        "toy.gb",
        GENBANK.replace(b"chr1", b"c\x1b[1"),
        r"toy.gb: record 1: the name of the record is 'c\x1b[1'",
    ),
    "a FASTQ name with an escape code": (
        "toy.fq",
        FASTQ.replace(b"chr1", b"c\x1b[1"),
        r"toy.fq: record 1: the name of the record is 'c\x1b[1'",
    ),
    "a CSV name that is not UTF-8": (
        "toy.csv",
        CSV.replace(b"chr1", b"Angstr\xf6m"),
        r"toy.csv:2: the name 'Angstr\xf6m' is not UTF-8 text, but must be. Convert the file, for "
        "example: iconv -f latin1 -t utf-8.",
    ),
    "a CSV label that is not UTF-8": (
        "toy.csv",
        CSV.replace(b"at,chr2", b"caf\xe9,chr2"),
        r"toy.csv:3: the label 'caf\xe9' is not UTF-8 text, but must be. Convert the file",
    ),
    "a CSV header that is not UTF-8": (
        "toy.csv",
        CSV.replace(b"label", b"esp\xe8ce"),
        r"toy.csv:1: the header 'esp\xe8ce, name, sequence' is not UTF-8 text, but must be",
    ),
    "a GenBank name that is not UTF-8": (
        "toy.gb",
        GENBANK.replace(b"chr1", b"ch\xe91"),
        r"toy.gb: record 1: the name 'ch\xe91' is not UTF-8 text, but must be",
    ),
    "a GenBank description that is not UTF-8": (
        "toy.gb",
        GENBANK.replace(b"described", b"d\xe9crit"),
        r"toy.gb: record 1: the description 'd\xe9crit' is not UTF-8 text, but must be",
    ),
    "an EMBL description that is not UTF-8": (
        "toy.embl",
        EMBL.replace(b"described", b"d\xe9crit"),
        r"toy.embl: record 1: the description 'd\xe9crit' is not UTF-8 text, but must be",
    ),
    "a GenBank record that begins otherwise": (
        "toy.gb",
        GENBANK.replace(b"LOCUS       chr2", b"LUCUS       chr2"),
        "toy.gb: record 2 breaks the GenBank format (it does not begin with 'LOCUS'), but must be",
    ),
    "a first EMBL record that begins otherwise": (
        "toy.embl",
        b"PK\x03\x04" + EMBL,
        "toy.embl: record 1 breaks the EMBL format (it does not begin with 'ID'), but must be",
    ),
    "an EMBL sequence that is not ASCII": (
        "toy.embl",
        EMBL.replace(b"acgtacgtac", b"acgt\xe9cgtac"),
        "toy.embl: record 1 breaks the EMBL format (its sequence is not ASCII text), but must be",
    ),
    "a long first line": (
        "toy.csv",
        b"x" * 140_000 + b"\n" + CSV,
        "toy.csv:1: the columns are xxxx",
    ),
    "a table of nothing": (
        "toy.csv",
        b"sequence,label\n",
        "toy.csv: the file is empty, but must have at least one row below its header.",
    ),
    "an empty table": (
        "toy.csv",
        b"",
        "toy.csv: the file is empty, but must have at least one row",
    ),
}


@pytest.mark.parametrize("read", [read_records, read_encoded])
@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_refused(tmp_path: Path, case: str, read) -> None:
    name, content, message = MALFORMED[case]
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(DataError, match=re.escape(message)) as caught:
        list(read(path))

    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [FASTQ, GENBANK, EMBL, CSV])
def test_the_unchanged_content_is_accepted(tmp_path: Path, content: bytes) -> None:
    """So the files above are refused for what was changed in them."""
    path = tmp_path / "toy"
    path.write_bytes(content)

    assert [record.name for record in read_records(path)] == ["chr1", "chr2.3"]


@pytest.mark.parametrize("read", [read_records, read_encoded])
def test_control_characters_in_cells_are_blanks_and_are_counted(tmp_path: Path, read) -> None:
    path = tmp_path / "toy.csv"
    path.write_text('sequence,name,label,remark\nAC,a,"g\tc",x\nAC,b,g\x1bc,"one\ntwo"\nAC,c,ok,\n')

    with pytest.warns(RMTGenomicsWarning) as warned:
        records = list(read(path))

    assert [record.columns for record in records] == [
        {"label": "g c", "remark": "x"},
        {"label": "g c", "remark": "one two"},
        {"label": "ok", "remark": ""},
    ]
    assert [str(warning.message) for warning in warned] == [
        f"{path}: 3 cells had control characters such as tabs or line ends, which have been read "
        "as blanks."
    ]


def test_control_characters_in_descriptions_are_blanks(tmp_path: Path) -> None:
    path = tmp_path / "toy.fa"
    path.write_bytes(b">a\tone\x01two\tthree\nAC\n")

    (record,) = read_records(path)

    assert (record.name, record.description) == ("a", "one two three")


def test_a_table_in_a_file_whose_name_is_not_utf8_has_names_with_escapes(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.csv")
    path.write_text("sequence\nAC\n")

    assert [record.name for record in read_records(path)] == [r"caf\xe9:0"]


def test_a_missing_file_whose_name_is_not_utf8_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file") as caught:
        list(read_records(tmp_path / os.fsdecode(b"caf\xe9.fa")))

    assert "caf\\udce9.fa" in one_line(str(caught.value))


@pytest.mark.parametrize("format_name", ["fa", "fq", "gb", "embl", "csv"])
def test_a_folder_may_hold_another_file_with_a_very_long_line(
    tmp_path: Path, format_name: str
) -> None:
    contents = {"fa": FASTA, "fq": FASTQ, "gb": GENBANK, "embl": EMBL, "csv": CSV}
    (tmp_path / f"toy.{format_name}").write_bytes(contents[format_name])
    (tmp_path / "weights.txt").write_bytes(b"x" * 300_000)

    with pytest.warns(RMTGenomicsWarning, match=r"ignoring weights\.txt"):
        assert sequence_files([tmp_path]) == [tmp_path / f"toy.{format_name}"]


@pytest.mark.parametrize("space", [" ", "\t", "\x0b", "\x0c", "\r"])
def test_white_space_is_the_same_before_and_in_sequences(tmp_path: Path, space: str) -> None:
    path = tmp_path / "toy.fa"
    path.write_bytes(f"{space}\n>a{space}one{space}\nAC{space}GT{space}\n{space}\n".encode())
    if space == "\r":
        path.write_bytes(b"\r\n>a one\r\nACGT\r\n\r\n")

    (record,), (encoded,) = read_records(path), read_encoded(path)

    assert (record.name, record.description, record.sequence) == ("a", "one", "ACGT")
    assert encoded.codes.tolist() == [0, 1, 2, 3]
    assert open_sequences(path, tmp_path / "cache", intervals_only=True).lengths == {"a": 4}
