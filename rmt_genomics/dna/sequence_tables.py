"""Tables of sequences to records: separated by commas, tabs or semicolons, with a header line.

This is the form of the GUE and DNABERT data sets (``sequence,label``). A column ``sequence`` is
required; a column ``name`` (or ``record``) may name the records, which are otherwise called
``train:0``, ``train:1`` and so on: the file's name without its suffixes, and the row, counted from
0 below the header. All other columns are kept with the record, for ``--labels column``.

A sequence written as overlapping k-mers (``ACG CGT GTT``, as for the first DNABERT) is joined
(``ACGTT``). A first line ``sep=;``, as Excel reads it, names the separator. Columns without a name
may be there if they are empty.
"""

import csv
import os
import re
import sys
import warnings
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path

from rmt_genomics.dna.fasta import check_utf8
from rmt_genomics.dna.record_names import stem_of
from rmt_genomics.dna.record_types import Entry
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from rmt_genomics.parsing import shown

SEQUENCE = "sequence"
NAMES = ("name", "record")

_SEPARATOR_LINE = re.compile(r'"?sep=([,;\t])"?', re.IGNORECASE)
_UTF16 = ("\udcff\udcfe", "\udcfe\udcff")  # its byte order mark, as bytes that are not UTF-8


def has_sequence_column(text: str) -> bool:
    """Tell whether a text begins with the header of a table of sequences."""
    return SEQUENCE in columns_of(text)


def columns_of(text: str) -> list[str]:
    """Return the columns in the header at the start of a text, as if it were one."""
    first, _, rest = text.partition("\n")
    return _columns(rest.lstrip().partition("\n")[0] if separator_line(first) else first)


def separator_line(line: str) -> str | None:
    """Return the separator that a line such as ``sep=;`` names, else None."""
    match = _SEPARATOR_LINE.fullmatch(line.strip(" \r\n"))
    return match[1] if match else None


def without_unnamed(row: list[str], columns: list[str], where: str) -> list[str]:
    """Return the cells of a row without those of columns that have no name, which must be empty.

    Cells beyond the last column must be empty, too; they are left out.

    Raises:
        DataError: If one of them is not empty.
    """
    if len(row) == len(columns) and "" not in columns:
        return row
    for number, cell in enumerate(row, start=1):
        if cell.strip() and (number <= len(columns) and not columns[number - 1]):
            raise DataError(
                f"{where}: column {number} has the value {shown(cell)}, but no name in the "
                "header. Name the column, or empty it."
            )
    while len(row) > len(columns) and not row[-1].strip():
        row = row[:-1]
    if len(row) != len(columns):
        return row
    return [cell for cell, column in zip(row, columns, strict=True) if column]


def read_table(text: TextIOWrapper, path: Path) -> Iterator[Entry]:
    """Yield one entry per row, numbered by its last line.

    Raises:
        DataError: If there is no sequence column, or a row has another number of cells.
    """
    num_before, first_line = 1, next((line for line in text if line.strip()), "")
    if separator_line(first_line):
        num_before, first_line = 2, next((line for line in text if line.strip()), "")
    if not first_line:
        return
    all_columns = _columns(first_line)
    columns = [column for column in all_columns if column]
    _check_columns(columns, path)
    name_column = next((column for column in NAMES if column in columns), None)
    rows = csv.reader(text, delimiter=_delimiter(first_line))
    num_rows = num_from_kmers = 0
    for row in rows:
        if not any(row):
            continue
        line = rows.line_num + num_before  # the header was read before
        row = without_unnamed(row, all_columns, f"{path}:{line}")
        if len(row) != len(columns):
            raise DataError(
                f"{path}:{line}: the number of cells is {len(row)}, but must be {len(columns)} as "
                f"in the header: {', '.join(columns)}."
            )
        cells = dict(zip(columns, map(str.strip, row), strict=True))
        kmers = cells.pop(SEQUENCE).split()  # one, if it is written without blanks
        num_from_kmers += len(kmers) > 1
        if any(after[:-1] != before[1:] for before, after in pairwise(kmers)):
            raise DataError(
                f"{path}:{line}: the sequence has blanks between its letters, but may have them "
                "only between k-mers that overlap by all but one letter. Remove the blanks."
            )
        sequence = "".join(kmers[:1]) + "".join(kmer[-1] for kmer in kmers[1:])
        name = f"{stem_of(path)}:{num_rows}" if name_column is None else cells.pop(name_column)
        if not name:
            raise DataError(f"{path}:{line}: the {name_column} is empty, but every row needs one.")
        yield Entry(line, name, "", [sequence], cells)
        num_rows += 1
    if num_from_kmers:
        warnings.warn(
            f"{path}: {num_from_kmers} of {num_rows} sequences were written as overlapping k-mers "
            "and have been joined.",
            RMTGenomicsWarning,
            stacklevel=4,
        )


def _delimiter(first_line: str) -> str:
    if "\t" in first_line:
        return "\t"
    return ";" if ";" in first_line and "," not in first_line else ","


def _columns(first_line: str) -> list[str]:
    csv.field_size_limit(sys.maxsize)  # a sequence may be of any length, also in another file
    cells = next(csv.reader([first_line], delimiter=_delimiter(first_line)), [])
    return [cell.strip().lower() for cell in cells]


def _check_columns(columns: list[str], path: Path) -> None:
    if SEQUENCE not in columns:
        if columns and columns[0].startswith(_UTF16):
            remedy = "The file is UTF-16 text: save it as UTF-8, or: iconv -f utf-16 -t utf-8."
        else:
            remedy = "Rename the column in the first line."
        names = os.fsencode(", ".join(columns)).decode(errors="backslashreplace")
        raise DataError(
            f"{path}:1: the columns are {names}, but one must be {SEQUENCE!r}. {remedy}"
        )
    check_utf8(", ".join(columns), f"{path}:1", "header")
    if len(set(columns)) < len(columns):
        raise DataError(f"{path}:1: the header names a column twice, but names must be unique.")
