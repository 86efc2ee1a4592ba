"""The sequences of a FASTA file as base codes on disk, to be read in any order at memory speed.

A FASTA file is encoded once. The codes of all records stand one after the other in one file,
which is mapped into memory; an index says where each record begins. The entry in the cache folder
is named after the SHA-256 of the FASTA file's bytes, so a changed file is never read stale.
"""

import hashlib
import json
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rmt_genomics.datasets.names import did_you_mean
from rmt_genomics.dna.alphabet import Codes, reverse_complement_codes
from rmt_genomics.dna.cache import build_folder, default_cache, remove_folder, sync
from rmt_genomics.dna.files import check_is_file, explain_reading
from rmt_genomics.dna.interval import Interval
from rmt_genomics.dna.records import read_encoded
from rmt_genomics.errors import DataError, RMTGenomicsWarning

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class _Index:
    """Where each record stands in the file of codes. Its JSON form is its fields."""

    format_version: int
    sha256: str
    names: list[str]
    offsets: list[int]
    lengths: list[int]


class EncodedStore:
    """Base codes of all records of one FASTA file. Made by ``open``; can be pickled."""

    sha256: str
    """Of the FASTA file's bytes."""

    lengths: dict[str, int]
    """Length of every record in bp, by name, in file order."""

    def __init__(self, folder: Path, index: _Index) -> None:
        self.sha256 = index.sha256
        self.lengths = dict(zip(index.names, index.lengths, strict=True))
        self._offsets = dict(zip(index.names, index.offsets, strict=True))
        self._codes_file = folder / "codes.bin"
        self._mapped: Codes | None = None

    @classmethod
    def open(
        cls, fasta: Path, cache: Path | None = None, *, progress: bool = False
    ) -> "EncodedStore":
        """Find the encoded form of a FASTA file in the cache, or make it.

        Args:
            fasta: Plain, gzip or bgzip.
            cache: The cache folder; by default ``$RMT_GENOMICS_CACHE`` or
                ``~/.cache/rmt_genomics``. It takes one byte a base.
            progress: Whether to show a progress bar on stderr while encoding.

        Raises:
            DataError: If the FASTA file breaks a rule (see ``read_records``) or the cache cannot
                be written, for example because no space is left.
        """
        check_is_file(fasta, "a FASTA file")
        with explain_reading(fasta), fasta.open("rb") as handle:
            sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
        root = default_cache() if cache is None else cache.absolute()
        folder = root / "encoded" / f"{sha256}-{FORMAT_VERSION}"
        if folder.is_dir():
            if (index := _read_index(folder, sha256)) is not None:
                return cls(folder, index)
            warnings.warn(
                f"{folder}: the encoded sequences are damaged and are made anew.",
                RMTGenomicsWarning,
                stacklevel=2,
            )
            remove_folder(folder)
        build_folder(folder, lambda making: _encode(fasta, sha256, making, progress=progress))
        index = _read_index(folder, sha256)
        assert index is not None, "what has just been written can be read"
        return cls(folder, index)

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

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_mapped": None}

    def _map(self) -> Codes:
        """Map the file on first use, once in each process that gets this object pickled."""
        if self._mapped is None:
            self._mapped = np.memmap(self._codes_file, dtype=np.uint8, mode="r")
        return self._mapped


def _encode(fasta: Path, sha256: str, folder: Path, *, progress: bool) -> None:
    """Write codes and index into ``folder``, in the memory of one record."""
    index = _Index(FORMAT_VERSION, sha256, [], [], [])
    written = 0
    with (folder / "codes.bin").open("wb") as codes_file, _watch(fasta, progress=progress) as raw:
        for record in read_encoded(fasta, raw):
            codes_file.write(record.codes.data)
            index.names.append(record.name)
            index.offsets.append(written)
            index.lengths.append(len(record.codes))
            written += len(record.codes)
        sync(codes_file)
    with (folder / "index.json").open("w", encoding="utf-8") as index_file:
        json.dump({name: getattr(index, name) for name in _Index.__slots__}, index_file)
        sync(index_file)


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
