"""One labelled line, to be asked for its columns by name; each answer is checked."""

from collections.abc import Mapping

from rmt_genomics.datasets.examples import Example
from rmt_genomics.datasets.names import did_you_mean
from rmt_genomics.dna.interval import Interval
from rmt_genomics.errors import DataError

SPLIT_WORDS = {"val": "validation", "dev": "validation", "valid": "validation"} | {
    word: word for word in ("train", "validation", "test")
}
"""What a part of a split may be called, and what we call it."""


class Fields:
    """The cells of one line.

    Args:
        where: The line, for errors.
        cells: By column.
    """

    def __init__(self, where: str, cells: Mapping[str, str]) -> None:
        self.where = where
        self._cells = cells

    def text(self, column: str) -> str:
        """Return a cell that must not be empty."""
        if not self._cells[column]:
            raise DataError(
                f"{self.where}: the {column} is empty, but every line must have one. "
                "Fill it in, or remove the line."
            )
        return self._cells[column]

    @property
    def has_several_labels(self) -> bool:
        """Whether labels are joined here, so that the whole table may have any number a line."""
        return ";" in self._cells["label"]

    def example(
        self, record_lengths: Mapping[str, int], group_column: str, *, may_have_none: bool = False
    ) -> Example:
        """Check all cells and put them together; ``may_have_none`` allows an empty label."""
        return Example(
            interval=self.interval(record_lengths[self.text("record")]),
            whole="start" not in self._cells,
            labels=() if may_have_none and not self._cells["label"] else self._labels(),
            group=self.text(group_column) if group_column in self._cells else None,
            split=self._split() if "split" in self._cells else None,
        )

    def interval(self, length_bp: int) -> Interval:
        """Return the interval, or the whole record where no start is given."""
        record = self.text("record")
        if "start" not in self._cells:
            return Interval(record, 0, length_bp)
        strand = self.text("strand") if "strand" in self._cells else "+"
        try:
            interval = Interval(record, self._number("start"), self._number("end"), strand)
            interval.check_within(length_bp)
        except DataError as error:
            raise DataError(f"{self.where}: {error}") from error
        return interval

    def _labels(self) -> tuple[str, ...]:
        labels = tuple(label.strip() for label in self.text("label").split(";"))
        if "" in labels or len(set(labels)) < len(labels):
            raise DataError(
                f"{self.where}: the label is {self.text('label')!r}, but labels joined by ';' "
                "must be different names. Take out what is empty or repeated."
            )
        return labels

    def _number(self, column: str) -> int:
        text = self.text(column)
        if not (text.isascii() and text.isdecimal()):
            raise DataError(f"{column} {text!r} must be a whole number, 0 or more.")
        return int(text)

    def _split(self) -> str:
        word = self.text("split")
        if word.lower() not in SPLIT_WORDS:
            raise DataError(
                f"{self.where}: the split is {word!r}, but must be one of train, validation "
                f"(or val, dev, valid), test.{did_you_mean(word, SPLIT_WORDS)}"
            )
        return SPLIT_WORDS[word.lower()]
