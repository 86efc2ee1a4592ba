import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError

from rmt_genomics.errors import CheckpointError, ConfigError, DataError
from rmt_genomics.training.run_folder import RunFolder
from tests.training.toys import run as train_toys
from tests.training.toys import write_data


def check(path: Path, *, resume: bool = False, overwrite: bool = False, reads: Path | None = None):
    inputs = [reads] if reads else []
    RunFolder(path).check_usable(inputs=inputs, resume=resume, overwrite=overwrite)


def prove(path: Path) -> None:
    """Write what proves that a folder is of a run."""
    (path / "environment.txt").write_text("seed: 0\nrmt-genomics: 0.1.0\n")


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

    with (
        pytest.raises(ConfigError, match="file: is a file, but --out must name a folder"),
        RunFolder(tmp_path / "file").writing(),
    ):
        pass


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
    prove(tmp_path)

    with pytest.raises(DataError, match=r"split\.tsv: is an input, but a run in .* Copy it"):
        check(tmp_path, overwrite=True, reads=tmp_path / "." / "split.tsv")


def test_clear_removes_a_run_and_nothing_else(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.last.parent.mkdir()
    other_files = {tmp_path / "notes.txt", tmp_path / "README.md", folder.last.parent / "mine.ckpt"}
    for file in {*other_files, folder.last, folder.best, folder.config, tmp_path / "metrics.json"}:
        file.touch()

    prove(tmp_path)
    check(tmp_path, overwrite=True)
    folder.clear()

    proof = tmp_path / "environment.txt"
    assert {file for file in tmp_path.rglob("*") if file.is_file()} == {*other_files, proof}


@pytest.mark.parametrize(
    "name", ["config.json", "metrics.json", "report.html", "environment.txt", "checkpoints/a"]
)
def test_nothing_is_overwritten_that_is_not_proved_to_be_of_a_run(
    tmp_path: Path, name: str
) -> None:
    file = tmp_path / name.replace("/a", "/last.ckpt")
    file.parent.mkdir(exist_ok=True)
    file.write_text("torch: 2.9\nmine")

    with pytest.raises(ConfigError, match=r"would be replaced, but no environment\.txt of rmt-"):
        check(tmp_path, overwrite=True)
    assert file.read_text().endswith("mine")


def test_no_link_is_followed_and_no_folder_removed(tmp_path: Path) -> None:
    elsewhere, run = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.mkdir()
    run.mkdir()
    prove(run)
    (elsewhere / "last.ckpt").touch()
    (run / "checkpoints").symlink_to(elsewhere)

    with pytest.raises(ConfigError, match="checkpoints: is a link, but only what is in"):
        check(run, overwrite=True)
    (run / "checkpoints").unlink()
    (run / "report.html").mkdir()
    with pytest.raises(ConfigError, match=r"report\.html: is a folder, but only files are"):
        check(run, overwrite=True)
    assert (elsewhere / "last.ckpt").exists()


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


def test_what_cannot_be_trained_leaves_an_earlier_run_as_it_is(tmp_path: Path) -> None:
    """Equal numbers are found after the split, and the engine refuses last of all."""
    data = write_data(tmp_path)
    train_toys(data, tmp_path / "run", training__max_epochs=1)
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    parts = [("1.5", "train")] * 12 + [("2.5", "validation"), ("3.5", "validation")] * 2
    rows = [f"r{index}\t{label}\t{part}\n" for index, (label, part) in enumerate(parts)]
    (tmp_path / "equal.tsv").write_text("".join(["record\tlabel\tsplit\n", *rows]))

    with pytest.raises(DataError, match=r"all \d+ labels of the training part are 1\.5"):
        train_toys(
            (data[0], tmp_path / "equal.tsv"),
            tmp_path / "run",
            overwrite=True,
            data__task="'regression'",
        )

    after = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert after == before


def test_an_engine_that_cannot_start_is_found_before_the_folder_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = "pytorch_lightning.trainer.connectors.accelerator_connector"
    monkeypatch.setattr(f"{connector}._IS_INTERACTIVE", True)

    with pytest.raises(ConfigError, match=r"--devices 2: the training engine cannot start here: "):
        train_toys(write_data(tmp_path), tmp_path / "run", devices=2)
    assert not (tmp_path / "run").exists()


def test_exhausted_memory_is_reported_with_the_settings_that_need_less(tmp_path: Path) -> None:
    message = r"memory ran out \(could not create a primitive\), but .*replay=true and a smaller"

    with pytest.raises(ConfigError, match=message), RunFolder(tmp_path).writing():
        raise RuntimeError("could not create a primitive")
    with pytest.raises(RuntimeError, match="a bug"), RunFolder(tmp_path).writing():
        raise RuntimeError("a bug")
