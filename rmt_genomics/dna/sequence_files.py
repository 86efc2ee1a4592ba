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

from rmt_genomics.dna.alphabet import Codes, check_letters, encode, encode_pieces
from rmt_genomics.dna.compression import check_exists, open_decompressed, without_suffix
from rmt_genomics.dna.fasta import check_name, check_utf8, read_fasta, read_fastq
from rmt_genomics.dna.genbank_embl import read_flat_file
from rmt_genomics.dna.record_names import FileNames, NameOptions, file_prefixes
from rmt_genomics.dna.record_types import EncodedRecord, Entry, Record
from rmt_genomics.dna.sequence_tables import columns_of, has_sequence_column, read_table
from rmt_genomics.errors import DataError, RMTGenomicsWarning, counted
from rmt_genomics.parsing import as_path, as_paths, unprintable

STDIN = Path("/dev/stdin")
PEEK_BYTES = 1 << 13

_SHOWN = 5
_SAM = re.compile(r"@[A-Z]{2}\t")  # a SAM header, which begins like FASTQ
_Sequence = TypeVar("_Sequence", str, Codes)


def sequence_files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """List the files that are to be read, at least one, in the order of ``paths``.

    A folder stands for all sequence files in it and in the folders below, by name, without hidden
    ones; ``-`` for standard input.

    Raises:
        DataError: If a path does not exist, or a folder has no sequence file or several formats.
    """
    files = []
    for path in as_paths(paths):
        if str(path) == "-":
            files.append(STDIN)
            continue
        check_exists(path, "a sequence file or a folder of such files")
        files += _files_in(path) if path.is_dir() else [path]
    return files


def top_folder(file: Path, paths: Iterable[str | Path]) -> str:
    """Return the name of the first folder on the way to a file, from the path that it is in.

    Of a file that is directly in a folder of ``paths``, it is that folder; of a file that is itself
    one of ``paths``, the folder it is in.
    """
    for folder in map(Path, paths):
        if file != folder and file.is_relative_to(folder):
            inside = file.relative_to(folder).parts
            return inside[0] if len(inside) > 1 else folder.absolute().name
    return file.absolute().parent.name


def label_column(paths: str | Path | Sequence[str | Path]) -> bool:
    """Tell whether all files are tables of sequences with a column ``label``."""
    return all("label" in _columns_in(file) for file in sequence_files(paths))


def _columns_in(file: Path) -> list[str]:
    if not file.is_file():
        return []
    with open_decompressed(file) as decompressed:
        start = decompressed.peek(PEEK_BYTES)
    return columns_of(_text_of(start)) if format_of(start, file).name == "table" else []


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
    """The names of the records of some files; those in several files get a prefix, with a warning.

    Args:
        files: The files that are read together.
        options: How records are named.
        names: The names in each file, if they are known. Else several files are read for them.
    """

    def __init__(
        self,
        files: Sequence[str | Path],
        options: NameOptions = NameOptions(),
        names: Sequence[Iterable[str]] | None = None,
    ) -> None:
        self.options = options
        files = as_paths(files)
        self._is_alone = len(set(files)) < 2
        self._prefixes = {} if self._is_alone else file_prefixes(files)
        self._shared: set[str] = set()
        self._file_of: dict[str, Path] = {}
        if self._is_alone:
            return
        for index, file in enumerate(files):
            if names is not None:
                self._add(file, names[index])
            elif file.is_file():  # a pipe can be read only once
                self._add(file, _names_in(file, options))
        if self._shared:
            name = min(self._shared)
            is_one = len(self._shared) == 1
            warnings.warn(
                f"{counted(len(self._shared), 'record name')} {'is' if is_one else 'are'} in "
                "several files, so the name of the file is put before it, as in "
                f"{self.prefixed(name, self._file_of[name])!r}.",
                RMTGenomicsWarning,
                stacklevel=3,
            )
        if all(file.is_file() for file in files):
            self._file_of = {}  # much memory

    def _add(self, file: Path, names: Iterable[str]) -> None:
        for name in names:
            if self._file_of.setdefault(name, file) != file:
                self._shared.add(name)

    def prefixed(self, name: str, file: str | Path, *, is_numbered: bool = False) -> str:
        """Return the name of a record in a file, with its prefix if it needs one."""
        needs_prefix = name in self._shared or (is_numbered and not self._is_alone)
        return f"{self._prefixes[Path(file)]}:{name}" if needs_prefix else name

    def in_file(self, file: str | Path, unit: str) -> FileNames:
        """Return the names in one file, to be read now."""
        return FileNames(Path(file), unit, self.options, is_alone=self._is_alone)

    def check_pipe(self, name: str, file: str | Path) -> None:
        """Raise DataError if a record of a pipe has the name of one in another file."""
        file = Path(file)
        if not self._file_of or file.is_file():
            return
        if (first := self._file_of.setdefault(name, file)) != file:
            raise DataError(
                f"{file}: record {name!r} is also in {first}, but record names must be unique, and "
                "a pipe cannot be read for its names first. Save it to a file."
            )


def _names_in(file: Path, options: NameOptions) -> set[str]:
    with warnings.catch_warnings(action="ignore"):  # they come when the file is read
        return {options.name_of(entry) for _, entry in _entries(file, None)}


def read_records(path: str | Path, names: RecordNames | None = None) -> Iterator[Record]:
    """Read the records of a file: FASTA, FASTQ, GenBank, EMBL, or a table of sequences.

    Format and compression are recognised by content, then by name.

    Args:
        path: The file. May be a pipe such as /dev/stdin.
        names: How records are named, and the names in files that are read together with this one.

    Yields:
        Records in file order. Only the names of earlier ones are kept, to notice duplicates.

    Raises:
        DataError: At the first broken rule, naming file, line or record, value, rule and remedy.
    """
    path = as_path(path)
    for entry, sequence in _read(path, None, lambda pieces: check_letters("".join(pieces)), names):
        yield Record(entry.name, entry.description, sequence, entry.columns)


def read_encoded(
    path: str | Path,
    raw: BinaryIO | RawIOBase | None = None,
    names: RecordNames | None = None,
    *,
    may_be_empty: bool = False,
) -> Iterator[EncodedRecord]:
    """Read records as ``read_records`` does, but as base codes; letters are checked meanwhile.

    ``raw`` is the open file, if the caller follows how it is read (progress, checksum). With
    ``may_be_empty``, a record may have no sequence.
    """
    path = as_path(path)
    for entry, codes in _read(path, raw, encode_pieces, names, may_be_empty=may_be_empty):
        is_empty = not len(codes)
        if is_empty:
            codes = encode("N")
        yield EncodedRecord(entry.name, entry.description, codes, entry.columns, is_empty=is_empty)
        del codes  # so that they are freed before the next record is read


def _read(
    path: Path,
    raw: BinaryIO | RawIOBase | None,
    convert: Callable[[Iterable[str]], _Sequence],
    names: RecordNames | None,
    *,
    may_be_empty: bool = False,
) -> Iterator[tuple[Entry, _Sequence]]:
    """Yield the entries of a file, checked, with their sequences converted."""
    names = names or RecordNames([path])
    in_file: FileNames | None = None
    num_folded = 0
    for file_format, entry in _entries(path, raw):
        in_file = in_file or names.in_file(path, file_format.unit)
        where = f"{path}{':' if file_format.unit == 'line' else ': record '}{entry.number}"
        name = names.options.name_of(entry)
        if not f"{name}{entry.description}{''.join(entry.columns.values())}".isprintable():
            entry, num_changed = _fold(entry, where)
            num_folded += num_changed
            name = names.options.name_of(entry)
        in_file.check(name, entry, where)
        names.check_pipe(name, path)
        try:
            sequence = convert(entry.pieces)
        except DataError as error:
            raise DataError(f"{path}: record {name!r}: {error}") from error
        if not len(sequence) and not may_be_empty:
            raise DataError(
                f"{where}: record {name!r} has no sequence, but must have at least one "
                "letter. Remove the record, or check that the file is complete."
            )
        unique = in_file.add(name, entry, sequence)
        if unique is not None:
            is_numbered = in_file.is_numbered(unique)
            prefixed = names.prefixed(name, path, is_numbered=is_numbered)
            unique = prefixed + unique[len(name) :]  # with the number of a repeat
            description = "" if names.options.full else entry.description
            yield entry._replace(name=unique, description=description), sequence
        del sequence, entry  # so that they are freed before the next record is read
    if in_file is not None:
        in_file.warn()
    if num_folded:
        warnings.warn(
            f"{path}: {counted(num_folded, 'cell')} had control characters such as tabs or line "
            "ends, which have been read as blanks.",
            RMTGenomicsWarning,
            stacklevel=3,
        )


def _entries(path: Path, raw: BinaryIO | RawIOBase | None) -> Iterator[tuple["Format", Entry]]:
    """Yield the entries of a file, at least one, as its reader gives them, with the format."""
    with open_decompressed(path, raw) as decompressed:
        file_format = format_of(decompressed.peek(PEEK_BYTES), path)
        # Bytes that are not UTF-8 become surrogates, so that the error can name their line.
        text = TextIOWrapper(decompressed, encoding="utf-8-sig", errors="surrogateescape")
        is_empty = True
        for entry in file_format.read(text, path):
            is_empty = False
            yield file_format, entry
            del entry
    if is_empty:
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
        has_sequence_column,
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
    text = _text_of(start)
    return next((known for known in FORMATS if known.matches(text)), None)


def _text_of(start: bytes) -> str:
    return start.decode("utf-8-sig", "replace").replace("\r", "\n").lstrip(whitespace)


def _format_by_name(path: Path) -> Format | None:
    name = without_suffix(path.name.lower())
    return next((known for known in FORMATS if name.endswith(known.suffixes)), None)
