"""GenBank and EMBL flat files to records (Biopython), without their features.

Biopython only warns of a file that is truncated within its sequence, or of a sequence of another
length than its first line says. Here both are errors: a part would be taken for the whole sequence.
"""

import warnings
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rmt_genomics.dna.record_types import Entry
from rmt_genomics.errors import DataError, RMTGenomicsWarning

if TYPE_CHECKING:
    from Bio.SeqRecord import SeqRecord

_TRUNCATED = ("Premature end", "sequence length")  # in Biopython's warnings


class _Lines:
    """The lines of a text; remembers the first that is not blank, and counts ends of records."""

    def __init__(self, text: TextIOWrapper) -> None:
        self._text = text
        self.first = ""
        self.num_ends = 0

    def readline(self) -> str:
        """Return the next line; an empty one at the end of the text."""
        line = self._text.readline()
        self.first = self.first or line.strip()
        self.num_ends += line.rstrip() == "//"
        return line


def read_flat_file(
    format_name: Literal["GenBank", "EMBL"], text: TextIOWrapper, path: Path
) -> Iterator[Entry]:
    """Yield the entries of a GenBank or EMBL file.

    Raises:
        DataError: If a record is truncated or cannot be read.
    """
    from Bio.GenBank import Scanner  # here, so that importing dna stays quick
    from Bio.Seq import UndefinedSequenceError

    scanners: Any = {"GenBank": Scanner.GenBankScanner, "EMBL": Scanner.EmblScanner}
    scanner = scanners[format_name]()
    lines = _Lines(text)
    for number in count(1):
        where = f"{path}: record {number}"
        try:
            with warnings.catch_warnings(record=True) as biopython_warnings:
                warnings.simplefilter("always")
                entry: SeqRecord | None = scanner.parse(lines, do_features=False)
        except UnicodeError as error:
            raise _broken(where, format_name, "its sequence is not ASCII text") from error
        except (ValueError, AssertionError, IndexError) as error:  # all of them from broken text
            raise _broken(where, format_name, str(error) or "broken text") from error
        for warning in biopython_warnings:
            if any(words in str(warning.message) for words in _TRUNCATED):
                raise _broken(where, format_name, str(warning.message))
            warnings.warn(f"{where}: {warning.message}", RMTGenomicsWarning, stacklevel=3)
        if lines.num_ends > number - (entry is None):  # Biopython skips what begins otherwise
            start = scanner.RECORD_START.strip()
            raise _broken(where, format_name, f"it does not begin with {start!r}")
        if entry is None:
            break
        try:
            sequence = str(entry.seq)
        except UndefinedSequenceError:  # it names its parts, and has no letters of its own
            sequence = ""
        yield Entry(number, entry.id or "", entry.description or "", [sequence], {})
    if number == 1 and lines.first:
        raise DataError(
            f"{path}: the file begins with {lines.first[:40]!r} and has no line that "
            f"begins with {scanner.RECORD_START.strip()!r}, but each {format_name} record must. "
            "Check the format of the file."
        )


def _broken(where: str, format_name: str, reason: str) -> DataError:
    reason = " ".join(reason.split()).rstrip(".")
    return DataError(
        f"{where} breaks the {format_name} format ({reason}), but must be complete, with its "
        "sequence, and end with '//'. Download the file again."
    )
