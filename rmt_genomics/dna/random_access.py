"""Random access to intervals of a FASTA file (pyfaidx).

What pyfaidx leaves to its caller is done here. A file handle that is shared after a fork reads
wrong bases silently, so each process opens its own. A start below 0 or an end past the record is
clipped silently, so bounds are checked. pyfaidx writes its index beside the file and in place; ours
is in the cache folder, by path, size and modification time of the file, and appears complete.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmt_genomics.atomic_io import cache_folder, cache_key, default_cache
from rmt_genomics.dna.alphabet import reverse_complement
from rmt_genomics.dna.compression import check_bgzip_end, check_is_file, compression_of
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError

if TYPE_CHECKING:
    import pyfaidx

_FORMAT = 1


class IndexedFasta:
    """A FASTA file (plain or bgzip) with random access to intervals. Can be pickled.

    Args:
        path: The file. The lines of a record must have one length, as for ``samtools faidx``.
        cache: Folder of the index; by default ``$RMT_GENOMICS_CACHE`` or
            ``~/.cache/rmt_genomics``. Nothing is written beside the FASTA file.

    Raises:
        DataError: If the file cannot be indexed: missing, empty, gzip instead of bgzip, lines
            of different lengths, duplicate names.
    """

    def __init__(self, path: Path, cache: Path | None = None) -> None:
        check_is_file(path, "a FASTA file")
        _check_compression(path)
        self.path = path.absolute()
        self._version = _size_and_mtime(self.path)
        folder = default_cache() if cache is None else cache.absolute()
        self._index = folder / "indexes" / cache_key(_FORMAT, self.path, self._version)
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
        if _size_and_mtime(self.path) != self._version:
            raise DataError(
                f"{self.path}: has changed since it was indexed, but must not change while it is "
                "read. Start again."
            )
        letters = str(self._reader().fetch(interval.record, interval.start + 1, interval.end))
        assert len(letters) == len(interval), "pyfaidx gives what its index promises"
        return reverse_complement(letters) if interval.strand == "-" else letters

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_readers": {}}

    def _reader(self) -> "pyfaidx.Faidx":
        """Open the file once per process: after a fork the parent's reader is never used."""
        if (pid := os.getpid()) not in self._readers:
            self._readers[pid] = self._open(self._index)
        return self._readers[pid]

    def _open(self, folder: Path) -> "pyfaidx.Faidx":
        """Open the file with the index in ``folder``, which pyfaidx makes if it is missing."""
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
                f"{self.path}: cannot be indexed ({error}), but random access needs an index. "
                "Repair the file, or rewrap it with: seqkit seq -w 60."
            ) from error


def _check_compression(path: Path) -> None:
    compression = compression_of(path)
    if compression == "gzip":
        raise DataError(
            f"{path}: is compressed with gzip, but random access needs bgzip. "
            f"Compress it again: gunzip {path.name} and then bgzip the result."
        )
    if compression == "bgzip":
        check_bgzip_end(path)
    if (compression == "bgzip") != path.name.lower().endswith((".gz", ".bgz")):
        raise DataError(
            f"{path}: the content is {compression}, but a name that ends in .gz or .bgz must mean "
            "bgzip, and any other name must not. Rename the file."
        )


def _size_and_mtime(path: Path) -> tuple[int, int] | None:
    """Return what shows that a file has changed; None if it does not exist."""
    if not path.exists():
        return None
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
