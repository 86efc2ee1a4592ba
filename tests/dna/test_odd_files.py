"""Sequence files that other programs write: GenBank without accession, tables of spreadsheets."""

from pathlib import Path

import pytest

from rmt_genomics.dna import read_encoded, read_records
from rmt_genomics.dna.sequence_files import label_column
from rmt_genomics.errors import DataError

RECORD = """LOCUS       {locus}
DEFINITION  {definition}
ACCESSION   {accession}
VERSION     {accession}
FEATURES             Location/Qualifiers
ORIGIN
        1 acgtacgtac
//
"""
GOOD_LOCUS = "Exported                  10 bp    DNA     linear   UNK 01-JAN-2020"


def genbank(*accessions: str, locus: str = GOOD_LOCUS) -> str:
    return "".join(
        RECORD.format(locus=locus, accession=accession, definition="x") for accession in accessions
    )


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_genbank_record_without_accession_is_named_after_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "pUC19.gbk", genbank(".", "AB1.1", "."))

    assert [record.name for record in read_records(path)] == ["pUC19", "AB1.1", "pUC19_2"]


RUN_TOGETHER = "NODE_1_length_500000_cov_20.123456500000 bp    DNA     linear   01-JAN-2020"


@pytest.mark.parametrize(
    ("locus", "remedy"),
    [
        (RUN_TOGETHER, "run together, because the name is too long: shorten the name, or give the"),
        ("what is this", "Correct the line, or give the sequences as FASTA: 'LOCUS       what is"),
    ],
)
def test_the_remedy_fits_the_cause(tmp_path: Path, locus: str, remedy: str) -> None:
    path = write(tmp_path / "x.gbk", genbank("AB1.1", locus=locus))

    with pytest.raises(
        DataError, match=rf"record 1 breaks the GenBank format .*{remedy}"
    ) as caught:
        list(read_records(path))

    assert "Download" not in str(caught.value)


TABLES = {
    "semicolons": "name;sequence;label\na;ACGT;x\nb;GG;y\n",
    "a line that names the separator": "sep=;\r\nname;sequence;label\r\na;ACGT;x\r\nb;GG;y\r\n",
    "empty columns": "name,,sequence,label,,\na,,ACGT,x,,\nb,,GG,y,,\n",
    "empty cells at the end": "name\tsequence\tlabel\na\tACGT\tx\t\nb\tGG\ty\n",
}


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("suffix", [".csv", ".txt"])
def test_tables_of_spreadsheets_are_read(tmp_path: Path, kind: str, suffix: str) -> None:
    path = write(tmp_path / f"x{suffix}", TABLES[kind])

    records = list(read_records(path))

    assert [(record.name, record.sequence) for record in records] == [("a", "ACGT"), ("b", "GG")]
    assert [record.columns for record in records] == [{"label": "x"}, {"label": "y"}]
    assert label_column(path)


def test_a_cell_without_a_column_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "sequence,label,\nACGT,x,\nAC,x,7\n")

    with pytest.raises(DataError, match=r"x\.csv:3: column 3 has the value '7', but no name"):
        list(read_records(path))


@pytest.mark.parametrize(
    "text", [">a\n>b\nACGT\n", "@a\n\n+\n\n@b\nACGT\n+\nIIII\n", "name,sequence\na,\nb,ACGT\n"]
)
def test_records_without_a_sequence_are_read_where_they_may_be(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "x", text)

    records = list(read_encoded(path, may_be_empty=True))

    assert [(each.name, each.length, each.is_empty) for each in records] == [
        ("a", 0, True),
        ("b", 4, False),
    ]
    with pytest.raises(DataError, match="record 'a' has no sequence, but must have at least one"):
        list(read_encoded(path))
