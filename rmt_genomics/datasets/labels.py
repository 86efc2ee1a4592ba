"""Read labelled records or intervals from a table, plain or compressed.

A header line, then one line per example, columns in any order, separated by tabs or commas. Whole
records:

    record  label   group   split
    phage1  lytic   T4      train

or intervals, where ``start`` is 0-based and included and ``end`` is excluded (as in BED), both
counted on the forward strand whatever the ``strand`` is:

    record  start   end     strand  label
    chr1    10000   42768   -       enhancer

``strand``, ``group`` and ``split`` may be left out. Several labels are joined by ``;``; in a table
that has such lines, an empty label means none of them. Comment lines that begin with ``#`` may come
before the header. A BED file needs no header: its fourth column is the label, its sixth the strand.
Labels that are numbers may be measured values (see ``label_checks``).
"""

import sys
from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path

from rmt_genomics.datasets.examples import Example
from rmt_genomics.datasets.label_checks import (
    check_label_kinds,
    check_records_exist,
    check_records_labelled,
    check_unlabelled,
    did_you_mean,
    warn_if_one_based,
    warn_of_skipped,
    warn_of_unused_columns,
)
from rmt_genomics.datasets.label_table import HEADER_FORMS, Row, Table, read_table
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError
from rmt_genomics.parsing import as_path, read_integer, read_number, shown

COLUMNS = ("record", "start", "end", "strand", "label", "group", "split")
_UNUSED_BED_COLUMN = "score"

SPLIT_NAMES = {"train": "train", "test": "test"}
SPLIT_NAMES |= dict.fromkeys(("validation", "valid", "val", "dev"), "validation")
"""What the parts of a split may be called, and what we call them."""


def read_labels(
    path: str | Path,
    record_lengths: Mapping[str, int],
    *,
    group_column: str = "group",
    task: str = "auto",
    unlabelled: str = "error",
) -> list[Example]:
    """Read and check every line, so that a bad file fails now; return the examples in file order.

    Warns of unused columns, and of coordinates and labels that look wrong.

    Args:
        path: A table with the columns above, or a BED file with labels.
        record_lengths: Length in bp of every record of the FASTA file, by name.
        group_column: The column whose value is the group, such as ``genus``, or ``record`` to
            keep the intervals of a record together. Unless it is ``group``, it must exist.
        task: ``classification``, ``regression``, or ``auto`` to decide by the labels (see
            ``label_checks``); or the task of the model to be evaluated. If that is multilabel, a
            label may be empty although no line has several.
        unlabelled: ``skip`` leaves out lines with an empty label, or of a record that the FASTA
            file does not have, and records without a line, with a warning; ``error`` refuses them.

    Raises:
        DataError: At the first bad line, naming file, line, value, rule and remedy; or if the
            records named here and those of the FASTA file do not match, with a count and
            examples. A FASTA record may be without label only if the file has intervals.
    """
    path, skips = as_path(path), check_unlabelled(unlabelled) == "skip"
    table = read_table(path, "a labels file")
    _check_header(table.header, group_column)
    first_lines, has_several = _check_records(table, record_lengths, skips=skips)
    line_numbers = array("q")
    examples = []
    may_lack_label = has_several or task == "multilabel"
    parse = partial(
        parse_example,
        record_lengths=record_lengths,
        group_column=group_column,
        may_lack_label=may_lack_label,
    )
    skipped: dict[str, list[str]] = defaultdict(list)
    for row, cells in table:
        if skips and cells["record"] not in record_lengths:
            skipped["rows of records that are not in the sequence files"].append(cells["record"])
        elif skips and not (cells["label"] or may_lack_label):
            skipped["rows without a label"].append(cells["record"])
        else:
            line_numbers.append(row.line_number)
            examples.append(parse(row.where, cells))
    _check_no_repeats(path, line_numbers, examples)
    if "start" in table.header.cells:
        warn_if_one_based(str(path), [example.interval for example in examples], record_lengths)
    elif skips:
        unnamed = [name for name in record_lengths if name not in first_lines]
        skipped["records without a row"] += unnamed
    else:
        check_records_labelled(path, first_lines, record_lengths)
    warn_of_skipped(str(path), skipped, len(examples))
    labels = [example.labels for example in examples]
    check_label_kinds(str(path), labels, lambda index: f"line {line_numbers[index]}", task)
    return examples


def read_intervals(path: str | Path, record_lengths: Mapping[str, int]) -> list[Interval]:
    """Read intervals only: BED of 3 to 6 columns, or a table that has record, start and end.

    A label is ignored, and the strand is ``+`` if there is no such column. Arguments and errors are
    those of ``read_labels``.
    """
    path = as_path(path)
    table = read_table(path, "a file of intervals")
    header = table.header
    if missing := [name for name in ("record", "start", "end") if name not in header.cells]:
        raise DataError(
            f"{header.where}: the header lacks {', '.join(missing)}, but intervals need record, "
            "start and end. A BED file without a header is fine too."
        )
    _check_records(table, record_lengths)
    intervals = [parse_interval(row.where, cells, record_lengths) for row, cells in table]
    warn_if_one_based(str(path), intervals, record_lengths)
    return intervals


def read_split(path: Path) -> list[Example]:
    """Read the ``split.tsv`` of a run, of whose records only the names need be known."""
    table = read_table(path, "the table of a run's split")
    _check_header(table.header, "group")
    lengths: dict[str, int] = defaultdict(lambda: sys.maxsize)
    return [parse_example(row.where, cells, lengths, may_lack_label=True) for row, cells in table]


def parse_example(
    where: str,
    cells: Mapping[str, str],
    record_lengths: Mapping[str, int],
    *,
    group_column: str = "group",
    may_lack_label: bool = False,
) -> Example:
    """Check the cells of one row and make an example of them.

    ``where`` names the row in errors. With ``may_lack_label``, an empty label means no class.
    """
    interval = parse_interval(where, cells, record_lengths)
    labels: tuple[str, ...] = ()
    if cells["label"] or not may_lack_label:
        labels = _labels_of(_required(where, cells, "label"))
    group = _shared(_required(where, cells, group_column)) if group_column in cells else None
    split = None
    if "split" in cells:
        name = _required(where, cells, "split")
        if (split := SPLIT_NAMES.get(name.lower())) is None:
            raise DataError(
                f"{where}: the split is {shown(name)}, but must be one of train, validation "
                f"(or val, dev, valid), test.{did_you_mean(name, SPLIT_NAMES)}"
            )
    try:
        return Example(interval, "start" not in cells, labels, group, split)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def parse_interval(
    where: str, cells: Mapping[str, str], record_lengths: Mapping[str, int]
) -> Interval:
    """Return the interval of a row, or the whole record if the row has no ``start``."""
    record = _shared(_required(where, cells, "record"))
    length_bp = record_lengths[record]
    if "start" not in cells:
        return Interval(record, 0, length_bp)
    strand = _required(where, cells, "strand") if "strand" in cells else "+"
    ends: dict[str, int] = {}
    for column in ("start", "end"):
        text = _required(where, cells, column)
        number = read_integer(text)
        if number is None or number < 0:
            value = read_number(text)
            is_whole = value is not None and value >= 0 and value.is_integer()
            remedy = f" Write it as {value:.0f}." if is_whole else ""
            raise DataError(
                f"{where}: {column} {shown(text)} must be a whole number, 0 or more.{remedy}"
            )
        ends[column] = number
    try:
        interval = Interval(record, ends["start"], ends["end"], strand)
        interval.check_within(length_bp)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    return interval


@lru_cache(maxsize=1024)
def _labels_of(text: str) -> tuple[str, ...]:
    """Return the labels in a cell; equal ones are one object, which saves memory."""
    return tuple(map(str.strip, text.split(";")))


@lru_cache(maxsize=1024)
def _shared(text: str) -> str:
    """Return the same object for equal names, which saves memory."""
    return text


def _required(where: str, cells: Mapping[str, str], column: str) -> str:
    if not cells[column]:
        raise DataError(
            f"{where}: the {column} is empty, but every line must have one. "
            "Fill it in, or remove the line."
        )
    return cells[column]


def _check_header(header: Row, group_column: str) -> None:
    """Check that the header has what is needed; warn of unused columns."""
    columns, known = header.cells, [*COLUMNS, group_column]
    has_intervals = not {"start", "end", "strand"}.isdisjoint(columns)
    needed = ("record", "start", "end", "label") if has_intervals else ("record", "label")
    missing = [column for column in needed if column not in columns]
    if "start" in columns:
        known.append(_UNUSED_BED_COLUMN)
    for column in (column for column in columns if column not in known):
        question = did_you_mean(column, [name for name in COLUMNS if name not in columns])
        if missing or question:
            raise DataError(
                f"{header.where}: the header has the column {shown(column)}, but must be "
                f"{HEADER_FORMS}.{question}"
            )
    if missing:
        is_bed = "start" in columns and "label" not in columns
        remedy = " In a BED file, the label is the fourth column." if is_bed else ""
        raise DataError(
            f"{header.where}: the header lacks {', '.join(missing)}, but must be "
            f"{HEADER_FORMS}.{remedy}"
        )
    if len(set(columns)) < len(columns):
        raise DataError(f"{header.where}: the header has a column twice, but names must differ.")
    if group_column != "group" and group_column not in columns:
        raise DataError(
            f"{header.where}: the header lacks {group_column!r}, but data.group names it as the "
            f"column of groups.{did_you_mean(group_column, columns) or ' Set it to a column.'}"
        )
    warn_of_unused_columns(header.where, columns, known)


def _check_records(
    table: Table, record_lengths: Mapping[str, int], *, skips: bool = False
) -> tuple[dict[str, int], bool]:
    """Check that the FASTA file has all records named in a table; with ``skips``, any of them.

    Return the first line of every record, and whether a line has several labels.
    """
    first_lines: dict[str, int] = {}
    has_several = False
    for row, cells in table:
        first_lines.setdefault(_required(row.where, cells, "record"), row.line_number)
        has_several |= ";" in cells.get("label", "")
    path = table.rows.path
    if not first_lines:
        raise DataError(
            f"{path}: there is no line below the header, but at least one is needed. Add lines."
        )
    if not (skips and any(name in record_lengths for name in first_lines)):
        check_records_exist(path, first_lines, record_lengths)
    return first_lines, has_several


def _check_no_repeats(path: Path, line_numbers: Sequence[int], examples: list[Example]) -> None:
    intervals = [example.interval for example in examples]
    if len(set(intervals)) == len(intervals):
        return
    first: dict[Interval, int] = {}
    for index, example in enumerate(examples):
        if (earlier := first.setdefault(example.interval, index)) != index:
            is_same = examples[earlier] == example
            remedy = "Remove one of them." if is_same else "Join several labels by ';'."
            raise DataError(
                f"{path}:{line_numbers[index]}: {example.name} was already at line "
                f"{line_numbers[earlier]}, but must have one line. {remedy}"
            )
