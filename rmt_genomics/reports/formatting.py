"""How numbers and names appear in the report and the model card: one formatter for both."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from rmt_genomics.errors import three_digits

MISSING = "-"  # what is shown for a missing value


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95% confidence interval."""

    value: float
    low: float
    high: float


Cell = str | int | float | bool | Estimate | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of unformatted values; the first cell of each row is the name of the row."""

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    @property
    def columns(self) -> Iterable[tuple[str, bool]]:
        """The name of each column, and whether it holds numbers only."""
        for index, name in enumerate(self.header):
            yield name, not any(isinstance(row[index], str) for row in self.rows)


def estimate(metrics: Mapping[str, Any], key: str) -> Cell:
    """Return a metric with its interval; the value alone where ``intervals`` does not have it."""
    value: Cell = metrics.get(key)
    low, high = (metrics.get("intervals") or {}).get(key) or (None, None)
    if not isinstance(value, int | float) or low is None or high is None:
        return value
    return Estimate(float(value), float(low), float(high))  # JSON has whole numbers, too


def number(value: Cell) -> str:
    """Write a value with three significant digits; an integer with all of its digits.

    Examples:
        >>> [number(value) for value in (0.98712, 0.0123, 0.8, 12.34, 1234, 1234.5, 2.5e-05)]
        ['0.987', '0.0123', '0.800', '12.3', '1,234', '1,234', '2.50e-05']
        >>> [number(value) for value in (None, True, "text", Estimate(0.912, 0.8712, 0.9441))]
        ['-', 'yes', 'text', '0.912 (0.871 to 0.944)']
    """
    if value is None or value == "":
        return MISSING
    if isinstance(value, Estimate):
        return f"{number(value.value)} ({number(value.low)} to {number(value.high)})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return three_digits(value) if isfinite(value) else MISSING
