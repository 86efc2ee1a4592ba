"""Random access to intervals of a FASTA file, by an index (``.fai``, and ``.gzi`` for bgzip).

pyfaidx makes and reads the index. What it leaves to its caller is done here. An index beside the
file may be old or another file's, and then wrong bases would be read silently: so every index is
compared with the file before it is used, for a plain file at every line. (Of a bgzip file that has
an index beside it only the borders of records and the lines that are read are compared: all lines
would take as long as making the index.) pyfaidx writes in place and beside the file; ours is in
the cache folder, by path, size and modification time of the file, and appears complete. A file
handle that is shared after a fork reads wrong bases, so each process opens its own. A start at the
border of two bgzip blocks is an error in pyfaidx, so the bytes are read here.
"""

import logging
import os
import re
import struct
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rmt_genomics.atomic_io import cache_folder, cache_key, default_cache, remove_cache_folder
from rmt_genomics.dna.alphabet import reverse_complement
from rmt_genomics.dna.compression import (
    Decompressed,
    check_bgzip_end,
    check_is_file,
    compression_of,
    explain_read_errors,
    open_decompressed,
)
from rmt_genomics.dna.fasta import split_header
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError

if TYPE_CHECKING:
    import pyfaidx

logger = logging.getLogger(__name__)

_FORMAT = 2
_PIECE_BP = 1 << 20
_LARGE_BYTES = 1 << 20  # smaller files are indexed at once
_BLOCK_BYTES = 1 << 20
_MOST_HEADER_BYTES = 1 << 20
_HEADER = re.compile(rb"[\r\n]*>([^\r\n]*)\r?\n")
_SPACES = (b"\n", b"\r", b" ", b"\t")
_WHITE_SPACE = b"".join(_SPACES)
_BGZIP_HEADER_BYTES = 18


_ERRORS_OF_READING = (ValueError, OverflowError, RuntimeError, EOFError, struct.error, zlib.error)
"""What pyfaidx and Biopython raise at damaged indexes and bgzip blocks, besides OSError."""


class NotIndexableError(DataError):
    """The file may be fine, but has no lines of one length, or not the right compression."""


class _WrongIndexError(Exception):
    """The index does not belong to the file as it is now; the message says why."""


@dataclass(frozen=True, slots=True)
class _IndexFiles:
    """The files of one index."""

    records: Path
    """The ``.fai``: name, length, offset, bases and bytes per line of each record."""

    blocks: Path
    """The ``.gzi``: where each block of a bgzip file begins."""

    @classmethod
    def in_folder(cls, folder: Path) -> "_IndexFiles":
        """Return the names that an index in the cache has."""
        return cls(folder / "records.fai", folder / "blocks.gzi")


class IndexedFasta:
    """A FASTA file (plain or bgzip) with random access to intervals. Can be pickled.

    An index beside the file (``genome.fa.fai``, for bgzip ``.gzi`` too) is used if it is not older
    than the file and fits it. Else one is built in the cache folder, once.

    Args:
        path: The file. The lines of a record must have one length, as for ``samtools faidx``.
        cache: Folder of the index; by default ``$RMT_GENOMICS_CACHE`` or
            ``~/.cache/rmt_genomics``. Nothing is written beside the FASTA file.

    Raises:
        DataError: If the file is missing or truncated.
        NotIndexableError: If it cannot be indexed: empty, gzip instead of bgzip, lines of different
            lengths, duplicate names.
    """

    def __init__(self, path: Path, cache: Path | None = None) -> None:
        check_is_file(path, "a FASTA file")
        self._is_bgzip = _check_compression(path) == "bgzip"
        self.path = path.absolute()
        self._version = _size_and_mtime(self.path)
        self._readers: dict[int, pyfaidx.Faidx] = {}
        self.lengths: dict[str, int] = {}
        """Length of every record in bp, by name, in file order."""

        self.descriptions: dict[str, str] = {}
        """The rest of each header after the name."""

        folder = default_cache() if cache is None else cache.absolute()
        key = cache_key(_FORMAT, self.path, self._version)
        self._index = self._index_beside() or self._index_in_cache(folder / "indexes" / key)
        self._checked = self._index_versions()

    def sequence(self, interval: Interval) -> str:
        """Return the letters of an interval, as in the file; reverse-complemented for strand -.

        Raises:
            DataError: If the record is unknown, the interval runs past its end, or the file
                has changed since it was indexed.
        """
        letters = b"".join(self.pieces(interval)).decode()
        return reverse_complement(letters) if interval.strand == "-" else letters

    def pieces(self, interval: Interval) -> Iterator[bytes]:
        """Yield the letters of an interval on the forward strand, about 1 Mb at a time.

        Raises:
            DataError: As ``sequence``.
        """
        if interval.record not in self.lengths:
            raise DataError(
                f"{self.path}: there is no record {interval.record!r}, "
                f"but there are {', '.join(list(self.lengths)[:5])}, ... Check the name."
            )
        interval.check_within(self.lengths[interval.record])
        for start in range(interval.start, interval.end, _PIECE_BP):
            yield self._piece(interval.record, start, min(start + _PIECE_BP, interval.end))

    def _piece(self, record: str, start: int, end: int) -> bytes:
        if _size_and_mtime(self.path) != self._version:
            raise DataError(
                f"{self.path}: has changed since it was indexed, but must not change while it is "
                "read. Start again."
            )
        reader = self._reader()
        entry = reader.index[record]
        first, last = (
            entry.offset + base // entry.lenc * entry.lenb + base % entry.lenc
            for base in (start, end - 1)
        )
        lines = _read_bytes(reader, first, last + 1 - first)
        letters = lines.translate(None, _WHITE_SPACE)
        line_ends = lines[entry.lenc - start % entry.lenc :: entry.lenb]
        if len(letters) != end - start or line_ends.strip(b"\r\n"):
            raise DataError(
                f"{self._index.records}: the lines of record {record!r} are not of {entry.lenc} "
                f"bases as this index has it, but must be. Remove the index: {self.path.name} is "
                "then indexed again."
            )
        return letters

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_readers": {}}

    def _reader(self) -> "pyfaidx.Faidx":
        """Open the file once per process: after a fork the parent's reader is never used."""
        if (pid := os.getpid()) not in self._readers:
            if self._index_versions() != self._checked:  # else pyfaidx would write it again
                raise DataError(
                    f"{self._index.records}: has changed since this index was read, but must not "
                    "change while it is used. Start again."
                )
            self._readers[pid] = self._open(self._index)
        return self._readers[pid]

    def _index_versions(self) -> list[tuple[int, int]]:
        return [_size_and_mtime(file) for file in self._files_of(self._index)]

    def _files_of(self, index: _IndexFiles) -> list[Path]:
        return [index.records, *([index.blocks] if self._is_bgzip else [])]

    def _open(self, index: _IndexFiles) -> "pyfaidx.Faidx":
        """Open the file with an index, which pyfaidx makes if it is missing."""
        import pyfaidx  # here, so that importing dna stays quick

        return pyfaidx.Faidx(
            self.path, indexname=index.records, gzi_indexname=index.blocks, as_raw=True
        )

    def _index_beside(self) -> _IndexFiles | None:
        """Return the index beside the file if there is one that can be used."""
        index = _IndexFiles(*(Path(f"{self.path}{suffix}") for suffix in (".fai", ".gzi")))
        if not index.records.exists():
            return None
        try:
            for file in self._files_of(index):
                if not file.is_file():
                    raise _WrongIndexError(f"{file.name} is missing")
                if file.stat().st_mtime_ns < self.path.stat().st_mtime_ns:
                    raise _WrongIndexError(f"{file.name} is older than {self.path.name}")
            self._check(index)
        except _WrongIndexError as error:
            logger.warning(
                "%s: this index is not used (%s). Make it again: samtools faidx %s",
                index.records,
                error,
                self.path.name,
            )
            return None
        return index

    def _index_in_cache(self, folder: Path) -> _IndexFiles:
        """Return the index in the cache; build it if it is not there."""
        index = _IndexFiles.in_folder(folder)
        if folder.is_dir():
            try:
                self._check(index)
            except _WrongIndexError as error:
                logger.warning("%s: this index is built again (%s).", index.records, error)
                remove_cache_folder(folder)
            else:
                return index
        level = logging.INFO if self._version[0] > _LARGE_BYTES else logging.DEBUG
        logger.log(level, "%s: building an index for random access, once.", self.path)
        with cache_folder(folder) as temporary:
            new = _IndexFiles.in_folder(temporary)
            try:
                self._check(new, is_new=True)
            except _WrongIndexError as error:
                raise NotIndexableError(
                    f"{self.path}: cannot be indexed ({error}), but random access needs an index. "
                    "Repair the file, or rewrap it with: seqkit seq -w 60."
                ) from error
            for file in self._files_of(new):  # the clock of another machine may be ahead
                os.utime(file, ns=(self._version[1], self._version[1]))
        return index

    def _check(self, index: _IndexFiles, *, is_new: bool = False) -> None:
        """Compare an index with the file; then take names, lengths and the open file from it.

        Raises:
            _WrongIndexError: If something does not fit.
        """
        import pyfaidx

        if not is_new and not all(file.is_file() for file in self._files_of(index)):
            raise _WrongIndexError("a file is missing")
        try:
            reader = self._open(index)
        except (pyfaidx.FastaIndexingError, *_ERRORS_OF_READING) as error:
            raise _WrongIndexError(str(error).rstrip(".")) from error
        except OSError as error:
            if is_new:
                raise  # the cache cannot be written
            raise _WrongIndexError(f"it cannot be read: {error}") from error
        try:
            size = _check_blocks(self.path, reader) if self._is_bgzip else self._version[0]
            records = list(_check_records(reader, size))
            if not reader.index:
                raise _WrongIndexError("it has no record")
            if not self._is_bgzip:
                _check_line_ends(self.path, reader)
            if is_new or not self._is_bgzip:
                with open_decompressed(self.path) as source:
                    _check_white_space(source, reader, size, (before for *_, before in records))
            self.descriptions = {
                name: split_header(header.decode(errors="surrogateescape").rstrip(), ">", name)[1]
                for name, header, _ in records[:-1]
            }
        except (_WrongIndexError, DataError) as error:
            reader.close()
            raise _WrongIndexError(str(error)) from error
        self.lengths = {name: entry.rlen for name, entry in reader.index.items()}
        self._readers[os.getpid()] = reader


def _check_compression(path: Path) -> str:
    compression = compression_of(path)
    if compression == "gzip":
        raise NotIndexableError(
            f"{path}: is compressed with gzip, but random access needs bgzip. "
            f"Compress it again: gunzip {path.name} and then bgzip the result."
        )
    if compression == "bgzip":
        check_bgzip_end(path)
    if (compression == "bgzip") != path.name.lower().endswith((".gz", ".bgz")):
        raise NotIndexableError(
            f"{path}: the content is {compression}, but a name that ends in .gz or .bgz must mean "
            "bgzip, and any other name must not. Rename the file."
        )
    return compression


def _size_and_mtime(path: Path) -> tuple[int, int]:
    """Return what shows that a file has changed; zeros if it does not exist."""
    if not path.exists():
        return 0, 0
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _read_bytes(reader: "pyfaidx.Faidx", start: int, num_bytes: int) -> bytes:
    """Read bytes of the (decompressed) file."""
    try:
        with reader.lock:
            offset = start
            if reader._bgzf:
                index = bisect_right(reader.gzi_index, start, key=lambda block: block.ustart) - 1
                block = reader.gzi_index[index]
                offset = block.cstart << 16 | start - block.ustart
            reader.file.seek(offset)
            content: bytes = reader.file.read(num_bytes)
    except OSError:
        with explain_read_errors(Path(reader.filename)):
            raise
    except _ERRORS_OF_READING as error:
        with explain_read_errors(Path(reader.filename)):
            raise zlib.error(str(error)) from error
    return content


def _check_blocks(path: Path, reader: "pyfaidx.Faidx") -> int:
    """Compare the ``.gzi`` with the blocks of the file; return the decompressed size."""
    blocks, needed = {(0, 0)}, {(0, 0)}
    start = size = 0
    with path.open("rb") as file:
        while header := file.read(_BGZIP_HEADER_BYTES):
            if len(header) < _BGZIP_HEADER_BYTES or header[12:14] != b"BC":
                raise _WrongIndexError(f"{path.name} is not bgzip at byte {start}")
            blocks.add((start, size))
            num_bytes = int.from_bytes(header[16:18], "little") + 1
            file.seek(start + num_bytes - 4)
            if length := int.from_bytes(file.read(4), "little"):
                needed.add((start, size))
            start, size = start + num_bytes, size + length
    listed = [(block.cstart, block.ustart) for block in reader.gzi_index]
    if not needed <= set(listed) <= blocks or listed != sorted(listed):
        raise _WrongIndexError(f"the .gzi does not have the blocks of {path.name}")
    return size


def _check_records(reader: "pyfaidx.Faidx", size: int) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield name, header and all bytes before the sequence of each record; the last has no name.

    The records must follow each other without a gap: so none is missing, and each has its length.
    """
    end = 0
    for name, entry in reader.index.items():
        num_bytes = entry.offset - end
        if not 0 < num_bytes <= _MOST_HEADER_BYTES or entry.offset > size:
            raise _WrongIndexError(f"record {name!r} is not where it should be")
        line_bases = max(0, min(entry.lenc, entry.rlen, _BLOCK_BYTES))
        start = _read_bytes(reader, end, num_bytes + line_bases)
        found = _HEADER.fullmatch(start, 0, num_bytes)
        if found is None or found[1].split(maxsplit=1)[:1] != [name.encode()]:
            raise _WrongIndexError(f"record {name!r} is not where it should be")
        end = _end_of(entry, size)
        # Only this line is searched for blanks in a bgzip file, whose index others have made.
        has_blanks = (
            len(start.translate(None, _WHITE_SPACE))
            - len(start[:num_bytes].translate(None, _WHITE_SPACE))
            < line_bases
        )
        if has_blanks or end > size:
            raise _WrongIndexError(f"record {name!r} has other lines than the index")
        if entry.rlen and end < size and _read_bytes(reader, end - 1, 1) != b"\n":
            raise _WrongIndexError(f"record {name!r} does not end where it should")
        yield name, found[1], start[:num_bytes]
    rest = _read_bytes(reader, end, min(size - end, _BLOCK_BYTES)) if end < size else b""
    if rest.strip() or len(rest) < size - end:
        raise _WrongIndexError("there are more records than it has")
    yield "", b"", rest


def _end_of(entry: "pyfaidx.IndexRecord", size: int) -> int:
    """Return the byte after a record's last line end."""
    if not entry.rlen:
        return int(entry.offset)
    num_lines = -(-entry.rlen // max(1, entry.lenc))
    if entry.rlen < 0 or entry.lenc < 1 or _line_end_bytes(entry) not in (0, 1, 2)[num_lines > 1 :]:
        raise _WrongIndexError(
            f"{entry.rlen} bases cannot be in lines of {entry.lenc} bases and {entry.lenb} bytes"
        )
    end = int(entry.offset + entry.rlen + num_lines * _line_end_bytes(entry))
    return size if end - _line_end_bytes(entry) == size else end  # the last line may not end


def _line_end_bytes(entry: "pyfaidx.IndexRecord") -> int:
    return int(entry.lenb - entry.lenc)


def _check_line_ends(path: Path, reader: "pyfaidx.Faidx") -> None:
    """Check that the lines of a plain file end where the index has it."""
    content = np.asarray(np.memmap(path, np.uint8, "r"))
    for name, entry in reader.index.items():
        if entry.rlen <= entry.lenc:
            continue
        lines = content[entry.offset : _end_of(entry, len(content))]
        is_lf = lines[entry.lenb - 1 :: entry.lenb] == ord("\n")
        is_end = lines[entry.lenc :: entry.lenb] <= ord("\r")
        if not (is_lf.all() and is_end.all()):
            raise _WrongIndexError(f"the lines of record {name!r} are not of {entry.lenc} bases")


def _check_white_space(
    source: Decompressed, reader: "pyfaidx.Faidx", size: int, before_sequences: Iterable[bytes]
) -> None:
    """Check that sequences have the line ends that the index has, and no blanks."""
    expected: Counter[bytes] = Counter()
    for content in before_sequences:
        expected.update({space: content.count(space) for space in _SPACES})
    for entry in reader.index.values():
        if num_bytes := _end_of(entry, size) - entry.offset - entry.rlen:
            width = _line_end_bytes(entry)
            expected[b"\n"] += num_bytes // width
            expected[b"\r"] += num_bytes // width * (width - 1)
    counts: Counter[bytes] = Counter()
    while block := source.read(_BLOCK_BYTES):
        counts.update({space: block.count(space) for space in _SPACES})
    if counts != expected:
        raise _WrongIndexError("sequences have blanks, or line ends where the index has none")
