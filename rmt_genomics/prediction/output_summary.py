"""What an output of ``predict`` holds, in one sentence: rows by label, and notes.

It is read from the lines, so that rows of an interrupted run and of other processes count, too.
"""

import math
from collections import Counter

from rmt_genomics.errors import counted, three_digits

_MAX_LABELS = 10  # named in the sentence


class OutputSummary:
    """Counts the lines of an output as they come.

    Args:
        output: tsv, bed or bedgraph.
    """

    def __init__(self, output: str) -> None:
        self.num_rows = self.num_notes = 0
        self.labels: Counter[str] = Counter()
        self._low, self._high = math.inf, -math.inf  # of a regression
        self._output = output
        self._columns: list[str] | None = None

    def add(self, line: str) -> None:
        """Count a line; the first is the header."""
        cells = line.rstrip("\n").split("\t")
        if self._columns is None:
            self._columns = {"tsv": cells, "bed": ["record", "start", "end", "label"]}.get(
                self._output, []
            )
            return
        self.num_rows += 1
        row = dict(zip(self._columns, cells, strict=False))
        self.num_notes += bool(row.get("note"))
        if "label" in row:
            # a point is how BED writes that there is no label
            self.labels.update(name or "no label" for name in row["label"].strip(".").split(";"))
        elif row.get("prediction", "NA") != "NA":
            value = float(row["prediction"])
            self._low, self._high = min(self._low, value), max(self._high, value)

    def sentence(self) -> str:
        """Return the rows by label, the most common first; of a regression the range of values."""
        text = counted(self.num_rows, "row")
        if self.labels:
            common = self.labels.most_common(_MAX_LABELS)
            text += f": {', '.join(f'{name} {count:,}' for name, count in common)}"
            if others := len(self.labels) - len(common):
                text += f", and {counted(others, 'more label')}"
        elif self._low <= self._high:
            low, high = three_digits(self._low), three_digits(self._high)
            text += f", predictions of {low} to {high}"
        if self.num_notes:
            text += f"; {self.num_notes:,} with a note"
        return f"{text}."
