"""rmt_genomics/prediction/inputs.py."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from rmt_genomics.datasets import EncodedStore, read_intervals
from rmt_genomics.dna import EncodedRecord, read_encoded, sequence_files
from rmt_genomics.dna.record_types import check_windows, cut_windows
from rmt_genomics.prediction.progress import bp_in_files


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionInput:
    """What is read: whole records, windows or intervals of them.

    Raises:
        ConfigError: If it contradicts itself.
    """

    fasta: tuple[Path, ...]
    window: int | None = None
    step: int | None = None
    intervals: Path | None = None

    def __post_init__(self) -> None:
        if self.window is not None:
            check_windows(self.window, self.step or self.window)

    @property
    def inputs(self) -> list[Path]:
        """Return all that is read."""
        return [*self.fasta, *([self.intervals] if self.intervals else [])]

    @property
    def places(self) -> tuple[str, ...]:
        """Return what says where a piece is from."""
        if self.intervals is not None:
            return "start", "end", "strand"
        return () if self.window is None else ("start", "end")

    def records(self) -> Iterator[EncodedRecord]:
        """Read it. What is missing is noticed at once."""
        if self.intervals is not None:
            return read_stretches(self.fasta, self.intervals)
        if self.window is not None:
            return read_windows(self.fasta, self.window, self.step or self.window)
        return read_fastas(self.fasta)

    def total_bp(self) -> int | None:
        """Return about how many bp are read, if that can be told beforehand."""
        if self.intervals is not None or (found := bp_in_files(self.fasta)) is None:
            return None
        return found * self.window // (self.step or self.window) if self.window else found


def read_fastas(paths: Sequence[Path]) -> Iterator[EncodedRecord]:
    """Read the records of several files or folders, one after the other; ``-`` is standard input.

    Raises:
        DataError: At once if a file is missing; while reading, at the first rule broken.
    """
    return chain.from_iterable(map(read_encoded, sequence_files(paths)))


def read_windows(paths: Sequence[Path], window: int, step: int) -> Iterator[EncodedRecord]:
    """Read the same records cut into windows (see ``dna.windows``), in the memory of one record.

    Raises:
        ConfigError: At once if windows of this length and step would leave bases out.
        DataError: As ``read_fastas``.
    """
    check_windows(window, step)
    return cut_windows(read_fastas(paths), window, step)


def read_stretches(paths: Sequence[Path], intervals: Path) -> Iterator[EncodedRecord]:
    """Read intervals of records, each on its strand; the files are encoded once (see ``store``).

    Args:
        paths: Files or folders; no standard input, since it is read in any order.
        intervals: BED, or a table that has record, start and end.

    Raises:
        DataError: At once if a file breaks a rule.
    """
    store = EncodedStore.open(paths)
    places = read_intervals(intervals, store.lengths)
    return (EncodedRecord(each.record, "", store.codes(each), interval=each) for each in places)
