"""Resumable files keep their lines when a run is killed, and take no lines of another run."""

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.atomic_io import check_partial, partial_path, resumable_file
from rmt_genomics.errors import ConfigError

KEY = {"model": "m", "step": None}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stop_after(path: Path, *lines: str, error: BaseException, resume: bool = True) -> None:
    with resumable_file(path, KEY, resume=resume) as file:
        for line in lines:
            file.write(line)
        raise error


def test_a_file_gets_its_name_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"

    with resumable_file(path, KEY, resume=False) as file:
        file.write("one")
        assert partial_path(path).read_text() == "one\n"
        assert not path.exists()

    assert names(tmp_path) == ["a.tsv"]


def test_a_resumed_file_continues_after_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    with pytest.raises(ZeroDivisionError):
        stop_after(path, "one", "two", error=ZeroDivisionError())

    with resumable_file(path, KEY, resume=True) as file:
        assert list(file.lines()) == ["one", "two"]
        file.write("three")

    assert path.read_text() == "one\ntwo\nthree\n"
    assert names(tmp_path) == ["a.tsv"]


@given(cut=st.integers(0, 12))
def test_a_line_cut_in_the_middle_is_written_again(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.tsv"
    with pytest.raises(ZeroDivisionError):
        stop_after(path, "one", "two", "four", error=ZeroDivisionError())
    os.truncate(partial_path(path), cut)

    with resumable_file(path, KEY, resume=True) as file:
        kept = list(file.lines())
        for line in ["one", "two", "four"][len(kept) :]:
            file.write(line)

    assert path.read_text() == "one\ntwo\nfour\n"
    assert len(kept) == "one\ntwo\nfour\n"[:cut].count("\n")


def test_an_error_leaves_nothing_unless_resume_is_set(tmp_path: Path) -> None:
    for resume, left in ((False, []), (True, ["a.tsv.part", "a.tsv.part.json"])):
        with pytest.raises(ZeroDivisionError):
            stop_after(tmp_path / "a.tsv", "one", error=ZeroDivisionError(), resume=resume)
        assert names(tmp_path) == left


def test_control_c_leaves_the_lines_and_names_the_option_to_resume(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match=r"a\.tsv\.part holds the finished l.*--resume"):
        stop_after(tmp_path / "a.tsv", "one", error=KeyboardInterrupt(), resume=False)

    assert partial_path(tmp_path / "a.tsv").read_text() == "one\n"


def test_lines_of_another_run_are_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    with pytest.raises(ZeroDivisionError):
        stop_after(path, "one", error=ZeroDivisionError())

    with (
        pytest.raises(ConfigError, match=r"tsv\.part: was started with model 'm', but .* 'other'"),
        resumable_file(path, {**KEY, "model": "other"}, resume=True),
    ):
        pass

    assert partial_path(path).read_text() == "one\n"


def test_lines_are_only_removed_on_request(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    check_partial(path, resume=False, overwrite=False)
    with pytest.raises(ZeroDivisionError):
        stop_after(path, "one", error=ZeroDivisionError())

    with pytest.raises(ConfigError, match=r"a\.tsv\.part: an interrupted run has left 4 bytes"):
        check_partial(path, resume=False, overwrite=False)
    check_partial(path, resume=True, overwrite=False)
    check_partial(path, resume=False, overwrite=True)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"

    with resumable_file(path, KEY, resume=True) as file:
        file.write("one")
        with (
            pytest.raises(ConfigError, match=r"a\.tsv\.part: another process is writing this"),
            resumable_file(path, KEY, resume=True),
        ):
            pass

    assert path.read_text() == "one\n"


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device: .*a\.tsv'") as caught:
        stop_after(tmp_path / "a.tsv", error=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("note", [None, "{}", "[1]", "no JSON", '{"program": "other"}', "[" * 9999])
def test_a_foreign_file_is_neither_emptied_nor_renamed(tmp_path: Path, note: str | None) -> None:
    path, words = tmp_path / "a.tsv", r"a\.tsv\.part: is not unfinished output of rmt-genomics"
    partial_path(path).write_text("mine")
    if note is not None:
        (tmp_path / "a.tsv.part.json").write_text(note)
    before = contents(tmp_path)

    for resume in (True, False):
        with pytest.raises(ConfigError, match=words):
            check_partial(path, resume=resume, overwrite=not resume)
        with (
            pytest.raises(ConfigError, match=words),
            resumable_file(path, KEY, resume=resume),
        ):
            pass

    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["a.tsv.part", "a.tsv.part.json"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe"])
def test_links_are_not_followed(tmp_path: Path, name: str, kind: str) -> None:
    path, mine = tmp_path / "a.tsv", tmp_path / "mine"
    with pytest.raises(ZeroDivisionError):
        stop_after(path, "one", error=ZeroDivisionError())
    (tmp_path / name).replace(mine)
    match kind:
        case "folder":
            (tmp_path / name).mkdir()
        case "pipe":
            os.mkfifo(tmp_path / name)
        case _:
            (tmp_path / name).symlink_to(mine if kind == "link" else tmp_path / "gone")
    before = names(tmp_path), mine.read_bytes()

    for resume in (True, False):
        with (
            pytest.raises(ConfigError, match=rf"{name}: is a link or not a file, but unfinished"),
            resumable_file(path, KEY, resume=resume),
        ):
            pass

    assert (names(tmp_path), mine.read_bytes()) == before


def test_a_file_that_another_process_finishes_before_the_lock_is_not_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, true_flock = tmp_path / "a.tsv", fcntl.flock
    with pytest.raises(ZeroDivisionError):
        stop_after(path, "one", error=ZeroDivisionError())

    def finished_meanwhile(*arguments: Any) -> None:
        partial_path(path).replace(path)
        true_flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", finished_meanwhile)
    with (
        pytest.raises(ConfigError, match=r"part: another process is writing this file"),
        resumable_file(path, KEY, resume=False),
    ):
        pass

    assert path.read_text() == "one\n"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
