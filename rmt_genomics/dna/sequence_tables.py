"""Tables of sequences to records: comma- or tab-separated, with a header line.

This is the form of the GUE and DNABERT data sets (``sequence,label``). A column ``sequence`` is
required; a column ``name`` (or ``record``) may name the records, which are otherwise called
``train:0``, ``train:1`` and so on: the file's name without its suffixes, and the row, counted from
0 below the header. All other columns are kept with the record, for ``--labels column``.

A sequence written as overlapping k-mers (``ACG CGT GTT``, as for the first DNABERT) is joined
(``ACGTT``).
"""

import csv
import os
import sys
import warnings
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path

from rmt_genomics.dna.fasta import check_utf8
from rmt_genomics.dna.record_types import Entry
from rmt_genomics.errors import DataError, RMTGenomicsWarning

SEQUENCE = "sequence"
NAMES = ("name", "record")

_UTF16 = ("\udcff\udcfe", "\udcfe\udcff")  # its byte order mark, as bytes that are not UTF-8


def has_sequence_column(first_line: str) -> bool:
    """Tell whether a line is the header of a table of sequences."""
    return SEQUENCE in _columns(first_line)


def read_table(text: TextIOWrapper, path: Path) -> Iterator[Entry]:
    """Yield one entry per row, numbered by its last line.

    Raises:
        DataError: If there is no sequence column, or a row has another number of cells.
    """
    first_line = next((line for line in text if line.strip()), "")
    if not first_line:
        return
    columns = _columns(first_line)
    _check_columns(columns, path)
    name_column = next((column for column in NAMES if column in columns), None)
    rows = csv.reader(text, delimiter=_delimiter(first_line))
    num_rows = num_from_kmers = 0
    for row in rows:
        if not any(row):
            continue
        line = rows.line_num + 1  # the header was read before
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


def stem_of(path: Path) -> str:
    """Return a file's name without compression and format: ``train`` for ``gue/train.csv.gz``."""
    stem = Path(path.name.removesuffix(".gz").removesuffix(".bgz")).stem
    return os.fsencode(stem).decode(errors="backslashreplace")  # a name may not be UTF-8


def _delimiter(first_line: str) -> str:
    return "\t" if "\t" in first_line else ","


def _columns(first_line: str) -> list[str]:
    csv.field_size_limit(sys.maxsize)  # a sequence may be of any length, also in another file
    cells = next(csv.reader([first_line], delimiter=_delimiter(first_line)), [])
    return [cell.strip().lower() for cell in cells]


def _check_columns(columns: list[str], path: Path) -> None:
    if SEQUENCE not in columns:
        if columns[0].startswith(_UTF16):
            remedy = "The file is UTF-16 text: save it as UTF-8, or: iconv -f utf-16 -t utf-8."
        elif SEQUENCE in columns[0].split(";"):
            remedy = "Put commas or tabs between the columns, not semicolons."
        else:
            remedy = "Rename the column in the first line."
        names = os.fsencode(", ".join(columns)).decode(errors="backslashreplace")
        raise DataError(
            f"{path}:1: the columns are {names}, but one must be {SEQUENCE!r}. {remedy}"
        )
    check_utf8(", ".join(columns), f"{path}:1", "header")
    if len(set(columns)) < len(columns):
        raise DataError(f"{path}:1: the header names a column twice, but names must be unique.")
