"""A stretch of a record: 0-based, half-open ``[start, end)``, in forward-strand coordinates."""

import re
from dataclasses import dataclass

from rmt_genomics.errors import DataError

STRANDS = ("+", "-", ".")

_TEXT = re.compile(r"(.+):([0-9]+)-([0-9]+)(?:\(([+.-])\))?", re.DOTALL)


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """A stretch of one record; checks itself. Its ``len()`` is in bp.

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
            raise DataError(f"strand {self.strand!r} is unknown, but must be one of + - .")
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
        """Read what ``str`` writes; the strand may be left out and is then ``+``.

        Raises:
            DataError: If the text has another form, or the interval breaks a rule.

        Examples:
            >>> Interval.parse("chr1:0-100")
            Interval(record='chr1', start=0, end=100, strand='+')
        """
        if (match := _TEXT.fullmatch(text)) is None:
            raise DataError(
                f"{text!r} is not an interval, but must look like chr1:0-100 or chr1:0-100(-). "
                "Coordinates are 0-based and half-open."
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
