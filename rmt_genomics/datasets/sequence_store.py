"""The sequences of files as base codes on disk, to be read in any order at memory speed.

Files are encoded once. The codes of all records stand one after the other in one file, which is
mapped into memory; an index says where each record begins. The entry in the cache folder is named
after the names of the files and the SHA-256 of their bytes, so a changed file is never read stale.
"""

import hashlib
import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rmt_genomics.atomic_io import (
    cache_folder,
    cache_key,
    default_cache,
    remove_cache_folder,
    sha256_of_file,
)
from rmt_genomics.datasets.label_checks import did_you_mean
from rmt_genomics.dna.alphabet import Codes, reverse_complement_codes
from rmt_genomics.dna.compression import explain_read_errors
from rmt_genomics.dna.record_types import EncodedRecord, Interval, RecordInfo
from rmt_genomics.dna.sequence_files import RecordNames, read_encoded, sequence_files
from rmt_genomics.errors import DataError, RMTGenomicsWarning

FORMAT_VERSION = 2


@dataclass(frozen=True, slots=True)
class _Index:
    """Where each record stands in the file of codes. Its JSON form is its fields."""

    format_version: int
    sha256: str
    names: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    """The place of each record's file among the files."""

    descriptions: list[str] = field(default_factory=list)
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    """By record name, for those records whose file is a table."""

    def add(self, record: EncodedRecord, file: int) -> None:
        """Note a record whose codes come next."""
        self.offsets.append(self.offsets[-1] + self.lengths[-1] if self.names else 0)
        self.names.append(record.name)
        self.lengths.append(len(record.codes))
        self.files.append(file)
        self.descriptions.append(record.description)
        if record.columns:
            self.columns[record.name] = record.columns


class EncodedStore:
    """Base codes of all records of some sequence files. Made by ``open``; can be pickled."""

    files: tuple[Path, ...]
    """The files, those of folders one by one."""

    sha256: str
    """Of the file's bytes; of several files, of a list of their own and their names."""

    lengths: dict[str, int]
    """Length of every record in bp, by name, in file order."""

    def __init__(self, folder: Path, files: Sequence[Path], index: _Index) -> None:
        self.files = tuple(files)
        self.sha256 = index.sha256
        self.lengths = dict(zip(index.names, index.lengths, strict=True))
        self._offsets = dict(zip(index.names, index.offsets, strict=True))
        self._folder = folder
        self._mapped: Codes | None = None

    @classmethod
    def open(
        cls, fasta: Path | Sequence[Path], cache: Path | None = None, *, progress: bool = False
    ) -> "EncodedStore":
        """Find the encoded form of sequence files in the cache, or make it.

        Args:
            fasta: A file of any kind that ``read_records`` reads, a folder of such files, or
                several of both. No two records may have one name.
            cache: The cache folder; by default ``$RMT_GENOMICS_CACHE`` or
                ``~/.cache/rmt_genomics``. It takes one byte a base.
            progress: Whether to show a progress bar on stderr while encoding.

        Raises:
            DataError: If a file breaks a rule (see ``read_records``) or the cache cannot be
                written, for example because no space is left.
        """
        files = sequence_files([fasta] if isinstance(fasta, Path) else fasta)
        sha256 = _sha256_of(files)
        root = default_cache() if cache is None else cache.absolute()
        # Names of files count: those of a table's records come from them.
        key = cache_key(FORMAT_VERSION, sha256, *(file.name for file in files))
        folder = root / "encoded" / key
        if folder.is_dir():
            if (index := _read_index(folder, sha256)) is not None:
                return cls(folder, files, index)
            warnings.warn(
                f"{folder}: the encoded sequences are damaged and are made anew.",
                RMTGenomicsWarning,
                stacklevel=2,
            )
            remove_cache_folder(folder)
        with cache_folder(folder) as temporary:
            _encode(files, sha256, temporary, progress=progress)
        index = _read_index(folder, sha256)
        assert index is not None, "what has just been written can be read"
        return cls(folder, files, index)

    def codes(self, interval: Interval) -> Codes:
        """Return the base codes of an interval; reverse-complemented for strand ``-``.

        Returns:
            A new array, 5' to 3' of the strand asked for.

        Raises:
            DataError: If the record is unknown, or the interval runs past its end.
        """
        if interval.record not in self.lengths:
            raise DataError(
                f"{interval}: there is no record {interval.record!r}, but it must be one of "
                f"{', '.join(list(self.lengths)[:5])}, ..."
                f"{did_you_mean(interval.record, self.lengths)}"
            )
        interval.check_within(self.lengths[interval.record])
        offset = self._offsets[interval.record]
        forward = self._map()[offset + interval.start : offset + interval.end]
        return reverse_complement_codes(forward) if interval.strand == "-" else np.array(forward)

    def records(self) -> list[RecordInfo]:
        """Return what is known of each record beside its codes, in file order.

        Raises:
            DataError: If the cache entry has been taken away.
        """
        index = _read_index(self._folder, self.sha256)
        if index is None:
            raise DataError(
                f"{self._folder}: the encoded sequences are gone, but must stay while they are "
                "used. Start again."
            )
        return [
            RecordInfo(name, length, self.files[file], description, index.columns.get(name, {}))
            for name, length, file, description in zip(
                index.names, index.lengths, index.files, index.descriptions, strict=True
            )
        ]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_mapped": None}

    def _map(self) -> Codes:
        """Map the file on first use, once in each process that gets this object pickled."""
        if self._mapped is None:
            self._mapped = np.memmap(self._folder / "codes.bin", dtype=np.uint8, mode="r")
        return self._mapped


def _sha256_of(files: Sequence[Path]) -> str:
    sums = []
    for file in files:
        if not file.is_file():
            raise DataError(
                f"{file}: is no file on a disk, but is read twice. Save it to a file first."
            )
        with explain_read_errors(file):
            sums.append(sha256_of_file(file))
    if len(files) == 1:
        return sums[0]
    lines = [f"{each}  {file.name}\n" for each, file in zip(sums, files, strict=True)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _encode(files: Sequence[Path], sha256: str, folder: Path, *, progress: bool) -> None:
    """Write codes and index into ``folder``, in the memory of one record."""
    index = _Index(FORMAT_VERSION, sha256)
    with (folder / "codes.bin").open("wb") as codes_file:
        for place, record in _read_all(files, progress=progress):
            codes_file.write(record.codes.data)
            index.add(record, place)
    with (folder / "index.json").open("w", encoding="utf-8") as index_file:
        json.dump({name: getattr(index, name) for name in _Index.__slots__}, index_file)


def _read_all(files: Sequence[Path], *, progress: bool) -> Iterator[tuple[int, EncodedRecord]]:
    """Yield every record with the place of its file."""
    names = RecordNames()
    for place, file in enumerate(files):
        with _watch(file, progress=progress) as raw:
            for record in read_encoded(file, raw):
                names.add(record.name, file)
                yield place, record


def _watch(fasta: Path, *, progress: bool) -> AbstractContextManager[BinaryIO]:
    """Open the file; with ``progress``, show on stderr how far it has been read."""
    if not progress:
        return nullcontext(fasta.open("rb", buffering=0))
    from rich.console import Console
    from rich.progress import open as open_watched

    console = Console(file=sys.stderr)
    return open_watched(
        fasta, "rb", buffering=0, description="encoding", console=console, transient=True
    )


def _read_index(folder: Path, sha256: str) -> _Index | None:
    """Read the index of a cache entry; None if the entry is not whole."""
    try:
        index = _Index(**json.loads((folder / "index.json").read_text(encoding="utf-8")))
        size = (folder / "codes.bin").stat().st_size
    except (OSError, ValueError, TypeError):
        return None
    return index if index.sha256 == sha256 and size == sum(index.lengths) else None
