"""GenBank and EMBL flat files to records (Biopython), without their features.

Biopython only warns of a file that is truncated within its sequence, or of a sequence of another
length than its first line says. Here both are errors: a part would be taken for the whole sequence.
"""

import warnings
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmt_genomics.dna.record_types import Record
from rmt_genomics.errors import DataError, RMTGenomicsWarning

if TYPE_CHECKING:
    from Bio.SeqRecord import SeqRecord


_TRUNCATED = ("Premature end", "sequence length")  # in Biopython's warnings


def read_genbank(text: TextIOWrapper, path: Path) -> Iterator[tuple[int, Record]]:
    """Yield the number of each GenBank record, counted from 1, with the record.

    Raises:
        DataError: If a record is truncated or cannot be read.
    """
    from Bio.GenBank.Scanner import GenBankScanner  # here, so that importing dna stays quick

    return _read(GenBankScanner(), text, path, "GenBank")  # type: ignore[no-untyped-call]


def read_embl(text: TextIOWrapper, path: Path) -> Iterator[tuple[int, Record]]:
    """Yield the number of each EMBL record, counted from 1, with the record.

    Raises:
        DataError: If a record is truncated or cannot be read.
    """
    from Bio.GenBank.Scanner import EmblScanner

    return _read(EmblScanner(), text, path, "EMBL")  # type: ignore[no-untyped-call]


class _Lines:
    """The lines of a text; remembers the first that is not blank."""

    def __init__(self, text: TextIOWrapper) -> None:
        self._text = text
        self.first = ""

    def readline(self) -> str:
        """Return the next line; an empty one at the end of the text."""
        line = self._text.readline()
        self.first = self.first or line.strip()
        return line


def _read(
    scanner: Any, text: TextIOWrapper, path: Path, format_name: str
) -> Iterator[tuple[int, Record]]:
    from Bio.Seq import UndefinedSequenceError

    number, lines = 1, _Lines(text)
    while entry := _parse_next(scanner, lines, f"{path}: record {number}", format_name):
        try:
            sequence = str(entry.seq)
        except UndefinedSequenceError:  # it names its parts, and has no letters of its own
            sequence = ""
        yield number, Record(entry.id or "", entry.description or "", sequence)
        number += 1
    if number == 1 and lines.first:
        raise DataError(
            f"{path}: the file begins with {lines.first[:40]!r} and has no line that begins with "
            f"{scanner.RECORD_START.strip()!r}, but each {format_name} record must. "
            "Check the format of the file."
        )


def _parse_next(scanner: Any, lines: _Lines, where: str, format_name: str) -> "SeqRecord | None":
    """Read one record; None at the end of the file."""
    try:
        with warnings.catch_warnings(record=True) as biopython_warnings:
            warnings.simplefilter("always")
            entry: SeqRecord | None = scanner.parse(lines, do_features=False)
    except (ValueError, AssertionError, IndexError) as error:  # all of them from broken text
        raise _broken(where, format_name, str(error) or "broken text") from error
    for warning in biopython_warnings:
        if any(words in str(warning.message) for words in _TRUNCATED):
            raise _broken(where, format_name, str(warning.message))
        warnings.warn(f"{where}: {warning.message}", RMTGenomicsWarning, stacklevel=4)
    return entry


def _broken(where: str, format_name: str, reason: str) -> DataError:
    reason = " ".join(reason.split()).rstrip(".")
    return DataError(
        f"{where} breaks the {format_name} format ({reason}), but must be complete, with its "
        "sequence, and end with '//'. Download the file again."
    )
