import csv
import io
import json
import logging
import time
from pathlib import Path

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from rich.console import Console

from rmt_genomics.datasets import Batch
from rmt_genomics.training.callbacks import (
    COLUMNS,
    MetricsLogger,
    Row,
    TrainingProgress,
    as_csv,
    as_jsonl,
    format_epoch,
    format_speed,
)
from rmt_genomics.training.run_folder import RunFolder

ROW: Row = {
    "epoch": 2,
    "step": 8,
    "train_loss": 0.5,
    "val_loss": 0.25,
    "val_mcc": None,
    "val_accuracy": 1.0,
    "val_auroc": None,
    "learning_rate": 1e-4,
    "bp_per_second": 12_345,
    "seconds": 1.26,
    "stage": None,
}


def test_both_files_contain_the_same_numbers() -> None:
    (from_json,) = map(json.loads, as_jsonl([ROW]).splitlines())
    (from_csv,) = csv.DictReader(io.StringIO(as_csv([ROW])))

    assert from_json == ROW
    assert tuple(from_csv) == tuple(ROW) == COLUMNS
    numbers = {name: float(text) for name, text in from_csv.items() if text}
    assert numbers == {name: value for name, value in ROW.items() if value is not None}


def test_without_rows_there_is_only_a_header() -> None:
    assert (as_jsonl([]), as_csv([])) == ("", ",".join(COLUMNS) + "\n")


class FakeTrainer(Trainer):
    """A trainer in its third epoch."""

    current_epoch = 2
    num_training_batches = 4

    def __init__(self) -> None:
        pass


def output_on_terminal(tmp_path: Path, *, fails: bool) -> str:
    """Run an epoch of one batch on a terminal; return the output."""
    metrics = MetricsLogger(RunFolder(tmp_path))
    metrics.rows, metrics.read_bp = [ROW], 500
    progress = TrainingProgress(metrics, 10)
    progress.console = Console(file=io.StringIO(), force_terminal=True, highlight=False)
    progress.on_train_batch_start(FakeTrainer(), LightningModule(), None, 0)
    progress.on_train_batch_end(FakeTrainer())
    assert progress.bar is not None
    progress.bar.refresh()
    if fails:
        progress.on_exception(FakeTrainer(), LightningModule(), KeyboardInterrupt())
    else:
        progress.on_train_epoch_end(FakeTrainer(), LightningModule())
    assert progress.bar is None
    output: str = progress.console.file.getvalue()  # type: ignore[attr-defined]
    return output


def test_a_terminal_shows_a_bar_with_epoch_batches_and_speed_then_the_epoch_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "rmt_genomics"):
        output = output_on_terminal(tmp_path, fails=False)

    for part in ("epoch 3/10", "1/4", "b/s, 0:00 left in the epoch"):
        assert part in output
    (record,) = caplog.records
    assert record.name == "rmt_genomics.training"
    assert "val_loss 0.250" in record.message


def test_off_a_terminal_a_line_a_minute_has_batches_speed_and_time_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    metrics = MetricsLogger(RunFolder(tmp_path))
    progress = TrainingProgress(metrics, 10)
    batch = Batch(
        torch.zeros(1, 60_000, dtype=torch.uint8), torch.tensor([60_000]), torch.ones(1), ["r"]
    )

    with caplog.at_level(logging.INFO, "rmt_genomics"):
        progress.on_train_start(FakeTrainer(), LightningModule())
        metrics.on_train_epoch_start()
        for index in range(4):
            progress.on_train_batch_start(FakeTrainer(), LightningModule(), batch, index)
            now += 40
            metrics.on_train_batch_end(FakeTrainer(), None, None, batch, index)
            progress.on_train_batch_end(FakeTrainer())

    assert [record.message for record in caplog.records] == [
        "training: at most 8 epochs, 4 batches each",
        "epoch 3/10: 2 of 4 batches, 1.5 kb/s, 1:20 left in the epoch",
        "epoch 3/10: 4 of 4 batches, 1.5 kb/s, 0:00 left in the epoch",
    ]


def test_a_resumed_epoch_estimates_its_time_from_its_own_batches(tmp_path: Path) -> None:
    progress = TrainingProgress(MetricsLogger(RunFolder(tmp_path)), 10)

    progress.on_train_batch_start(FakeTrainer(), LightningModule(), None, 3)
    progress._start -= 100
    progress.on_train_batch_end(FakeTrainer())

    assert progress._time_left() == "0:00 left in the epoch"


def test_the_cursor_is_restored_when_training_fails(tmp_path: Path) -> None:
    assert output_on_terminal(tmp_path, fails=True).count("\x1b[?25h") == 1


def test_an_epoch_is_formatted_as_one_line() -> None:
    assert format_epoch(ROW, 10) == (
        "epoch 2/10  train_loss 0.500  val_loss 0.250  val_mcc n/a  val_accuracy 1.00  "
        "val_auroc n/a  "
        "12.3 kb/s  1.3 s"
    )


def test_a_speed_has_the_largest_fitting_unit() -> None:
    assert [format_speed(bp) for bp in (0, 999, 1e3, 2.5e6, 3e9)] == [
        "0 bp/s",
        "999 bp/s",
        "1.0 kb/s",
        "2.5 Mb/s",
        "3.0 Gb/s",
    ]
