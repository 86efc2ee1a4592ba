"""Read DNA records from files: which files, in which format, and the checks common to all formats.

FASTA, FASTQ, GenBank, EMBL and tables of sequences are recognised by their content, then by their
name. Records are read one after the other, in the memory of one record. What breaks a rule is an
error that names the place: nothing is skipped or repaired silently.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import RawIOBase, TextIOWrapper
from pathlib import Path
from string import whitespace
from typing import BinaryIO, TypeVar

from rmt_genomics.dna.alphabet import Codes, check_letters, encode_pieces
from rmt_genomics.dna.compression import check_exists, open_decompressed
from rmt_genomics.dna.fasta import check_name, check_utf8, read_fasta, read_fastq
from rmt_genomics.dna.genbank_embl import read_flat_file
from rmt_genomics.dna.record_types import EncodedRecord, Entry, Record
from rmt_genomics.dna.sequence_tables import has_sequence_column, read_table
from rmt_genomics.errors import DataError, RMTGenomicsWarning, counted
from rmt_genomics.parsing import unprintable

STDIN = Path("/dev/stdin")
PEEK_BYTES = 1 << 13

_SHOWN = 5
_SAM = re.compile(r"@[A-Z]{2}\t")  # a SAM header, which begins like FASTQ
_Sequence = TypeVar("_Sequence", str, Codes)


def sequence_files(paths: Sequence[str | Path]) -> list[Path]:
    """List the files that are to be read, at least one, in the order of ``paths``.

    A folder stands for all sequence files in it and in the folders below, by name, without hidden
    ones; ``-`` for standard input.

    Raises:
        DataError: If a path does not exist, or a folder has no sequence file or several formats.
    """
    files = []
    for path in map(Path, paths):
        if str(path) == "-":
            files.append(STDIN)
            continue
        check_exists(path, "a sequence file or a folder of such files")
        files += _files_in(path) if path.is_dir() else [path]
    return files


def _files_in(folder: Path) -> list[Path]:
    formats: dict[Path, Format] = {}
    ignored: list[str] = []
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if not file.is_file() or any(part.startswith(".") for part in inside.parts):
            continue
        if (file_format := _format_in_folder(file)) is None:
            ignored.append(str(inside))
        else:
            formats[file] = file_format
    if not formats:
        raise DataError(
            f"{folder}: the folder has no sequence file (FASTA, FASTQ, GenBank, EMBL, or CSV or "
            f"TSV with a sequence column), but must have one. Other files: {len(ignored)}."
        )
    first, first_format = next(iter(formats.items()))
    for file, file_format in formats.items():
        if file_format != first_format:
            raise DataError(
                f"{folder}: {first.relative_to(folder)} is {first_format.name} and "
                f"{file.relative_to(folder)} is {file_format.name}, but a folder must have one "
                "format. Put each format into its own folder."
            )
    if ignored:
        warnings.warn(
            f"{folder}: ignoring {', '.join(ignored[:_SHOWN])}"
            f"{', ...' if len(ignored) > _SHOWN else ''} (not sequence files: {len(ignored)}).",
            RMTGenomicsWarning,
            stacklevel=3,
        )
    return list(formats)


class RecordNames:
    """The record names read so far, to refuse one that is in two files."""

    def __init__(self) -> None:
        self._file_of: dict[str, Path] = {}

    def add(self, name: str, file: Path) -> None:
        """Add the name of a record; raise DataError if another file has one of this name."""
        if (first := self._file_of.setdefault(name, file)) is not file:
            raise DataError(
                f"{file}: record {name!r} is also in {first}, but record names must be unique. "
                "Rename or remove one of them."
            )


def read_records(path: str | Path) -> Iterator[Record]:
    """Read the records of a file: FASTA, FASTQ, GenBank, EMBL, or a table of sequences.

    Format and compression (plain, gzip or bgzip) are recognised by content, then by name.

    Args:
        path: The file. May be a pipe such as /dev/stdin.

    Yields:
        Records in file order. Only the names of earlier ones are kept, to notice duplicates.

    Raises:
        DataError: At the first broken rule, naming file, line or record, value, rule and remedy.
    """
    path = Path(path)
    for entry, sequence in _read(path, None, lambda pieces: check_letters("".join(pieces))):
        yield Record(entry.name, entry.description, sequence, entry.columns)


def read_encoded(
    path: str | Path, raw: BinaryIO | RawIOBase | None = None
) -> Iterator[EncodedRecord]:
    """Read records as ``read_records`` does, but as base codes; letters are checked meanwhile.

    ``raw`` is the open file, if the caller follows how it is read (progress, checksum).
    """
    path = Path(path)
    for entry, codes in _read(path, raw, encode_pieces):
        yield EncodedRecord(entry.name, entry.description, codes, entry.columns)
        del codes  # so that they are freed before the next record is read


def _read(
    path: Path, raw: BinaryIO | RawIOBase | None, convert: Callable[[Iterable[str]], _Sequence]
) -> Iterator[tuple[Entry, _Sequence]]:
    """Yield the entries of a file, checked, with their sequences converted."""
    numbers: dict[str, int] = {}
    num_folded = 0
    with open_decompressed(path, raw) as decompressed:
        file_format = format_of(decompressed.peek(PEEK_BYTES), path)
        # Bytes that are not UTF-8 become surrogates, so that the error can name their line.
        text = TextIOWrapper(decompressed, encoding="utf-8-sig", errors="surrogateescape")
        for entry in file_format.read(text, path):
            where = f"{path}{':' if file_format.unit == 'line' else ': record '}{entry.number}"
            name = entry.name
            if not f"{name}{entry.description}{''.join(entry.columns.values())}".isprintable():
                entry, num_changed = _fold(entry, where)
                num_folded += num_changed
            if (first := numbers.setdefault(name, entry.number)) != entry.number:
                raise DataError(
                    f"{where}: record {name!r} was already at "
                    f"{file_format.unit} {first}, but record names must be unique. "
                    "Rename or remove one of them."
                )
            try:
                sequence = convert(entry.pieces)
            except DataError as error:
                raise DataError(f"{path}: record {name!r}: {error}") from error
            if not len(sequence):
                raise DataError(
                    f"{where}: record {name!r} has no sequence, but must have at least one "
                    "letter. Remove the record, or check that the file is complete."
                )
            yield entry, sequence
            del sequence, entry  # so that they are freed before the next record is read
    if num_folded:
        warnings.warn(
            f"{path}: {counted(num_folded, 'cell')} had control characters such as tabs or line "
            "ends, which have been read as blanks.",
            RMTGenomicsWarning,
            stacklevel=3,
        )
    if not numbers:
        is_table = file_format.name == "table"
        needed = "row below its header" if is_table else f"{file_format.name} record"
        raise DataError(
            f"{path}: the file is empty, but must have at least one {needed}. "
            "Check how it was made."
        )


def _fold(entry: Entry, where: str) -> tuple[Entry, int]:
    """Return an entry with blanks for control characters, and how many cells had any.

    Raises:
        DataError: If it is not UTF-8 text, or the name has control characters.
    """

    def fold(what: str, text: str) -> str:
        check_utf8(text, where, what)
        return "".join(" " if unprintable(each) else each for each in text).strip()

    check_utf8(entry.name, where, "name")
    check_name(entry.name, where)
    columns = {column: fold(column, text) for column, text in entry.columns.items()}
    num_changed = sum(columns[column] != text for column, text in entry.columns.items())
    description = fold("description", entry.description)
    return entry._replace(description=description, columns=columns), num_changed


@dataclass(frozen=True, slots=True)
class Format:
    """A format of sequence files."""

    name: str
    suffixes: tuple[str, ...]

    matches: Callable[[str], bool]  # whether a text, from its first letter on, is of this format
    read: Callable[[TextIOWrapper, Path], Iterator[Entry]]  # reads it; the path is for errors only
    unit: str = "record"  # what the numbers count, from 1: ``line`` or ``record``


FASTA = Format(
    "FASTA",
    (".fasta", ".fa", ".fna", ".ffn", ".frn", ".fas"),
    lambda text: text.startswith(">"),
    read_fasta,
    unit="line",
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
        partial(read_flat_file, "GenBank"),
    ),
    Format(
        "EMBL", (".embl",), lambda text: text.startswith("ID   "), partial(read_flat_file, "EMBL")
    ),
    Format(
        "table",
        (".csv", ".tsv"),
        lambda text: has_sequence_column(text.partition("\n")[0]),
        read_table,
        unit="line",
    ),
)


def format_of(start: bytes, path: Path) -> Format:
    """Recognise a format by the first decompressed bytes, then by the name; else it is FASTA."""
    return _format_by_content(start) or _format_by_name(path) or FASTA


def _format_in_folder(path: Path) -> Format | None:
    """Recognise the format of one file of many; None if it is not a sequence file (a README)."""
    with open_decompressed(path) as decompressed:
        by_content = _format_by_content(decompressed.peek(PEEK_BYTES))
    if by_content is not None:
        return by_content
    by_name = _format_by_name(path)
    # A table without a sequence column may hold the labels.
    return None if by_name is None or by_name.name == "table" else by_name


def _format_by_content(start: bytes) -> Format | None:
    text = start.decode("utf-8-sig", "replace").replace("\r", "\n").lstrip(whitespace)
    return next((known for known in FORMATS if known.matches(text)), None)


def _format_by_name(path: Path) -> Format | None:
    name = path.name.lower().removesuffix(".gz").removesuffix(".bgz")
    return next((known for known in FORMATS if name.endswith(known.suffixes)), None)
