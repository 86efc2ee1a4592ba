"""What a person sees while records are computed: a bar on a terminal, nothing anywhere else."""

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from rmt_genomics.dna import sequence_files
from rmt_genomics.dna.compression import compression_of
from rmt_genomics.dna.sequence_files import STDIN

PARENT = "RMT_GENOMICS_PARENT"
"""The environment variable by which a process that starts shards tells them its id."""


class ProgressCallback:
    """Hears of the bp that were computed, and does nothing about it."""

    def read(self, bp: int) -> None:
        """Hear of bp that were computed since the last time."""

    def skipped(self, bp: int) -> None:
        """Hear of bp that were left out: computed before, or by others."""


class ShardProgress(ProgressCallback):
    """Several as one."""

    def __init__(self, *others: ProgressCallback) -> None:
        self.others = others

    def read(self, bp: int) -> None:
        """Tell all."""
        for each in self.others:
            each.read(bp)

    def skipped(self, bp: int) -> None:
        """Tell all."""
        for each in self.others:
            each.skipped(bp)


class ProgressToParent(ProgressCallback):
    """Ends this process when the one that started it, and said so, has gone."""

    def __init__(self) -> None:
        self.parent = os.environ.get(PARENT)

    def read(self, bp: int) -> None:
        """Look whether it is still there."""
        del bp
        if self.parent is not None and str(os.getppid()) != self.parent:
            raise KeyboardInterrupt("The process that started this one has gone.")


class ShownProgress(ProgressCallback):
    """A bar on stderr with bp, bp/s and the time left; stdout is for data.

    Args:
        bar: Where it is shown.
        total_bp: About how many there are, if that is known.
    """

    def __init__(self, bar: Progress, total_bp: int | None) -> None:
        self.bar = bar
        self.total_bp = total_bp
        self.read_bp = 0
        self.started = time.monotonic()
        self.task = bar.add_task("", total=total_bp, speed="", done="0 bp")

    def read(self, bp: int) -> None:
        """Move the bar on."""
        self.read_bp += bp
        done, now = with_unit(self.read_bp), f"{with_unit(self.bp_per_second)}/s"
        self.bar.update(self.task, completed=self.read_bp, done=done, speed=now)

    def skipped(self, bp: int) -> None:
        """Expect less: what was computed before is no part of the speed."""
        if self.total_bp is not None:
            self.total_bp = max(self.read_bp, self.total_bp - bp)
            self.bar.update(self.task, total=self.total_bp)

    @property
    def bp_per_second(self) -> float:
        """Speed since the start."""
        return self.read_bp / max(1e-9, time.monotonic() - self.started)

    def summary(self) -> str:
        """Return the line that stays when the bar has gone."""
        seconds = time.monotonic() - self.started
        speed = with_unit(self.bp_per_second)
        return f"{with_unit(self.read_bp)} in {seconds:.1f} s ({speed}/s)"


@contextmanager
def shown_progress(total_bp: Callable[[], int | None]) -> Iterator[ProgressCallback]:
    """Show a bar while something is computed, and a line after it; both on a terminal only.

    Args:
        total_bp: Tells about how many bp there are, or None.
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
        watch = ShownProgress(bar, total_bp())
        yield watch
    console.print(watch.summary(), markup=False)


def bp_in_files(paths: Sequence[Path]) -> int | None:
    """Return about how many bp files hold, by their size; None if that does not tell.

    Packed files and pipes do not tell. Headers and line ends are counted too.
    """
    total = 0
    for file in sequence_files(paths):
        if file == STDIN:
            return None
        mode = file.stat()
        if not stat.S_ISREG(mode.st_mode) or compression_of(file) != "plain":
            return None
        total += mode.st_size
    return total


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
