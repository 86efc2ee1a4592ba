"""BED files of 3 to 6 columns: record, start, end, label, score, strand; with or without a header.

Coordinates are 0-based and half-open, as everywhere here. A BED file without a header is given
one, so that all that follows reads it as any other table.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from rmt_genomics.datasets.rows import Row
from rmt_genomics.errors import DataError

COLUMNS = ("record", "start", "end", "label", "score", "strand")
NOT_USED = "score"

_OTHER_NAMES = {
    "chrom": "record",
    "chr": "record",
    "chromstart": "start",
    "chromend": "end",
    "name": "label",
}
_NO_NAME = "."
_LIKE_NUMBER = re.compile(r"-?[0-9][0-9.,_]*")
_GFF_COLUMNS = 9


def with_header(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of a BED file with a header of our names; those of other tables unchanged.

    Raises:
        DataError: If there are more columns than BED has up to its strand, or it is GFF.
    """
    if not rows:
        return []
    if rows[0].cells[0].lower() in ("chrom", "chr"):
        return [replace(rows[0], cells=_our_names(rows[0].cells)), *rows[1:]]
    if _is_gff(rows[0].cells):
        raise DataError(
            f"{rows[0].where}: this looks like GFF or GTF, whose coordinates begin at 1, but a "
            "table or BED is needed. Make a BED file of it: record, start - 1, end, label."
        )
    if not _is_bed(rows[0].cells):
        return list(rows)
    if len(rows[0].cells) > len(COLUMNS):
        raise DataError(
            f"{rows[0].where}: the BED line has {len(rows[0].cells)} columns, but 3 to "
            f"{len(COLUMNS)} are read: {', '.join(COLUMNS)}. Cut the rest off: cut -f 1-6."
        )
    columns = list(COLUMNS[: len(rows[0].cells)])
    return [replace(rows[0], cells=columns), *map(_without_dots, rows)]


def _is_bed(cells: list[str]) -> bool:
    return len(cells) >= 3 and all(_LIKE_NUMBER.fullmatch(cell) for cell in cells[1:3])


def _is_gff(cells: list[str]) -> bool:
    return len(cells) == _GFF_COLUMNS and all(_LIKE_NUMBER.fullmatch(cell) for cell in cells[3:5])


def _our_names(cells: list[str]) -> list[str]:
    """Rename the columns of a header in the BED manner; a column named label wins over name."""
    lower = [cell.lower() for cell in cells]
    names = {k: v for k, v in _OTHER_NAMES.items() if v not in lower}
    return [names.get(cell, cell) for cell in lower]


def _without_dots(row: Row) -> Row:
    """Empty the label where it is a dot, which means none in BED."""
    label = COLUMNS.index("label")
    if len(row.cells) > label and row.cells[label] == _NO_NAME:
        return replace(row, cells=[*row.cells[:label], "", *row.cells[label + 1 :]])
    return row
