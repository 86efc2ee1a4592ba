"""Two processes and one output: the second is told who is writing; a killed one locks nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from rmt_genomics.errors import ConfigError
from rmt_genomics.evaluation import evaluate
from rmt_genomics.locks import locked, new_file, try_lock
from tests.cli.toys import fail
from tests.training.toys import run, write_data

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no fcntl, so no locks")

HOLD = (
    "import sys; from pathlib import Path; from rmt_genomics.locks import locked\n"
    "with locked(Path(sys.argv[1]), is_folder=sys.argv[2] == 'folder'):\n"
    "    print('locked', flush=True); sys.stdin.read()\n"
)


@contextmanager
def other_process(path: Path, kind: str) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold the lock of an output."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path), kind], **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


def test_train_and_evaluate_are_told_who_writes_the_folder(tmp_path: Path) -> None:
    fasta, labels = write_data(tmp_path)
    out, options = tmp_path / "out", ("--labels", labels, "--out", tmp_path / "out")
    with other_process(out, "folder") as other:
        message = f"out: process {other.pid} on "
        for more in ([], ["--resume"], ["--overwrite"]):
            assert message in fail("train", fasta, *options, *more)
        assert message in fail("evaluate", "model", fasta, *options)
        assert message in fail(
            "simulate", "--task", "order", "--length", 99, "--out", tmp_path / "out"
        )
        told = r"is writing it, but only one process may\. Wait"
        with pytest.raises(ConfigError, match=told):
            run((fasta, labels), out)
        with pytest.raises(ConfigError, match=told):
            evaluate("model", fasta, labels, out)


def test_split_and_embed_are_told_who_writes_the_file(tmp_path: Path) -> None:
    fasta, labels = write_data(tmp_path)
    with other_process(tmp_path / "a.tsv", "file") as other:
        message = f"a.tsv: process {other.pid} on "
        out = ("--out", tmp_path / "a.tsv")
        assert message in fail("split", fasta, "--labels", labels, *out)
        assert message in fail("embed", "model", fasta, *out)


def test_a_killed_process_locks_nothing_and_its_file_goes(tmp_path: Path) -> None:
    with other_process(tmp_path / "new" / "out", "folder") as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert [path.name for path in (tmp_path / "new" / "out").iterdir()] == [".lock"]

    with locked(tmp_path / "new" / "out", is_folder=True):
        pass

    assert list((tmp_path / "new" / "out").iterdir()) == []


def test_a_process_may_lock_again_and_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with locked(out, is_folder=True), locked(out / ".." / "out", is_folder=True):
        assert (out / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    with new_file(tmp_path / "a.tsv", inputs=[], overwrite=False):
        (tmp_path / "a.tsv").write_text("a")

    assert [path.name for path in tmp_path.iterdir()] == ["a.tsv"]


def test_a_lock_whose_file_was_just_removed_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []

    def lock_after_its_holder_has_removed_it(file: IO[bytes]) -> bool:
        if not calls:
            Path(file.name).unlink()
        calls.append(try_lock(file))
        return calls[-1]

    monkeypatch.setattr("rmt_genomics.locks.try_lock", lock_after_its_holder_has_removed_it)

    with locked(tmp_path, is_folder=True):
        assert (tmp_path / ".lock").exists()

    assert calls == [True, True]


def test_a_file_made_by_another_process_in_the_meantime_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "rmt_genomics.locks._acquire",
        lambda lock, path, *_: path.touch() or lock.open("wb"),
    )

    with (
        pytest.raises(ConfigError, match="the file exists"),
        new_file(tmp_path / "a.tsv", inputs=[], overwrite=False),
    ):
        pass
