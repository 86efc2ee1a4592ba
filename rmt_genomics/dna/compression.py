"""Open a sequence file for reading: plain, gzip or bgzip.

The compression is recognised by the first bytes, not by the name. bgzip is gzip in blocks that can
be reached directly; it ends with a fixed empty block, by which a truncated file is noticed.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, cast

from rmt_genomics.errors import DataError

Decompressed = io.BufferedReader | gzip.GzipFile
Compression = Literal["plain", "gzip", "bgzip"]

_BUFFER_BYTES = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_BGZIP_FIELD = slice(12, 14)
_BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


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


def compression_of(path: Path) -> Compression:
    """Recognise plain, gzip and bgzip files by their first bytes."""
    with explain_read_errors(path), path.open("rb") as file:
        return _recognise(file.read(16))


def _recognise(start: bytes) -> Compression:
    if not start.startswith(_GZIP_MAGIC):
        return "plain"
    return "bgzip" if start[_BGZIP_FIELD] == b"BC" else "gzip"


@contextmanager
def open_decompressed(
    path: Path, raw: BinaryIO | io.RawIOBase | None = None, *, what: str = "a sequence file"
) -> Iterator[Decompressed]:
    """Open a plain, gzip or bgzip file to read its decompressed bytes, front to back.

    It may be a pipe such as /dev/stdin. ``raw`` is the open file, if the caller follows how it is
    read (progress, checksum); ``what`` names what should be there, in the error if there is none.

    Raises:
        DataError: If there is no such file, if it cannot be read, or if it is truncated or
            damaged: this can also come in the middle of reading.
    """
    check_is_file(path, what)
    with explain_read_errors(path), raw or path.open("rb", buffering=0) as source:
        buffered = io.BufferedReader(cast(io.RawIOBase, source), _BUFFER_BYTES)
        compression = _recognise(buffered.peek(16))
        if compression == "bgzip":
            check_bgzip_end(path)
        plain = cast(Decompressed, buffered)
        yield plain if compression == "plain" else gzip.GzipFile(fileobj=buffered)


@contextmanager
def explain_read_errors(path: Path) -> Iterator[None]:
    """Turn errors of the system and of gzip while ``path`` is read into a DataError."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, str(error)) from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}), but must be. "
            "Check its permissions and its disk."
        ) from error


def check_bgzip_end(path: Path) -> None:
    """Raise DataError if blocks are missing at the end, which decompression would not notice."""
    if not path.is_file():
        return  # of a pipe only the start can be seen
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(_BGZIP_END)))
        if file.read() != _BGZIP_END:
            raise _damaged(path, "the empty block that ends a bgzip file is missing")


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path}: the gzip file is truncated or damaged ({reason}), but must be complete. "
        "Download it again and compare its size or checksum."
    )
