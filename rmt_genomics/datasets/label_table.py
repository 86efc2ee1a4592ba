"""Read label tables and BED files, plain or compressed, into rows of cells.

Cells are separated by tabs, commas or semicolons, whichever the first row has (or a line such as
``sep=;`` names); by spaces in a BED file without tabs. Blank lines and comments at the top are
skipped, in BED files anywhere: what begins with ``#``, and ``track`` and ``browser`` lines. A cell
may be quoted, as spreadsheets and pandas do; a quoted cell that spans several lines is read as one
line. Columns without a name are left out; they must be empty.
"""

import csv
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from rmt_genomics.dna.compression import open_decompressed
from rmt_genomics.dna.sequence_tables import separator_line, without_unnamed
from rmt_genomics.errors import DataError, RMTGenomicsWarning, counted
from rmt_genomics.parsing import shown

HEADER_FORMS = "'record label [group] [split]' or 'record start end [strand] label [group] [split]'"
BED_COLUMNS = ("record", "start", "end", "label", "score", "strand")

_BED_NAMES = {
    "chrom": "record",
    "chr": "record",
    "chromstart": "start",
    "chromend": "end",
    "name": "label",
}
_GFF_COLUMNS = 9
_NUMBER = re.compile(r"[+-]?[0-9][0-9.,_]*(?:[eE][+-]?[0-9]+)?")
_BED_LINE = re.compile(rf"\S+ +{_NUMBER.pattern} +{_NUMBER.pattern}(?: |$)")
_BED_HEADER = re.compile(r"#\s*(?:chrom|chr|record)[\t ,]", re.IGNORECASE)
_BED_COMMENT = re.compile(r"(?:track|browser)(?: |$)")
_SEPARATOR_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", " ": "space"}
_ZIP = b"PK\x03\x04"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
csv.field_size_limit(sys.maxsize)


class Row(NamedTuple):
    """The cells of one row, and where the row is."""

    where: str
    line_number: int  # of its first line, from 1
    num_lines: int  # more than 1 if a quoted cell spans several lines
    cells: list[str]


class Rows:
    """All rows of a text file, a header like any other. Each iteration reads them anew.

    So a long table needs little more memory than its text. ``what`` names what the file should be,
    in errors.

    Raises:
        DataError: If the file cannot be read; while iterating, if a quote is not closed.
    """

    separator = "\t"
    """A tab, a comma, a semicolon or a space."""

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self._content = _read_utf8(path, what)
        numbered = enumerate(self.lines(), 1)
        self._top, top = next((pair for pair in numbered if _is_content(pair[1])), (0, ""))
        if separator := separator_line(top):
            self.separator = separator
            self._top, top = next((pair for pair in numbered if _is_content(pair[1])), (0, ""))
        elif "\t" not in top:
            found = (mark for mark in ",;" if mark in top)
            self.separator = " " if _BED_LINE.match(top) else next(found, "\t")
        # Below our own header, # is part of a name.
        self._has_comments = "record" not in re.split(r"[\s,;\"]+", top.lower())
        may_be_multiline = self if b'"' in self._content else ()
        if multiline := [row.line_number for row in may_be_multiline if row.num_lines > 1]:
            warnings.warn(
                f"{path}: {counted(len(multiline), 'row')} with a quoted cell over several lines "
                f"(the first at line {multiline[0]}); its line breaks are read as spaces. Is that "
                "intended?",
                RMTGenomicsWarning,
                stacklevel=2,
            )

    def lines(self, *, as_they_are: bool = False) -> Iterator[str]:
        r"""Return the lines of the file: all with ``\n`` at the end, or as they are."""
        encoding, newline = ("utf-8", "") if as_they_are else ("utf-8-sig", None)
        return TextIOWrapper(BytesIO(self._content), encoding=encoding, newline=newline)

    def __iter__(self) -> Iterator[Row]:
        if not self._top:
            return
        below = islice(self.lines(), self._top - 1, None)
        lines: Iterator[str] = chain([next(below).lstrip("#")], below)
        if self.separator == " ":
            lines = ("\t".join(line.split()) + "\n" for line in lines)
        delimiter = self.separator.replace(" ", "\t")
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            number = self._top + reader.line_num
            try:
                cells = next(reader, None)
            except csv.Error as error:
                line = next(islice(self.lines(), number - 1, None)).rstrip("\n")
                raise DataError(
                    f"{self.path}:{number}: a cell in {shown(line)} begins with a quote that is "
                    "not closed at the end of the cell, but must be. Close or remove it; a quote "
                    "inside a cell is written twice."
                ) from error
            if cells is None:
                return
            # The mark of a header that is a comment has been removed.
            if self._has_comments and number > self._top and self._is_comment(cells):
                continue
            if "".join(cells).strip() or (delimiter in ",;" and len(cells) > 1):
                num_lines = self._top + reader.line_num - number
                cells = [" ".join(c.split()) if "\n" in c else c.strip() for c in cells]
                yield Row(f"{self.path}:{number}", number, num_lines, cells)

    def _is_comment(self, cells: list[str]) -> bool:
        first = cells[0] if cells else ""
        is_track = _BED_COMMENT.match(first) is not None
        # A record may be called track.
        may_be_record = len(cells) > 1 and " " not in first and self.separator != " "
        return first.startswith("#") or (is_track and not may_be_record)


@dataclass(frozen=True, slots=True)
class Table:
    """A table with named columns; iterating gives each row below the header by column name."""

    header: Row
    """With the column names of ``HEADER_FORMS``; the first row if the file has no header."""

    rows: Rows
    has_header: bool
    all_columns: tuple[str, ...] = ()
    """As ``header.cells``, but with those that have no name; empty if all have one."""

    @property
    def columns(self) -> list[str]:
        """The names of all columns, in the order of the cells of a row; may be empty."""
        return list(self.all_columns) or self.header.cells

    def __iter__(self) -> Iterator[tuple[Row, dict[str, str]]]:
        columns, separator = self.header.cells, _SEPARATOR_NAMES[self.rows.separator]
        all_columns = self.columns
        for row in islice(self.rows, int(self.has_header), None):
            named = without_unnamed(row.cells, all_columns, row.where)
            if named is not row.cells:
                row = row._replace(cells=named)
            if len(row.cells) != len(columns):
                cells = counted(len(row.cells), f"{separator}-separated cell")
                raise DataError(
                    f"{row.where}: the line has {cells}, but must have {len(columns)}, as the "
                    f"header: {', '.join(columns)}."
                )
            by_column = dict(zip(columns, row.cells, strict=True))
            if not self.has_header and by_column.get("label") == ".":
                by_column["label"] = ""  # a dot means "none" in BED
            yield row, by_column


def read_table(path: Path, what: str) -> Table:
    """Read a table with a header, or a BED file with or without one; ``what`` is as in ``Rows``.

    Raises:
        DataError: If the file cannot be read, is empty, is GFF, or is BED with more columns than
            ``BED_COLUMNS``; while iterating, if a row has more cells than the header, or fewer.
    """
    rows = Rows(path, what)
    if (first := next(iter(rows), None)) is None:
        raise DataError(f"{path}: the file is empty, but must have a header line: {HEADER_FORMS}.")
    cells = columns = first.cells
    has_header = True
    if cells[0].lower() in ("chrom", "chr"):
        lower = [cell.lower() for cell in cells]
        # If there is a column "label" already, "name" keeps its name.
        names = {bed: name for bed, name in _BED_NAMES.items() if name not in lower}
        columns = [names.get(cell, cell) for cell in lower]
    elif len(cells) == _GFF_COLUMNS and all(map(_NUMBER.fullmatch, cells[3:5])):
        raise DataError(
            f"{first.where}: this looks like GFF or GTF (1-based coordinates), but must be a "
            "table or BED. Convert it to BED: record, start - 1, end, label."
        )
    elif len(cells) >= 3 and all(map(_NUMBER.fullmatch, cells[1:3])):
        if len(cells) > len(BED_COLUMNS):
            raise DataError(
                f"{first.where}: the BED line has {len(cells)} columns, but must have 3 to "
                f"{len(BED_COLUMNS)}: {', '.join(BED_COLUMNS)}. Remove the others: cut -f 1-6."
            )
        columns, has_header = list(BED_COLUMNS[: len(cells)]), False
    named = [column for column in columns if column]
    if len(named) <= 1:
        columns = named or columns
        remedy = "Save the file as tab-separated text."
        if columns[0].startswith(">"):
            remedy = "This looks like FASTA: was it given as the labels?"
        raise DataError(
            f"{first.where}: the header is {shown(columns[0])}, but must be {HEADER_FORMS}, "
            f"with tabs between the columns. {remedy}"
        )
    return Table(first._replace(cells=named), rows, has_header, tuple(columns))


def quote_cell(text: str, separator: str = "\t") -> str:
    """Return a cell for a table, in quotes if it would be read as something else without them."""
    if text.startswith('"') or separator in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def _read_utf8(path: Path, what: str) -> bytes:
    with open_decompressed(path, what=what) as file:
        content = file.read()
    if content.startswith(_ZIP):
        raise DataError(
            f"{path}: this is an Excel workbook or another zip file, but must be text. "
            "Save it as tab-separated text, in UTF-8."
        )
    if content.startswith(_UTF16):
        raise DataError(
            f"{path}: the file is UTF-16 text, but must be UTF-8. Save it as UTF-8, or convert it: "
            "iconv -f utf-16 -t utf-8."
        )
    try:
        content.decode()
    except UnicodeDecodeError as error:
        bad_line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{bad_line}: the file is not UTF-8 text, but must be. "
            "Save it as UTF-8 with tabs, or convert it, for example: iconv -f latin1 -t utf-8."
        ) from error
    return content


def _is_content(line: str) -> bool:
    """Whether a line at the top of a file is neither blank nor a comment."""
    if line.startswith("#"):
        return _BED_HEADER.match(line) is not None
    return bool(line.strip()) and not _BED_COMMENT.match(line)
