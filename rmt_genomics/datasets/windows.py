"""Cut labelled records into windows, and keep those of one record in one part of a split.

The rule is that of ``predict --window``: the last window of a record ends with it, so it may
overlap the one before by more than the others do, and a shorter record is one shorter window. So
every base is in a window. Windows of one record resemble each other (composition, repeats, and the
bases that they share if they overlap): they get one group, so that they stay in one part of the
split and are drawn together for intervals of metrics.
"""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rmt_genomics.datasets.examples import Example
from rmt_genomics.dna.record_types import Interval, check_windows, windows
from rmt_genomics.errors import DataError, RMTGenomicsWarning, counted
from rmt_genomics.parsing import read_text, read_toml, shown

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Windows:
    """Length of the windows, and the step from the start of one to that of the next, in bp.

    Raises:
        ConfigError: If not 1 <= step <= window.
    """

    window_bp: int
    step_bp: int

    def __post_init__(self) -> None:
        check_windows(self.window_bp, self.step_bp)

    @classmethod
    def of(cls, window_bp: int | None, step_bp: int | None = None) -> "Windows | None":
        """Return the windows of this length, by default side by side; None without a length."""
        return cls(window_bp, step_bp or window_bp) if window_bp else None

    @classmethod
    def of_run(cls, folder: str | Path) -> "Windows | None":
        """Return the windows that a model was trained on, by ``config.toml`` in its folder."""
        path = Path(folder) / "config.toml"
        if not path.is_file():
            return None
        text = read_text(path, "the settings of a run")
        data = read_toml(text, str(path), "Restore the file.").get("data", {})
        window_bp, step_bp = (
            data.get(name, 0) if isinstance(data, dict) else None
            for name in ("window_bp", "step_bp")
        )
        if not (isinstance(window_bp, int) and isinstance(step_bp, int)):
            raise DataError(
                f"{path}: data.window_bp is {shown(window_bp)} and data.step_bp {shown(step_bp)}, "
                "but they must be whole numbers of bp. Restore the file."
            )
        return cls.of(window_bp, step_bp)

    def __str__(self) -> str:
        return f"windows of {self.window_bp:,} bp, step {self.step_bp:,} bp"

    def cut(self, examples: Sequence[Example]) -> list[Example]:
        """Cut examples into windows, in their order; log counts, warn of shorter examples.

        A window has the labels, the split and the group of its example; without groups, its record
        is the group.

        Raises:
            DataError: If a record has examples of two groups.
        """
        _check_groups(examples)
        cut = [window for example in examples for window in self._windows_of(example)]
        records = len({example.interval.record for example in examples})
        num_shorter = sum(len(example.interval) < self.window_bp for example in examples)
        logger.info(
            "Cut %s of %s into %s of %s bp (step %s bp; the last window of each ends with it).",
            counted(len(examples), "example"),
            counted(records, "record"),
            counted(len(cut), "window"),
            f"{self.window_bp:,}",
            f"{self.step_bp:,}",
        )
        if num_shorter:
            warnings.warn(
                f"{num_shorter:,} of {counted(len(examples), 'example')} are shorter than a window "
                f"of {self.window_bp:,} bp; each of them is one shorter window.",
                RMTGenomicsWarning,
                stacklevel=2,
            )
        return cut

    def _windows_of(self, example: Example) -> list[Example]:
        group = example.group or example.interval.record
        record, start, strand = (
            getattr(example.interval, name) for name in ("record", "start", "strand")
        )
        if len(example.interval) <= self.window_bp:
            return [replace(example, group=group)]
        return [
            replace(
                example,
                interval=Interval(record, start + cut.start, start + cut.end, strand),
                whole=False,
                group=group,
            )
            for cut in windows(record, len(example.interval), self.window_bp, self.step_bp)
        ]

    def to_json(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Return what ``metrics.json`` says of evaluated windows."""
        return {
            **asdict(self),
            "records": len({example.interval.record for example in examples}),
            "groups": len({example.group for example in examples}),
        }


def _check_groups(examples: Sequence[Example]) -> None:
    group_of: dict[str, str | None] = {}
    for example in examples:
        record = example.interval.record
        if (group := group_of.setdefault(record, example.group)) != example.group:
            raise DataError(
                f"the record {shown(record)} has examples of the groups {shown(group)} and "
                f"{shown(example.group)}, but all windows of a record must be in one. Give the "
                "record one group, or leave out --window."
            )
