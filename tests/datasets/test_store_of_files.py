"""One store of several files and folders, and what it knows of their records."""

import gzip
import re
import shutil
from pathlib import Path

import pytest

from rmt_genomics.datasets.sequence_store import EncodedStore
from rmt_genomics.dna.alphabet import decode
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError
from tests.sequence_files import FILES, SEQUENCES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.fa").write_text(">r1 one\nACGT\n>r2\nGG\n")
    (tmp_path / "in" / "deep" / "b.fa.gz").write_bytes(gzip.compress(b">r3\nTTTAA\n"))
    return tmp_path / "in"


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_is_encoded(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "toy"
    path.write_bytes(FILES[kind])

    store = EncodedStore.open(path)

    found = {name: decode(store.codes(Interval(name, 0, n))) for name, n in store.lengths.items()}
    assert found == SEQUENCES


def test_a_folder_is_its_files_in_order(folder: Path) -> None:
    store = EncodedStore.open(folder)

    assert store.lengths == {"r1": 4, "r2": 2, "r3": 5}
    assert store.files == (folder / "a.fa", folder / "deep" / "b.fa.gz")
    assert decode(store.codes(Interval("r3", 1, 5, "-"))) == "TTAA"


def test_several_files_are_a_folder_of_them(folder: Path) -> None:
    several = EncodedStore.open([folder / "a.fa", folder / "deep"])
    assert several.lengths == EncodedStore.open(folder).lengths
    assert several.sha256 == EncodedStore.open(folder).sha256


def test_what_is_known_of_records_is_kept(folder: Path) -> None:
    (folder / "a.fa").write_text("sequence,label\nACGT,at\n")
    (folder / "deep" / "b.fa.gz").unlink()
    EncodedStore.open(folder)

    (record,) = EncodedStore.open(folder).records()  # from the cache

    assert (record.name, record.length, record.file) == ("a:0", 4, folder / "a.fa")
    assert (record.description, record.columns) == ("", {"label": "at"})


def test_headers_are_kept(folder: Path) -> None:
    assert [each.description for each in EncodedStore.open(folder).records()] == ["one", "", ""]


def test_a_table_of_another_name_has_other_records(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sequence\nACGT\n")
    shutil.copy(tmp_path / "a.csv", tmp_path / "b.csv")

    stores = [EncodedStore.open(tmp_path / name) for name in ("a.csv", "b.csv")]

    assert [list(store.lengths) for store in stores] == [["a:0"], ["b:0"]]
    assert stores[0].sha256 == stores[1].sha256


@pytest.mark.parametrize("change", ["a byte", "the order"])
def test_the_sum_of_several_files_changes_with(folder: Path, change: str) -> None:
    files = [folder / "a.fa", folder / "deep" / "b.fa.gz"]
    before = EncodedStore.open(files).sha256
    if change == "a byte":
        files[0].write_text(">r1 one\nACGT\n>r2\nGC\n")
    else:
        files.reverse()

    assert EncodedStore.open(files).sha256 != before


def test_one_name_in_two_files_is_refused_naming_both(folder: Path) -> None:
    (folder / "c.fa").write_text(">r2\nACGT\n")
    message = f"{folder}/c.fa: record 'r2' is also in {folder}/a.fa, but record names must"

    with pytest.raises(DataError, match=re.escape(message)):
        EncodedStore.open([folder / "a.fa", folder / "c.fa"])


def test_a_pipe_is_refused_since_it_cannot_be_read_twice() -> None:
    with pytest.raises(DataError, match=r"is no file on a disk, but is read twice\. Save it"):
        EncodedStore.open(Path("/dev/null"))


def test_an_entry_that_is_taken_away_is_noticed(folder: Path, tmp_path: Path) -> None:
    store = EncodedStore.open(folder, tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")

    with pytest.raises(DataError, match="the encoded sequences are gone"):
        store.records()
