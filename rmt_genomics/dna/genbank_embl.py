"""GenBank and EMBL flat files to records (Biopython), without their features.

Biopython only warns of a file that is cut in its sequence, or of a sequence of another length
than its first line says. Here both are errors, since a shorter sequence would pass for the whole.
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


_CUT = ("Premature end", "sequence length")


def read_genbank(text: TextIOWrapper, path: Path) -> Iterator[tuple[int, Record]]:
    """Yield the number of each GenBank record, counted from 1, with the record.

    Raises:
        DataError: If a record is cut or cannot be read.
    """
    from Bio.GenBank.Scanner import GenBankScanner  # here, so that importing dna stays quick

    return _read(GenBankScanner(), text, path, "GenBank")  # type: ignore[no-untyped-call]


def read_embl(text: TextIOWrapper, path: Path) -> Iterator[tuple[int, Record]]:
    """Yield the number of each EMBL record, counted from 1, with the record.

    Raises:
        DataError: If a record is cut or cannot be read.
    """
    from Bio.GenBank.Scanner import EmblScanner

    return _read(EmblScanner(), text, path, "EMBL")  # type: ignore[no-untyped-call]


class _Lines:
    """The lines of a text; remembers the first that is not blank.

    Args:
        text: Read line by line.
    """

    def __init__(self, text: TextIOWrapper) -> None:
        self._text = text
        self.first = ""

    def readline(self) -> str:
        """Return the next line; an empty one at the end of the text."""
        line = self._text.readline()
        self.first = self.first or line.strip()
        return line


def _read(scanner: Any, text: TextIOWrapper, path: Path, kind: str) -> Iterator[tuple[int, Record]]:
    number, lines = 1, _Lines(text)
    while (found := _parse_next(scanner, lines, f"{path}: record {number}", kind)) is not None:
        yield number, Record(found.id or "", found.description or "", _letters(found))
        number += 1
    if number == 1 and lines.first:
        raise DataError(
            f"{path}: the file begins with {lines.first[:40]!r} and has no line that begins with "
            f"{scanner.RECORD_START.strip()!r}, but each {kind} record must. Is it such a file?"
        )


def _parse_next(scanner: Any, text: _Lines, where: str, kind: str) -> "SeqRecord | None":
    """Read one record, or None at the end of the file."""
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found: SeqRecord | None = scanner.parse(text, do_features=False)
    except (ValueError, AssertionError, IndexError) as error:  # all of them from broken text
        raise _broken(where, kind, str(error) or "broken text") from error
    for warning in told:
        if any(words in str(warning.message) for words in _CUT):
            raise _broken(where, kind, str(warning.message))
        warnings.warn(f"{where}: {warning.message}", RMTGenomicsWarning, stacklevel=4)
    return found


def _letters(found: "SeqRecord") -> str:
    from Bio.Seq import UndefinedSequenceError

    try:
        return str(found.seq)
    except UndefinedSequenceError:  # the record names its parts and has no letters of its own
        return ""


def _broken(where: str, kind: str, what: str) -> DataError:
    reason = " ".join(what.split()).rstrip(".")
    return DataError(
        f"{where} breaks the {kind} format ({reason}), but must be whole, with its "
        "letters, and end with '//'. Fetch the file again."
    )
