"""One row of numbers an epoch, in ``metrics.jsonl`` and ``metrics.csv``.

The rows are part of every checkpoint. A resumed run first writes those of its checkpoint anew, so
that an epoch which was cut off, or half a line, never stays in the files.
"""

import csv
import io
import json
import time
from collections.abc import Sequence
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rmt_genomics.datasets import Batch
from rmt_genomics.model.metrics import validation_metric_keys
from rmt_genomics.training.curriculum import Curriculum
from rmt_genomics.training.distributed import gathered, this_rank
from rmt_genomics.training.run_folder import RunFolder

Row = dict[str, float | int | None]

COLUMNS: tuple[str, ...] = (
    "epoch",
    "step",
    "train_loss",
    "val_loss",
    "val_mcc",
    "val_accuracy",
    "val_auroc",
    "learning_rate",
    "bp_per_second",
    "seconds",
    "stage",
)


def scores_of(task: str) -> dict[str, str]:
    """Return the columns of validation metrics of a task, with their keys in ``model.metrics``."""
    return {f"val_{key}": key for key in validation_metric_keys(task)}


def columns_of(task: str) -> tuple[str, ...]:
    """Return the columns of a run's tables: those of its task in the place of the usual ones."""
    first, last = COLUMNS.index("val_mcc"), COLUMNS.index("val_auroc") + 1
    return (*COLUMNS[:first], *scores_of(task), *COLUMNS[last:])


class MetricsLog(Callback):
    """Measure each epoch and append its row to both files.

    Args:
        folder: Where the files are.
        curriculum: Says the stage, which rows count from 1 (None without stages).
    """

    def __init__(self, folder: RunFolder, curriculum: Curriculum | None = None) -> None:
        self.folder = folder
        self.curriculum = curriculum or Curriculum()
        self.rows: list[Row] = []
        self.columns = COLUMNS
        self.read_bp = 0
        self._epoch_start = 0.0
        self._train_seconds = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Begin both files: empty, or with the rows of the checkpoint."""
        self._epoch_start = time.perf_counter() - self._train_seconds
        self.columns = columns_of(pl_module.model.config.task)
        if trainer.is_global_zero:
            table = as_csv(self.rows, self.columns)
            texts = {"metrics.jsonl": as_jsonl(self.rows), "metrics.csv": table}
            self.folder.write(texts)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        del trainer, pl_module
        self.read_bp, self._train_seconds = 0, 0.0
        self._epoch_start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count base pairs, each once, though the model reads both strands."""
        del trainer, pl_module, outputs, batch_idx
        self.read_bp += int(batch.lengths.sum())
        self._train_seconds = time.perf_counter() - self._epoch_start

    @property
    def bp_per_second(self) -> float:
        """Speed of this epoch's training so far; validation not counted."""
        return self.read_bp / max(self._train_seconds, 1e-9)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Append the row of the epoch; the base pairs are those of all processes."""
        read_bp = sum(gathered([self.read_bp]))
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
        if not trainer.is_global_zero:
            return
        line = as_line(row, self.columns)
        for name, text in (("metrics.jsonl", as_jsonl([row])), ("metrics.csv", line)):
            with (self.folder.path / name).open("a", encoding="utf-8", newline="") as file:
                file.write(text)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows, and how far the present epoch is."""
        return {
            "rows": list(self.rows),
            "read_bp": sum(gathered([self.read_bp])),  # all processes save together
            "train_seconds": self._train_seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the rows of a checkpoint."""
        self.rows = list(state_dict["rows"])
        self.read_bp = state_dict["read_bp"] if this_rank()[0] == 0 else 0
        self._train_seconds = state_dict["train_seconds"]


def best_row(rows: Sequence[Row]) -> Row:
    """Return the row of the model that is kept: of the last stage, the lowest validation loss."""
    last = [row for row in rows if row["stage"] == rows[-1]["stage"]]
    return min(last, key=lambda row: row["val_loss"] or 0.0)


def as_jsonl(rows: Sequence[Row]) -> str:
    """Write one JSON object a line."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_csv(rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> str:
    """Write a header and one line a row; a value that is not defined stays empty."""
    return ",".join(columns) + "\n" + "".join(as_line(row, columns) for row in rows)


def as_line(row: Row, columns: Sequence[str] = COLUMNS) -> str:
    """Write one line of the CSV file."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([row[name] for name in columns])
    return line.getvalue()


class ShowProgress(Callback):
    """Talk on stderr; stdout is for data.

    Args:
        measured: Measures; must come before this in the list of callbacks.
        max_epochs: Shown beside the epoch's number.
    """

    def __init__(self, measured: MetricsLog, max_epochs: int) -> None:
        self.measured = measured
        self.max_epochs = max_epochs
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.bar: Progress | None = None
        self.has_begun = False

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Show a bar at the first batch of an epoch, or of the rest of one, on a terminal."""
        del pl_module, batch
        self.has_begun = True
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
        """Move the bar on."""
        if self.bar is not None:
            task = self.bar.task_ids[0]
            self.bar.update(task, advance=1, speed=speed(self.measured.bp_per_second))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace the bar by the line of the epoch."""
        del trainer, pl_module
        self._remove_bar()
        self.console.print(line(self.measured.rows[-1], self.max_epochs), markup=False)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say so if a resumed run had nothing left to do."""
        del trainer, pl_module
        if not self.has_begun:
            done = f"{len(self.measured.rows)} of at most {self.max_epochs} epochs"
            self.console.print(f"Nothing was left to do: the run had finished ({done}).")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the terminal as it was."""
        del trainer, pl_module, exception
        self._remove_bar()

    def _remove_bar(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def line(row: Row, max_epochs: int) -> str:
    """Write an epoch's numbers for people."""
    shown = [f"epoch {row['epoch']}/{max_epochs}"]
    if row.get("stage") is not None:
        shown.append(f"stage {row['stage']}")
    for name in [name for name in row if name == "train_loss" or name.startswith("val_")]:
        value = row[name]
        shown.append(f"{name} {'n/a' if value is None else format(value, '.4f')}")
    return "  ".join([*shown, speed(row["bp_per_second"] or 0), f"{row['seconds']:.1f} s"])


def speed(bp_per_second: int | float) -> str:
    """Write a speed with the unit that keeps it short."""
    for unit, size in (("Gb", 1e9), ("Mb", 1e6), ("kb", 1e3)):
        if bp_per_second >= size:
            return f"{bp_per_second / size:.1f} {unit}/s"
    return f"{bp_per_second:.0f} bp/s"
