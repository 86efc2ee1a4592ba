"""Random access to intervals of a FASTA file (plain or bgzip), by its index (``.fai``).

pyfaidx makes the index. An index beside the file may be old or another file's, and then wrong bases
would be read silently: so it is compared with the file before it is used, for a plain file at every
line. (Of a bgzip file only the borders of records, their first lines and the lines that are read
are compared: all lines would take as long as making the index.) Where the blocks of a bgzip file
begin is read from the file itself, never from a ``.gzi``. pyfaidx writes in place and beside the
file; ours is in the cache folder, by path, size and modification time of the file, and appears
complete. A file handle that is shared after a fork reads wrong bases, so each interval opens one.
"""

import gzip
import logging
import re
import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from string import whitespace
from typing import BinaryIO, NamedTuple

from rmt_genomics.atomic_io import cache_folder, cache_key, default_cache, remove_cache_folder
from rmt_genomics.dna.alphabet import check_letters, reverse_complement
from rmt_genomics.dna.compression import (
    check_is_file,
    compression_of,
    explain_read_errors,
    warn_of_bgzip_end,
)
from rmt_genomics.dna.fasta import split_header
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError
from rmt_genomics.parsing import as_path

logger = logging.getLogger(__name__)

_FORMAT = 2
_PIECE_BP = 1 << 20
_LARGE_BYTES = 1 << 20  # smaller files are indexed at once
_MOST_HEADER_BYTES = 1 << 20
_HEADER = re.compile(rb"[\r\n]*>([^\r\n]*)\r?\n")
_DECOMPRESS = {"gzip": "gunzip", "bzip2": "bunzip2", "xz": "unxz", "zstd": "unzstd"}
_BGZIP_HEADER_BYTES = 18
_BGZIP_START = b"\x1f\x8b\x08\x04"


class NotIndexableError(DataError):
    """The file may be fine, but has no lines of one length, or not the right compression."""


class _WrongIndexError(Exception):
    """The index does not belong to the file as it is now; the message says why."""


class _Entry(NamedTuple):
    """A record in the index, in the order of the columns of a ``.fai``."""

    length: int
    offset: int
    line_bases: int
    line_bytes: int

    def position(self, base: int) -> int:
        """Return where a base is in the decompressed file."""
        return self.offset + base // self.line_bases * self.line_bytes + base % self.line_bases

    def end(self, size: int) -> int:
        """Return where the last line ends in a decompressed file of this size."""
        if not self.length:
            return self.offset
        num_lines = -(-self.length // max(1, self.line_bases))
        line_end = self.line_bytes - self.line_bases
        if self.length < 0 or self.line_bases < 1 or line_end not in (0, 1, 2)[num_lines > 1 :]:
            raise _WrongIndexError(
                f"{self.length} bases cannot be in lines of {self.line_bases} bases and "
                f"{self.line_bytes} bytes"
            )
        end = self.offset + self.length + num_lines * line_end
        return size if end - line_end == size else end  # the last line may have no line end


class IndexedFasta:
    """A FASTA file (plain or bgzip) with random access to intervals. Can be pickled.

    An index beside the file (``genome.fa.fai``) is used if it is not older than the file and fits
    it. Else one is built in the cache folder, once.

    Args:
        path: The file. The lines of a record must have one length, as for ``samtools faidx``.
        cache: The cache folder for the index; by default that of ``atomic_io.default_cache``.
            Nothing is written beside the FASTA file.

    Raises:
        DataError: If the file is missing, truncated or damaged.
        NotIndexableError: If it cannot be indexed: empty, gzip instead of bgzip, lines of different
            lengths, duplicate names.
    """

    def __init__(self, path: str | Path, cache: str | Path | None = None) -> None:
        path = as_path(path)
        check_is_file(path, "a FASTA file")
        is_bgzip = _check_compression(path) == "bgzip"
        self.path = path.absolute()
        self._version = _size_and_mtime(self.path)
        self._blocks = _bgzip_blocks(self.path) if is_bgzip else None
        self._size = self._version[0] if self._blocks is None else self._blocks[-1][1]
        self._index: dict[str, _Entry] = {}
        self.lengths: dict[str, int] = {}
        """Length of every record in bp, by name, in file order."""

        self.descriptions: dict[str, str] = {}
        """The rest of each header after the name."""

        folder = default_cache() if cache is None else Path(cache).absolute()
        self._load_or_build(folder / "indexes" / cache_key(_FORMAT, self.path, self._version))
        if self._blocks is not None and self._blocks[-1][1] > self._blocks[-2][1]:
            warn_of_bgzip_end(path)

    def names(self, *, full: bool = False) -> dict[str, str]:
        """Return the name of each record, or its whole header, with its name in the index."""
        if not full:
            return {name: name for name in self.lengths}
        return {f"{name} {self.descriptions[name]}".rstrip(): name for name in self.lengths}

    def sequence(self, interval: Interval) -> str:
        """Return the letters of an interval, as in the file; reverse-complemented for strand -.

        Raises:
            DataError: If the record is unknown, the interval runs past its end, a letter is not
                DNA, or the file has changed since it was indexed.
        """
        letters = b"".join(self.pieces(interval)).decode("latin-1")  # a letter per byte
        try:
            check_letters(letters)
        except DataError as error:
            raise DataError(f"{self.path}: {interval} on strand +: {error}") from error
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
        with explain_read_errors(self.path), self.path.open("rb") as file:
            if _size_and_mtime(self.path) != self._version:
                raise DataError(
                    f"{self.path}: has changed since it was indexed, but must not change while it "
                    "is read. Start again."
                )
            try:
                yield from self._letters(file, interval)
            except _WrongIndexError as error:
                raise DataError(
                    f"{self.path}.fai: {error} as this index has it, but must be. Remove the "
                    f"index: {self.path.name} is then indexed again."
                ) from error

    def _letters(self, file: BinaryIO, interval: Interval) -> Iterator[bytes]:
        entry = self._index[interval.record]
        for start in range(interval.start, interval.end, _PIECE_BP):
            end = min(start + _PIECE_BP, interval.end)
            lines = self._read(file, entry.position(start), entry.position(end - 1) + 1)
            letters = lines.translate(None, whitespace.encode())
            line_ends = lines[entry.line_bases - start % entry.line_bases :: entry.line_bytes]
            if len(letters) != end - start or line_ends.strip(b"\r\n"):
                raise _WrongIndexError(
                    f"the lines of record {interval.record!r} are not of {entry.line_bases} bases"
                )
            yield letters

    def _read(self, file: BinaryIO, start: int, end: int) -> bytes:
        """Read bytes of the decompressed file."""
        if self._blocks is None:
            file.seek(start)
            return file.read(end - start)
        first = bisect_right(self._blocks, start, key=itemgetter(1)) - 1
        last = bisect_left(self._blocks, min(end, self._size), key=itemgetter(1))
        (begin, offset), (stop, _) = self._blocks[first], self._blocks[max(first, last)]
        return _decompress(file, begin, stop)[start - offset : end - offset]

    def _load_or_build(self, folder: Path) -> None:
        """Load the index beside the file or in the cache; build it in the cache if none fits."""
        beside = Path(f"{self.path}.fai")
        remedies = {beside: f"Make it again: samtools faidx {self.path.name}"}
        for fai in filter(Path.exists, (beside, folder / "records.fai")):
            try:
                if fai == beside and fai.stat().st_mtime_ns < self._version[1]:
                    raise _WrongIndexError(f"{fai.name} is older than {self.path.name}")
                return self._load(fai, check_all=fai == beside and self._blocks is None)
            except _WrongIndexError as error:
                remedy = remedies.get(fai, "It is built again.")
                logger.warning("%s: this index is not used (%s). %s", fai, error, remedy)
        if folder.is_dir():
            remove_cache_folder(folder)
        level = logging.INFO if self._version[0] > _LARGE_BYTES else logging.DEBUG
        logger.log(level, "%s: building an index for random access, once.", self.path)
        with cache_folder(folder) as temporary:
            try:
                _build(self.path, temporary / "records.fai")
                self._load(temporary / "records.fai", check_all=True)
            except _WrongIndexError as error:
                raise NotIndexableError(
                    f"{self.path}: cannot be indexed ({error}), but random access needs an index. "
                    "Repair the file, or rewrap it with: seqkit seq -w 60."
                ) from error

    def _load(self, fai: Path, *, check_all: bool) -> None:
        """Load an index and compare it with the file: each record, or each line of each record.

        The records must follow each other without a gap: so none is missing, and each has its
        length.

        Raises:
            _WrongIndexError: If something does not fit.
        """
        self._index = _read_fai(fai)
        self.lengths = {name: entry.length for name, entry in self._index.items()}
        self.descriptions = {}
        end = 0
        with explain_read_errors(self.path), self.path.open("rb") as file:
            for name, entry in self._index.items():
                if not 0 < entry.offset - end <= _MOST_HEADER_BYTES:
                    raise _WrongIndexError(f"record {name!r} is not where it should be")
                header = _HEADER.fullmatch(self._read(file, end, entry.offset))
                if header is None or re.split(rb"\s", header[1])[0] != name.encode():
                    raise _WrongIndexError(f"record {name!r} is not where it should be")
                end = entry.end(self._size)
                if end > self._size or (
                    entry.length and end < self._size and self._read(file, end - 1, end) != b"\n"
                ):
                    raise _WrongIndexError(f"record {name!r} does not end where it should")
                num_bases = entry.length if check_all else min(entry.length, entry.line_bases)
                if num_bases:
                    for _ in self._letters(file, Interval(name, 0, num_bases)):
                        pass  # it raises at a line that is not as in the index
                title = header[1].decode(errors="surrogateescape").rstrip()
                self.descriptions[name] = split_header(title, ">", f"{self.path}: {name}")[1]
            rest = self._read(file, end, min(end + _MOST_HEADER_BYTES, self._size))
            if rest.strip() or end + len(rest) < self._size:
                raise _WrongIndexError("there are more records than it has")


def _check_compression(path: Path) -> str:
    compression = compression_of(path)
    if compression not in ("plain", "bgzip"):
        raise NotIndexableError(
            f"{path}: is compressed with {compression}, but random access needs bgzip. "
            f"Compress it again: {_DECOMPRESS[compression]} {path.name} and then bgzip the result."
        )
    if (compression == "bgzip") != path.name.lower().endswith((".gz", ".bgz")):
        raise NotIndexableError(
            f"{path}: the content is {compression}, but a name that ends in .gz or .bgz must mean "
            "bgzip, and any other name must not. Rename the file."
        )
    return compression


def _size_and_mtime(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _bgzip_blocks(path: Path) -> list[tuple[int, int]]:
    """Return where each block begins, in the file and when decompressed; at last both sizes."""
    blocks, start, size = [], 0, 0
    with explain_read_errors(path), path.open("rb") as file:
        while header := file.read(_BGZIP_HEADER_BYTES):
            if not header.startswith(_BGZIP_START) or header[12:14] != b"BC":
                raise NotIndexableError(
                    f"{path}: no bgzip block begins at byte {start}, but random access needs bgzip "
                    f"to the end. Compress it again: gunzip {path.name} and then bgzip the result."
                )
            blocks.append((start, size))
            start += int.from_bytes(header[16:18], "little") + 1
            file.seek(start - 4)
            if len(block_bytes := file.read(4)) < 4:
                raise EOFError("the file ends before the compressed data do")
            size += int.from_bytes(block_bytes, "little")
    return [*blocks, (start, size)]


@lru_cache(maxsize=4)  # short records share a block
def _decompress(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return gzip.decompress(file.read(end - start))


def _build(path: Path, fai: Path) -> None:
    import pyfaidx  # here, so that importing dna stays quick

    errors = (pyfaidx.FastaIndexingError, ValueError, RuntimeError, EOFError, struct.error)
    try:
        pyfaidx.Faidx(path, indexname=fai, gzi_indexname=fai.with_name("blocks.gzi")).close()
    except UnicodeError as error:
        raise _WrongIndexError("it is not UTF-8 text") from error
    except (*errors, zlib.error) as error:  # of the text and of bgzip blocks
        raise _WrongIndexError(str(error).rstrip(".")) from error
    except OSError as error:
        if error.errno is None:  # not of the system: the last block is missing
            raise _WrongIndexError("the empty block that ends a bgzip file is missing") from error
        raise


def _read_fai(fai: Path) -> dict[str, _Entry]:
    try:
        rows = [line.split("\t") for line in fai.read_text("utf-8").splitlines()]
        index = {name: _Entry(*map(int, numbers)) for name, *numbers in rows}
    except OSError as error:
        raise _WrongIndexError(f"it cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise _WrongIndexError("it has lines without a name and four whole numbers") from error
    if len(index) < len(rows) or not index:
        raise _WrongIndexError("it has no record, or one twice")
    return index
