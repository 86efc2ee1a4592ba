"""The kinds of sequence files there are, and which of them a file is.

Told by content first, since names lie; by name if the content fits no kind, so that the errors
of the kind that was meant explain what is wrong.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

from rmt_genomics.dna.fasta import read_fasta, read_fasta_codes
from rmt_genomics.dna.fastq import read_fastq
from rmt_genomics.dna.files import open_unpacked
from rmt_genomics.dna.flat_files import read_embl, read_genbank
from rmt_genomics.dna.record import EncodedRecord, Record
from rmt_genomics.dna.tables import has_sequence_column, read_table

PEEK_BYTES = 1 << 13

_SAM = re.compile(r"@[A-Z]{2}\t")  # begins like FASTQ


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of sequence file."""

    name: str
    suffixes: tuple[str, ...]

    begins: Callable[[str], bool]
    """Whether a text, from its first letter on, is of this kind."""

    read: Callable[[TextIOWrapper, Path], Iterator[tuple[int, Record]]]
    """Yields records with their places; ``path`` is for errors only."""

    read_codes: Callable[[TextIOWrapper, Path], Iterator[tuple[int, EncodedRecord]]] | None = None
    """The same with base codes, if that is possible without holding the letters."""

    place: str = "record"
    """What places count: lines or records, from 1."""

    def where(self, path: Path, place: int) -> str:
        """Name a place for an error."""
        return f"{path}:{place}" if self.place == "line" else f"{path}: record {place}"


FASTA = Format(
    "FASTA",
    (".fasta", ".fa", ".fna", ".ffn", ".frn", ".fas"),
    lambda text: text.startswith(">"),
    read_fasta,
    read_fasta_codes,
    "line",
)
FORMATS = (
    FASTA,
    Format(
        "FASTQ",
        (".fastq", ".fq"),
        lambda text: text.startswith("@") and not _SAM.match(text),
        read_fastq,
    ),
    Format(
        "GenBank",
        (".gb", ".gbk", ".gbff", ".genbank"),
        lambda text: text.startswith("LOCUS "),
        read_genbank,
    ),
    Format("EMBL", (".embl",), lambda text: text.startswith("ID   "), read_embl),
    Format(
        "table",
        (".csv", ".tsv"),
        lambda text: has_sequence_column(text.partition("\n")[0]),
        read_table,
        place="line",
    ),
)


def format_of(start: bytes, path: Path) -> Format:
    """Tell the kind of a file by its first unpacked bytes, then by its name; else it is FASTA."""
    return _by_content(start) or _by_name(path) or FASTA


def format_in_folder(path: Path) -> Format | None:
    """Tell the kind of a file among others, or None if it is no sequence file, such as a README.

    A table without a sequence column is none: it may hold the labels.
    """
    with open_unpacked(path) as unpacked:
        found = _by_content(unpacked.peek(PEEK_BYTES))
    if found is None and (named := _by_name(path)) is not None and named.name != "table":
        return named
    return found


def _by_content(start: bytes) -> Format | None:
    text = start.decode("utf-8-sig", "replace").replace("\r", "\n").lstrip()
    return next((each for each in FORMATS if each.begins(text)), None)


def _by_name(path: Path) -> Format | None:
    name = path.name.lower().removesuffix(".gz").removesuffix(".bgz")
    return next((each for each in FORMATS if name.endswith(each.suffixes)), None)
