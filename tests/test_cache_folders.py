"""Cache folders appear complete or not at all."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from rmt_genomics.atomic_io import cache_folder, cache_key, default_cache, remove_cache_folder
from rmt_genomics.errors import DataError


def make_entry(target: Path, content: str, error: BaseException | None = None) -> None:
    with cache_folder(target) as temporary:
        (temporary / "content").write_text(content)
        if error is not None:
            raise error


def test_a_folder_is_filled_and_appears(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "entry"

    make_entry(target, "hello")

    assert (target / "content").read_text() == "hello"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left"), "no space is left, but the cache needs room"),
        (OSError(errno.EACCES, "Permission denied"), "cannot be written.*Permission denied"),
    ],
)
def test_a_disk_error_is_explained_and_leaves_nothing(
    tmp_path: Path, error: OSError, message: str
) -> None:
    with pytest.raises(DataError, match=f"{tmp_path}: {message}.*RMT_GENOMICS_CACHE"):
        make_entry(tmp_path / "entry", "half", error)

    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make_entry(tmp_path / "entry", "half", KeyboardInterrupt())

    assert list(tmp_path.iterdir()) == []


def test_the_entry_of_the_faster_process_stays(tmp_path: Path) -> None:
    target = tmp_path / "entry"

    with cache_folder(target) as temporary:
        (temporary / "content").write_text("slow")
        make_entry(target, "fast")

    assert (target / "content").read_text() == "fast"
    assert list(tmp_path.iterdir()) == [target]


def test_a_cache_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")

    with pytest.raises(DataError, match=r"cache: cannot be written.*RMT_GENOMICS_CACHE"):
        make_entry(tmp_path / "cache" / "entry", "x")


def test_a_file_in_place_of_the_entry_is_refused(tmp_path: Path) -> None:
    (tmp_path / "entry").write_text("")

    with pytest.raises(DataError, match="cannot be written"):
        make_entry(tmp_path / "entry", "x")


def test_removing_twice_is_fine(tmp_path: Path) -> None:
    make_entry(tmp_path / "entry", "x")

    remove_cache_folder(tmp_path / "entry")
    remove_cache_folder(tmp_path / "entry")

    assert list(tmp_path.iterdir()) == []


def test_the_environment_variable_sets_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RMT_GENOMICS_CACHE", "/somewhere")
    assert default_cache() == Path("/somewhere")

    monkeypatch.setenv("RMT_GENOMICS_CACHE", "")
    assert default_cache() == Path.home() / ".cache" / "rmt_genomics"


def test_keys_of_different_parts_differ() -> None:
    assert cache_key("ab", "c") != cache_key("a", "bc")
    assert cache_key("a", 1) == cache_key("a", 1)


def test_the_cache_is_where_the_desktop_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RMT_GENOMICS_CACHE", raising=False)

    monkeypatch.setenv("XDG_CACHE_HOME", "/fast")
    assert default_cache() == Path("/fast/rmt_genomics")

    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert default_cache() == Path.home() / ".cache" / "rmt_genomics"


def test_without_a_home_folder_the_cache_is_temporary(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RMT_GENOMICS_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}[0])  # as for a user without an entry

    assert default_cache() == Path(tempfile.gettempdir()) / f"rmt_genomics-{os.getuid()}"


def test_a_path_that_is_not_utf8_has_a_key() -> None:
    assert cache_key(os.fsdecode(b"caf\xe9")) != cache_key(os.fsdecode(b"caf\xe8"))
