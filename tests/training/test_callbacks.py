import csv
import io
import json
import logging
from pathlib import Path

import pytest
from pytorch_lightning import LightningModule, Trainer
from rich.console import Console

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
    progress.on_train_batch_end()
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

    for part in ("epoch 3/10", "1/4", "b/s"):
        assert part in output
    (record,) = caplog.records
    assert record.name == "rmt_genomics.training"
    assert "val_loss 0.2500" in record.message


def test_the_cursor_is_restored_when_training_fails(tmp_path: Path) -> None:
    assert output_on_terminal(tmp_path, fails=True).count("\x1b[?25h") == 1


def test_an_epoch_is_formatted_as_one_line() -> None:
    assert format_epoch(ROW, 10) == (
        "epoch 2/10  train_loss 0.5000  val_loss 0.2500  val_mcc n/a  val_accuracy 1.0000  "
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
