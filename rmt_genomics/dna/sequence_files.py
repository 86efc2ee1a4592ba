"""Read sequence records one after the other: whole files, in the memory of one record.

What breaks a rule is an error that says where: nothing is skipped or repaired in silence. The
kinds of files are in ``formats``; here is what holds for all of them.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, TypeVar

from rmt_genomics.dna.alphabet import check_letters, encode
from rmt_genomics.dna.compression import check_exists, open_unpacked
from rmt_genomics.dna.fasta import read_fasta, read_fasta_codes, read_fastq
from rmt_genomics.dna.genbank_embl import read_embl, read_genbank
from rmt_genomics.dna.record_types import EncodedRecord, Record
from rmt_genomics.dna.sequence_tables import has_sequence_column, read_table
from rmt_genomics.errors import DataError, RMTGenomicsWarning

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


_Any = TypeVar("_Any", Record, EncodedRecord)
_Read = Callable[[io.TextIOWrapper, Path], Iterator[tuple[int, _Any]]]


def read_records(path: Path) -> Iterator[Record]:
    """Read the records of a file: FASTA, FASTQ, GenBank, EMBL, or a table of sequences.

    Kind and packing (plain, gzip or bgzip) are told by content, then by name.

    Args:
        path: The file. A pipe such as /dev/stdin will do.

    Yields:
        Records in file order. Only names are kept of earlier ones, to notice duplicates.

    Raises:
        DataError: At the first rule broken, naming file, line or record, value, rule and remedy.
    """
    for record in _parse(path, None, lambda kind: kind.read):
        try:
            check_letters(record.sequence)
        except DataError as error:
            raise _in_record(path, record, error) from error
        yield record


def read_encoded(path: Path, raw: BinaryIO | io.RawIOBase | None = None) -> Iterator[EncodedRecord]:
    """Read records as base codes; letters are checked on the way.

    Args:
        path: As in ``read_records``.
        raw: The open file, if the caller watches how far it has been read.

    Yields:
        Records in file order.

    Raises:
        DataError: As in ``read_records``.
    """
    return _parse(path, raw, _encoding)


def _encoding(kind: Format) -> _Read[EncodedRecord]:
    """Return the reader of base codes of a kind of file."""

    def read(text: io.TextIOWrapper, path: Path) -> Iterator[tuple[int, EncodedRecord]]:
        for place, record in kind.read(text, path):
            try:
                codes = encode(record.sequence)
            except DataError as error:
                raise _in_record(path, record, error) from error
            yield place, EncodedRecord(record.name, record.description, codes, record.columns)

    return kind.read_codes or read


def _in_record(path: Path, record: Record, error: DataError) -> DataError:
    return DataError(f"{path}: record {record.name!r}: {error}")


def _parse(
    path: Path, raw: BinaryIO | io.RawIOBase | None, reader: Callable[[Format], _Read[_Any]]
) -> Iterator[_Any]:
    """Read records and check everything but their letters; none is held when the next is read."""
    first_places: dict[str, int] = {}
    with open_unpacked(path, raw) as unpacked:
        kind = format_of(unpacked.peek(PEEK_BYTES), path)
        # Bytes that are not UTF-8 become surrogates, so that they can be found with their line.
        text = io.TextIOWrapper(unpacked, encoding="utf-8-sig", errors="surrogateescape")
        for place, record in reader(kind)(text, path):
            name = record.name
            if (first := first_places.setdefault(name, place)) != place:
                raise DataError(
                    f"{kind.where(path, place)}: record {name!r} was already at {kind.place} "
                    f"{first}, but every record needs a name of its own. "
                    "Rename or remove one of them."
                )
            if not record.length:
                raise DataError(
                    f"{kind.where(path, place)}: record {name!r} has no sequence, but must have at "
                    "least one letter. Remove the record, or check that the file is whole."
                )
            yield record
            del record
    if not first_places:
        raise DataError(
            f"{path}: the file is empty, but must hold at least one {_holds(kind.name)}. "
            "Check how it was made."
        )


def _holds(kind: str) -> str:
    return "row below its header" if kind == "table" else f"{kind} record"


STDIN = Path("/dev/stdin")
_SHOWN = 5


def sequence_files(paths: Sequence[Path]) -> list[Path]:
    """Name the files that are to be read.

    Args:
        paths: Files, and folders that stand for all sequence files in them and in the folders
            below, by name; hidden ones are left out. ``-`` is standard input.

    Returns:
        The files, at least one, in the order of ``paths``.

    Raises:
        DataError: If a path is not there, or a folder has no sequence file or several kinds.
    """
    return [file for path in paths for file in _files_of(path)]


class NamesOfFiles:
    """Record names seen so far, to notice one that two files share."""

    def __init__(self) -> None:
        self._file_of: dict[str, Path] = {}

    def add(self, name: str, file: Path) -> None:
        """Note a record.

        Raises:
            DataError: If another file has a record of this name.
        """
        if (first := self._file_of.setdefault(name, file)) is not file:
            raise DataError(
                f"{file}: record {name!r} is in {first} too, but every record needs a name of its "
                "own. Rename or remove one of them."
            )


def _files_of(path: Path) -> list[Path]:
    if str(path) == "-":
        return [STDIN]
    check_exists(path, "a sequence file or a folder of such files")
    return _files_in(path) if path.is_dir() else [path]


def _files_in(folder: Path) -> list[Path]:
    kinds: dict[Path, Format] = {}
    others: list[str] = []
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if not file.is_file() or any(part.startswith(".") for part in inside.parts):
            continue
        if (kind := format_in_folder(file)) is None:
            others.append(str(inside))
        else:
            kinds[file] = kind
    if not kinds:
        raise DataError(
            f"{folder}: {len(others)} files are in this folder, but none is a sequence file "
            "(FASTA, FASTQ, GenBank, EMBL, or CSV or TSV with a sequence column). Check the name."
        )
    _check_one_kind(folder, kinds)
    if others:
        warnings.warn(
            f"{folder}: {len(others)} files are no sequence files and are left out "
            f"({', '.join(others[:_SHOWN])}{', ...' if len(others) > _SHOWN else ''}).",
            RMTGenomicsWarning,
            stacklevel=4,
        )
    return list(kinds)


def _check_one_kind(folder: Path, kinds: dict[Path, Format]) -> None:
    first = next(iter(kinds))
    for file, kind in kinds.items():
        if kind != kinds[first]:
            raise DataError(
                f"{folder}: {first.relative_to(folder)} is {kinds[first].name} and "
                f"{file.relative_to(folder)} is {kind.name}, but a folder must hold one kind. "
                "Put each kind into a folder of its own."
            )
