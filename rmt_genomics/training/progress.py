"""What a person sees while training: a bar on a terminal, one line an epoch anywhere else."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rmt_genomics.training.metrics_log import MetricsLog, Row


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
