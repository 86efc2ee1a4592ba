"""Every file format gives the same records. Malformed files are tested in tests/fault."""

import gzip
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from Bio import bgzf

from rmt_genomics.dna.record_types import Record
from rmt_genomics.dna.sequence_files import FORMATS, format_of, read_encoded, read_records
from rmt_genomics.errors import RMTGenomicsWarning
from tests.sequence_files import CSV, FASTQ, FILES, GENBANK, SEQUENCES, TSV

every_format = pytest.mark.parametrize("format_name", FILES)


def read(folder: Path, content: bytes, name: str = "toy.txt") -> list[Record]:
    path = folder / name
    path.write_bytes(content)
    return list(read_records(path))


@every_format
def test_every_format_gives_the_same_records(tmp_path: Path, format_name: str) -> None:
    found = read(tmp_path, FILES[format_name])

    assert {record.name: record.sequence.upper() for record in found} == SEQUENCES
    assert {record.description for record in found} <= {"described", ""}


@every_format
def test_the_format_is_recognised_by_content_not_by_name(tmp_path: Path, format_name: str) -> None:
    for name in ("toy.fa", "toy.csv", "toy.gb", "toy.fq"):
        assert len(read(tmp_path, FILES[format_name], name)) == 2


@every_format
def test_every_format_may_be_compressed(tmp_path: Path, format_name: str) -> None:
    with bgzf.BgzfWriter(tmp_path / "blocks") as writer:
        writer.write(FILES[format_name])

    assert read(tmp_path, gzip.compress(FILES[format_name])) == read(tmp_path, FILES[format_name])
    assert list(read_records(tmp_path / "blocks")) == read(tmp_path, FILES[format_name])


@every_format
def test_line_ends_blank_lines_and_a_byte_order_mark_are_accepted(
    tmp_path: Path, format_name: str
) -> None:
    content = FILES[format_name]
    plain = read(tmp_path, content)

    assert read(tmp_path, content.replace(b"\n", b"\r\n")) == plain
    assert read(tmp_path, b"\xef\xbb\xbf" + content) == plain
    assert read(tmp_path, content.rstrip()) == plain
    assert read(tmp_path, content + b"\n") == plain


@every_format
def test_a_pipe_can_be_read(format_name: str) -> None:
    code = (
        "from pathlib import Path; from rmt_genomics.dna import read_records;"
        "print(*[record.name for record in read_records(Path('/dev/stdin'))])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], input=FILES[format_name], capture_output=True, check=True
    )

    assert done.stdout.decode().split() == list(SEQUENCES)


@every_format
def test_the_first_line_is_enough_to_recognise_a_format(format_name: str) -> None:
    first_line = FILES[format_name].partition(b"\n")[0]
    by_content = [known.name for known in FORMATS if known.matches(first_line.decode())]

    assert by_content == [format_name if format_name not in ("CSV", "TSV") else "table"]


@pytest.mark.parametrize(
    ("name", "format_name"),
    [("a.fq.gz", "FASTQ"), ("a.GBK", "GenBank"), ("a.tsv.bgz", "table"), ("a.txt", "FASTA")],
)
def test_an_empty_file_is_recognised_by_its_name(name: str, format_name: str) -> None:
    assert format_of(b"", Path(name)).name == format_name


def test_a_fastq_quality_may_begin_like_a_header(tmp_path: Path) -> None:
    assert [record.name for record in read(tmp_path, FASTQ)] == list(SEQUENCES)


def test_fastq_lines_may_be_wrapped(tmp_path: Path) -> None:
    (record,) = read(tmp_path, b"@r1\nACGT\nAC\n+r1\nIIII\nII\n")
    assert record.sequence == "ACGTAC"


def test_genbank_records_are_named_by_accession_and_version(tmp_path: Path) -> None:
    assert read(tmp_path, GENBANK)[1].name == "chr2.3"


def test_warnings_of_biopython_are_passed_on(tmp_path: Path) -> None:
    head, _, tail = GENBANK.partition(b"ORIGIN\n")

    with pytest.warns(RMTGenomicsWarning, match=r"toy\.txt: record 1: Blank line in sequence"):
        found = read(tmp_path, head + b"ORIGIN\n\n" + tail)

    assert found == read(tmp_path, GENBANK)


def test_rows_of_a_table_are_named_by_file_and_row_from_0(tmp_path: Path) -> None:
    found = read(tmp_path, b"sequence,label\nACGT,1\n\nGGCC,0\n", "dev.csv")

    assert found == [
        Record("dev:0", "", "ACGT", {"label": "1"}),
        Record("dev:1", "", "GGCC", {"label": "0"}),
    ]


def test_a_compressed_table_gives_the_same_names(tmp_path: Path) -> None:
    content = gzip.compress(b"sequence\nACGT\n")

    assert [record.name for record in read(tmp_path, content, "my.set.csv.gz")] == ["my.set:0"]


@pytest.mark.parametrize("column", ["name", "record", "Name"])
def test_a_column_may_name_the_records(tmp_path: Path, column: str) -> None:
    found = read(tmp_path, f"{column}\tSequence\nr1\tACGT\n".encode())
    assert found == [Record("r1", "", "ACGT")]


def test_quotes_are_read_as_spreadsheets_write_them(tmp_path: Path) -> None:
    (record,) = read(tmp_path, b'"sequence","label"\n"ACGT","a, b"\n')
    assert record == Record("toy:0", "", "ACGT", {"label": "a, b"})


@pytest.mark.parametrize("k", [1, 3, 6])
def test_overlapping_kmers_are_joined(tmp_path: Path, k: int) -> None:
    letters = "ACGTTGCAACG"
    kmers = " ".join(letters[start : start + k] for start in range(len(letters) - k + 1))

    with pytest.warns(
        RMTGenomicsWarning, match="1 of 2 sequences were written as overlapping k-mers"
    ):
        found = read(tmp_path, f"sequence\tlabel\n{kmers}\t1\n{letters}\t0\n".encode())

    assert [record.sequence for record in found] == [letters, letters]


def test_the_other_columns_are_kept(tmp_path: Path) -> None:
    assert [record.columns for record in read(tmp_path, TSV)] == [{"label": "at"}] * 2
    assert [record.columns for record in read_encoded(tmp_path / "toy.txt")] == [
        {"label": "at"}
    ] * 2
    assert CSV != TSV


def test_a_sequence_in_a_table_may_be_long(tmp_path: Path) -> None:
    (record,) = read(tmp_path, b"sequence,label\n" + b"ACGTN" * 400_000 + b",1\n")
    assert len(record.sequence) == 2_000_000


def test_of_many_short_records_only_the_names_are_kept(tmp_path: Path) -> None:
    path, count = tmp_path / "reads.fastq", 20_000
    path.write_text("".join(f"@r{n}\n{'ACGTN' * 40}\n+\n{'I' * 200}\n" for n in range(count)))

    tracemalloc.start()
    total = sum(len(record.codes) for record in read_encoded(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert total == count * 200
    assert peak < (2 << 20) + count * 180  # a buffer, and the name and number of record record
