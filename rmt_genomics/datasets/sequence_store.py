"""The sequences of some files, by interval: ``open_sequences`` chooses one of two ways.

``EncodedStore`` encodes all records once, into one memory-mapped file; an index says where each
record begins. The entry in the cache folder is named after the names of the files and the SHA-256
of their content, so a changed file is always encoded again; each record has a checksum, so that a
damaged entry is found when it is opened. It reads files of all formats.

``IndexedStore`` reads intervals of FASTA files where they are (see ``dna.random_access``), so that
a few intervals of a genome need not wait until the whole genome is encoded. Both return the same
codes; letters that are not DNA are found where they are read, so by the second in intervals only.
"""

import hashlib
import json
import logging
import warnings
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from rmt_genomics.atomic_io import (
    cache_folder,
    cache_key,
    default_cache,
    remove_cache_folder,
    sha256_of_file,
)
from rmt_genomics.datasets.label_checks import did_you_mean
from rmt_genomics.dna.alphabet import Codes, encode_pieces, reverse_complement_codes
from rmt_genomics.dna.compression import explain_read_errors, open_decompressed
from rmt_genomics.dna.random_access import IndexedFasta, NotIndexableError
from rmt_genomics.dna.record_names import NameOptions, file_prefixes
from rmt_genomics.dna.record_types import Interval, RecordInfo
from rmt_genomics.dna.sequence_files import (
    FASTA,
    PEEK_BYTES,
    RecordNames,
    format_of,
    read_encoded,
    sequence_files,
    top_folder,
)
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from rmt_genomics.parsing import as_paths

logger = logging.getLogger(__name__)

FORMAT_VERSION = 4


class SequenceStore(ABC):
    """The sequences of some files, by interval. Can be pickled, and used in forked processes."""

    paths: tuple[Path, ...]
    """The files and folders that were given."""

    files: tuple[Path, ...]
    """The sequence files, those in folders included."""

    sha256: str
    """SHA-256 of the file's content; if there are several files, of a list of their SHA-256 and
    names."""

    lengths: dict[str, int]
    """Length of every record in bp, by name, in file order."""

    def codes(self, interval: Interval) -> Codes:
        """Return the base codes of an interval; reverse-complemented for strand ``-``.

        Returns:
            A new array, 5' to 3' of the interval's strand.

        Raises:
            DataError: If the record is unknown, or the interval runs past its end; if files are
                read by their index, also if a letter is not DNA, or the file has changed.
        """
        if interval.record not in self.lengths:
            raise DataError(
                f"{interval}: there is no record {interval.record!r}, but it must be one of "
                f"{', '.join(list(self.lengths)[:5])}, ..."
                f"{did_you_mean(interval.record, self.lengths)}"
            )
        interval.check_within(self.lengths[interval.record])
        forward = self._forward(interval)
        return reverse_complement_codes(forward) if interval.strand == "-" else np.array(forward)

    @abstractmethod
    def _forward(self, interval: Interval) -> Codes:
        """Return the base codes of the forward strand."""

    def release(self) -> None:  # noqa: B027 (there may be nothing to give back)
        """Give back the memory of what has been read; it is read again where it is needed."""

    @abstractmethod
    def records(self) -> list[RecordInfo]:
        """Return name, length, file, description and columns of each record, in file order."""


def open_sequences(
    paths: str | Path | Sequence[str | Path],
    cache: str | Path | None = None,
    *,
    intervals_only: bool,
    progress: bool = False,
    names: NameOptions = NameOptions(),
) -> SequenceStore:
    """Open sequence files in the way that is ready first.

    Args:
        paths: A file of any kind that ``read_records`` reads, a folder of such files, or
            several of both.
        cache: The cache folder; by default that of ``atomic_io.default_cache``.
        intervals_only: Whether parts of records are read. FASTA files (plain or bgzip) are then
            read by their index, unless they have been encoded before; if that is not possible,
            this is logged. Else all files are encoded.
        progress: Whether to show a progress bar on stderr while encoding.
        names: How records are named; a name that is in several files gets a prefix.

    Raises:
        DataError: If a file breaks a rule (see ``read_records``) or the cache cannot be written.
    """
    files = sequence_files(paths)
    cache = None if cache is None else Path(cache)
    sha256 = _sha256_of(files)
    folder = _cache_entry(files, sha256, cache, names)
    store: SequenceStore | None = None
    if intervals_only and not folder.is_dir() and all(map(_is_fasta, files)):
        try:
            store = IndexedStore(files, sha256, cache, names)
        except NotIndexableError as error:
            logger.info("%s Now all sequences are read and encoded first.", error)
    if store is None:
        store = EncodedStore.open(files, cache, progress=progress, sha256=sha256, names=names)
    store.paths = tuple(as_paths(paths))
    return store


@dataclass
class _Index:
    """Where each record is in the file of codes; saved as JSON."""

    format_version: int
    sha256: str
    names: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    """Index of each record's file."""

    descriptions: list[str] = field(default_factory=list)
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    """By record name, for those records whose file is a table."""

    checksums: list[int] = field(default_factory=list)
    """CRC-32 of name, file, description, columns and codes of each record."""

    warnings: list[str] = field(default_factory=list)
    """Given while the files were read, such as of names in several files."""

    def checksum(self, record: int, codes: Codes) -> int:
        """Return the checksum of a record, given by its index."""
        name = self.names[record]
        texts = name, self.files[record], self.descriptions[record], self.columns.get(name)
        return zlib.crc32(codes.data, zlib.crc32(repr(texts).encode()))


class EncodedStore(SequenceStore):
    """Base codes of all records of some sequence files. Made by ``open``; can be pickled."""

    def __init__(self, folder: Path, files: Sequence[Path], index: _Index) -> None:
        self.paths = self.files = tuple(files)
        self.sha256 = index.sha256
        self.lengths = dict(zip(index.names, index.lengths, strict=True))
        self._offsets = dict(zip(index.names, index.offsets, strict=True))
        self._folder = folder
        self._mapped: Codes | None = None

    @classmethod
    def open(
        cls,
        fasta: str | Path | Sequence[str | Path],
        cache: str | Path | None = None,
        *,
        progress: bool = False,
        sha256: str | None = None,
        names: NameOptions = NameOptions(),
    ) -> "EncodedStore":
        """Return the encoded sequences from the cache; encode them if they are not there.

        The cache takes one byte per base. Arguments and errors are those of ``open_sequences``;
        ``sha256`` is the checksum of the files, if it is known.
        """
        files = sequence_files(fasta)
        sha256 = sha256 or _sha256_of(files)
        folder = _cache_entry(files, sha256, cache, names)
        index = None
        if folder.is_dir():
            index = _read_index(folder, files, sha256)
            if index is None or not _has_checksums(folder, index):
                warnings.warn(
                    f"{folder}: the encoded sequences are damaged and are encoded again.",
                    RMTGenomicsWarning,
                    stacklevel=2,
                )
                remove_cache_folder(folder)
                index = None
        if index is None:
            with cache_folder(folder) as temporary:
                _encode(files, sha256, temporary, names, progress=progress)
            index = _read_index(folder, files, sha256)
            assert index is not None, "the index has just been written"
        for text in index.warnings:  # each time, not only when they are encoded
            warnings.warn(text, RMTGenomicsWarning, stacklevel=2)
        return cls(folder, files, index)

    def _forward(self, interval: Interval) -> Codes:
        if self._mapped is None:  # a pickled store maps the file again in the other process
            self._mapped = np.asarray(np.memmap(self._folder / "codes.bin", np.uint8, mode="r"))
        offset = self._offsets[interval.record]
        return self._mapped[offset + interval.start : offset + interval.end]

    def release(self) -> None:
        """Unmap the file: the pages that were read count as memory of the process."""
        self._mapped = None

    def records(self) -> list[RecordInfo]:
        """Return name, length, file, description and columns of each record, in file order.

        Raises:
            DataError: If the cache entry has been removed.
        """
        index = _read_index(self._folder, self.files, self.sha256)
        if index is None:
            raise DataError(
                f"{self._folder}: the encoded sequences have been removed, but must stay while "
                "they are used. Start again."
            )
        folders = [top_folder(file, self.paths) for file in self.files]
        return [
            RecordInfo(
                name,
                length,
                self.files[file],
                description,
                index.columns.get(name, {}),
                folders[file],
            )
            for name, length, file, description in zip(
                index.names, index.lengths, index.files, index.descriptions, strict=True
            )
        ]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_mapped": None}


class IndexedStore(SequenceStore):
    """Intervals of FASTA files, read where they are. Can be pickled.

    Args:
        files: FASTA files, plain or bgzip.
        sha256: Their checksum.
        cache: The cache folder, for indexes that are not beside the files.

    Raises:
        NotIndexableError: If one of the files must be encoded instead.
        DataError: If a record name is in two files, or the cache cannot be written.
    """

    def __init__(
        self,
        files: Sequence[Path],
        sha256: str,
        cache: Path | None = None,
        names: NameOptions = NameOptions(),
    ) -> None:
        self.paths = self.files = tuple(files)
        self.sha256 = sha256
        indexes = [IndexedFasta(file, cache) for file in files]
        names_in_files = [fasta.names(full=names.full) for fasta in indexes]
        record_names = RecordNames(files, names, names_in_files)
        self._source_of: dict[str, tuple[IndexedFasta, str]] = {}
        """By record, the file it is in and its name in the index."""

        for file, fasta, in_file in zip(files, indexes, names_in_files, strict=True):
            for name, in_index in in_file.items():
                self._source_of[record_names.prefixed(name, file)] = fasta, in_index
        if len(self._source_of) < sum(map(len, names_in_files)):
            raise NotIndexableError(f"{files[0]}: the name of a record is that of another.")
        self.lengths = {name: fasta.lengths[at] for name, (fasta, at) in self._source_of.items()}
        if empty := [name for name, length in self.lengths.items() if not length]:
            raise NotIndexableError(
                f"{self._source_of[empty[0]][0].path}: record {empty[0]!r} has no sequence, but "
                "must have at least one letter."
            )

    def _forward(self, interval: Interval) -> Codes:
        fasta, in_index = self._source_of[interval.record]
        # A list, since an error in the pieces names its place itself.
        pieces = list(fasta.pieces(replace(interval, record=in_index)))
        try:
            return encode_pieces(pieces)
        except DataError as error:
            raise DataError(f"{fasta.path}: {interval} on strand +: {error}") from error

    def records(self) -> list[RecordInfo]:
        """Return name, length, file and description of each record; FASTA has no columns."""
        return [
            RecordInfo(
                name,
                fasta.lengths[in_index],
                fasta.path,
                fasta.descriptions[in_index],
                {},
                top_folder(fasta.path, self._absolute_paths),
            )
            for name, (fasta, in_index) in self._source_of.items()
        ]

    @property
    def _absolute_paths(self) -> list[Path]:
        return [path.absolute() for path in self.paths]


def _has_checksums(folder: Path, index: _Index) -> bool:
    """Tell whether the records of a cache entry have the checksums in its index."""
    codes = np.memmap(folder / "codes.bin", dtype=np.uint8, mode="r")
    try:
        checksums = [
            index.checksum(record, codes[start : start + length])
            for record, (start, length) in enumerate(zip(index.offsets, index.lengths, strict=True))
        ]
    except (IndexError, ValueError):  # the lists are not of one length
        return False
    return checksums == index.checksums


def _is_fasta(file: Path) -> bool:
    with open_decompressed(file) as decompressed:
        return format_of(decompressed.peek(PEEK_BYTES), file) is FASTA


def _cache_entry(
    files: Sequence[Path], sha256: str, cache: str | Path | None, names: NameOptions
) -> Path:
    """Return the folder of the encoded sequences, which need not exist."""
    root = default_cache() if cache is None else Path(cache).absolute()
    # File names are part of the key: the names of records may come from them.
    in_key = [*(file.name for file in files), *file_prefixes(files).values()]
    key = cache_key(FORMAT_VERSION, sha256, names.duplicates, names.full, *in_key)
    return root / "encoded" / key


def _sha256_of(files: Sequence[Path]) -> str:
    sums = []
    for file in files:
        if not file.is_file():
            raise DataError(
                f"{file}: is not a regular file, but is read twice. Save it to a file first."
            )
        with explain_read_errors(file):
            sums.append(sha256_of_file(file))
    if len(files) == 1:
        return sums[0]
    lines = [f"{sha256}  {file.name}\n" for sha256, file in zip(sums, files, strict=True)]
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def _encode(
    files: Sequence[Path], sha256: str, folder: Path, options: NameOptions, *, progress: bool
) -> None:
    """Write codes and index into ``folder``, one record in memory at a time."""
    from rich.console import Console
    from rich.progress import open as open_with_progress

    index = _Index(FORMAT_VERSION, sha256)
    unique: set[str] = set()
    with (
        warnings.catch_warnings(record=True) as caught,
        (folder / "codes.bin").open("wb") as codes_file,
    ):
        warnings.simplefilter("always", RMTGenomicsWarning)
        names = RecordNames(files, options)
        for file_index, file in enumerate(files):
            with open_with_progress(
                file,
                "rb",
                buffering=0,
                description="encoding",
                console=Console(stderr=True),
                transient=True,
                disable=not progress,
            ) as raw:
                for record in read_encoded(file, raw, names):
                    _check_unique(record.name, unique, file)
                    index.names.append(record.name)
                    index.offsets.append(codes_file.tell())
                    index.lengths.append(len(record.codes))
                    index.files.append(file_index)
                    index.descriptions.append(record.description)
                    if record.columns:
                        index.columns[record.name] = record.columns
                    index.checksums.append(index.checksum(-1, record.codes))
                    codes_file.write(record.codes.data)
    index.warnings = [str(each.message) for each in caught if each.category is RMTGenomicsWarning]
    (folder / "index.json").write_text(json.dumps(vars(index)), encoding="utf-8")


def _check_unique(name: str, names: set[str], file: Path) -> None:
    """Add a name; raise DataError if a name that got a prefix is that of another record."""
    if name in names:
        raise DataError(
            f"{file}: record {name!r} has the name that another record was given, but record names "
            "must be unique. Rename one of them."
        )
    names.add(name)


def _read_index(folder: Path, files: Sequence[Path], sha256: str) -> _Index | None:
    """Read the index of a cache entry; None if the entry is damaged."""
    from pydantic import TypeAdapter

    try:
        text = (folder / "index.json").read_bytes()
        index = TypeAdapter(_Index).validate_json(text, strict=True)
        num_bp = (folder / "codes.bin").stat().st_size
    except (OSError, ValueError):
        return None
    ends = [0, *accumulate(index.lengths)]
    is_whole = (
        index.sha256 == sha256
        and min(index.lengths, default=0) >= 0
        and [*index.offsets, num_bp] == ends
        and len(set(index.names)) == len(index.files) == len(index.descriptions) == len(ends) - 1
        and set(index.files) <= set(range(len(files)))
    )
    return index if is_whole else None
