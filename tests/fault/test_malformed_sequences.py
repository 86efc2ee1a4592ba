"""Malformed sequence files other than FASTA are refused with place, rule and remedy."""

import gzip
import re
from pathlib import Path

import pytest

from rmt_genomics.dna.sequence_files import read_encoded, read_records
from rmt_genomics.errors import DataError
from tests.sequence_files import CSV, EMBL, FASTQ, GENBANK

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
    "cut gzip of FASTQ": ("toy.fq", gzip.compress(FASTQ)[:-9], "toy.fq: the gzip file is trunc"),
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
