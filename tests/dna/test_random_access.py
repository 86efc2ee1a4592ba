"""Random access gives the letters that reading the whole file gives, in every process."""

import gzip
import multiprocessing
import os
import pickle
import re
import struct
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyfaidx
import pytest
from Bio import bgzf
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna import random_access
from rmt_genomics.dna.alphabet import LETTERS, reverse_complement
from rmt_genomics.dna.random_access import IndexedFasta, NotIndexableError
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError

_LETTERS = np.random.default_rng(0).choice(list(LETTERS + LETTERS.lower()), size=150_000)
SEQUENCES = {"chr1": "".join(_LETTERS), "chr2": "GATTACA" * 10, "empty": "", "chr3": "ACGT"}


def write_fasta(path: Path, newline: str = "\n") -> Path:
    lines = []
    for name, sequence in SEQUENCES.items():
        lines += [
            f">{name} described",
            *(sequence[start : start + 60] for start in range(0, len(sequence), 60)),
        ]
    content = (newline.join(lines) + newline).encode()
    if path.suffix == ".gz":
        with bgzf.BgzfWriter(path) as writer:
            writer.write(content)
    else:
        path.write_bytes(content)
    return path


@pytest.fixture(scope="module", params=["toy.fa", "toy.fa.gz", "crlf.fa"])
def fasta(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> IndexedFasta:
    folder = tmp_path_factory.mktemp("indexed")
    newline = "\r\n" if request.param.startswith("crlf") else "\n"
    return IndexedFasta(write_fasta(folder / request.param, newline), cache=folder / "cache")


intervals = st.tuples(st.integers(0, 149_999), st.integers(1, 70_000), st.sampled_from("+-.")).map(
    lambda drawn: Interval("chr1", drawn[0], min(150_000, drawn[0] + drawn[1]), drawn[2])
)


def expected(interval: Interval) -> str:
    forward = SEQUENCES[interval.record][interval.start : interval.end]
    return reverse_complement(forward) if interval.strand == "-" else forward


@given(interval=intervals)
def test_an_interval_is_the_slice_of_the_sequence(fasta: IndexedFasta, interval: Interval) -> None:
    assert fasta.sequence(interval) == expected(interval)


def test_lengths_are_in_file_order(fasta: IndexedFasta) -> None:
    assert fasta.lengths == {name: len(sequence) for name, sequence in SEQUENCES.items()}
    assert list(fasta.lengths) == list(SEQUENCES)


def test_nothing_is_written_beside_the_file(fasta: IndexedFasta) -> None:
    assert {path.name for path in fasta.path.parent.iterdir()} == {fasta.path.name, "cache"}


def _read_many(fasta: IndexedFasta, seed: int) -> bool:
    random = np.random.default_rng(seed)
    starts = random.integers(0, 149_000, size=200)
    drawn = [Interval("chr1", int(start), int(start) + 1000) for start in starts]
    return all(fasta.sequence(interval) == expected(interval) for interval in drawn)


def _exit_with(fasta: IndexedFasta, seed: int) -> None:
    sys.exit(not _read_many(fasta, seed))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_the_right_bases(fasta: IndexedFasta, method: str) -> None:
    fasta.sequence(Interval("chr1", 70_000, 70_010))  # opens the file in the parent

    context = multiprocessing.get_context(method)
    # Not a Pool, which would pickle: here a fork carries the parent's object over as it is.
    children = [context.Process(target=_exit_with, args=(fasta, seed)) for seed in range(4)]
    for child in children:
        child.start()
    assert _read_many(fasta, seed=5)
    for child in children:
        child.join()

    assert [child.exitcode for child in children] == [0] * 4


def test_it_can_be_pickled(fasta: IndexedFasta) -> None:
    copy = pickle.loads(pickle.dumps(fasta))

    assert copy.sequence(Interval("chr2", 0, 7)) == "GATTACA"
    assert copy.lengths == fasta.lengths


def test_threads_may_share_an_indexed_fasta(fasta: IndexedFasta) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(_read_many, [fasta] * 8, range(8)))


def test_an_interval_past_the_end_is_refused(fasta: IndexedFasta) -> None:
    with pytest.raises(DataError, match=r"chr3:0-5 must satisfy start < end <= 4, the length of"):
        fasta.sequence(Interval("chr3", 0, 5))


def test_an_unknown_record_is_refused(fasta: IndexedFasta) -> None:
    with pytest.raises(DataError, match="there is no record 'chrX', but there are chr1, chr2"):
        fasta.sequence(Interval("chrX", 0, 5))


def test_a_changed_file_is_refused_until_it_is_indexed_again(tmp_path: Path) -> None:
    path, cache = tmp_path / "toy.fa", tmp_path / "cache"
    path.write_text(">a\nAAAA\n")
    old = IndexedFasta(path, cache)
    stat = path.stat()

    path.write_text(">b\nCCCCCCCC\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # only the size differs

    with pytest.raises(DataError, match=r"toy.fa: has changed since it was indexed, but must not"):
        old.sequence(Interval("a", 0, 4))
    assert IndexedFasta(path, cache).sequence(Interval("b", 0, 8)) == "CCCCCCCC"


def test_an_index_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_fasta(tmp_path / "toy.fa")
    IndexedFasta(path, tmp_path / "cache")

    monkeypatch.setattr("pyfaidx.Faidx.build_index", lambda _: pytest.fail("built again"))

    assert IndexedFasta(path, tmp_path / "cache").lengths["chr3"] == 4


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.fa.gz", "gzip", "is compressed with gzip, but .* needs bgzip.*gunzip a.fa.gz"),
        ("a.fa", "bgzip", "the content is bgzip, but a name that ends in .gz.*Rename the file"),
        ("a.fa.gz", "plain", "the content is plain, but a name that ends in .gz.*Rename the file"),
        ("a.fa", "uneven", "cannot be indexed .*not consistent.*seqkit seq -w 60"),
        ("a.fa", "twice", 'cannot be indexed .*Duplicate key "x".*Repair the file'),
        ("a.fa", "empty", "cannot be indexed .*does not contain a valid sequence"),
        (
            "a.fa.gz",
            "cut",
            "cannot be indexed .the empty block that ends a bgzip file is missing.",
        ),
    ],
)
def test_files_that_cannot_be_indexed_are_refused(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    with bgzf.BgzfWriter(tmp_path / "bgzip") as writer:
        writer.write(b">x\nACGT\n")
    bgzip = (tmp_path / "bgzip").read_bytes()
    contents = {
        "plain": b">x\nACGT\n",
        "gzip": gzip.compress(b">x\nACGT\n"),
        "bgzip": bgzip,
        "cut": bgzip[:-28],
        "uneven": b">x\nA\nACGT\nAC\n",
        "twice": b">x\nA\n>x\nC\n",
        "empty": b"",
    }
    (tmp_path / name).write_bytes(contents[content])

    with pytest.raises(DataError, match=f"{name}: {message}"):
        IndexedFasta(tmp_path / name, tmp_path / "cache")

    left = tmp_path / "cache" / "indexes"
    assert not left.exists() or list(left.iterdir()) == []


def with_pyfaidx_index(path: Path) -> Path:
    """Make the index beside a file, as samtools and pyfaidx do."""
    pyfaidx.Faidx(path).close()
    return path


@pytest.mark.parametrize("name", ["toy.fa", "toy.fa.gz"])
def test_an_index_beside_the_file_is_used(tmp_path: Path, name: str) -> None:
    path = with_pyfaidx_index(write_fasta(tmp_path / name))

    fasta = IndexedFasta(path, tmp_path / "cache")

    assert _read_many(fasta, seed=0)
    assert fasta.lengths == {name: len(sequence) for name, sequence in SEQUENCES.items()}
    assert fasta.descriptions == dict.fromkeys(SEQUENCES, "described")
    assert not (tmp_path / "cache").exists()


def edit_fai(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))


WRONG_FAI: dict[str, Callable[[Path], object]] = {
    "cut in a line": lambda fai: fai.write_text(fai.read_text()[:-8]),
    "without its last record": lambda fai: fai.write_text(fai.read_text().rpartition("chr3")[0]),
    "of another file": lambda fai: fai.write_text("other\t9\t7\t9\t10\n"),
    "with another name": lambda fai: edit_fai(fai, "chr2", "chrX"),
    "with a longer record": lambda fai: edit_fai(fai, "150000", "150060"),
    "with a shorter record": lambda fai: edit_fai(fai, "150000", "149999"),
    "with another offset": lambda fai: edit_fai(fai, "\t16\t", "\t17\t"),
    "with an offset past the end": lambda fai: edit_fai(fai, "\t16\t", "\t999999999\t"),
    "with longer lines": lambda fai: edit_fai(fai, "\t60\t61", "\t61\t62"),
    "with lines of no bases": lambda fai: edit_fai(fai, "\t60\t61", "\t0\t1"),
    "with CRLF lines": lambda fai: edit_fai(fai, "\t60\t61", "\t60\t62"),
    "with a negative length": lambda fai: edit_fai(fai, "150000", "-5"),
    "with a huge length": lambda fai: edit_fai(fai, "150000", "9" * 400),
    "with a number that is none": lambda fai: edit_fai(fai, "150000", "many"),
    "with a name twice": lambda fai: edit_fai(fai, "chr2", "chr1"),
    "empty": lambda fai: fai.write_text(""),
    "binary": lambda fai: fai.write_bytes(bytes(range(256))),
    "older than the file": lambda fai: os.utime(fai, (1, 1)),
    "a folder": lambda fai: (fai.unlink(), fai.mkdir()),
}


@pytest.mark.parametrize("name", ["toy.fa", "toy.fa.gz"])
@pytest.mark.parametrize("kind", WRONG_FAI)
def test_an_index_that_does_not_fit_is_named_and_not_used(
    tmp_path: Path, name: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = with_pyfaidx_index(write_fasta(tmp_path / name))
    fai = tmp_path / f"{name}.fai"
    WRONG_FAI[kind](fai)
    before = None if fai.is_dir() else fai.read_bytes()

    fasta = IndexedFasta(path, tmp_path / "cache")

    assert _read_many(fasta, seed=0)
    assert fasta.lengths == {name: len(sequence) for name, sequence in SEQUENCES.items()}
    assert f"{fai}: this index is not used (" in caplog.text
    assert before is None or fai.read_bytes() == before
    assert len(list((tmp_path / "cache" / "indexes").iterdir())) == 1


@pytest.mark.parametrize(
    "content",
    [None, b"", b"cut", struct.pack("<QQQ", 1, 300, 65280), struct.pack("<Q", 0)],
    ids=["missing", "empty", "cut", "of another file", "without blocks"],
)
def test_blocks_are_read_from_the_file_whatever_is_in_the_gzi(
    tmp_path: Path, content: bytes | None
) -> None:
    path = with_pyfaidx_index(write_fasta(tmp_path / "toy.fa.gz"))
    gzi = tmp_path / "toy.fa.gz.gzi"
    gzi.unlink()
    if content is not None:
        gzi.write_bytes(content)

    fasta = IndexedFasta(path, tmp_path / "cache")

    assert _read_many(fasta, seed=0)
    assert not (tmp_path / "cache").exists()
    assert (gzi.read_bytes() if gzi.exists() else None) == content


@pytest.mark.parametrize("name", ["toy.fa", "toy.fa.gz"])
@given(data=st.data())
def test_no_edit_of_a_number_in_an_index_changes_a_base(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("edited")
    path = with_pyfaidx_index(write_fasta(folder / name))
    fai = folder / f"{name}.fai"
    rows = [line.split("\t") for line in fai.read_text().splitlines()]
    row, column = data.draw(st.sampled_from(rows)), data.draw(st.integers(1, 4))
    row[column] = str(max(0, int(row[column]) + data.draw(st.integers(-70, 70))))
    fai.write_text("".join("\t".join(row) + "\n" for row in rows))

    assert _read_many(IndexedFasta(path, folder / "cache"), seed=0)


def test_a_damaged_index_in_the_cache_is_built_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, cache = write_fasta(tmp_path / "toy.fa"), tmp_path / "cache"
    IndexedFasta(path, cache)
    (folder,) = (cache / "indexes").iterdir()
    edit_fai(folder / "records.fai", "150000", "149999")

    assert _read_many(IndexedFasta(path, cache), seed=0)

    assert "records.fai: this index is not used (record 'chr1'" in caplog.text
    assert "150000" in (folder / "records.fai").read_text()


def test_building_the_index_of_a_large_file_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random_access, "_LARGE_BYTES", 1000)
    caplog.set_level("INFO")
    path = write_fasta(tmp_path / "toy.fa")

    for _ in range(2):
        IndexedFasta(path, tmp_path / "cache")

    assert caplog.messages == [f"{path}: building an index for random access, once."]


@pytest.mark.parametrize("beside", [True, False])
def test_a_damaged_bgzip_block_is_named(tmp_path: Path, *, beside: bool) -> None:
    path = write_fasta(tmp_path / "toy.fa.gz")
    if beside:
        with_pyfaidx_index(path)
    content = bytearray(path.read_bytes())
    stat = path.stat()
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    with pytest.raises(DataError, match=r"toy\.fa\.gz: "):
        IndexedFasta(path, tmp_path / "cache").sequence(Interval("chr1", 0, 150_000))


@pytest.mark.parametrize("byte", [3, 12])
def test_a_damaged_header_of_a_bgzip_block_is_named(tmp_path: Path, byte: int) -> None:
    path = write_fasta(tmp_path / "toy.fa.gz")
    content = bytearray(path.read_bytes())
    content[byte] ^= 0xE0
    path.write_bytes(content)

    with pytest.raises(
        DataError, match=r"toy\.fa\.gz: (?:is compressed|no bgzip block begins|the compressed file)"
    ):
        IndexedFasta(path, tmp_path / "cache")


@pytest.mark.parametrize("name", ["toy.fa", "toy.fa.gz"])
def test_an_index_that_is_removed_while_it_is_used_is_not_needed_any_more(
    tmp_path: Path, name: str
) -> None:
    path = with_pyfaidx_index(write_fasta(tmp_path / name))
    fasta = IndexedFasta(path, tmp_path / "cache")
    (tmp_path / f"{name}.fai").unlink()

    assert _read_many(pickle.loads(pickle.dumps(fasta)), seed=0)
    assert not (tmp_path / f"{name}.fai").exists()


def test_a_file_of_a_clock_that_is_ahead_is_indexed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_fasta(tmp_path / "toy.fa.gz")
    os.utime(path, (4_000_000_000, 4_000_000_000))
    IndexedFasta(path, tmp_path / "cache")

    monkeypatch.setattr("pyfaidx.Faidx.build_index", lambda _: pytest.fail("built again"))
    monkeypatch.setattr("pyfaidx.Faidx.build_gzi", lambda _: pytest.fail("built again"))

    assert _read_many(IndexedFasta(path, tmp_path / "cache"), seed=0)


def test_an_interval_may_begin_where_a_bgzip_block_begins(tmp_path: Path) -> None:
    fasta = IndexedFasta(write_fasta(tmp_path / "toy.fa.gz"), tmp_path / "cache")
    blocks, entry = fasta._blocks, fasta._index["chr1"]
    assert blocks is not None
    border = blocks[1][1] - entry.offset
    start = border // entry.line_bytes * entry.line_bases + border % entry.line_bytes

    for shift in (-1, 0, 1):
        interval = Interval("chr1", start + shift, start + shift + 100)
        assert fasta.sequence(interval) == expected(interval)


def test_a_bgzip_file_may_have_empty_blocks_inside(tmp_path: Path) -> None:
    parts = [write_fasta(tmp_path / f"{n}.fa.gz").read_bytes() for n in range(1)]
    with bgzf.BgzfWriter(tmp_path / "more.gz") as writer:
        writer.write(b">more\nACGT\n")
    path = tmp_path / "joined.fa.gz"
    path.write_bytes(parts[0] + (tmp_path / "more.gz").read_bytes())

    for _ in range(2):  # built, then from the cache
        fasta = IndexedFasta(path, tmp_path / "cache")
        assert _read_many(fasta, seed=0)
        assert fasta.sequence(Interval("more", 1, 4)) == "CGT"
    with_pyfaidx_index(path)
    assert IndexedFasta(path, tmp_path / "none").sequence(Interval("more", 1, 4)) == "CGT"
    assert not (tmp_path / "none").exists()


def test_long_intervals_are_read_in_pieces(
    fasta: IndexedFasta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random_access, "_PIECE_BP", 777)
    interval = Interval("chr1", 59, 149_999, "-")

    assert fasta.sequence(interval) == expected(interval)
    assert len(list(fasta.pieces(interval))) == 193


# Both have the length of a file with lines of 4 bases, and its index.
UNEVEN = b">x\nACGT\nACG\nACGTA\nAC\n>y\nACGT\n"
BLANK = b">x\nACGT\nAC T\nACGT\nAC\n>y\nACGT\n"
BLANKS = (b" ", b"\r", b"\t", b"\x0b", b"\x0c")
FAI = "x\t14\t3\t4\t5\ny\t4\t24\t4\t5\n"


@pytest.mark.parametrize("content", [UNEVEN, *(BLANK.replace(b" ", each) for each in BLANKS)])
@pytest.mark.parametrize("name", ["a.fa", "a.fa.gz"])
def test_lines_that_the_index_does_not_have_are_found(
    tmp_path: Path, name: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / name
    if name == "a.fa.gz":
        with bgzf.BgzfWriter(path) as writer:
            writer.write(content)
    else:
        path.write_bytes(content)
    (tmp_path / f"{name}.fai").write_text(FAI)

    if name == "a.fa.gz":  # not decompressed as a whole
        fasta = IndexedFasta(path, tmp_path / "cache")
        with pytest.raises(DataError, match="lines of record 'x' are not of 4 bases as this index"):
            fasta.sequence(Interval("x", 2, 13))
        return
    with pytest.raises(NotIndexableError, match=f"{name}: cannot be indexed"):
        IndexedFasta(path, tmp_path / "cache")
    assert f"{name}.fai: this index is not used (" in caplog.text
    assert list((tmp_path / "cache" / "indexes").iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [b">x\nAC\n\n>y\nACGT\nAC\n\n", b"\n>x\nAC\n>y\nACGT\nAC", b">x\r\nAC\r\n>y\r\nACGT\r\nAC"],
)
def test_blank_lines_between_records_and_a_missing_last_line_end_are_fine(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.fa").write_bytes(content)

    fasta = IndexedFasta(tmp_path / "a.fa", tmp_path / "cache")

    assert fasta.lengths == {"x": 2, "y": 6}
    assert fasta.sequence(Interval("y", 0, 6)) == "ACGTAC"
    assert fasta.sequence(Interval("x", 1, 2)) == "C"


@pytest.mark.parametrize(
    ("fai", "reason"),
    [
        (b"x\t14\t3\t4\n", "it has lines without a name and four whole numbers"),
        (b"x\t14\t3\t4\t5\t6\n", "it has lines without a name and four whole numbers"),
        (b"x\xff\t14\t3\t4\t5\n", "it has lines without a name and four whole numbers"),
    ],
)
def test_why_an_index_is_not_used_is_said_in_plain_words(
    tmp_path: Path, fai: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.fa").write_bytes(b">x\nACGT\n")
    (tmp_path / "a.fa.fai").write_bytes(fai)

    IndexedFasta(tmp_path / "a.fa", tmp_path / "cache")

    assert f"a.fa.fai: this index is not used ({reason}). Make it again" in caplog.text


def test_a_file_that_is_not_utf8_is_not_indexed(tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_bytes(b">x caf\xe9\nACGT\n")

    with pytest.raises(NotIndexableError, match=r"cannot be indexed \(it is not UTF-8 text\)"):
        IndexedFasta(tmp_path / "a.fa", tmp_path / "cache")


@pytest.mark.parametrize("strand", "+-")
def test_a_letter_that_is_not_dna_is_named(tmp_path: Path, strand: str) -> None:
    (tmp_path / "a.fa").write_bytes(">x\nACé\nACGT\n".encode())
    (tmp_path / "a.fa.fai").write_text("x\t8\t3\t4\t5\n")  # counted in bytes, as samtools does
    fasta = IndexedFasta(tmp_path / "a.fa", tmp_path / "cache")

    message = rf"a\.fa: x:1-4\({re.escape(strand)}\) on strand \+: position 1 holds 'Ã', but a DNA"
    with pytest.raises(DataError, match=message):
        fasta.sequence(Interval("x", 1, 4, strand))
