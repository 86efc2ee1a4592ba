"""Add columns to a labels file, and leave everything else of it as it was, byte for byte."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from rmt_genomics.dna.files import open_unpacked
from rmt_genomics.errors import DataError

_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
_BYTE_ORDER_MARK = "\ufeff"


def with_columns(path: Path, columns: Mapping[str, Sequence[str]]) -> str:
    """Return the text of a labels file with more columns, or with new values in those it has.

    Args:
        path: A table that ``read_labels`` reads: tabs or commas, a header, comments above it.
        columns: The values of each column, one a line below the header.

    Raises:
        DataError: If the file is no such table, having no header or not one line an example.
    """
    with open_unpacked(path, what="a labels file") as handle:
        lines = _LINE.findall(handle.read().decode("utf-8"))
    places = [
        place for place, (text, _) in enumerate(lines) if text.strip(_BYTE_ORDER_MARK + " \t")
    ]
    while places and lines[places[0]][0].lstrip(_BYTE_ORDER_MARK).startswith("#"):
        del places[0]
    header = lines[places[0]][0] if places else ""
    delimiter = "\t" if "\t" in header else ","
    names = [name.strip(_BYTE_ORDER_MARK + " ") for name in _cells(header, delimiter)]
    count = len(next(iter(columns.values())))
    if "label" not in names or len(places) - 1 != count:
        raise DataError(
            f"{path}: has {max(0, len(places) - 1)} lines below the header {header!r} for {count} "
            "examples, but columns can only be added to a table with a header and one line an "
            "example. Write the labels as tab-separated text: record, label."
        )
    rows = [dict(zip(columns, columns, strict=True))]
    rows += [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    for place, row in zip(places, rows, strict=True):
        text, end = lines[place]
        lines[place] = (_filled(text, delimiter, names, row), end)
    return "".join(text + end for text, end in lines)


def _filled(line: str, delimiter: str, names: list[str], row: Mapping[str, str]) -> str:
    """Set the cells of one line; a line whose cells stay keeps its very bytes."""
    old = {name: value for name, value in row.items() if name in names}
    if old:
        cells = _cells(line, delimiter)
        for name, value in old.items():
            cells[names.index(name)] = value
        line = _joined(cells, delimiter)
    new = [_joined([value], delimiter) for name, value in row.items() if name not in names]
    return delimiter.join([line, *new])


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == "\t":
        return line.split(delimiter)
    return next(csv.reader([line]), [])


def _joined(cells: list[str], delimiter: str) -> str:
    if delimiter == "\t":
        return delimiter.join(cells)
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
