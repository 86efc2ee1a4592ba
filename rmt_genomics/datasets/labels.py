"""Read labelled records or intervals from a table: tabs or commas between cells, gz or not.

A header line, then one example a line, columns in any order. Whole records:

    record  label   group   split
    phage1  lytic   T4      train

or intervals, where ``start`` is 0-based and included and ``end`` is excluded (the BED convention),
both counted on the forward strand whatever the ``strand`` is:

    record  start   end     strand  label
    chr1    10000   42768   -       enhancer

``strand``, ``group`` and ``split`` may be left out. Several labels are joined by ``;``; in a table
that has such lines, an empty label means none of them. Comment lines that begin with ``#`` may come
before the header. A BED file (see ``bed``) needs no header:
its fourth column is the label, its sixth the strand. Labels that are numbers may be measured values
(see ``label_kinds``).
"""

import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from rmt_genomics.datasets import label_table as bed
from rmt_genomics.datasets.examples import Example, check_kinds
from rmt_genomics.datasets.label_checks import (
    check_records_exist,
    check_records_labelled,
    did_you_mean,
    warn_if_one_based,
)
from rmt_genomics.datasets.label_table import Row, read_rows
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError, RMTGenomicsWarning

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


COLUMNS = ("record", "start", "end", "strand", "label", "group", "split")
_HEADERS = "'record label [group] [split]' or 'record start end [strand] label [group] [split]'"


def read_labels(
    path: Path,
    record_lengths: Mapping[str, int],
    *,
    group_column: str = "group",
    task: str = "auto",
) -> list[Example]:
    """Read and check every line, so that a bad file fails now and not on the third day.

    Warns of columns that are not used, and of coordinates and labels that look wrong.

    Args:
        path: A table with the columns above, or a BED file with labels.
        record_lengths: Length in bp of every record of the FASTA file, by name.
        group_column: The column whose value is the group, such as ``genus``, or ``record`` to
            keep the intervals of a record together. Unless it is ``group``, it must be there.
        task: What the labels are: classification, regression or auto (see ``label_kinds``); or the
            task of the model that is to be judged on them. If that is multilabel, a label may be
            empty although no line has several.

    Returns:
        One example a line, in file order.

    Raises:
        DataError: At the first bad line, naming file, line, value, rule and remedy; or if the
            records named here and those of the FASTA file do not fit together, with a count and
            examples. A FASTA record may only stay without label if the file has intervals.
    """
    header, *rows = _rows(path, "a labels file")
    _check_columns(header, group_column)
    first_lines = _check_records(path, header, rows, record_lengths)
    fields = [Fields(row.where, row.named(header.cells)) for row in rows]
    is_multilabel = task == "multilabel" or any(each.has_several_labels for each in fields)
    examples = [
        each.example(record_lengths, group_column, may_have_none=is_multilabel) for each in fields
    ]
    _check_no_repeats(path, rows, examples)
    if "start" in header.cells:
        warn_if_one_based(str(path), [each.interval for each in examples], record_lengths)
    else:
        check_records_labelled(path, first_lines, record_lengths.keys())
    places = [f"line {row.number}" for row in rows]
    check_kinds(str(path), [each.labels for each in examples], places, task)
    return examples


def read_intervals(path: Path, record_lengths: Mapping[str, int]) -> list[Interval]:
    """Read intervals only: BED of 3 to 6 columns, or a table that has record, start and end.

    Args:
        path: The file; a label in it is not needed and not looked at.
        record_lengths: Length in bp of every record of the FASTA file, by name.

    Returns:
        The intervals in file order, each on its strand (``+`` where there is no such column).

    Raises:
        DataError: As in ``read_labels``.
    """
    header, *rows = _rows(path, "a file of intervals")
    if lacking := [name for name in ("record", "start", "end") if name not in header.cells]:
        raise DataError(
            f"{header.where}: the header lacks {', '.join(lacking)}, but intervals need record, "
            "start and end. A BED file without a header will do too."
        )
    _check_records(path, header, rows, record_lengths)
    fields = [Fields(row.where, row.named(header.cells)) for row in rows]
    intervals = [each.interval(record_lengths[each.text("record")]) for each in fields]
    warn_if_one_based(str(path), intervals, record_lengths)
    return intervals


def warn_of_unused(where: str, columns: Collection[str], used: Collection[str]) -> None:
    """Warn of columns that are not used, since nothing is dropped in silence."""
    if unused := [column for column in columns if column not in used]:
        warnings.warn(
            f"{where}: {len(unused)} columns are not used: {', '.join(unused)}.",
            RMTGenomicsWarning,
            stacklevel=4,
        )


def _rows(path: Path, what: str) -> list[Row]:
    """Return the header, our own for a BED file without one, and the rows below it."""
    rows = bed.with_header(list(read_rows(path, what)))
    if not rows:
        raise DataError(f"{path}: the file is empty, but must have a header line: {_HEADERS}.")
    if len(rows[0].cells) == 1:
        raise DataError(
            f"{rows[0].where}: the header is {rows[0].cells[0]!r}, but must be {_HEADERS}, "
            f"with tabs between the columns. {_hint(rows[0].cells[0])}"
        )
    return rows


def _hint(header: str) -> str:
    """Say what to do about a header in which nothing parts the columns."""
    if header.startswith(">"):
        return "This looks like FASTA: is it in the place of the labels?"
    return "Save the file as tab-separated text."


def _check_columns(header: Row, group_column: str) -> None:
    """Check that the header has what is needed; warn of columns that are not used."""
    columns, known = header.cells, [*COLUMNS, group_column]
    if "start" in columns:
        known.append(bed.NOT_USED)
    intervals = {"start", "end", "strand"} & set(columns)
    needed = {"record", "label"} | ({"start", "end"} if intervals else set())
    lacking = [column for column in COLUMNS if column in needed and column not in columns]
    unknown = [column for column in columns if column not in known]
    for column in unknown:
        question = did_you_mean(column, [each for each in COLUMNS if each not in columns])
        if lacking or question:
            raise DataError(
                f"{header.where}: the header has the column {column!r}, but must be {_HEADERS}."
                f"{question}"
            )
    if lacking:
        raise DataError(
            f"{header.where}: the header lacks {', '.join(lacking)}, but must be {_HEADERS}."
            f"{_remedy(columns)}"
        )
    if len(set(columns)) < len(columns):
        raise DataError(f"{header.where}: the header names a column twice, but each must be once.")
    if group_column != "group" and group_column not in columns:
        raise DataError(
            f"{header.where}: the header lacks {group_column!r}, but data.group names it as the "
            f"column of groups.{did_you_mean(group_column, columns)}"
        )
    warn_of_unused(header.where, columns, known)


def _remedy(columns: Collection[str]) -> str:
    if "start" in columns and "label" not in columns:
        return " In a BED file, the label is the fourth column."
    return ""


def _check_records(
    path: Path, header: Row, rows: Sequence[Row], record_lengths: Mapping[str, int]
) -> dict[str, int]:
    """Check that the sequences have all records; return the first line of each."""
    if not rows:
        raise DataError(f"{path}: there is no line after the header, but one example must be.")
    first_lines: dict[str, int] = {}
    for row in rows:
        record = Fields(row.where, row.named(header.cells)).text("record")
        first_lines.setdefault(record, row.number)
    check_records_exist(path, first_lines, record_lengths.keys())
    return first_lines


def _check_no_repeats(path: Path, rows: Sequence[Row], examples: Sequence[Example]) -> None:
    first: dict[Interval, tuple[int, Example]] = {}
    for row, example in zip(rows, examples, strict=True):
        if example.interval in first:
            number, earlier = first[example.interval]
            are_same = example == earlier
            remedy = "Remove one of the two." if are_same else "Join several labels by ';'."
            raise DataError(
                f"{path}:{row.number}: {example.name} was already at line {number}, "
                f"but must have one line. {remedy}"
            )
        first[example.interval] = row.number, example
