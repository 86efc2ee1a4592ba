"""A progress bar on a terminal, a plain line a minute anywhere else."""

import gzip
import io
import logging
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from rmt_genomics.prediction.inputs import PredictionInput
from rmt_genomics.prediction.progress import ProgressBar, progress_bar, stderr_console
from tests.prediction.toys import write_fasta


def shown(total: int | None) -> ProgressBar:
    return ProgressBar(Progress(console=Console(file=io.StringIO())), total)


def test_off_a_terminal_there_is_a_line_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    with (
        caplog.at_level(logging.INFO, "rmt_genomics"),
        progress_bar(lambda: 10_000_000) as progress,
    ):
        progress.skip(1_000_000)
        for _ in range(4):
            now += 40
            progress.update(1_000_000)

    assert [record.message for record in caplog.records] == [
        "2.0 Mb of about 9.0 Mb, 25.0 kb/s, 4:40 left",
        "4.0 Mb of about 9.0 Mb, 25.0 kb/s, 3:20 left",
    ]


def test_a_short_prediction_logs_nothing_off_a_terminal(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with progress_bar(lambda: None) as progress:
        progress.update(100)
        progress.skip(100)

    assert (capsys.readouterr(), caplog.records) == (("", ""), [])


def test_forced_colour_does_not_make_a_terminal_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as Jupyter does

    assert Console(stderr=True).is_terminal
    assert not stderr_console().is_terminal


def test_a_terminal_gets_a_bar_and_one_line_that_stays(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Console, "is_terminal", property(lambda _: True))

    with progress_bar(lambda: 3_000_000) as progress:
        progress.update(2_500_000)

    out, err = capsys.readouterr()
    assert out == ""
    assert "2.5 Mb in " in err.splitlines()[-1]
    assert err.rstrip().endswith("b/s)")


def test_the_bar_advances_by_bp_and_its_total_is_reduced_by_skipped_ones() -> None:
    progress = shown(1000)

    progress.update(100)
    progress.skip(400)

    (task,) = progress.bar.tasks
    assert (task.completed, task.total) == (100, 600)
    assert progress.summary().startswith("100 bp in ")
    assert task.fields["left"].endswith(" left")  # from the first step on


def test_without_a_total_bp_and_speed_are_shown() -> None:
    progress = shown(None)

    progress.update(1500)
    progress.skip(10)

    (task,) = progress.bar.tasks
    assert (task.total, task.fields["done"]) == (None, "1.5 kb")
    assert task.fields["speed"].endswith("/s")


def test_the_size_of_plain_files_tells_about_how_many_bp_there_are(tmp_path: Path) -> None:
    plain = write_fasta(tmp_path / "a.fa", {"r": "ACGT" * 100})
    packed = tmp_path / "b.fa.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    def total_bp(*files: Path) -> int | None:
        return PredictionInput(fasta=files).total_bp()

    assert 400 <= (total_bp(plain, plain) or 0) / 2 < 410
    assert total_bp(plain, packed) is None
    assert total_bp(Path("-")) is None
