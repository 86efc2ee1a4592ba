"""Add columns to a table of labels, and leave everything else of it as it was, byte for byte."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from rmt_genomics.datasets.examples import Example
from rmt_genomics.datasets.rows import as_cell, read_rows
from rmt_genomics.dna.files import open_unpacked

_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
_QUOTED = r'"(?:[^"]|"")*"'
_SEPARATORS = {"tab": "\t", "comma": ","}


def with_columns(path: Path, columns: Mapping[str, Sequence[str]]) -> str | None:
    """Return the text of a labels table with more columns, or with new values in those it has.

    Args:
        path: A table that ``read_labels`` has read.
        columns: The values of each column, one a line below the header.

    Returns:
        The text; None if the table has no header of our names to add to (BED has none).
    """
    header, *rows = read_rows(path, "a labels file")
    if not {"record", "label"} <= set(header.cells) or header.separator not in _SEPARATORS:
        return None
    with open_unpacked(path) as handle:
        lines = _LINE.findall(handle.read().decode("utf-8"))
    cells = [list(columns), *zip(*columns.values(), strict=True)]  # a line each, the header first
    for row, added in zip([header, *rows], cells, strict=True):
        values = dict(zip(columns, added, strict=True))
        first, last = row.number - 1, row.number + row.num_lines - 2
        text = "".join(text + end for text, end in lines[first:last]) + lines[last][0]
        filled = _filled(text, _SEPARATORS[header.separator], header.cells, values)
        lines[first : last + 1] = [("", "")] * (last - first) + [(filled, lines[last][1])]
    return "".join(text + end for text, end in lines)


def as_table(examples: Sequence[Example], columns: Mapping[str, Sequence[str]]) -> str:
    """Write a labels table anew: record or interval, label, and more columns."""
    is_whole = all(example.whole for example in examples)
    header = ["record", *([] if is_whole else ["start", "end", "strand"]), "label", *columns]
    lines = [header]
    for example, more in zip(examples, zip(*columns.values(), strict=True), strict=True):
        place = example.interval
        interval = [] if is_whole else [str(place.start), str(place.end), place.strand]
        row = [place.record, *interval, ";".join(example.labels), *more]
        lines.append([as_cell(cell) for cell in row])
    return "".join("\t".join(line) + "\n" for line in lines)


def _filled(line: str, separator: str, names: list[str], values: Mapping[str, str]) -> str:
    """Set cells of one line; if all of them are new, the line keeps its very bytes."""
    old = {name: value for name, value in values.items() if name in names}
    if old:
        cells = _written(line, separator)
        for name, value in old.items():
            cells[names.index(name)] = _joined([value], separator)
        line = separator.join(cells)
    new = [value for name, value in values.items() if name not in names]
    return separator.join([line, *(_joined([each], separator) for each in new)])


def _written(line: str, separator: str) -> list[str]:
    """Cut a line into its cells as they are written, quotes included."""
    return re.findall(rf"(?:^|(?<={separator}))({_QUOTED}|[^{separator}]*)(?={separator}|\Z)", line)


def _joined(cells: list[str], separator: str) -> str:
    """Join cells; where commas are between them, a cell that has one is quoted."""
    if separator == "\t":
        return separator.join(map(as_cell, cells))
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()
