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


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(DataError, match="file: is a file, but --out must name a folder"):
        check(tmp_path / "file", overwrite=True)


def test_a_path_that_is_not_utf8_is_written_with_escapes(tmp_path: Path) -> None:
    RunFolder(tmp_path).write({"environment.txt": "train \udce9.fa\n"})

    assert (tmp_path / "environment.txt").read_text() == "train \\udce9.fa\n"


def test_resuming_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no config\.toml, but --resume needs"):
        check(tmp_path, resume=True)


def test_resume_and_overwrite_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="resume keeps what overwrite removes"):
        check(tmp_path, resume=True, overwrite=True)


def test_an_input_that_the_run_would_overwrite_is_refused(tmp_path: Path) -> None:
    (tmp_path / "split.tsv").touch()

    with pytest.raises(DataError, match=r"split\.tsv: is an input, but a run in .* Copy it"):
        check(tmp_path, overwrite=True, reads=tmp_path / "." / "split.tsv")


def test_clear_removes_a_run_and_nothing_else(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.last.parent.mkdir()
    other_files = {tmp_path / "notes.txt", tmp_path / "README.md", folder.last.parent / "mine.ckpt"}
    for file in {*other_files, folder.last, folder.best, folder.config, tmp_path / "metrics.json"}:
        file.touch()

    folder.clear()

    assert {file for file in tmp_path.rglob("*") if file.is_file()} == other_files


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left (os error 28)"),
    ],
)
def test_a_full_disk_is_reported_with_a_remedy(tmp_path: Path, failure: Exception) -> None:
    with (
        pytest.raises(DataError, match=r"no space is left on the disk, but .* Free some space"),
        RunFolder(tmp_path).writing(),
    ):
        raise failure


def test_missing_permissions_are_reported_with_the_file(tmp_path: Path) -> None:
    failure = PermissionError(errno.EACCES, "Permission denied", "runs/a")

    with (
        pytest.raises(DataError, match=r"runs/a: cannot be written \(Permission denied\)"),
        RunFolder(tmp_path).writing(),
    ):
        raise failure


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "broken"), SafetensorError("broken")])
def test_other_errors_are_raised_unchanged(tmp_path: Path, failure: Exception) -> None:
    with pytest.raises(type(failure), match="broken"), RunFolder(tmp_path).writing():
        raise failure
