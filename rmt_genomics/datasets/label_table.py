"""Read a text table, plain or packed: one row a line, with its place for errors.

Cells are separated by tabs or commas, whichever the first row has; by blanks in a BED file that has
no tabs. Blank lines, and comments at the top, are left out. A cell may be quoted, as spreadsheets
and pandas do it; if it goes on over several lines, it is read as one line.
"""

import csv
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rmt_genomics.dna.compression import open_decompressed
from rmt_genomics.errors import DataError, RMTGenomicsWarning

_SEPARATORS = {"\t": "tab", ",": "comma"}
_ZIP = b"PK\x03\x04"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BED_LINE = re.compile(r"\S+ +[0-9]+ +[0-9]+(?: |$)")
_BED_HEADER = re.compile(r"#\s*(?:chrom|chr|record)[\t ,]", re.IGNORECASE)
_BED_COMMENT = re.compile(r"(?:track|browser)(?: |$)")


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one line, and where they stand."""

    where: str
    number: int
    """Of its first line, from 1."""

    separator: str
    """In words: tab, comma or blank."""

    cells: list[str]

    num_lines: int = 1
    """More than one if a quoted cell goes on over several lines."""

    def named(self, columns: list[str]) -> dict[str, str]:
        """Return the cells by column.

        Raises:
            DataError: If there are more or fewer cells than columns.
        """
        if len(self.cells) != len(columns):
            raise DataError(
                f"{self.where}: the line has {len(self.cells)} {self.separator}-separated fields, "
                f"but must have {len(columns)}, as the header: {', '.join(columns)}."
            )
        return dict(zip(columns, self.cells, strict=True))


def read_rows(path: Path, what: str) -> Iterator[Row]:
    """Yield every row, a header like any other; ``what`` says what the file should be.

    Raises:
        DataError: If the file cannot be read, or a quote is not closed.
    """
    lines = _text(path, what).split("\n")
    top = next((place for place, line in enumerate(lines) if _is_row(line)), len(lines))
    if top == len(lines):
        return
    if _BED_HEADER.match(lines[top]):
        lines[top] = lines[top].lstrip("#")
    separator = _separator_of(lines[top])
    name, places = _SEPARATORS.get(separator, "blank"), []
    for number, num_lines, cells in _cells(lines[top:], separator, path, top + 1):
        if num_lines > 1:
            places.append(number)
        cells = [" ".join(cell.split()) if "\n" in cell else cell.strip() for cell in cells]
        yield Row(f"{path}:{number}", number, name, cells, num_lines)
    if places:
        warnings.warn(
            f"{path}: {len(places)} lines (such as line {places[0]}) have a quoted cell that goes "
            "on over several lines; its line ends are read as blanks. Is that as it should be?",
            RMTGenomicsWarning,
            stacklevel=2,
        )


def as_cell(text: str) -> str:
    """Write a cell of a tab-separated table: quoted if it would else be read as a quoted one."""
    return '"' + text.replace('"', '""') + '"' if text.startswith('"') else text


def _text(path: Path, what: str) -> str:
    with open_decompressed(path, what=what) as unpacked:
        content = unpacked.read()
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
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad_line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{bad_line}: the file is not UTF-8 text, but must be. "
            "Save it as UTF-8 with tabs, or convert it, for example: iconv -f latin1 -t utf-8."
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_row(line: str) -> bool:
    return bool(line.strip()) and not _is_comment(line)


def _is_comment(line: str) -> bool:
    if line.startswith("#"):
        return not _BED_HEADER.match(line)
    return _BED_COMMENT.match(line) is not None


def _separator_of(line: str) -> str:
    if "\t" in line:
        return "\t"
    return " " if _BED_LINE.match(line) else "," if "," in line else "\t"


def _cells(
    lines: list[str], separator: str, path: Path, first: int
) -> Iterator[tuple[int, int, list[str]]]:
    """Yield number, number of lines and cells of each row; ``first`` numbers the first line."""
    if separator == " ":
        rows = ((number, 1, line.split()) for number, line in enumerate(lines, first))
        yield from (row for row in rows if row[2])
        return
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=separator, strict=True)
    before = 0
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise _bad_quote(path, first + before, lines[before]) from error
        if cells is None:
            return
        if "".join(cells).strip() or (separator == "," and len(cells) > 1):
            yield first + before, reader.line_num - before, cells
        before = reader.line_num


def _bad_quote(path: Path, number: int, line: str) -> DataError:
    shown = line if len(line) <= 40 else line[:37] + "..."
    return DataError(
        f"{path}:{number}: a cell of {shown!r} begins with a quote that is not closed at the end "
        "of the cell, but must be. Close it, or take it out; a quote inside is written twice."
    )


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
