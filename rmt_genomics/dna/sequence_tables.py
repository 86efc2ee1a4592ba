"""Tables of sequences to records: comma or tab between the columns, a header line first.

The form of the GUE and DNABERT data sets is ``sequence,label``. A column ``sequence`` must be
there; ``name`` (or ``record``) may name the records, which are else called ``train:0``, ``train:1``
and so on: the file's name without its suffixes, and the row, counted from 0 below the header. All
other columns are kept beside the sequence, for ``--labels column``.

A sequence written as overlapping k-mers (``ACG CGT GTT``, as for the first DNABERT) is put together
again (``ACGTT``).
"""

import csv
import sys
import warnings
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path

from rmt_genomics.dna.record_types import Record
from rmt_genomics.errors import DataError, RMTGenomicsWarning

SEQUENCE = "sequence"
NAMES = ("name", "record")

_UTF16 = ("\udcff\udcfe", "\udcfe\udcff")  # as bytes that are no UTF-8 are read


def has_sequence_column(first_line: str) -> bool:
    """Tell whether a line is the header of a table of sequences."""
    return SEQUENCE in _cells_of_header(_split(first_line))


def read_table(text: TextIOWrapper, path: Path) -> Iterator[tuple[int, Record]]:
    """Yield the last line of each row with its record.

    Raises:
        DataError: If there is no sequence column, or a row has another number of cells.
    """
    csv.field_size_limit(sys.maxsize)  # a sequence may be of any length
    first_line = next((line for line in text if line.strip()), "")
    if not first_line:
        return
    columns = _checked(_cells_of_header(_split(first_line)), path)
    rows = csv.reader(text, delimiter=_delimiter(first_line))
    name_column = next((column for column in NAMES if column in columns), None)
    place = from_kmers = 0
    for row in rows:
        if not any(row):
            continue
        line = rows.line_num + 1  # the header was read before
        if len(row) != len(columns):
            raise DataError(
                f"{path}:{line}: the row has {len(row)} cells, but must have {len(columns)}, as "
                f"the header: {', '.join(columns)}."
            )
        cells = dict(zip(columns, map(str.strip, row), strict=True))
        words = cells.pop(SEQUENCE).split()
        from_kmers += len(words) > 1
        sequence = _joined(words, f"{path}:{line}")
        name = f"{stem_of(path)}:{place}" if name_column is None else cells.pop(name_column)
        if not name:
            raise DataError(f"{path}:{line}: the {name_column} is empty, but every row needs one.")
        yield line, Record(name, "", sequence, cells)
        place += 1
    if from_kmers:
        warnings.warn(
            f"{path}: {from_kmers} sequences are written as overlapping k-mers and have been put "
            "together.",
            RMTGenomicsWarning,
            stacklevel=4,
        )


def stem_of(path: Path) -> str:
    """Return a file's name without packing and kind: ``train`` for ``gue/train.csv.gz``."""
    name = path.name
    for packing in (".gz", ".bgz"):
        name = name.removesuffix(packing)
    return Path(name).stem


def _checked(columns: list[str], path: Path) -> list[str]:
    if SEQUENCE not in columns:
        raise DataError(
            f"{path}:1: the columns are {_shown(columns)}, but one must be {SEQUENCE!r}. "
            f"{_hint(columns)}"
        )
    if len(set(columns)) < len(columns):
        raise DataError(f"{path}:1: the header names a column twice, but each must be once.")
    return columns


def _shown(columns: list[str]) -> str:
    text = ", ".join(columns)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _hint(columns: list[str]) -> str:
    """Say what to do about a header without a sequence column."""
    if columns[0].startswith(_UTF16):
        return "The file is UTF-16 text: save it as UTF-8, or: iconv -f utf-16 -t utf-8."
    if SEQUENCE in columns[0].split(";"):
        return "Put commas or tabs between the columns, not semicolons."
    return "Name it so in the first line."


def _joined(words: list[str], where: str) -> str:
    """Put the k-mers of one sequence together, each of which adds its last letter."""
    if any(after[:-1] != before[1:] for before, after in pairwise(words)):
        raise DataError(
            f"{where}: the sequence has blanks between its letters, but may have them only "
            "between k-mers that overlap by all but one letter. Take the blanks out."
        )
    return "".join(words[:1]) + "".join(word[-1] for word in words[1:])


def _delimiter(first_line: str) -> str:
    return "\t" if "\t" in first_line else ","


def _split(first_line: str) -> list[str]:
    return next(csv.reader([first_line], delimiter=_delimiter(first_line)), [])


def _cells_of_header(cells: list[str]) -> list[str]:
    return [cell.strip().lower() for cell in cells]
