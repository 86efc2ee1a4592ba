"""Read label tables and BED files, plain or compressed, into rows of cells.

Cells are separated by tabs or commas, whichever the first row has; by spaces in a BED file without
tabs. Blank lines, and comments at the top, are skipped. A cell may be quoted, as spreadsheets and
pandas do; a quoted cell that spans several lines is read as one line.
"""

import csv
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rmt_genomics.dna.compression import open_decompressed
from rmt_genomics.errors import DataError, RMTGenomicsWarning, counted

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
_NUMBER = re.compile(r"-?[0-9][0-9.,_]*")
_BED_LINE = re.compile(r"\S+ +[0-9]+ +[0-9]+(?: |$)")
_BED_HEADER = re.compile(r"#\s*(?:chrom|chr|record)[\t ,]", re.IGNORECASE)
_BED_COMMENT = re.compile(r"(?:track|browser)(?: |$)")
_SEPARATOR_NAMES = {"\t": "tab", ",": "comma", " ": "space"}
_ZIP = b"PK\x03\x04"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one row, and where the row is."""

    where: str
    """File and line, for error messages."""

    line_number: int
    """Of its first line, from 1."""

    separator: str
    """A tab, a comma or a space."""

    cells: list[str]

    num_lines: int = 1
    """More than 1 if a quoted cell spans several lines."""

    def by_column(self, columns: list[str]) -> dict[str, str]:
        """Return the cells by column name.

        Raises:
            DataError: If the number of cells is not the number of columns.
        """
        if len(self.cells) != len(columns):
            cells = counted(len(self.cells), f"{_SEPARATOR_NAMES[self.separator]}-separated cell")
            raise DataError(
                f"{self.where}: the line has {cells}, but must have {len(columns)}, as the "
                f"header: {', '.join(columns)}."
            )
        return dict(zip(columns, self.cells, strict=True))


def read_table(path: Path, what: str) -> tuple[Row, list[Row]]:
    """Read a table with a header, or a BED file with or without one.

    Args:
        path: The file.
        what: What the file should be, for error messages.

    Returns:
        The header with the column names of ``HEADER_FORMS``, and the rows below it.

    Raises:
        DataError: If the file cannot be read, is empty, is GFF, or is BED with more columns than
            ``BED_COLUMNS``.
    """
    rows = read_rows(path, what)
    if not rows:
        raise DataError(f"{path}: the file is empty, but must have a header line: {HEADER_FORMS}.")
    first, cells = rows[0], rows[0].cells
    if cells[0].lower() in ("chrom", "chr"):
        lower = [cell.lower() for cell in cells]
        # If there is a column "label" already, "name" keeps its name.
        names = {bed: name for bed, name in _BED_NAMES.items() if name not in lower}
        header, body = replace(first, cells=[names.get(cell, cell) for cell in lower]), rows[1:]
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
        header = replace(first, cells=list(BED_COLUMNS[: len(cells)]))
        body = [_without_dot_label(row) for row in rows]
    else:
        header, body = first, rows[1:]
    if len(header.cells) == 1:
        remedy = "Save the file as tab-separated text."
        if header.cells[0].startswith(">"):
            remedy = "This looks like FASTA: was it given as the labels?"
        raise DataError(
            f"{header.where}: the header is {header.cells[0]!r}, but must be {HEADER_FORMS}, "
            f"with tabs between the columns. {remedy}"
        )
    return header, body


def read_rows(path: Path, what: str) -> list[Row]:
    """Read every row, a header like any other.

    Args:
        path: The file.
        what: What the file should be, for error messages.

    Raises:
        DataError: If the file cannot be read, or a quote is not closed.
    """
    lines = _read_text(path, what).split("\n")
    top = next((index for index, line in enumerate(lines) if _is_content(line)), len(lines))
    if top == len(lines):
        return []
    if _BED_HEADER.match(lines[top]):
        lines[top] = lines[top].lstrip("#")
    separator = "\t"
    if "\t" not in lines[top]:
        separator = " " if _BED_LINE.match(lines[top]) else "," if "," in lines[top] else "\t"
    rows = []
    for number, num_lines, cells in _parse(lines[top:], separator, path, top + 1):
        cells = [" ".join(cell.split()) if "\n" in cell else cell.strip() for cell in cells]
        rows.append(Row(f"{path}:{number}", number, separator, cells, num_lines))
    if multiline := [row.line_number for row in rows if row.num_lines > 1]:
        warnings.warn(
            f"{path}: {counted(len(multiline), 'row')} with a quoted cell over several lines (the "
            f"first at line {multiline[0]}); its line breaks are read as spaces. Is that intended?",
            RMTGenomicsWarning,
            stacklevel=2,
        )
    return rows


def quote_cell(text: str) -> str:
    """Return a cell for a tab-separated table, quoted if it begins with a quote itself."""
    return '"' + text.replace('"', '""') + '"' if text.startswith('"') else text


def _without_dot_label(row: Row) -> Row:
    """Empty the label where it is a dot, which means "none" in BED."""
    label = BED_COLUMNS.index("label")
    if len(row.cells) > label and row.cells[label] == ".":
        return replace(row, cells=[*row.cells[:label], "", *row.cells[label + 1 :]])
    return row


def _read_text(path: Path, what: str) -> str:
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
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad_line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{bad_line}: the file is not UTF-8 text, but must be. "
            "Save it as UTF-8 with tabs, or convert it, for example: iconv -f latin1 -t utf-8."
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_content(line: str) -> bool:
    """Whether a line at the top of a file is neither blank nor a comment."""
    if line.startswith("#"):
        return _BED_HEADER.match(line) is not None
    return bool(line.strip()) and not _BED_COMMENT.match(line)


def _parse(
    lines: list[str], separator: str, path: Path, first_number: int
) -> Iterator[tuple[int, int, list[str]]]:
    """Yield line number, number of lines and cells of each row that is not blank."""
    if separator == " ":
        for number, line in enumerate(lines, first_number):
            if line.strip():
                yield number, 1, line.split()
        return
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=separator, strict=True)
    lines_before = 0
    while True:
        number = first_number + lines_before
        try:
            cells = next(reader, None)
        except csv.Error as error:
            line = lines[lines_before]
            shown = line if len(line) <= 40 else line[:37] + "..."
            raise DataError(
                f"{path}:{number}: a cell in {shown!r} begins with a quote that is not closed at "
                "the end of the cell, but must be. Close or remove it; a quote inside a cell is "
                "written twice."
            ) from error
        if cells is None:
            return
        if "".join(cells).strip() or (separator == "," and len(cells) > 1):
            yield number, reader.line_num - lines_before, cells
        lines_before = reader.line_num
