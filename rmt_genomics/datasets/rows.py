"""Read a text table, plain or packed: one row a line, with its place for errors.

Cells are separated by tabs or commas, whichever the first row has; by blanks in a BED file that has
no tabs. Blank lines, and comments at the top, are left out.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rmt_genomics.dna.files import open_unpacked
from rmt_genomics.errors import DataError

_SEPARATORS = {"\t": "tab", ",": "comma"}
_BED_LINE = re.compile(r"\S+ +[0-9]+ +[0-9]+(?: |$)")
_BED_HEADER = re.compile(r"#\s*(?:chrom|chr|record)[\t ,]", re.IGNORECASE)
_BED_COMMENT = re.compile(r"(?:track|browser)(?: |$)")


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one line, and where they stand."""

    where: str
    number: int
    separator: str
    """In words: tab, comma or blank."""

    cells: list[str]

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
    """Yield every row, a header like any other; ``what`` says what the file should be."""
    separator = ""
    for number, line in enumerate(_text(path, what).split("\n"), start=1):
        if not line.strip() or (not separator and _is_comment(line)):
            continue
        if not separator:
            line = line.lstrip("#") if _BED_HEADER.match(line) else line
            separator = _separator_of(line)
        cells = [cell.strip() for cell in _cells(line, separator)]
        yield Row(f"{path}:{number}", number, _SEPARATORS.get(separator, "blank"), cells)


def _text(path: Path, what: str) -> str:
    with open_unpacked(path, what=what) as unpacked:
        content = unpacked.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad_line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{bad_line}: the file is not UTF-8 text, but must be. "
            "Save it as UTF-8 with tabs, or convert it, for example: iconv -f latin1 -t utf-8."
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_comment(line: str) -> bool:
    if line.startswith("#"):
        return not _BED_HEADER.match(line)
    return _BED_COMMENT.match(line) is not None


def _separator_of(line: str) -> str:
    if "\t" in line:
        return "\t"
    return " " if _BED_LINE.match(line) else "," if "," in line else "\t"


def _cells(line: str, separator: str) -> list[str]:
    if separator == ",":
        return next(csv.reader([line]))
    return line.split() if separator == " " else line.split(separator)
