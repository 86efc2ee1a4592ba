"""The encoded store returns the sequences of the files, whoever encoded them."""

import gzip
import json
import multiprocessing
import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from textwrap import wrap

import numpy as np
import pytest
from Bio import bgzf
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import sequence_store as store_module
from rmt_genomics.datasets.sequence_store import (
    EncodedStore,
    IndexedStore,
    open_sequences,
)
from rmt_genomics.dna.alphabet import decode, encode, reverse_complement_codes
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from tests.sequence_files import FILES
from tests.sequence_files import SEQUENCES as SEQUENCES_OF_FILES

SEQUENCES = {
    "chr1": "".join(np.random.default_rng(0).choice(list("ACGTNacgt"), size=1000)),
    "chr2": "GATTACA",
    "chr3": "acgu" * 20,
}
TEXT = "".join(f">{name} described\n{text[:50]}\n{text[50:]}\n" for name, text in SEQUENCES.items())


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "toy.fa"
    path.write_text(TEXT)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> EncodedStore:
    folder = tmp_path_factory.mktemp("store")
    (folder / "toy.fa.gz").write_bytes(gzip.compress(TEXT.encode()))
    return EncodedStore.open(folder / "toy.fa.gz", folder / "cache")


def entry(cache: Path) -> Path:
    """Return the one folder there is."""
    (folder,) = (cache / "encoded").iterdir()
    return folder


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    record = draw(st.sampled_from(sorted(SEQUENCES)))
    start = draw(st.integers(0, len(SEQUENCES[record]) - 1))
    end = draw(st.integers(start + 1, len(SEQUENCES[record])))
    return Interval(record, start, end, draw(st.sampled_from("+-.")))


@given(interval=intervals())
def test_codes_are_those_of_the_sequence(shared: EncodedStore, interval: Interval) -> None:
    forward = encode(SEQUENCES[interval.record][interval.start : interval.end])
    expected = reverse_complement_codes(forward) if interval.strand == "-" else forward

    np.testing.assert_array_equal(shared.codes(interval), expected)


def test_the_strand_is_read_five_prime_to_three_prime(shared: EncodedStore) -> None:
    assert decode(shared.codes(Interval("chr2", 0, 5, "+"))) == "GATTA"
    assert decode(shared.codes(Interval("chr2", 0, 5, "-"))) == "TAATC"


def test_codes_can_be_changed_by_the_caller(shared: EncodedStore) -> None:
    interval = Interval("chr2", 0, 7)

    shared.codes(interval)[:] = 4

    assert decode(shared.codes(interval)) == "GATTACA"


def test_lengths_are_known_in_file_order(shared: EncodedStore) -> None:
    assert list(shared.lengths.items()) == [("chr1", 1000), ("chr2", 7), ("chr3", 80)]


def test_the_end_of_the_record_is_the_limit(shared: EncodedStore) -> None:
    with pytest.raises(DataError, match=r"chr2:0-8 must satisfy start < end <= 7, the length of"):
        shared.codes(Interval("chr2", 0, 8))


def test_an_unknown_record_is_refused(shared: EncodedStore) -> None:
    with pytest.raises(DataError, match=r"there is no record 'Chr2', but.*Did you mean 'chr2'\?"):
        shared.codes(Interval("Chr2", 0, 7))


def test_files_are_encoded_once(fasta: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    EncodedStore.open(fasta, cache)

    monkeypatch.setattr(store_module, "read_encoded", lambda *_: pytest.fail("encoded again"))

    assert decode(EncodedStore.open(fasta, cache).codes(Interval("chr2", 0, 7))) == "GATTACA"


def test_a_changed_file_is_encoded_again(fasta: Path, cache: Path) -> None:
    before = EncodedStore.open(fasta, cache)
    fasta.write_text(TEXT.replace("GATTACA", "GATTACC"))

    after = EncodedStore.open(fasta, cache)

    assert decode(after.codes(Interval("chr2", 0, 7))) == "GATTACC"
    assert decode(before.codes(Interval("chr2", 0, 7))) == "GATTACA"
    assert before.sha256 != after.sha256


def test_the_environment_variable_sets_the_cache_folder(
    fasta: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RMT_GENOMICS_CACHE", str(cache))

    EncodedStore.open(fasta)

    assert {item.name for item in entry(cache).iterdir()} == {"codes.bin", "index.json"}


def cut_codes(folder: Path) -> None:
    (folder / "codes.bin").write_bytes((folder / "codes.bin").read_bytes()[:-1])


def break_json(folder: Path) -> None:
    (folder / "index.json").write_text("{")


def lose_index(folder: Path) -> None:
    (folder / "index.json").unlink()


def lose_codes(folder: Path) -> None:
    (folder / "codes.bin").unlink()


def foreign_index(folder: Path) -> None:
    (folder / "index.json").write_text(json.dumps({"hello": 1}))


def other_sha256(folder: Path) -> None:
    index = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(index | {"sha256": "0"}))


def changed(name: str, value: object) -> Callable[[Path], None]:
    """Return a damage: another value of the index, or a text that is no JSON."""

    def damage(folder: Path) -> None:
        index = json.loads((folder / "index.json").read_text())
        (folder / "index.json").write_text(json.dumps(index | {name: value}))

    return damage


DAMAGED = [
    ("descriptions", "x\x1b[31m"),
    ("descriptions", [1]),
    ("descriptions", ["one"]),
    ("files", [10**20, 0, 0]),
    ("files", [0, 0, 1]),
    ("files", [0]),
    ("lengths", None),
    ("lengths", [1000, 8, 79]),
    ("lengths", [1080, -73, 80]),
    ("names", ""),
    ("names", [{}, "chr2", "chr3"]),
    ("names", ["chr1", "chr1", "chr3"]),
    ("offsets", [0.5, 1000, 1007]),
    ("offsets", [0, 1000]),
    ("offsets", [7, 0, 1007]),
    ("columns", [1]),
]


def nest(folder: Path) -> None:
    (folder / "index.json").write_text("[" * 100_000)


@pytest.mark.parametrize(
    "damage",
    [
        *(cut_codes, break_json, lose_index, lose_codes, foreign_index, other_sha256, nest),
        *(changed(name, value) for name, value in DAMAGED),
    ],
)
def test_a_damaged_entry_is_encoded_again_with_a_warning(
    fasta: Path, cache: Path, damage: Callable[[Path], None]
) -> None:
    EncodedStore.open(fasta, cache)
    damage(entry(cache))

    with pytest.warns(RMTGenomicsWarning, match="the encoded sequences are damaged and are enc"):
        again = EncodedStore.open(fasta, cache)

    assert decode(again.codes(Interval("chr2", 0, 7))) == "GATTACA"
    EncodedStore.open(fasta, cache)  # without a warning


def test_a_full_disk_is_named_and_nothing_is_left(
    fasta: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_open = Path.open

    def open_on_full_disk(path: Path, *args: object, **options: object) -> object:
        return plain_open(Path("/dev/full") if path.name == "codes.bin" else path, *args, **options)

    monkeypatch.setattr(Path, "open", open_on_full_disk)

    with pytest.raises(DataError) as caught:
        EncodedStore.open(fasta, cache)

    assert str(caught.value).startswith(f"{cache}/encoded: no space is left, but the cache needs")
    assert "set RMT_GENOMICS_CACHE to a folder on another disk" in str(caught.value)
    assert list((cache / "encoded").iterdir()) == []


def test_a_malformed_file_leaves_nothing(fasta: Path, cache: Path) -> None:
    fasta.write_text(TEXT + ">chr1\nACGT\n")

    with pytest.raises(DataError, match="record 'chr1' was already at line 1"):
        EncodedStore.open(fasta, cache)

    assert list((cache / "encoded").iterdir()) == []


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"none\.fa: there is no such file, but it must be a sequence"
    ):
        EncodedStore.open(tmp_path / "none.fa")


def test_progress_is_shown_on_stderr_only(
    fasta: Path, cache: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal

    EncodedStore.open(fasta, cache, progress=True)

    output = capfd.readouterr()
    assert output.out == ""
    assert "encoding" in output.err


def test_without_progress_there_is_no_output(
    fasta: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    EncodedStore.open(fasta, cache)

    assert capfd.readouterr() == ("", "")


def test_a_store_can_be_pickled_without_its_bases(fasta: Path, cache: Path) -> None:
    store = EncodedStore.open(fasta, cache)
    unused = pickle.dumps(store)
    store.codes(Interval("chr2", 0, 7))

    copy = pickle.loads(pickle.dumps(store))

    assert pickle.dumps(store) == unused
    assert decode(copy.codes(Interval("chr2", 0, 7))) == "GATTACA"
    assert (copy.lengths, copy.sha256) == (store.lengths, store.sha256)


def _open_and_read(fasta: Path, cache: Path, barrier) -> str:
    barrier.wait(timeout=30)
    return decode(EncodedStore.open(fasta, cache).codes(Interval("chr2", 0, 7)))


def test_processes_that_encode_the_same_file_at_once_all_succeed(fasta: Path, cache: Path) -> None:
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager, context.Pool(4) as pool:
        barrier = manager.Barrier(4)
        result = pool.starmap(_open_and_read, [(fasta, cache, barrier)] * 4, chunksize=1)

    assert result == ["GATTACA"] * 4
    assert len(list((cache / "encoded").iterdir())) == 1


def _sum_of(shared: EncodedStore, record: str) -> int:
    return int(shared.codes(Interval(record, 0, shared.lengths[record])).sum())


def test_a_forked_process_reads_the_same_bases(shared: EncodedStore) -> None:
    expected = [_sum_of(shared, record) for record in SEQUENCES]

    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.starmap(_sum_of, [(shared, record) for record in SEQUENCES]) == expected


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.fa").write_text(">r1 one\nACGT\n>r2\nGG\n")
    (tmp_path / "in" / "deep" / "b.fa.gz").write_bytes(gzip.compress(b">r3\nTTTAA\n"))
    return tmp_path / "in"


@pytest.mark.parametrize("kind", FILES)
def test_every_file_format_is_encoded(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "toy"
    path.write_bytes(FILES[kind])

    store = EncodedStore.open(path)

    result = {name: decode(store.codes(Interval(name, 0, n))) for name, n in store.lengths.items()}
    assert result == SEQUENCES_OF_FILES


def test_a_folder_is_its_files_in_order(folder: Path) -> None:
    store = EncodedStore.open(folder)

    assert store.lengths == {"r1": 4, "r2": 2, "r3": 5}
    assert store.files == (folder / "a.fa", folder / "deep" / "b.fa.gz")
    assert decode(store.codes(Interval("r3", 1, 5, "-"))) == "TTAA"


def test_several_files_are_a_folder_of_them(folder: Path) -> None:
    several = EncodedStore.open([folder / "a.fa", folder / "deep"])
    assert several.lengths == EncodedStore.open(folder).lengths
    assert several.sha256 == EncodedStore.open(folder).sha256


def test_columns_of_a_sequence_table_are_kept(folder: Path) -> None:
    (folder / "a.fa").write_text("sequence,label\nACGT,at\n")
    (folder / "deep" / "b.fa.gz").unlink()
    EncodedStore.open(folder)

    (record,) = EncodedStore.open(folder).records()  # from the cache

    assert (record.name, record.length, record.file) == ("a:0", 4, folder / "a.fa")
    assert (record.description, record.columns) == ("", {"label": "at"})


def test_descriptions_in_headers_are_kept(folder: Path) -> None:
    assert [item.description for item in EncodedStore.open(folder).records()] == ["one", "", ""]


def test_records_of_a_sequence_table_are_named_after_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sequence\nACGT\n")
    shutil.copy(tmp_path / "a.csv", tmp_path / "b.csv")

    stores = [EncodedStore.open(tmp_path / name) for name in ("a.csv", "b.csv")]

    assert [list(store.lengths) for store in stores] == [["a:0"], ["b:0"]]
    assert stores[0].sha256 == stores[1].sha256


@pytest.mark.parametrize("change", ["a byte", "the order"])
def test_the_sha256_of_several_files_depends_on(folder: Path, change: str) -> None:
    files = [folder / "a.fa", folder / "deep" / "b.fa.gz"]
    before = EncodedStore.open(files).sha256
    if change == "a byte":
        files[0].write_text(">r1 one\nACGT\n>r2\nGC\n")
    else:
        files.reverse()

    assert EncodedStore.open(files).sha256 != before


def test_a_pipe_is_refused_since_it_cannot_be_read_twice() -> None:
    with pytest.raises(DataError, match=r"is not a regular file, but is read twice\. Save it"):
        EncodedStore.open(Path("/dev/null"))


def test_a_removed_cache_entry_is_noticed(folder: Path, tmp_path: Path) -> None:
    store = EncodedStore.open(folder, tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")

    with pytest.raises(DataError, match="the encoded sequences have been removed"):
        store.records()


@st.composite
def fasta_files(draw: st.DrawFn) -> bytes:
    """FASTA text with lines of one length per record, in all forms that are allowed."""
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    letters = st.text("ACGTNacgtnRYKMSWu", min_size=1, max_size=40)
    text = ""
    for index, sequence in enumerate(draw(st.lists(letters, min_size=1, max_size=4))):
        width = draw(st.integers(1, 45))
        lines = [sequence[start : start + width] for start in range(0, len(sequence), width)]
        description = draw(st.sampled_from(["", " one  two ", "\tthree >4"]))
        text += newline.join([f">r{index}{description}", *lines, ""])
    return (text if draw(st.booleans()) else text.removesuffix(newline)).encode()


@pytest.mark.parametrize("name", ["a.fa", "a.fa.gz"])
@given(content=fasta_files())
def test_an_index_gives_what_encoding_gives(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("two")
    path = folder / name
    if name == "a.fa.gz":
        with bgzf.BgzfWriter(path) as writer:
            writer.write(content)
    else:
        path.write_bytes(content)

    indexed = open_sequences(path, folder, intervals_only=True)
    encoded = EncodedStore.open(path, folder)

    assert isinstance(indexed, IndexedStore)
    assert list(map(astuple, indexed.records())) == list(map(astuple, encoded.records()))
    assert (indexed.files, indexed.sha256) == (encoded.files, encoded.sha256)
    assert list(indexed.lengths.items()) == list(encoded.lengths.items())
    for record, length in encoded.lengths.items():
        for start in range(length):
            for end in (start + 1, (start + length + 1) // 2, length):
                if start < end:
                    interval = Interval(record, start, end, "+-."[(start + end) % 3])
                    np.testing.assert_array_equal(indexed.codes(interval), encoded.codes(interval))


@pytest.fixture
def indexed(fasta: Path, cache: Path) -> IndexedStore:
    wrapped = (f">{name}\n" + "\n".join(wrap(text, 50)) for name, text in SEQUENCES.items())
    fasta.write_text("\n".join(wrapped))
    store = open_sequences(fasta, cache, intervals_only=True)
    assert isinstance(store, IndexedStore)
    return store


def test_intervals_of_fasta_are_read_by_an_index(indexed: IndexedStore, cache: Path) -> None:
    assert decode(indexed.codes(Interval("chr2", 0, 5, "-"))) == "TAATC"
    assert [folder.name for folder in cache.iterdir()] == ["indexes"]


def test_an_indexed_store_refuses_what_an_encoded_store_refuses(
    indexed: IndexedStore, shared: EncodedStore
) -> None:
    for interval in (Interval("Chr2", 0, 7), Interval("chr2", 0, 8)):
        with pytest.raises(DataError) as expected:
            shared.codes(interval)
        with pytest.raises(DataError, match=re.escape(str(expected.value))):
            indexed.codes(interval)


def test_an_indexed_store_can_be_changed_pickled_and_forked(indexed: IndexedStore) -> None:
    interval = Interval("chr2", 0, 7)
    indexed.codes(interval)[:] = 4
    with multiprocessing.get_context("fork").Pool(2) as pool:  # pickles the interval only
        in_fork = pool.map(pickle.loads(pickle.dumps(indexed)).codes, [interval] * 4)

    assert [decode(codes) for codes in in_fork] == ["GATTACA"] * 4
    assert decode(indexed.codes(interval)) == "GATTACA"


def test_whole_records_are_encoded(fasta: Path, cache: Path) -> None:
    assert isinstance(open_sequences(fasta, cache, intervals_only=False), EncodedStore)


def test_files_that_have_been_encoded_are_not_indexed(fasta: Path, cache: Path) -> None:
    EncodedStore.open(fasta, cache)

    assert isinstance(open_sequences(fasta, cache, intervals_only=True), EncodedStore)
    assert [folder.name for folder in cache.iterdir()] == ["encoded"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.fa.gz",
            gzip.compress(b">x\nACGT\n", mtime=0),
            "is compressed with gzip, but random access",
        ),
        ("a.fa", b">x\nAC\nACGT\nAC\n", "cannot be indexed (Line length of fasta file is not"),
        (
            "a.fa",
            b">x\nAC\nACGT\n",
            "cannot be indexed (the lines of record 'x' are not of",
        ),
        ("a.fa", b">x\nAC GT\n", "cannot be indexed (the lines of record 'x' are not of"),
        ("a.fa", b"\xef\xbb\xbf>x\nACGT\n", "cannot be indexed (Unexpected text before the"),
    ],
    ids=["gzip", "three line lengths", "two line lengths", "a blank", "byte order mark"],
)
def test_files_that_cannot_be_indexed_are_encoded_with_one_message(
    tmp_path: Path, name: str, content: bytes, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (tmp_path / name).write_bytes(content)

    store = open_sequences(tmp_path / name, tmp_path / "cache", intervals_only=True)

    assert isinstance(store, EncodedStore)
    assert decode(store.codes(Interval("x", 1, 4)))[0] == "C"
    (logged,) = caplog.messages
    assert logged.startswith(f"{tmp_path / name}: {message}")
    assert logged.endswith("Now all sequences are read and encoded first.")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b">x\nACGT\n>x\nACGT\n", "record 'x' was already at line 1, but record names must"),
        (b">x\n>y\nACGT\n", "a.fa:1: record 'x' has no sequence, but must have at least one"),
        (b"", "the file is empty, but must have at least one FASTA record"),
        (b"> x\nACGT\n", "a.fa:1: the '>' line has no name, but every record needs one"),
        (b">x\xff\nACGT\n", "is not UTF-8 text, but must be"),
    ],
)
def test_a_broken_file_has_the_same_error_with_and_without_an_index(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "a.fa").write_bytes(content)

    for intervals_only in (True, False):
        with pytest.raises(DataError, match=message):
            open_sequences(tmp_path / "a.fa", tmp_path / "cache", intervals_only=intervals_only)


def test_a_letter_that_is_not_dna_is_found_in_the_interval_that_has_it(
    tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "a.fa").write_text(">x\nACGT\nACET\n")
    store = open_sequences(tmp_path / "a.fa", cache, intervals_only=True)

    assert decode(store.codes(Interval("x", 0, 6))) == "ACGTAC"
    with pytest.raises(
        DataError, match=r"a\.fa: x:4-8\(-\) on strand \+: position 2 holds 'E', but"
    ):
        store.codes(Interval("x", 4, 8, "-"))


def test_several_files_are_read_by_their_indexes(tmp_path: Path, cache: Path) -> None:
    files = [tmp_path / "b.fa", tmp_path / "a.fa"]
    for file, name in zip(files, ("r1", "r2"), strict=True):
        file.write_text(f">{name} {file.stem}\nACGT\n")

    store = open_sequences(files, cache, intervals_only=True)

    assert isinstance(store, IndexedStore)
    assert [(record.name, record.file) for record in store.records()] == [
        ("r1", files[0]),
        ("r2", files[1]),
    ]
    assert store.sha256 == EncodedStore.open(files, cache).sha256
    files[1].write_text(">r1\nACGT\n")
    with pytest.warns(RMTGenomicsWarning, match="1 record name is in several files"):
        store = open_sequences(files, cache, intervals_only=True)
    assert isinstance(store, IndexedStore)
    assert [record.name for record in store.records()] == ["b:r1", "a:r1"]


def test_files_of_other_formats_are_encoded_without_a_message(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (tmp_path / "a.csv").write_text("sequence\nACGT\n")

    assert isinstance(open_sequences(tmp_path / "a.csv", cache, intervals_only=True), EncodedStore)
    assert caplog.messages == []


def flip_one_base(folder: Path) -> None:
    codes = bytearray((folder / "codes.bin").read_bytes())
    codes[-2] = (codes[-2] + 1) % 4
    (folder / "codes.bin").write_bytes(codes)


def longer_codes(folder: Path) -> None:
    with (folder / "codes.bin").open("ab") as file:
        file.write(b"\0")


def no_codes(folder: Path) -> None:
    (folder / "codes.bin").write_bytes(b"")


def edit_index(old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        text = (folder / "index.json").read_text()
        assert old in text
        (folder / "index.json").write_text(text.replace(old, new))

    return edit


@pytest.mark.parametrize(
    "damage",
    [
        *(flip_one_base, longer_codes, no_codes),
        edit_index('"chr2"', '"chr3"'),
        edit_index('"chr2"', '"chr1"'),
        edit_index('"checksums": [', '"checksums": [1, '),
        edit_index('"checksums": [', '"checksums": [' + "[" * 100_000),
        edit_index('"described", ', ""),
        edit_index('"described"', '"scribed"'),
        edit_index('"columns": {}', '"columns": {"chr2": {"label": "x"}}'),
        edit_index('"offsets": [0, ', '"offsets": [0, 1, '),
        edit_index('"offsets": [0', '"offsets": [1'),
        edit_index('"files": [0', '"files": [1'),
    ],
)
def test_an_entry_with_another_checksum_is_encoded_again(
    fasta: Path, cache: Path, damage: Callable[[Path], None]
) -> None:
    test_a_damaged_entry_is_encoded_again_with_a_warning(fasta, cache, damage)
