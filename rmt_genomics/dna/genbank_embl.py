"""GenBank and EMBL flat files to records (Biopython), without their features.

Biopython only warns of a file that is truncated within its sequence, or of a sequence of another
length than its first line says. Here both are errors: a part would be taken for the whole sequence.
"""

import re
import warnings
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rmt_genomics.dna.record_names import stem_of
from rmt_genomics.dna.record_types import Entry
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from rmt_genomics.parsing import shown

if TYPE_CHECKING:
    from Bio.SeqRecord import SeqRecord

_RUN_TOGETHER = re.compile(r"^LOCUS\s+\S{16,}\s+(?:bp|aa)\b")
_TRUNCATED = ("Premature end", "sequence length")  # in Biopython's warnings


class _Lines:
    """The lines of a text; remembers the first that is not blank, and counts ends of records."""

    def __init__(self, text: TextIOWrapper) -> None:
        self._text = text
        self.first = ""
        self.locus = ""  # the first line of the present record
        self.num_ends = 0

    def readline(self) -> str:
        """Return the next line; an empty one at the end of the text."""
        line = self._text.readline()
        self.first = self.first or line.strip()
        self.num_ends += line.rstrip() == "//"
        if line.startswith(("LOCUS", "ID ")):
            self.locus = line.strip()
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
    unnamed = count(1)
    for number in count(1):
        where = f"{path}: record {number}"
        try:
            with warnings.catch_warnings(record=True) as biopython_warnings:
                warnings.simplefilter("always")
                entry: SeqRecord | None = scanner.parse(lines, do_features=False)
        except UnicodeError as error:
            raise _broken(where, format_name, "its sequence is not ASCII text") from error
        except (ValueError, AssertionError, IndexError) as error:  # all of them from broken text
            raise _broken(where, format_name, str(error) or "broken text", lines.locus) from error
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
        except UndefinedSequenceError as error:  # it names its parts
            raise DataError(
                f"{where}: record {entry.id!r} has no sequence, but must have at least one letter. "
                "Download it with its sequence (GenBank full), or as FASTA."
            ) from error
        name = _name_of(entry, path, unnamed)
        yield Entry(number, name, entry.description or "", [sequence], {})
    if number == 1 and lines.first:
        raise DataError(
            f"{path}: the file begins with {lines.first[:40]!r} and has no line that "
            f"begins with {scanner.RECORD_START.strip()!r}, but each {format_name} record must. "
            "Check the format of the file."
        )


def _name_of(entry: "SeqRecord", path: Path, unnamed: Iterator[int]) -> str:
    """Return the accession with its version; without one the file's name, numbered from 2 on."""
    if entry.id not in (None, "", "."):
        return str(entry.id)
    number = next(unnamed)
    return stem_of(path) + (f"_{number}" if number > 1 else "")


def _broken(where: str, format_name: str, reason: str, locus: str = "") -> DataError:
    reason = " ".join(reason.split()).rstrip(".")
    remedy = "Download the file again."
    if _RUN_TOGETHER.search(locus):
        remedy = (
            "The name and the length in its LOCUS line run together, because the name is too long: "
            "shorten the name, or give the sequences as FASTA."
        )
    elif "LOCUS" in reason or "ID line" in reason:
        remedy = f"Correct the line, or give the sequences as FASTA: {shown(locus)}."
    return DataError(
        f"{where} breaks the {format_name} format ({reason}), but must be complete, with its "
        f"sequence, and end with '//'. {remedy}"
    )
