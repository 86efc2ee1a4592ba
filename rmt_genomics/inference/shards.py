"""A share of the predictions in a file of its own, and the shares joined again in input order.

A shard file holds the lines of one share, each after the number of its row. So nothing is lost,
doubled or out of order when shares are joined, and a share that is missing or of another run is
noticed.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from heapq import merge
from pathlib import Path
from typing import IO

from rmt_genomics.dna.files import check_is_file
from rmt_genomics.errors import DataError
from rmt_genomics.inference.growing import Key
from rmt_genomics.inference.tables import Layout

_MARK, _HEADER, _END = "#rmt-genomics shard", "#header", "#end"


@dataclass(frozen=True, slots=True)
class Shard:
    """How a share of the predictions stands in its file."""

    layout: Layout
    number: int
    of: int
    key: Key
    """What all shares must have in common."""

    def header(self) -> list[str]:
        """Return which share it is, and the header of the whole."""
        name = hashlib.sha256(json.dumps(dict(self.key), sort_keys=True).encode()).hexdigest()
        lines = [f"{_MARK} {self.number}/{self.of} {name}"]
        return [*lines, *(f"{_HEADER} {each}" for each in self.layout.header())]

    def line(self, row: int, line: str) -> str:
        """Return a line of the whole with its place."""
        return f"{row}\t{line}"

    def footer(self, num_rows: int) -> str:
        """Return the last line: how many rows the whole has."""
        return f"{_END} {num_rows}"

    @staticmethod
    def is_footer(line: str) -> bool:
        """Tell whether a line is the last one."""
        return line.startswith(_END)

    @staticmethod
    def row_of(line: str) -> int:
        """Return the place of a line in the whole."""
        return int(line.partition("\t")[0])


@dataclass(slots=True)
class _Open:
    """A shard file that is being read."""

    path: Path
    name: str
    number: int
    of: int
    header: list[str]
    lines: Iterator[str]
    num_rows: int | None = None
    """How many the whole has; known at the end."""

    def rows(self) -> Iterator[tuple[int, str]]:
        """Yield places and lines."""
        for line in self.lines:
            if line.startswith(_END):
                self.num_rows = int(line.removeprefix(_END))
                return
            row, _, rest = line.partition("\t")
            yield int(row), rest
        raise _cut(self.path)


def joined_lines(paths: Sequence[Path]) -> Iterator[str]:
    """Yield the lines of the whole, in input order, from all of its shard files.

    Args:
        paths: All shards of one run, in any order.

    Raises:
        DataError: If a shard is missing, doubled, cut, or of another run.
    """
    with ExitStack() as stack:
        for path in paths:
            check_is_file(path, "a shard that predict --shard has written")
        shards = [
            _open(path, stack.enter_context(path.open(encoding="utf-8", newline="\n")))
            for path in paths
        ]
        _check_set(shards)
        yield from shards[0].header
        count = 0
        for row, line in merge(*(each.rows() for each in shards)):
            if row != count:
                raise _gap(shards, row, count)
            yield line
            count += 1
        for each in shards:
            if each.num_rows != count:
                raise DataError(
                    f"{each.path}: says that there are {each.num_rows} rows, but the shards hold "
                    f"{count}. Make them again from the same input."
                )


def _open(path: Path, text: IO[str]) -> _Open:
    """Read the lines before the first row."""
    lines = (line.removesuffix("\n") for line in text)
    first = next(lines, "")
    words = first.removeprefix(_MARK).split()
    if not first.startswith(_MARK) or len(words) != 2 or "/" not in words[0]:
        raise DataError(
            f"{path}: is no shard, but must be a file that predict --shard has written. "
            "Only such files can be joined."
        )
    number, of = map(int, words[0].split("/"))
    header = next(lines, None)
    if header is None or not header.startswith(_HEADER):
        raise _cut(path)
    return _Open(path, words[1], number, of, [header.removeprefix(f"{_HEADER} ")], lines)


def _check_set(shards: Sequence[_Open]) -> None:
    """Raise DataError unless these are all the shards of one run, each once."""
    first, by_number = shards[0], dict[int, _Open]()
    for each in shards:
        if (each.name, each.of) != (first.name, first.of):
            raise DataError(
                f"{each.path}: is of another run than {first.path}, but only shards of one run can "
                "be joined: same model, same input, same options, same number of shards."
            )
        if (other := by_number.setdefault(each.number, each)) is not each:
            raise DataError(
                f"{each.path}: is shard {each.number}/{each.of}, but so is {other.path}. "
                "Give each shard once."
            )
    if missing := [str(n) for n in range(1, first.of + 1) if n not in by_number]:
        raise DataError(
            f"{first.path}: is one of {first.of} shards, but shard {', '.join(missing)} is not "
            "among those given. Give all of them."
        )


def _gap(shards: Sequence[_Open], row: int, count: int) -> DataError:
    found = f"row {row} is there twice" if row < count else f"row {count} is missing"
    return DataError(
        f"{shards[0].path.parent}: {found}, but the shards must hold each row once. "
        "Make them again from the same input."
    )


def _cut(path: Path) -> DataError:
    return DataError(
        f"{path}: the shard is cut, but must end with its number of rows. "
        "Make it again, or go on with it: predict --shard ... --resume."
    )
