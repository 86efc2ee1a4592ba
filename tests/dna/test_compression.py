"""Compressed files: every kind is read, however it ends; what is damaged is refused."""

import bz2
import gzip
import io
import lzma
import os
import warnings
import zlib
from pathlib import Path

import pyfaidx
import pytest
from Bio import bgzf

from rmt_genomics.datasets import open_sequences
from rmt_genomics.dna import IndexedFasta, Interval, read_encoded, read_records
from rmt_genomics.dna.random_access import NotIndexableError
from rmt_genomics.errors import DataError, RMTGenomicsWarning

TEXT = b"".join(b">r%d\n%s\n" % (number, b"ACGTTGCA" * 5000) for number in range(4))
NO_END = "a.fa.gz: the empty block that ends a bgzip file is missing"


def bgzip(content: bytes = TEXT) -> bytes:
    file = io.BytesIO()
    writer = bgzf.BgzfWriter(fileobj=file)
    writer.write(content)
    writer.flush()
    return file.getvalue() + bgzf._bgzf_eof


def zstd(content: bytes = TEXT) -> bytes:
    zstandard = pytest.importorskip("zstandard", reason="the extra zstd is not installed")
    return bytes(zstandard.ZstdCompressor().compress(content))


def lengths(path: Path) -> dict[str, int]:
    return {record.name: record.length for record in read_encoded(path)}


EXPECTED = {f"r{number}": 40_000 for number in range(4)}
COMPLETE = {
    "gzip": lambda: gzip.compress(TEXT),
    "two of gzip": lambda: gzip.compress(TEXT[:99]) + gzip.compress(TEXT[99:]),
    "gzip and zeros": lambda: gzip.compress(TEXT) + b"\0" * 512,
    "gzip and a line end": lambda: gzip.compress(TEXT) + b"\r\n",
    "bgzip": bgzip,
    "two of bgzip": lambda: bgzip(TEXT[:99]) + bgzip(TEXT[99:]),
    "gzip and bgzip": lambda: gzip.compress(TEXT[:99]) + bgzip(TEXT[99:]),
    "bgzip and a line end": lambda: bgzip() + b"\n",
    "bzip2": lambda: bz2.compress(TEXT),
    "two of bzip2": lambda: bz2.compress(TEXT[:99]) + bz2.compress(TEXT[99:]),
    "xz": lambda: lzma.compress(TEXT),
    "zstd": zstd,
    "two of zstd": lambda: zstd(TEXT[:99]) + zstd(TEXT[99:]),
}
UNVERIFIED = {
    "bgzip without its end": lambda: bgzip()[:-28],
    "bgzip and gzip": lambda: bgzip(TEXT[:99]) + gzip.compress(TEXT[99:]),
}


@pytest.mark.parametrize("kind", COMPLETE)
def test_every_compression_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.fa.gz"
    path.write_bytes(COMPLETE[kind]())

    assert lengths(path) == EXPECTED


@pytest.mark.parametrize("kind", UNVERIFIED)
def test_a_bgzip_file_without_its_end_is_read_with_a_warning(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.fa.gz"
    path.write_bytes(UNVERIFIED[kind]())

    with pytest.warns(RMTGenomicsWarning, match=NO_END):
        assert lengths(path) == EXPECTED


@pytest.mark.parametrize("kind", ["gzip", "bgzip", "bzip2", "xz", "zstd"])
@pytest.mark.parametrize("change", ["cut", "cut short", "more", "changed"])
def test_a_damaged_file_is_refused(tmp_path: Path, kind: str, change: str) -> None:
    content = COMPLETE[kind]()
    path = tmp_path / "a.fa"
    changed = bytearray(content)
    changed[len(content) // 2] ^= 0xFF
    damaged = {"cut": content[:-40], "cut short": content[:9], "more": content + b"more"}
    path.write_bytes(damaged.get(change, bytes(changed)))
    with pytest.raises(DataError, match=r"a\.fa: the compressed file is truncated or damaged \("):
        lengths(path)


def test_random_access_to_a_bgzip_file_without_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.fa.gz"
    path.write_bytes(bgzip())
    pyfaidx.Faidx(path).close()
    path.write_bytes(bgzip()[:-28])
    os.utime(path, ns=(0, 0))  # before the index

    with pytest.warns(RMTGenomicsWarning, match=NO_END):
        fasta = IndexedFasta(path, tmp_path / "cache")

    assert fasta.sequence(Interval("r3", 39_990, 40_000)) == "CAACGTTGCA"


@pytest.mark.parametrize("kind", ["bgzip without its end", "gzip", "bzip2"])
def test_intervals_of_files_without_random_access_are_encoded(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.fa.gz"
    path.write_bytes((COMPLETE | UNVERIFIED)[kind]())

    with pytest.raises(NotIndexableError, match="random access needs"):
        IndexedFasta(path, tmp_path / "cache")
    with warnings.catch_warnings(action="ignore"):  # of the missing end
        store = open_sequences(path, tmp_path / "cache", intervals_only=True)
    assert store.lengths == EXPECTED


def test_without_zstandard_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    path = tmp_path / "a.fa.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(40))

    with pytest.raises(DataError, match=r"zst: is compressed with Zstandard, .*\[zstd\].*zstd -d"):
        lengths(path)


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"PK\x03\x04", "a zip archive, .* unzip"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"Rar!\x1a\x07\x00", "a rar archive"),
        (b"x.fa" + bytes(253) + b"ustar", "a tar archive, .* tar -xf"),
        (b"\x1f\x9d\x90", "a file of compress"),
        (gzip.compress(b"BAM\x01" + bytes(30), mtime=0), "a BAM file, .* samtools fasta"),
        (b"CRAM\x03\x00", "a CRAM file"),
        (b"\x43\x27\x41\x1a", "a 2bit file, .* twoBitToFa"),
    ],
)
def test_other_kinds_of_files_are_named(tmp_path: Path, start: bytes, what: str) -> None:
    path = tmp_path / "a.fa"
    path.write_bytes(start + (b"" if start.startswith(b"\x1f\x8b") else bytes(600)))

    with pytest.raises(DataError, match=rf"a\.fa: this is {what}"):
        list(read_records(path))


def test_a_long_run_of_one_letter_is_decompressed_in_pieces(tmp_path: Path) -> None:
    """So a small file cannot fill the memory before the first letter is read."""
    from rmt_genomics.dna.compression import open_decompressed

    path = tmp_path / "a.fa.gz"
    path.write_bytes(zlib.compress(b"A" * 50_000_000, wbits=31))

    with open_decompressed(path) as file:
        assert len(file.raw.read(1 << 30)) < 9_000_000
