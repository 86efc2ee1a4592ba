"""Read single intervals of a FASTA file without reading the whole file (pyfaidx).

What pyfaidx leaves to its caller is done here: a file handle that crosses a fork reads wrong bases
in silence, so each process opens its own; a negative start gives nothing and an over-run is cut
in silence, so bounds and lengths are checked; an index is written in place, so ours is built in
the cache folder under a temporary name, keyed by the file's path, size and time of change.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmt_genomics.atomic_io import cache_folder, cache_key, default_cache
from rmt_genomics.dna.alphabet import reverse_complement
from rmt_genomics.dna.compression import check_bgzip_end, check_is_file, packing_of
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError

if TYPE_CHECKING:
    import pyfaidx

_FORMAT = 1


class IndexedFasta:
    """A FASTA file (plain or bgzip) from which intervals can be read. Can be pickled.

    Args:
        path: The file. Lines of one record must have one length, as ``samtools faidx`` asks too.
        cache: Where the index is kept; by default ``$RMT_GENOMICS_CACHE`` or
            ``~/.cache/rmt_genomics``. Nothing is written beside the FASTA file.

    Raises:
        DataError: If the file cannot be indexed: missing, empty, gzip instead of bgzip, lines
            of different lengths, duplicate names.
    """

    def __init__(self, path: Path, cache: Path | None = None) -> None:
        check_is_file(path, "a FASTA file")
        _check_packing(path)
        self.path = path.absolute()
        self._stamp = _stamp(self.path)
        folder = default_cache() if cache is None else cache.absolute()
        self._index = folder / "indexes" / cache_key(_FORMAT, self.path, self._stamp)
        self._readers: dict[int, pyfaidx.Faidx] = {}
        if not self._index.is_dir():
            with cache_folder(self._index) as temporary:
                self._open(temporary).close()
        self.lengths: dict[str, int] = {
            name: entry.rlen for name, entry in self._reader().index.items()
        }
        """Length of every record in bp, by name, in file order."""

    def sequence(self, interval: Interval) -> str:
        """Return the letters of an interval, as in the file; reverse-complemented for strand -.

        Raises:
            DataError: If the record is unknown, the interval runs past its end, or the file
                has changed since it was indexed.
        """
        if interval.record not in self.lengths:
            raise DataError(
                f"{self.path}: there is no record {interval.record!r}, "
                f"but there are {', '.join(list(self.lengths)[:5])}, ... Check the name."
            )
        interval.check_within(self.lengths[interval.record])
        if _stamp(self.path) != self._stamp:
            raise DataError(
                f"{self.path}: has changed since it was indexed, but must stay as it is while it "
                "is read. Start again."
            )
        letters = str(self._reader().fetch(interval.record, interval.start + 1, interval.end))
        assert len(letters) == len(interval), "pyfaidx gives what its index promises"
        return reverse_complement(letters) if interval.strand == "-" else letters

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_readers": {}}

    def _reader(self) -> "pyfaidx.Faidx":
        """Open the file once a process: after a fork the parent's reader is never touched."""
        if (pid := os.getpid()) not in self._readers:
            self._readers[pid] = self._open(self._index)
        return self._readers[pid]

    def _open(self, folder: Path) -> "pyfaidx.Faidx":
        """Open the file with the index in ``folder``, which pyfaidx makes if there is none."""
        import pyfaidx  # here, so that importing dna stays quick

        try:
            return pyfaidx.Faidx(
                self.path,
                indexname=folder / "records.fai",
                gzi_indexname=folder / "blocks.gzi",
                as_raw=True,
            )
        except (pyfaidx.FastaIndexingError, ValueError) as error:
            raise DataError(
                f"{self.path}: cannot be indexed ({error}), but reading single intervals needs "
                "an index. Repair the file, or rewrap it with: seqkit seq -w 60."
            ) from error


def _check_packing(path: Path) -> None:
    packing = packing_of(path)
    if packing == "gzip":
        raise DataError(
            f"{path}: is packed with gzip, but reading single intervals needs bgzip, which can be "
            f"entered in the middle. Repack it: gunzip {path.name} and then bgzip the result."
        )
    if packing == "bgzip":
        check_bgzip_end(path)
    if (packing == "bgzip") != path.name.lower().endswith((".gz", ".bgz")):
        raise DataError(
            f"{path}: the content is {packing}, but a name that ends in .gz or .bgz must mean "
            "bgzip, and any other name must not. Rename the file."
        )


def _stamp(path: Path) -> tuple[int, int] | None:
    """Tell by size and time of change whether a file is still the same; None if it is gone."""
    if not path.exists():
        return None
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
