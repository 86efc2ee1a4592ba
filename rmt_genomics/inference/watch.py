"""How far a long computation is: who wants to know is told so now and then."""

import os

PARENT = "RMT_GENOMICS_PARENT"
"""The environment variable by which a process that starts shards tells them its id."""


class Watch:
    """Hears of the bp that were computed, and does nothing about it."""

    def read(self, bp: int) -> None:
        """Hear of bp that were computed since the last time."""

    def skipped(self, bp: int) -> None:
        """Hear of bp that were left out: computed before, or by others."""


class Watches(Watch):
    """Several as one."""

    def __init__(self, *others: Watch) -> None:
        self.others = others

    def read(self, bp: int) -> None:
        """Tell all."""
        for each in self.others:
            each.read(bp)

    def skipped(self, bp: int) -> None:
        """Tell all."""
        for each in self.others:
            each.skipped(bp)


class WatchParent(Watch):
    """Ends this process when the one that started it, and said so, has gone."""

    def __init__(self) -> None:
        self.parent = os.environ.get(PARENT)

    def read(self, bp: int) -> None:
        """Look whether it is still there."""
        del bp
        if self.parent is not None and str(os.getppid()) != self.parent:
            raise KeyboardInterrupt("The process that started this one has gone.")
