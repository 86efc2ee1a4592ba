"""Open a sequence file for reading, whatever it is packed with.

Packing is told by the first bytes, never by the name. bgzip is gzip cut into blocks that can be
reached directly; it ends in a fixed empty block, so that a cut file can be noticed.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, cast

from rmt_genomics.errors import DataError

Unpacked = io.BufferedReader | gzip.GzipFile
Packing = Literal["plain", "gzip", "bgzip"]

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


def packing_of(path: Path) -> Packing:
    """Tell plain, gzip and bgzip files apart by their first bytes."""
    with explain_reading(path), path.open("rb") as handle:
        return _packing(handle.read(16))


@contextmanager
def open_unpacked(
    path: Path, raw: BinaryIO | io.RawIOBase | None = None, *, what: str = "a sequence file"
) -> Iterator[Unpacked]:
    """Open a plain, gzip or bgzip file to read its unpacked bytes, front to back.

    Args:
        path: Where the bytes come from; named in errors. A pipe such as /dev/stdin will do.
        raw: The open file, if the caller watches how far it has been read; else ``path`` is opened.
        what: What the file should be, for the error if there is none.

    Raises:
        DataError: If there is no such file, if it cannot be read, or if it is cut or damaged:
            this can also come in the middle of reading.
    """
    check_is_file(path, what)
    with explain_reading(path), raw or path.open("rb", buffering=0) as source:
        buffered = io.BufferedReader(cast(io.RawIOBase, source), _BUFFER_BYTES)
        packing = _packing(buffered.peek(16))
        if packing == "bgzip":
            check_bgzip_end(path)
        yield gzip.GzipFile(fileobj=buffered) if packing != "plain" else cast(Unpacked, buffered)


@contextmanager
def explain_reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong while ``path`` is read into a DataError that names it."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, str(error)) from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}), but must be. "
            "Check its permissions and its disk."
        ) from error


def _packing(start: bytes) -> Packing:
    if not start.startswith(_GZIP_MAGIC):
        return "plain"
    return "bgzip" if start[_BGZIP_FIELD] == b"BC" else "gzip"


def check_bgzip_end(path: Path) -> None:
    """Whole blocks may be missing, which unpacking alone would never notice."""
    if not path.is_file():
        return  # a pipe has no end to look at
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - len(_BGZIP_END)))
        if handle.read() != _BGZIP_END:
            raise _damaged(path, "the empty block that ends a bgzip file is missing")


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        f"{path}: the gzip file is cut or damaged ({what}), but must be whole. "
        "Fetch it again and compare its size or checksum."
    )
