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
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from rmt_genomics.datasets import Batch
from rmt_genomics.errors import counted, three_digits
from rmt_genomics.model.metrics import validation_metric_keys
from rmt_genomics.prediction.progress import Timer, duration, stderr_console, with_unit
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
    """Log one line per epoch; on a terminal show a progress bar, elsewhere log a line a minute.

    ``metrics`` has the numbers, and must come before this in the list of callbacks.
    """

    def __init__(self, metrics: MetricsLogger, max_epochs: int) -> None:
        self.metrics = metrics
        self.max_epochs = max_epochs
        self.console = stderr_console()
        self.bar: Progress | None = None
        self.timer = Timer()
        self.has_trained = False
        self._first_batch = self._done = self._total = 0  # batches of this epoch
        self._start = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log how much there is to do."""
        del pl_module
        epochs = counted(max(0, self.max_epochs - trainer.current_epoch), "epoch")
        logger.info("training: at most %s, %d batches each", epochs, trainer.num_training_batches)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Show the bar at the first batch of an epoch, or of the rest of one, on a terminal."""
        del pl_module, batch
        if batch_idx == 0 or not self.has_trained:
            self._first_batch = self._done = batch_idx
            self._total, self._start = int(trainer.num_training_batches), time.perf_counter()
        self.has_trained = True
        if self.console.is_terminal and self.bar is None:
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[speed]}"),
                console=self.console,
                transient=True,
            )
            name = f"epoch {trainer.current_epoch + 1}/{self.max_epochs}"
            self.bar.add_task(name, total=self._total, completed=batch_idx, speed="")
            self.bar.start()

    def on_train_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Advance the bar, or log a line if the last was a minute ago."""
        self._done += 1
        speed = f"{format_speed(self.metrics.bp_per_second)}, {self._time_left()}"
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], advance=1, speed=speed)
        elif self.timer.is_due():
            epoch = f"epoch {trainer.current_epoch + 1}/{self.max_epochs}"
            logger.info("%s: %s of %s batches, %s", epoch, self._done, self._total, speed)

    def _time_left(self) -> str:
        """Return the time to the end of the epoch, at the speed since its start."""
        seconds = (time.perf_counter() - self._start) / (self._done - self._first_batch)
        return f"{duration(seconds * (self._total - self._done))} left in the epoch"

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
            parts.append(f"{name} {'n/a' if value is None else three_digits(value)}")
    return "  ".join([*parts, format_speed(row["bp_per_second"] or 0), f"{row['seconds']:.1f} s"])


def format_speed(bp_per_second: int | float) -> str:
    """Format a speed in bp/s, kb/s, Mb/s or Gb/s."""
    return f"{with_unit(bp_per_second)}/s"
