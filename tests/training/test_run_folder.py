import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError

from rmt_genomics.errors import CheckpointError, DataError
from rmt_genomics.training.run_folder import RunFolder


def check(path: Path, *, resume: bool = False, overwrite: bool = False, reads: Path | None = None):
    inputs = [reads] if reads else []
    RunFolder(path).check_usable(inputs=inputs, resume=resume, overwrite=overwrite)


def test_a_new_or_empty_folder_is_usable(tmp_path: Path) -> None:
    check(tmp_path)
    check(tmp_path / "new")


def test_a_folder_in_use_is_refused_with_the_remedies(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()

    with pytest.raises(
        DataError, match=r"not empty, but a new run needs .* --overwrite .* --resume"
    ):
        check(tmp_path)
    check(tmp_path, overwrite=True)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DataError, match="file: is a file, but --out must name a folder"):
        check(tmp_path / "file", overwrite=True)


def test_resuming_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no config\.toml, but --resume needs"):
        check(tmp_path, resume=True)


def test_resuming_and_overwriting_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="resume keeps what overwrite removes"):
        check(tmp_path, resume=True, overwrite=True)


def test_what_is_read_is_never_what_is_removed(tmp_path: Path) -> None:
    (tmp_path / "split.tsv").touch()

    with pytest.raises(DataError, match=r"split\.tsv: is to be read, but a run in .* Copy it"):
        check(tmp_path, overwrite=True, reads=tmp_path / "." / "split.tsv")


def test_clearing_removes_a_run_and_nothing_else(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.last.parent.mkdir()
    theirs = {tmp_path / "notes.txt", tmp_path / "README.md", folder.last.parent / "mine.ckpt"}
    for file in {*theirs, folder.last, folder.best, folder.config, tmp_path / "metrics.json"}:
        file.touch()

    folder.clear()

    assert {file for file in tmp_path.rglob("*") if file.is_file()} == theirs


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left (os error 28)"),
    ],
)
def test_a_full_disk_is_named_with_a_remedy(tmp_path: Path, failure: Exception) -> None:
    with (
        pytest.raises(DataError, match=r"no space is left on the disk, but .* Free some space"),
        RunFolder(tmp_path).writing(),
    ):
        raise failure


def test_missing_rights_are_named_with_the_file(tmp_path: Path) -> None:
    failure = PermissionError(errno.EACCES, "Permission denied", "runs/a")

    with (
        pytest.raises(DataError, match=r"runs/a: cannot be written \(Permission denied\)"),
        RunFolder(tmp_path).writing(),
    ):
        raise failure


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "broken"), SafetensorError("broken")])
def test_other_failures_are_not_hidden(tmp_path: Path, failure: Exception) -> None:
    with pytest.raises(type(failure), match="broken"), RunFolder(tmp_path).writing():
        raise failure
