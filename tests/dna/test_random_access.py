"""Random access gives the letters that reading the whole file gives, in every process."""

import gzip
import multiprocessing
import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from Bio import bgzf
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna.alphabet import LETTERS, reverse_complement
from rmt_genomics.dna.random_access import IndexedFasta
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


def test_a_forked_process_opens_its_own_reader(fasta: IndexedFasta) -> None:
    before = fasta._reader()
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, b"same" if fasta._reader() is before else b"own")
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reading, 10) == b"own"
    assert fasta._reader() is before
    os.close(reading)
    os.close(writing)


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
            "the gzip file is truncated .*the empty block that ends a bgzip file is missing",
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
