"""Malformed FASTA files are refused with place, value, rule and remedy."""

import gzip
import re
from pathlib import Path

import pytest
from Bio import bgzf

from rmt_genomics.dna.sequence_files import read_encoded, read_records
from rmt_genomics.errors import DataError

GOOD = b">chr1 one\nACGT\nACGT\n>chr2\nACGT\n"
BAM_LIKE = b"BAM\x01\x00\x00\xff\xfe\x80"


def bgzip(folder: Path, content: bytes) -> bytes:
    path = folder / "compressed"
    with bgzf.BgzfWriter(path) as writer:
        writer.write(content)
    return path.read_bytes()


MALFORMED = {
    "empty": (b"", "toy.fa: the file is empty, but must have at least one FASTA record."),
    "blank lines only": (b"\n \n\n", "toy.fa: the file is empty, but must have at least one"),
    "compressed nothing": (gzip.compress(b""), "toy.fa: the file is empty, but must have"),
    "text before the first record": (
        b"\n\nhello\n" + GOOD,
        "toy.fa:3: the first record is preceded by 'hello', but a FASTA file must begin with a "
        "'>' line. Remove the text, or convert the file to FASTA.",
    ),
    "sequence before the first record": (b"ACGT\n" + GOOD, "toy.fa:1: the first record is"),
    "an indented header": (b" >chr1\nACGT\n", "toy.fa:1: the first record is preceded by ' >chr1'"),
    "SAM": (b"@HD\tVN:1.6\n", r"toy.fa:1: the first record is preceded by '@HD\tVN:1.6', but a"),
    "a '>' line without a name": (
        GOOD + b">\nACGT\n",
        "toy.fa:6: the '>' line has no name, but every record needs one, right after the '>'.",
    ),
    "a name after a blank": (b"> chr1\nACGT\n", "toy.fa:1: the '>' line has no name, but every"),
    "a record without sequence": (
        b">chr1\nACGT\n>chr2\n>chr3\nACGT\n",
        "toy.fa:3: record 'chr2' has no sequence, but must have at least one letter. "
        "Remove the record, or check that the file is complete.",
    ),
    "a last record without sequence": (
        GOOD + b">chr3\n",
        "toy.fa:6: record 'chr3' has no sequence",
    ),
    "duplicate names": (
        GOOD + b">chr1 again\nACGT\n",
        "toy.fa:6: record 'chr1' was already at line 1, but record names must be unique. "
        "The headers differ, but names end at the first blank: pass --full-names to take whole "
        "headers as names, or --duplicate-names number to number the repeats.",
    ),
    "protein": (
        b">chr1\nACGT\n>sp|P69905\nMVLS\nPADK\n",
        "toy.fa: record 'sp|P69905': position 2 holds 'L', but a DNA letter is one of A, C, G, T, "
        "N or an IUPAC code. This looks like protein: DNA is expected.",
    ),
    "an alignment": (
        b">chr1\nACGT\nAC--GT\n",
        "toy.fa: record 'chr1': position 6 holds '-', but a DNA letter is one of A, C, G, T, N or "
        "an IUPAC code. This looks like an alignment: unaligned sequences are expected",
    ),
    "other letters": (b">chr1\nAC GT1\n", "record 'chr1': position 4 holds '1', but a DNA letter"),
    "an indented header inside": (b">a\nAC\n  >b\nAC\n", "record 'a': position 2 holds '>'"),
    "an indented header right after one": (b">a\n >b\nAC\n", "record 'a': position 0 holds '>'"),
    "letters outside ASCII": (">a\nACé\n".encode(), "record 'a': position 2 holds 'é', but a DNA"),
    "binary": (
        BAM_LIKE,
        "toy.fa: this is a BAM file, but a sequence file is expected (FASTA, FASTQ, GenBank, EMBL, "
        "CSV or TSV, plain or compressed). Convert it: samtools fasta.",
    ),
    "compressed binary": (gzip.compress(BAM_LIKE), "toy.fa: this is a BAM file, but"),
    "zip": (b"PK\x03\x04\x14\x00\x00", "toy.fa: this is a zip archive, but"),
    "binary after a '>'": (
        b">\x00\x01\x02\n",
        r"toy.fa:1: the name of the record is '\x00\x01\x02', but must not have control characters "
        r"such as \x00. Rename the record, or check the format of the file.",
    ),
    "an escape code in a name": (
        b">chr1\nACGT\n>a\x1b[31m red\nACGT\n",
        r"toy.fa:3: the name of the record is 'a\x1b[31m', but must not have control characters",
    ),
    "a blank of another kind in a name": (
        ">a\x85b\nACGT\n".encode(),
        r"toy.fa:1: the name of the record is 'a\x85b', but must not have control characters",
    ),
    "a blank of another kind in a sequence": (
        ">a\nAC GT\nAC\xa0GT\n".encode(),
        r"record 'a': position 6 holds '\xa0', but a DNA letter is one of",
    ),
    "NUL bytes in a sequence": (
        b">chr1\nAC\x00GT\n",
        r"record 'chr1': position 2 holds '\x00', but a DNA letter is one of A, C, G, T, N or an "
        "IUPAC code. This looks like a binary file: FASTA text is expected.",
    ),
    "a header that is not UTF-8": (
        b">chr1\nACGT\n>chr2 \xc5ngstr\xf6m\nACGT\n",
        r"toy.fa:3: the header 'chr2 \xc5ngstr\xf6m' is not UTF-8 text, but must be. "
        "Convert the file, for example: iconv -f latin1 -t utf-8.",
    ),
    "gzip cut in the middle": (
        gzip.compress(GOOD * 50)[:-30],
        "toy.fa: the compressed file is truncated or damaged (the file ends before the "
        "compressed data do), but must be complete. Download it again and compare "
        "its size or checksum.",
    ),
    "gzip cut in its header": (
        gzip.compress(GOOD)[:5],
        "toy.fa: the compressed file is truncated or damaged (",
    ),
    "gzip with a wrong byte": (
        gzip.compress(GOOD)[:12] + b"\xff\xff" + gzip.compress(GOOD)[14:],
        "toy.fa: the compressed file is truncated or damaged (",
    ),
    "gzip with a wrong checksum": (
        gzip.compress(GOOD)[:-8] + b"\0" * 8,
        "toy.fa: the compressed file is truncated or damaged (Error -3 while decompressing data: "
        "incorrect data check",
    ),
    "text after a gzip": (
        gzip.compress(GOOD) + b"more",
        "toy.fa: the compressed file is truncated or damaged (",
    ),
}


@pytest.mark.parametrize("read", [read_records, read_encoded])
@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_refused(tmp_path: Path, case: str, read) -> None:
    content, message = MALFORMED[case]
    path = tmp_path / "toy.fa"
    path.write_bytes(content)

    with pytest.raises(DataError, match=re.escape(message)) as caught:
        list(read(path))

    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_the_unchanged_content_is_accepted(tmp_path: Path) -> None:
    """So the files above are refused for what was changed in them."""
    path = tmp_path / "toy.fa"
    for content in (GOOD, gzip.compress(GOOD), bgzip(tmp_path, GOOD)):
        path.write_bytes(content)
        assert [record.sequence for record in read_records(path)] == ["ACGTACGT", "ACGT"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        list(read_records(tmp_path / "none.fa"))

    assert str(caught.value) == (
        f"{tmp_path}/none.fa: there is no such file, but it must be a sequence file. "
        f"Check the spelling; relative names start from {Path.cwd()}."
    )


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is a folder, but must be a sequence file. Name the file"):
        list(read_records(tmp_path))


def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy.fa").write_bytes(GOOD)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(
        DataError, match=r"toy\.fa: cannot be read \(Permission denied\), but must be"
    ):
        list(read_records(tmp_path / "toy.fa"))


def test_records_before_the_error_are_yielded(tmp_path: Path) -> None:
    """Records are streamed: an error is raised where it is, not before."""
    path = tmp_path / "toy.fa"
    path.write_bytes(GOOD + b">chr1\nACGT\n")
    records = read_records(path)

    assert [next(records).name, next(records).name] == ["chr1", "chr2"]
    with pytest.raises(DataError, match="record 'chr1' was already at line 1"):
        next(records)
