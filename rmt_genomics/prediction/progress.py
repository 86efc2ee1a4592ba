"""The progress of a prediction: a bar on a terminal, nothing anywhere else."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressCallback:
    """Receives the progress of a prediction, and does nothing with it."""

    def update(self, bp: int) -> None:
        """Receive the bp that were computed since the last call."""

    def skip(self, bp: int) -> None:
        """Receive the bp that are not computed: done before, or of another shard."""


class ProgressBar(ProgressCallback):
    """A bar on stderr with bp, bp/s and, if the total is known, the time left."""

    def __init__(self, bar: Progress, total_bp: int | None) -> None:
        self.bar = bar
        self.total_bp = total_bp
        self.done_bp = 0
        self.started = time.monotonic()
        self.task = bar.add_task("", total=total_bp, speed="", done="0 bp")

    def update(self, bp: int) -> None:
        """Advance the bar."""
        self.done_bp += bp
        done = with_unit(self.done_bp)
        self.bar.update(self.task, completed=self.done_bp, done=done, speed=self.speed())

    def skip(self, bp: int) -> None:
        """Reduce the total: what is not computed does not count for the speed."""
        if self.total_bp is not None:
            self.total_bp = max(self.done_bp, self.total_bp - bp)
            self.bar.update(self.task, total=self.total_bp)

    def speed(self) -> str:
        """Return the speed since the start."""
        return f"{with_unit(self.done_bp / max(1e-9, time.monotonic() - self.started))}/s"

    def summary(self) -> str:
        """Return the line that is shown when the bar has gone."""
        seconds = time.monotonic() - self.started
        return f"{with_unit(self.done_bp)} in {seconds:.1f} s ({self.speed()})"


@contextmanager
def progress_bar(total_bp: Callable[[], int | None]) -> Iterator[ProgressCallback]:
    """Show a bar during a computation, and one line after it; both on a terminal only.

    Only there ``total_bp`` is called. It returns about how many bp there are, or None.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        yield ProgressCallback()
        return
    columns = (
        BarColumn(),
        TextColumn("{task.fields[done]}"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        progress = ProgressBar(bar, total_bp())
        yield progress
    console.print(progress.summary(), markup=False)


def with_unit(bp: int | float) -> str:
    """Write a number of base pairs with the unit that keeps it short.

    Examples:
        >>> with_unit(1234567), with_unit(12)
        ('1.2 Mb', '12 bp')
    """
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if bp >= size:
            return f"{bp / size:.1f} {prefix}b"
    return f"{bp:.0f} bp"
