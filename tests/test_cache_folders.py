"""Folders appear whole or not at all."""

import errno
from pathlib import Path

import pytest

from rmt_genomics.atomic_io import build_folder, default_cache, key_of, remove_folder
from rmt_genomics.errors import DataError


def write(text: str, fail: BaseException | None = None):
    def build(folder: Path) -> None:
        (folder / "content").write_text(text)
        if fail is not None:
            raise fail

    return build


def test_a_folder_is_filled_and_appears(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "entry"

    build_folder(target, write("hello"))

    assert (target / "content").read_text() == "hello"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (OSError(errno.ENOSPC, "No space left"), "no space is left, but the cache needs room"),
        (OSError(errno.EACCES, "Permission denied"), "cannot be written.*Permission denied"),
    ],
)
def test_a_disk_error_is_explained_and_leaves_nothing(
    tmp_path: Path, failure: OSError, message: str
) -> None:
    with pytest.raises(DataError, match=f"{tmp_path}: {message}.*RMT_GENOMICS_CACHE"):
        build_folder(tmp_path / "entry", write("half", failure))

    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build_folder(tmp_path / "entry", write("half", KeyboardInterrupt()))

    assert list(tmp_path.iterdir()) == []


def test_the_quicker_process_wins(tmp_path: Path) -> None:
    target = tmp_path / "entry"

    def slow(folder: Path) -> None:
        (folder / "content").write_text("slow")
        build_folder(target, write("quick"))

    build_folder(target, slow)

    assert (target / "content").read_text() == "quick"
    assert list(tmp_path.iterdir()) == [target]


def test_a_cache_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")

    with pytest.raises(DataError, match=r"cache: cannot be written.*RMT_GENOMICS_CACHE"):
        build_folder(tmp_path / "cache" / "entry", write("x"))


def test_a_place_taken_by_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "entry").write_text("")

    with pytest.raises(DataError, match="cannot be written"):
        build_folder(tmp_path / "entry", write("x"))


def test_removing_twice_is_fine(tmp_path: Path) -> None:
    build_folder(tmp_path / "entry", write("x"))

    remove_folder(tmp_path / "entry")
    remove_folder(tmp_path / "entry")

    assert list(tmp_path.iterdir()) == []


def test_the_cache_is_where_the_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RMT_GENOMICS_CACHE", "/somewhere")
    assert default_cache() == Path("/somewhere")

    monkeypatch.setenv("RMT_GENOMICS_CACHE", "")
    assert default_cache() == Path.home() / ".cache" / "rmt_genomics"


def test_keys_tell_parts_apart() -> None:
    assert key_of("ab", "c") != key_of("a", "bc")
    assert key_of("a", 1) == key_of("a", 1)
