"""Resumable files keep their lines when a run is killed, and take no lines of another run."""

import errno
import os
from pathlib import Path

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
    partial_path(path).write_text("one\n")

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
