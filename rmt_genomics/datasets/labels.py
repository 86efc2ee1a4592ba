"""Read labelled records or intervals from a tab-separated file.

A header line, then one example a line, columns in any order. Whole records:

    record  label   group   split
    phage1  lytic   T4      train

or intervals, where ``start`` is 0-based and included and ``end`` is excluded (the BED convention),
both counted on the forward strand whatever the ``strand`` is:

    record  start   end     strand  label
    chr1    10000   42768   -       enhancer

``strand``, ``group`` and ``split`` may be left out. Several labels are joined by ``;``. Comment
lines that begin with ``#`` may come before the header.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rmt_genomics.datasets.examples import Example, LabelScheme
from rmt_genomics.datasets.names import check_records_exist, check_records_labelled, did_you_mean
from rmt_genomics.dna.files import check_is_file, explain_reading
from rmt_genomics.dna.interval import Interval
from rmt_genomics.errors import DataError

__all__ = ["COLUMNS", "Example", "LabelScheme", "read_labels"]

COLUMNS = ("record", "start", "end", "strand", "label", "group", "split")
_HEADERS = "'record label [group] [split]' or 'record start end [strand] label [group] [split]'"
_SPLIT_WORDS = {"val": "validation", "dev": "validation", "valid": "validation"} | {
    word: word for word in ("train", "validation", "test")
}


def read_labels(
    path: Path, record_lengths: Mapping[str, int], *, group_column: str = "group"
) -> list[Example]:
    """Read and check every line, so that a bad file fails now and not on the third day.

    Args:
        path: Tab-separated text with the columns above.
        record_lengths: Length in bp of every record of the FASTA file, by name.
        group_column: The column whose value is the group, such as ``genus``, or ``record`` to
            keep the intervals of a record together. Unless it is ``group``, it must be there.

    Returns:
        One example a line, in file order.

    Raises:
        DataError: At the first bad line, naming file, line, value, rule and remedy; or if the
            records named here and those of the FASTA file do not fit together, with a count and
            examples. A FASTA record may only stay without label if the file has intervals.
    """
    rows = _rows(path)
    columns = _columns(next(rows, None), path, group_column)
    parsed = [(row.number, _Fields(row, columns)) for row in rows]
    if not parsed:
        raise DataError(f"{path}: there is no line after the header, but one example must be.")
    first_lines: dict[str, int] = {}
    for number, fields in parsed:
        first_lines.setdefault(fields.text("record"), number)
    check_records_exist(path, first_lines, record_lengths.keys())
    examples = [fields.example(record_lengths, group_column) for _, fields in parsed]
    _check_no_repeats(path, [number for number, _ in parsed], examples)
    if "start" not in columns:
        check_records_labelled(path, first_lines, record_lengths.keys())
    return examples


@dataclass(frozen=True, slots=True)
class _Row:
    """The fields of one line, and where they stand."""

    where: str
    number: int
    cells: list[str]


class _Fields:
    """One line, to be asked for its columns by name."""

    def __init__(self, row: _Row, columns: list[str]) -> None:
        if len(row.cells) != len(columns):
            raise DataError(
                f"{row.where}: the line has {len(row.cells)} tab-separated fields, but must have "
                f"{len(columns)}, as the header: {', '.join(columns)}."
            )
        self.where = row.where
        self._cells = dict(zip(columns, row.cells, strict=True))

    def text(self, column: str) -> str:
        """Return a cell that must not be empty."""
        if not self._cells[column]:
            raise DataError(
                f"{self.where}: the {column} is empty, but every line must have one. "
                "Fill it in, or remove the line."
            )
        return self._cells[column]

    def example(self, record_lengths: Mapping[str, int], group_column: str) -> Example:
        """Check all cells and put them together."""
        labels = tuple(label.strip() for label in self.text("label").split(";"))
        if "" in labels or len(set(labels)) < len(labels):
            raise DataError(
                f"{self.where}: the label is {self.text('label')!r}, but labels joined by ';' "
                "must be different names. Take out what is empty or repeated."
            )
        return Example(
            interval=self._interval(record_lengths[self.text("record")]),
            whole="start" not in self._cells,
            labels=labels,
            group=self.text(group_column) if group_column in self._cells else None,
            split=self._split() if "split" in self._cells else None,
        )

    def _interval(self, length_bp: int) -> Interval:
        record = self.text("record")
        if "start" not in self._cells:
            return Interval(record, 0, length_bp)
        strand = self.text("strand") if "strand" in self._cells else "+"
        try:
            interval = Interval(record, self._number("start"), self._number("end"), strand)
            interval.check_within(length_bp)
        except DataError as error:
            raise DataError(f"{self.where}: {error}") from error
        return interval

    def _number(self, column: str) -> int:
        text = self.text(column)
        if not (text.isascii() and text.isdecimal()):
            raise DataError(f"{column} {text!r} must be a whole number, 0 or more.")
        return int(text)

    def _split(self) -> str:
        word = self.text("split")
        if word.lower() not in _SPLIT_WORDS:
            raise DataError(
                f"{self.where}: the split is {word!r}, but must be one of train, validation "
                f"(or val, dev, valid), test.{did_you_mean(word, _SPLIT_WORDS)}"
            )
        return _SPLIT_WORDS[word.lower()]


def _rows(path: Path) -> Iterator[_Row]:
    """Yield the header, then the lines below; blank lines and comments at the top are left out."""
    check_is_file(path, "a labels file")
    with explain_reading(path):
        content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad_line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{bad_line}: the file is not UTF-8 text, but must be. "
            "Save it as UTF-8 with tabs, or convert it, for example: iconv -f latin1 -t utf-8."
        ) from error
    at_top = True
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (at_top and line.startswith("#")):
            continue
        at_top = False
        yield _Row(f"{path}:{number}", number, [cell.strip() for cell in line.split("\t")])


def _columns(header: _Row | None, path: Path, group_column: str) -> list[str]:
    """Check the header and return its columns."""
    if header is None:
        raise DataError(f"{path}: the file is empty, but must have a header line: {_HEADERS}.")
    columns = header.cells
    if len(columns) == 1:
        raise DataError(
            f"{header.where}: the header is {columns[0]!r}, but must be {_HEADERS}, "
            "with tabs between the columns. Save the file as tab-separated text."
        )
    for column in columns:
        if column not in (*COLUMNS, group_column):
            raise DataError(
                f"{header.where}: the header has the column {column!r}, but must be {_HEADERS}."
                f"{did_you_mean(column, COLUMNS)}"
            )
    if len(set(columns)) < len(columns):
        raise DataError(f"{header.where}: the header names a column twice, but each must be once.")
    if group_column != "group" and group_column not in columns:
        raise DataError(
            f"{header.where}: the header lacks {group_column!r}, but data.group names it as the "
            f"column of groups.{did_you_mean(group_column, columns)}"
        )
    intervals = {"start", "end", "strand"} & set(columns)
    needed = {"record", "label"} | ({"start", "end"} if intervals else set())
    if lacking := [column for column in COLUMNS if column in needed and column not in columns]:
        raise DataError(
            f"{header.where}: the header lacks {', '.join(lacking)}, but must be {_HEADERS}."
        )
    return columns


def _check_no_repeats(path: Path, numbers: list[int], examples: list[Example]) -> None:
    first: dict[Interval, int] = {}
    for number, example in zip(numbers, examples, strict=True):
        if example.interval in first:
            raise DataError(
                f"{path}:{number}: {example.name} was already at line {first[example.interval]}, "
                "but must have one line. Join several labels by ';'."
            )
        first[example.interval] = number
