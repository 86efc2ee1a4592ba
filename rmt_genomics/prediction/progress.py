"""The progress of a computation: a bar on a terminal, one plain line a minute anywhere else."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

logger = logging.getLogger(__name__)

LOG_SECONDS = 60  # between two lines


class ProgressCallback:
    """Receives the progress of a prediction, and does nothing with it."""

    def update(self, bp: int) -> None:
        """Receive the bp that were computed since the last call."""

    def skip(self, bp: int) -> None:
        """Receive the bp that are not computed: done before, or of another shard."""


class Speed(ProgressCallback):
    """Counts bp and the time since the start."""

    def __init__(self, total_bp: int | None) -> None:
        self.total_bp = total_bp
        self.done_bp = 0
        self.started = time.monotonic()

    def update(self, bp: int) -> None:
        """Count bp."""
        self.done_bp += bp

    def skip(self, bp: int) -> None:
        """Reduce the total: what is not computed does not count for the speed."""
        if self.total_bp is not None:
            self.total_bp = max(self.done_bp, self.total_bp - bp)

    def speed(self) -> str:
        """Return the speed since the start."""
        return f"{with_unit(self.done_bp / max(1e-9, time.monotonic() - self.started))}/s"

    def left(self) -> str:
        """Return the time left at this speed; empty if the total is not known."""
        if not self.total_bp or not self.done_bp:
            return ""
        seconds = time.monotonic() - self.started
        return f"{duration(seconds * (self.total_bp / self.done_bp - 1))} left"

    def summary(self) -> str:
        """Return what was done, in how much time."""
        seconds = time.monotonic() - self.started
        return f"{with_unit(self.done_bp)} in {seconds:.1f} s ({self.speed()})"


class ProgressBar(Speed):
    """A bar on stderr with bp, bp/s and, if the total is known, the time left."""

    def __init__(self, bar: Progress, total_bp: int | None) -> None:
        super().__init__(total_bp)
        self.bar = bar
        self.task = bar.add_task("", total=total_bp, speed="", done="0 bp", left="")

    def update(self, bp: int) -> None:
        """Advance the bar."""
        super().update(bp)
        self.bar.update(
            self.task,
            completed=self.done_bp,
            done=with_unit(self.done_bp),
            speed=self.speed(),
            left=self.left(),
        )

    def skip(self, bp: int) -> None:
        """Reduce the total."""
        super().skip(bp)
        self.bar.update(self.task, total=self.total_bp)


class ProgressLog(Speed):
    """Logs a line a minute: bp, bp/s and, if the total is known, the time left."""

    def __init__(self, total_bp: int | None) -> None:
        super().__init__(total_bp)
        self.timer = Timer()

    def update(self, bp: int) -> None:
        """Log if a minute has passed."""
        super().update(bp)
        if self.timer.is_due():
            of = "" if self.total_bp is None else f" of about {with_unit(self.total_bp)}"
            left = f", {self.left()}" if self.left() else ""
            logger.info("%s%s, %s%s", with_unit(self.done_bp), of, self.speed(), left)


class Timer:
    """Tells when the next line of a log is due."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def is_due(self) -> bool:
        """Whether a minute has passed since the start, or since the last time it was due."""
        now = time.monotonic()
        if now - self.last < LOG_SECONDS:
            return False
        self.last = now
        return True


@contextmanager
def progress_bar(total_bp: Callable[[], int | None]) -> Iterator[ProgressCallback]:
    """Show a bar during a computation, and one line after it; off a terminal a line a minute.

    ``total_bp`` returns about how many bp there are, or None.
    """
    console = stderr_console()
    if not console.is_terminal:
        yield ProgressLog(total_bp())
        return
    names = ("done", "speed", "left")
    columns = [BarColumn(), *(TextColumn(f"{{task.fields[{name}]}}") for name in names)]
    with Progress(*columns, console=console, transient=True) as bar:
        progress = ProgressBar(bar, total_bp())
        yield progress
    console.print(progress.summary(), markup=False)


def stderr_console() -> Console:
    """Return the console of progress bars.

    It is a terminal only if stderr is one: Jupyter and CI systems set FORCE_COLOR, by which rich
    would write the codes of a moving bar into a file or a notebook.
    """
    is_terminal = None if sys.stderr.isatty() else False
    return Console(stderr=True, highlight=False, soft_wrap=True, force_terminal=is_terminal)


def duration(seconds: float) -> str:
    """Write a time as hours, minutes and seconds.

    Examples:
        >>> duration(75.2), duration(7262.0)
        ('1:15', '2:01:02')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


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
