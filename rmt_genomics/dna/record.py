"""One sequence with its name, as letters or as base codes."""

from dataclasses import dataclass, field
from pathlib import Path

from rmt_genomics.dna.alphabet import Codes
from rmt_genomics.dna.interval import Interval


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
    """What a table (CSV, TSV) says beside name and sequence, such as label. Else empty."""

    @property
    def length(self) -> int:
        """Length in bp."""
        return len(self.sequence)


@dataclass(frozen=True, slots=True, eq=False)
class EncodedRecord:
    """One sequence, or a part of it, as base codes (see ``alphabet``)."""

    name: str
    description: str
    codes: Codes
    columns: dict[str, str] = field(default_factory=dict)
    """As in ``Record``."""

    interval: Interval | None = None
    """Where the codes are from; None if they are the whole record."""

    @property
    def length(self) -> int:
        """Length in bp."""
        return len(self.codes)


@dataclass(frozen=True, slots=True, eq=False)
class RecordInfo:
    """What is known of a record without its letters."""

    name: str
    length: int
    """In bp."""

    file: Path
    """Where it was read from."""

    description: str
    columns: dict[str, str]
    """As in ``Record``."""
