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
from dataclasses import dataclass, field
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
from rmt_genomics.dna.record_types import Interval, RecordInfo
from rmt_genomics.dna.sequence_files import (
    FASTA,
    PEEK_BYTES,
    RecordNames,
    format_of,
    read_encoded,
    sequence_files,
)
from rmt_genomics.errors import DataError, RMTGenomicsWarning

logger = logging.getLogger(__name__)

FORMAT_VERSION = 3


class SequenceStore(ABC):
    """The sequences of some files, by interval. Can be pickled, and used in forked processes."""

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
) -> SequenceStore:
    """Open sequence files in the way that is ready first.

    Args:
        paths: A file of any kind that ``read_records`` reads, a folder of such files, or
            several of both. Record names must be unique.
        cache: The cache folder; by default that of ``atomic_io.default_cache``.
        intervals_only: Whether parts of records are read. FASTA files (plain or bgzip) are then
            read by their index, unless they have been encoded before; if that is not possible,
            this is logged. Else all files are encoded.
        progress: Whether to show a progress bar on stderr while encoding.

    Raises:
        DataError: If a file breaks a rule (see ``read_records``) or the cache cannot be written.
    """
    files = sequence_files([paths] if isinstance(paths, str | Path) else paths)
    cache = None if cache is None else Path(cache)
    sha256 = _sha256_of(files)
    folder = _cache_entry(files, sha256, cache)
    if intervals_only and not folder.is_dir() and all(map(_is_fasta, files)):
        try:
            return IndexedStore(files, sha256, cache)
        except NotIndexableError as error:
            logger.info("%s Now all sequences are read and encoded first.", error)
    return EncodedStore.open(files, cache, progress=progress, sha256=sha256)


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

    def checksum(self, record: int, codes: Codes) -> int:
        """Return the checksum of a record, given by its index."""
        name = self.names[record]
        texts = name, self.files[record], self.descriptions[record], self.columns.get(name)
        return zlib.crc32(codes.data, zlib.crc32(repr(texts).encode()))


class EncodedStore(SequenceStore):
    """Base codes of all records of some sequence files. Made by ``open``; can be pickled."""

    def __init__(self, folder: Path, files: Sequence[Path], index: _Index) -> None:
        self.files = tuple(files)
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
    ) -> "EncodedStore":
        """Return the encoded sequences from the cache; encode them if they are not there.

        The cache takes one byte per base. Arguments and errors are those of ``open_sequences``;
        ``sha256`` is the checksum of the files, if it is known.
        """
        files = sequence_files([fasta] if isinstance(fasta, str | Path) else fasta)
        sha256 = sha256 or _sha256_of(files)
        folder = _cache_entry(files, sha256, cache)
        if folder.is_dir():
            index = _read_index(folder, files, sha256)
            if index is not None and _has_checksums(folder, index):
                return cls(folder, files, index)
            warnings.warn(
                f"{folder}: the encoded sequences are damaged and are encoded again.",
                RMTGenomicsWarning,
                stacklevel=2,
            )
            remove_cache_folder(folder)
        with cache_folder(folder) as temporary:
            _encode(files, sha256, temporary, progress=progress)
        index = _read_index(folder, files, sha256)
        assert index is not None, "the index has just been written"
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
        return [
            RecordInfo(name, length, self.files[file], description, index.columns.get(name, {}))
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

    def __init__(self, files: Sequence[Path], sha256: str, cache: Path | None = None) -> None:
        self.files = tuple(files)
        self.sha256 = sha256
        self._fasta_of: dict[str, IndexedFasta] = {}
        names = RecordNames()
        for file in files:
            fasta = IndexedFasta(file, cache)
            for name in fasta.lengths:
                names.add(name, file)
                self._fasta_of[name] = fasta
        self.lengths = {name: fasta.lengths[name] for name, fasta in self._fasta_of.items()}
        if empty := [name for name, length in self.lengths.items() if not length]:
            raise NotIndexableError(
                f"{self._fasta_of[empty[0]].path}: record {empty[0]!r} has no sequence, but must "
                "have at least one letter."
            )

    def _forward(self, interval: Interval) -> Codes:
        fasta = self._fasta_of[interval.record]
        pieces = list(fasta.pieces(interval))  # an error in them names its place itself
        try:
            return encode_pieces(pieces)
        except DataError as error:
            raise DataError(f"{fasta.path}: {interval} on strand +: {error}") from error

    def records(self) -> list[RecordInfo]:
        """Return name, length, file and description of each record; FASTA has no columns."""
        return [
            RecordInfo(name, fasta.lengths[name], fasta.path, fasta.descriptions[name], {})
            for name, fasta in self._fasta_of.items()
        ]


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


def _cache_entry(files: Sequence[Path], sha256: str, cache: str | Path | None) -> Path:
    """Return the folder of the encoded sequences, which need not exist."""
    root = default_cache() if cache is None else Path(cache).absolute()
    # File names are part of the key: the names of a table's records come from them.
    key = cache_key(FORMAT_VERSION, sha256, *(file.name for file in files))
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


def _encode(files: Sequence[Path], sha256: str, folder: Path, *, progress: bool) -> None:
    """Write codes and index into ``folder``, one record in memory at a time."""
    from rich.console import Console
    from rich.progress import open as open_with_progress

    index = _Index(FORMAT_VERSION, sha256)
    names = RecordNames()
    with (folder / "codes.bin").open("wb") as codes_file:
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
                for record in read_encoded(file, raw):
                    names.add(record.name, file)
                    index.names.append(record.name)
                    index.offsets.append(codes_file.tell())
                    index.lengths.append(len(record.codes))
                    index.files.append(file_index)
                    index.descriptions.append(record.description)
                    if record.columns:
                        index.columns[record.name] = record.columns
                    index.checksums.append(index.checksum(-1, record.codes))
                    codes_file.write(record.codes.data)
    (folder / "index.json").write_text(json.dumps(vars(index)), encoding="utf-8")


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
