"""Records, as letters or as base codes, and intervals and windows of records."""

import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rmt_genomics.dna.alphabet import Codes
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsWarning
from rmt_genomics.parsing import shown

STRANDS = ("+", "-", ".")

_PATTERN = re.compile(r"(.+):([0-9]{1,18})-([0-9]{1,18})(?:\(([+.-])\))?", re.DOTALL)


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """A part of one record. Its ``len()`` is in bp.

    Args:
        record: Name of the FASTA record.
        start: First base, 0-based, counted on the forward strand.
        end: The base after the last one (excluded), so that the length is ``end - start``.
        strand: ``+`` forward, ``-`` reverse (read as the reverse complement of the same bases),
            ``.`` either (read as forward).

    Raises:
        DataError: If the name is empty, the strand is unknown, or not 0 <= start < end.

    Examples:
        >>> len(Interval("chr1", 0, 100))
        100
        >>> str(Interval("chr1", 0, 100, "-"))
        'chr1:0-100(-)'
    """

    record: str
    start: int
    end: int
    strand: str = "+"

    def __post_init__(self) -> None:
        if not self.record:
            raise DataError("the interval has no record name, but must have one")
        if self.strand not in STRANDS:
            raise DataError(f"strand {shown(self.strand)} is unknown, but must be one of + - .")
        if not 0 <= self.start < self.end:
            raise DataError(
                f"{self.record}:{self.start}-{self.end} must satisfy 0 <= start < end. "
                "Coordinates are 0-based and half-open."
            )

    def __len__(self) -> int:
        return self.end - self.start

    def __str__(self) -> str:
        return f"{self.record}:{self.start}-{self.end}({self.strand})"

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Parse the form that ``str`` gives; the strand may be omitted and is then ``+``.

        Raises:
            DataError: If the text has another form, or the interval breaks a rule.

        Examples:
            >>> Interval.parse("chr1:0-100")
            Interval(record='chr1', start=0, end=100, strand='+')
        """
        if (match := _PATTERN.fullmatch(text)) is None:
            raise DataError(
                f"{shown(text)} is not an interval, but must look like chr1:0-100 or chr1:0-100(-)."
                " Coordinates are 0-based and half-open."
            )
        record, start, end, strand = match.groups()
        return cls(record, int(start), int(end), strand or "+")

    def check_within(self, length_bp: int) -> None:
        """Raise DataError if the interval runs past the end of its record."""
        if self.end > length_bp:
            raise DataError(
                f"{self.record}:{self.start}-{self.end} must satisfy start < end <= {length_bp}, "
                f"the length of {self.record}. Coordinates are 0-based and half-open."
            )


@dataclass(frozen=True, slots=True)
class Record:
    """One sequence of a file."""

    name: str
    """FASTA and FASTQ: the header up to its first blank. GenBank and EMBL: accession.version."""

    description: str
    """The rest of the header; may be empty."""

    sequence: str
    """Letters as in the file, without white space; all of them DNA, at least one."""

    columns: dict[str, str] = field(default_factory=dict, hash=False)
    """The other columns of a table (CSV, TSV), such as label; empty for other formats."""

    @property
    def length(self) -> int:
        """Length in bp."""
        return len(self.sequence)


class Entry(NamedTuple):
    """One entry of a sequence file as a reader gives it; neither name nor letters are checked."""

    number: int  # its line or its number among the records, counted from 1
    name: str
    description: str
    pieces: Iterable[str]  # the sequence, to be read before the next entry is
    columns: dict[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class EncodedRecord:
    """One sequence, or a part of it, as base codes (see ``alphabet``)."""

    name: str
    description: str
    codes: Codes
    columns: dict[str, str] = field(default_factory=dict)  # as in ``Record``
    interval: Interval | None = None  # where the codes are from; None if they are the whole record
    is_empty: bool = False  # it has no sequence; its codes are then one N, which a model can read

    @property
    def length(self) -> int:
        """Length in bp."""
        return 0 if self.is_empty else len(self.codes)


@dataclass(frozen=True, slots=True, eq=False)
class RecordInfo:
    """Everything about a record but its sequence."""

    name: str
    length: int  # in bp
    file: Path  # the file it was read from
    description: str
    columns: dict[str, str]  # as in ``Record``
    folder: str = ""  # the first folder on the way to the file, from the path that was given


def windows(record: str, length_bp: int, window: int, step: int) -> list[Interval]:
    """Cut a record into windows, the first at its start and the last at its end.

    All windows have the same length, so the last one may overlap the one before by more than the
    others do. A record shorter than a window is one shorter window; an empty one has none.

    ``window`` is the length of a window and ``step`` that from one start to the next, both in bp.

    Raises:
        ConfigError: If not 1 <= step <= window.

    Examples:
        >>> [str(window) for window in windows("chr1", 10, window=4, step=4)]
        ['chr1:0-4(+)', 'chr1:4-8(+)', 'chr1:6-10(+)']
    """
    check_windows(window, step)
    if not length_bp:
        return []
    if length_bp <= window:
        return [Interval(record, 0, length_bp)]
    last = length_bp - window
    return [Interval(record, start, start + window) for start in [*range(0, last, step), last]]


def check_windows(window: int, step: int) -> None:
    """Raise ConfigError unless windows of this length and step cover every base."""
    if not 1 <= step <= window:
        raise ConfigError(
            f"the windows are {window} bp long with a step of {step} bp, but the step must be at "
            "least 1 bp and at most one window, or bases between the windows would be skipped."
        )


def cut_windows(
    records: Iterable[EncodedRecord], window: int, step: int
) -> Iterator[EncodedRecord]:
    """Cut records into windows as they come; warn at the end of records shorter than a window."""
    num_records = num_shorter = num_empty = 0
    for record in records:
        num_records += 1
        num_empty += record.is_empty
        num_shorter += 0 < record.length < window
        for interval in windows(record.name, record.length, window, step):
            codes = record.codes[interval.start : interval.end]
            yield EncodedRecord(record.name, record.description, codes, record.columns, interval)
            del codes
        del record  # so that they are freed before the next record is read
    if num_empty:
        warnings.warn(
            f"{num_empty} of {num_records} records have no sequence, so they have no window.",
            RMTGenomicsWarning,
            stacklevel=2,
        )
    if num_shorter:
        warnings.warn(
            f"{num_shorter} of {num_records} records are shorter than a window of {window} bp; "
            "each of them is read as one window.",
            RMTGenomicsWarning,
            stacklevel=2,
        )
