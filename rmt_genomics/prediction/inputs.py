"""The input of a prediction: whole records, windows or intervals, each file read once.

The checksum of the input is computed while it is read. So an interrupted run can be resumed only
with the input that it has read: its output note holds the state of ``InputReader``.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rmt_genomics.atomic_io import HashingReader
from rmt_genomics.datasets import open_sequences, read_intervals
from rmt_genomics.dna import (
    EncodedRecord,
    NameOptions,
    RecordNames,
    read_encoded,
    sequence_files,
)
from rmt_genomics.dna.compression import compression_of, explain_read_errors
from rmt_genomics.dna.record_types import check_windows, cut_windows
from rmt_genomics.errors import ConfigError
from rmt_genomics.parsing import as_path, as_paths

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionInput:
    """What is read: whole records, windows or intervals of them.

    Raises:
        ConfigError: If windows of this length and step would leave bases out.
    """

    fasta: tuple[Path, ...]  # files and folders; ``-`` is standard input
    window: int | None = None  # length of a window in bp; None = whole records
    step: int | None = None
    """From the start of one window to the start of the next, in bp; None = ``window``."""

    names: NameOptions = NameOptions()
    """How records are named."""

    intervals: Path | None = None
    """BED, or a table that has record, start and end; each interval is read on its strand."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "fasta", tuple(as_paths(self.fasta)))  # str may have been given
        if self.intervals is not None:
            object.__setattr__(self, "intervals", as_path(self.intervals))
        if self.window is not None:
            check_windows(self.window, self.step or self.window)

    @property
    def paths(self) -> list[Path]:
        """All files and folders that are read."""
        return [*self.fasta, *([self.intervals] if self.intervals else [])]

    @property
    def interval_columns(self) -> tuple[str, ...]:
        """The columns that tell which part of a record a row is."""
        if self.intervals is not None:
            return "start", "end", "strand"
        return () if self.window is None else ("start", "end")

    @property
    def pipes(self) -> list[Path]:
        """What cannot be read a second time: standard input and pipes."""
        return [file for file in sequence_files(self.fasta) if not file.is_file()]

    def check_rereadable(self) -> None:
        """Raise ConfigError unless all files can be read a second time."""
        if self.pipes:
            raise ConfigError(
                f"{self.pipes[0]}: is not a file on a disk, but --resume, --shard and --processes "
                "read the input more than once. Save it to a file first."
            )

    def total_bp(self) -> int | None:
        """Return about how many bp are to be read, by file sizes.

        None if that is not known beforehand: of intervals, compressed files and pipes.
        """
        files = sequence_files(self.fasta)
        is_known = self.intervals is None and not self.pipes
        if not is_known or any(compression_of(file) != "plain" for file in files):
            return None
        total = sum(file.stat().st_size for file in files)  # with headers and line ends
        return total * self.window // (self.step or self.window) if self.window else total


class InputReader:
    """Yields the records, windows or intervals of an input, once, and hashes what is read.

    Raises:
        DataError: At once if a file is missing; while reading, at the first rule broken.
    """

    def __init__(self, settings: PredictionInput) -> None:
        self.files = sequence_files(settings.fasta)
        self.num_records = 0
        """How many records, windows or intervals have been read so far."""
        self.store_sha256: str | None = None
        """Checksum of all files if intervals are read: then it is computed first."""
        self._index = 0  # of the current file
        self._current: HashingReader | None = None
        self._earlier_sha256 = hashlib.sha256()  # over the checksums of the files before it
        if settings.intervals is not None:
            store = open_sequences(self.files, intervals_only=True, names=settings.names)
            self.store_sha256 = store.sha256
            intervals = read_intervals(settings.intervals, store.lengths)
            self._records: Iterator[EncodedRecord] = (
                EncodedRecord(interval.record, "", store.codes(interval), interval=interval)
                for interval in intervals
            )
        elif settings.window is not None:
            step = settings.step or settings.window
            records = self._read_files(RecordNames(self.files, settings.names))
            self._records = cut_windows(records, settings.window, step)
        else:
            self._records = self._read_files(RecordNames(self.files, settings.names))

    def __iter__(self) -> Iterator[EncodedRecord]:
        for record in self._records:
            self.num_records += 1
            yield record
            del record  # frees the memory before the next is read

    def _read_files(self, names: RecordNames) -> Iterator[EncodedRecord]:
        for index, file in enumerate(self.files):
            self._index = index
            if self._current is not None:
                self._earlier_sha256.update(self._current.hexdigest().encode())
            with explain_read_errors(file):
                self._current = HashingReader(file.open("rb", buffering=0))
            yield from read_encoded(file, self._current, names, may_be_empty=True)

    @property
    def position(self) -> tuple[int, int]:
        """How far the input has been read: index of the current file, and bytes of it."""
        return self._index, 0 if self._current is None else self._current.num_bytes

    def checksum(self) -> str:
        """Return one SHA-256 for all that has been read so far."""
        if self._current is None:
            return self.store_sha256 or ""
        sha256 = self._earlier_sha256.copy()
        sha256.update(self._current.hexdigest().encode())
        return sha256.hexdigest()

    def state(self) -> dict[str, Any]:
        """Return what has been read so far, with its checksums, as JSON takes it."""
        if self._current is None:
            return {}
        file = self.files[self._index]
        modified = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        return {
            "num_earlier_files": self._index,
            "earlier_sha256": self._earlier_sha256.hexdigest(),
            "file": str(file),
            "size": file.stat().st_size,
            "modified": modified.isoformat(" ", "seconds"),
            "bytes_read": self._current.num_bytes,
            "sha256": self._current.hexdigest(),
        }

    def check_unchanged(self, output: Path, before: Mapping[str, Any]) -> None:
        """Raise ConfigError if what an interrupted run has read, by its ``state``, has changed.

        ``output`` is the file with its rows, for the error.
        """
        if before and (what := self._change_since(output, before)):
            raise ConfigError(
                f"{what} has changed since {output} was started, but a resumed run must read the "
                "same input. Restore it, or start over: --overwrite instead of --resume."
            )

    def _change_since(self, output: Path, before: Mapping[str, Any]) -> str | None:
        """Return which file has changed; None if none has."""
        try:
            *earlier, file = self.files[: before["num_earlier_files"] + 1]
            sha256 = hashlib.sha256()
            for path in earlier:
                sha256.update(_sha256_of_start(path, path.stat().st_size).encode())
            if sha256.hexdigest() != before["earlier_sha256"]:
                return f"{earlier[0]} to {earlier[-1]}: one of these files"
            if (size := file.stat().st_size) != before["size"]:
                return f"{file}: the file ({before['size']} bytes then, {size} bytes now)"
            if _sha256_of_start(file, before["bytes_read"]) != before["sha256"]:
                return f"{file}: the file (then of {before['modified']})"
        except (LookupError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{output}.json: is damaged, but a resumed run needs it to check its input. "
                "Start over: --overwrite instead of --resume."
            ) from error
        return None


def _sha256_of_start(file: Path, num_bytes: int) -> str:
    sha256 = hashlib.sha256()
    with explain_read_errors(file), file.open("rb") as source:
        for start in range(0, num_bytes, _BLOCK_BYTES):
            sha256.update(source.read(min(_BLOCK_BYTES, num_bytes - start)))
    return sha256.hexdigest()
