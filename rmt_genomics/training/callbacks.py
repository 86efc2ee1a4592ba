"""Lightning callbacks that report a training: one row of metrics per epoch, and progress.

The rows are in ``metrics.jsonl``, ``metrics.csv`` and every checkpoint. A resumed run first writes
those of its checkpoint, so that an interrupted epoch or half a line never stays in the files.
"""

import csv
import io
import json
import logging
import time
from collections.abc import Sequence
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rmt_genomics.datasets import Batch
from rmt_genomics.model.metrics import validation_metric_keys
from rmt_genomics.prediction.progress import with_unit
from rmt_genomics.training.curriculum import Curriculum
from rmt_genomics.training.distributed import all_gather, rank_and_world_size
from rmt_genomics.training.run_folder import RunFolder

logger = logging.getLogger("rmt_genomics.training")

Row = dict[str, float | int | None]


def validation_columns(task: str) -> dict[str, str]:
    """Return the columns of validation metrics of a task, with their keys in ``model.metrics``."""
    return {f"val_{key}": key for key in validation_metric_keys(task)}


def columns_of(task: str) -> tuple[str, ...]:
    """Return the columns of a run's tables, with the validation metrics of the task."""
    training, speed = ("epoch", "step", "train_loss", "val_loss"), ("bp_per_second", "seconds")
    return (*training, *validation_columns(task), "learning_rate", *speed, "stage")


COLUMNS = columns_of("multiclass")


def best_row(rows: Sequence[Row]) -> Row:
    """Return the row of the saved model: the lowest validation loss in the last stage."""
    last_stage = [row for row in rows if row["stage"] == rows[-1]["stage"]]
    return min(last_stage, key=lambda row: row["val_loss"] or 0.0)


class MetricsLogger(Callback):
    """Measure each epoch and write its row to both files.

    Rows count the stage of ``curriculum`` from 1; it is None without a curriculum.
    """

    state_key = "MetricsLog"  # in checkpoints; must not change: old ones are resumed

    def __init__(self, folder: RunFolder, curriculum: Curriculum | None = None) -> None:
        self.folder = folder
        self.curriculum = curriculum or Curriculum()
        self.rows: list[Row] = []
        self.columns = COLUMNS
        self.read_bp = 0
        self._epoch_start = 0.0
        self._train_seconds = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Write both files anew: empty, or with the rows of the checkpoint."""
        self._epoch_start = time.perf_counter() - self._train_seconds
        self.columns = columns_of(pl_module.model.config.task)
        self._write(trainer)

    def on_train_epoch_start(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self.read_bp, self._train_seconds = 0, 0.0
        self._epoch_start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count base pairs, each once although the model reads both strands."""
        del trainer, pl_module, outputs, batch_idx
        self.read_bp += int(batch.lengths.sum())
        self._train_seconds = time.perf_counter() - self._epoch_start

    @property
    def bp_per_second(self) -> float:
        """Speed of this epoch's training so far, without validation."""
        return self.read_bp / max(self._train_seconds, 1e-9)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Append the row of the epoch; base pairs are those of all processes."""
        read_bp = sum(all_gather([self.read_bp]))
        row: Row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "train_loss": pl_module.train_loss,
            **pl_module.validation,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "bp_per_second": round(read_bp / max(self._train_seconds, 1e-9)),
            "seconds": round(time.perf_counter() - self._epoch_start, 3),
            "stage": self.curriculum.stage + 1 if self.curriculum.is_on else None,
        }
        self.rows.append(row)
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            table = as_csv(self.rows, self.columns)
            self.folder.write({"metrics.jsonl": as_jsonl(self.rows), "metrics.csv": table})

    def state_dict(self) -> dict[str, Any]:
        """Return the rows and the progress within the present epoch, for a checkpoint."""
        return {
            "rows": list(self.rows),
            "read_bp": sum(all_gather([self.read_bp])),  # all processes save at the same time
            "train_seconds": self._train_seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the rows of a checkpoint."""
        self.rows = list(state_dict["rows"])
        rank, _ = rank_and_world_size()
        self.read_bp = state_dict["read_bp"] if rank == 0 else 0  # the saved number is the sum
        self._train_seconds = state_dict["train_seconds"]


def as_jsonl(rows: Sequence[Row]) -> str:
    """Format rows as one JSON object per line."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_csv(rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> str:
    """Format rows as a CSV table; an undefined value is an empty cell."""
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


class TrainingProgress(Callback):
    """Log one line per epoch, and show a progress bar on a terminal.

    ``metrics`` has the numbers, and must come before this in the list of callbacks.
    """

    def __init__(self, metrics: MetricsLogger, max_epochs: int) -> None:
        self.metrics = metrics
        self.max_epochs = max_epochs
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.bar: Progress | None = None
        self.has_trained = False

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Show the bar at the first batch of an epoch, or of the rest of one, on a terminal."""
        del pl_module, batch
        self.has_trained = True
        if self.console.is_terminal and self.bar is None:
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[speed]}"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            name = f"epoch {trainer.current_epoch + 1}/{self.max_epochs}"
            total = int(trainer.num_training_batches)
            self.bar.add_task(name, total=total, completed=batch_idx, speed="")
            self.bar.start()

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Advance the bar."""
        if self.bar is not None:
            task = self.bar.task_ids[0]
            self.bar.update(task, advance=1, speed=format_speed(self.metrics.bp_per_second))

    def on_train_epoch_end(self, *_: Any, **__: Any) -> None:
        """Replace the bar by the line of the epoch."""
        self._remove_bar()
        logger.info(format_epoch(self.metrics.rows[-1], self.max_epochs))

    def on_fit_end(self, *_: Any, **__: Any) -> None:
        """Report a resumed run that was finished already."""
        if not self.has_trained:
            epochs = f"{len(self.metrics.rows)} of at most {self.max_epochs} epochs"
            logger.info("Nothing to resume: the run had finished (%s).", epochs)

    def on_exception(self, *_: Any, **__: Any) -> None:
        """Restore the terminal's cursor."""
        self._remove_bar()

    def _remove_bar(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def format_epoch(row: Row, max_epochs: int) -> str:
    """Format an epoch's row as one line of text."""
    parts = [f"epoch {row['epoch']}/{max_epochs}"]
    if row.get("stage") is not None:
        parts.append(f"stage {row['stage']}")
    for name, value in row.items():
        if name == "train_loss" or name.startswith("val_"):
            parts.append(f"{name} {'n/a' if value is None else format(value, '.4f')}")
    return "  ".join([*parts, format_speed(row["bp_per_second"] or 0), f"{row['seconds']:.1f} s"])


def format_speed(bp_per_second: int | float) -> str:
    """Format a speed in bp/s, kb/s, Mb/s or Gb/s."""
    return f"{with_unit(bp_per_second)}/s"
