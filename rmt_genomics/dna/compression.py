"""Open a sequence file for reading: plain, gzip, bgzip, bzip2, xz or Zstandard.

The compression is recognised by the first bytes, not by the name. bgzip is gzip in blocks that can
be reached directly; it ends with an empty block, by which a truncated file is noticed. Zstandard
needs the package zstandard.
"""

import bz2
import gzip
import io
import lzma
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from string import whitespace
from typing import Any, BinaryIO, Literal, cast

from rmt_genomics.errors import DataError, RMTGenomicsWarning

Compression = Literal["plain", "gzip", "bgzip", "bzip2", "xz", "zstd"]

SUFFIXES = (".gz", ".bgz", ".bz2", ".xz", ".zst")

_BUFFER_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 13  # of compressed bytes; they may be a thousand times as many letters
_MAGIC: dict[bytes, Compression] = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_BGZIP_FIELD = slice(12, 14)
_PADDING = b"\x00" + whitespace.encode()  # may follow the last block


def check_is_file(path: Path, what: str) -> None:
    """Raise DataError unless ``path`` can be read like a file; ``what`` names what it should be."""
    if path.is_dir():
        raise DataError(f"{path}: is a folder, but must be {what}. Name the file inside it.")
    check_exists(path, what)


def check_exists(path: Path, what: str) -> None:
    """Raise DataError unless there is such a file or folder."""
    if not path.exists():
        raise DataError(
            f"{path}: there is no such file, but it must be {what}. "
            f"Check the spelling; relative names start from {Path.cwd()}."
        )


def without_suffix(name: str) -> str:
    """Return the name of a file without the suffix of its compression.

    Examples:
        >>> without_suffix("genome.fa.gz"), without_suffix("genome.fa")
        ('genome.fa', 'genome.fa')
    """
    return name[: -len(Path(name).suffix)] if name.lower().endswith(SUFFIXES) else name


def compression_of(path: Path) -> Compression:
    """Recognise the compression of a file by its first bytes."""
    with explain_read_errors(path), path.open("rb") as file:
        return _recognise(file.read(16))


def _recognise(start: bytes) -> Compression:
    for magic, compression in _MAGIC.items():
        if start.startswith(magic):
            return (
                "bgzip" if compression == "gzip" and start[_BGZIP_FIELD] == b"BC" else compression
            )
    return "plain"


@contextmanager
def open_decompressed(
    path: Path, raw: BinaryIO | io.RawIOBase | None = None, *, what: str = "a sequence file"
) -> Iterator["io.BufferedReader[Any]"]:
    """Open a file, compressed or not, to read its decompressed bytes, front to back.

    It may be a pipe such as /dev/stdin. ``raw`` is the open file, if the caller follows how it is
    read (progress, checksum); ``what`` names what should be there, in the error if there is none.

    Raises:
        DataError: If there is no such file, if it cannot be read, or if it is truncated or
            damaged: this can also come in the middle of reading.
    """
    check_is_file(path, what)
    with explain_read_errors(path), raw or path.open("rb", buffering=0) as source:
        buffered: Any = io.BufferedReader(cast(io.RawIOBase, source), _BUFFER_BYTES)
        compression = _recognise(buffered.peek(16))
        decompressed = _decompressed(buffered, compression, path)
        yield io.BufferedReader(decompressed, _BUFFER_BYTES) if decompressed else buffered


def _decompressed(source: Any, compression: Compression, path: Path) -> Any:
    """Return what reads the decompressed bytes, or None if they are not compressed."""
    match compression:
        case "gzip" | "bgzip":
            new = partial(zlib.decompressobj, wbits=31)  # with a gzip header
            is_bgzip = compression == "bgzip"
            return _Members(source, new, zlib.error, path, warns_of_end=is_bgzip)
        case "bzip2":
            return _Members(source, bz2.BZ2Decompressor, OSError, path)
        case "xz":
            return _Members(source, lzma.LZMADecompressor, lzma.LZMAError, path)
        case "zstd":
            return _Members(source, *_zstd(path), path)
        case "plain":
            return None


class _Members(io.RawIOBase):
    """Decompresses what consists of one member (or stream, or frame) after the other.

    Unlike the readers of the standard library, it takes white space after the last one, but nothing
    else, and notices whether that is empty, as in a complete bgzip file. ``new`` makes a
    decompressor of one member, with the interface of ``zlib.decompressobj``, which raises
    ``error``.
    """

    def __init__(
        self,
        source: Any,
        new: Callable[[], Any],
        error: type[Exception],
        path: Path,
        *,
        warns_of_end: bool = False,
    ) -> None:
        self._source = source
        self._new = new
        self._error = error
        self._path = path
        self._warns_of_end = warns_of_end
        self._member = new()
        self._member_bytes = 0  # decompressed so far
        self._letters = memoryview(b"")  # decompressed, but not yet read

    def readable(self) -> bool:
        """Tell that this can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with the next bytes; return their number, 0 at the end."""
        while not self._letters:
            if not self._decompress():
                return 0
        size = min(len(buffer), len(self._letters))
        buffer[:size] = self._letters[:size]
        self._letters = self._letters[size:]
        return size

    def _decompress(self) -> bool:
        """Decompress the next bytes; return False at the end of the file."""
        if self._member.eof:
            packed = self._next_member()
            if not packed:
                self._check_end()
                return False
            self._member, self._member_bytes = self._new(), 0
        elif not (packed := self._source.read(_CHUNK_BYTES)):
            raise EOFError("the file ends before the compressed data do")
        try:
            letters = self._member.decompress(packed)
        except self._error as error:
            raise zlib.error(str(error)) from error
        self._member_bytes += len(letters)
        self._letters = memoryview(letters)
        return True

    def _next_member(self) -> bytes:
        """Return the first bytes of the next member; none if only padding is left."""
        packed: bytes = self._member.unused_data
        while not packed.lstrip(_PADDING):
            if not (packed := self._source.read(_CHUNK_BYTES)):
                return b""
        return packed

    def _check_end(self) -> None:
        if self._warns_of_end and self._member_bytes:
            self._warns_of_end = False
            warn_of_bgzip_end(self._path)


def warn_of_bgzip_end(path: Path) -> None:
    """Warn that blocks may be missing at the end of a bgzip file, where nothing else shows it."""
    warnings.warn(
        f"{path}: the empty block that ends a bgzip file is missing, so it cannot be verified that "
        "the file is complete. Compare its size or checksum.",
        RMTGenomicsWarning,
        stacklevel=3,
    )


def _zstd(path: Path) -> tuple[Callable[[], Any], type[Exception]]:
    """Return what makes a decompressor, and its error."""
    try:
        import zstandard
    except ImportError as error:
        raise DataError(
            f"{path}: is compressed with Zstandard, but the package zstandard is not installed. "
            "Install it: pip install 'rmt-genomics[zstd]', or decompress the file: zstd -d."
        ) from error
    return zstandard.ZstdDecompressor().decompressobj, zstandard.ZstdError


@contextmanager
def explain_read_errors(path: Path) -> Iterator[None]:
    """Turn errors of the system and of decompression while ``path`` is read into a DataError."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, str(error)) from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}), but must be. "
            "Check its permissions and its disk."
        ) from error


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path}: the compressed file is truncated or damaged ({reason}), but must be complete. "
        "Download it again and compare its size or checksum."
    )
