"""Folders that are made once and read many times, such as indexes and encoded sequences.

A folder appears whole or not at all: it is built under a temporary name beside its place and then
renamed. So a process that is killed leaves nothing that looks finished, and of two processes that
build the same folder at once both succeed.
"""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from rmt_genomics.errors import DataError

VARIABLE = "RMT_GENOMICS_CACHE"

_FULL = (errno.ENOSPC, errno.EDQUOT)


def default_cache() -> Path:
    """Return the cache folder: ``$RMT_GENOMICS_CACHE``, or ``~/.cache/rmt_genomics``."""
    return Path(os.environ.get(VARIABLE) or Path.home() / ".cache" / "rmt_genomics").absolute()


def key_of(*parts: object) -> str:
    """Return a short name for a cache entry that differs whenever one of the parts does."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


def build_folder(target: Path, build: Callable[[Path], None]) -> None:
    """Make the folder ``target``, unless another process is quicker; then its folder stays.

    Args:
        target: The folder to make. It must not exist yet when this is called.
        build: Fills the empty folder it is given.

    Raises:
        DataError: If it cannot be written, for example because no space is left. Whatever
            goes wrong, nothing is left behind.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".{target.name[:8]}-", dir=target.parent))
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        build(making)
        _rename(making, target)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


def remove_folder(target: Path) -> None:
    """Take a cache entry away, so that no other process sees it half removed."""
    doomed = Path(tempfile.mkdtemp(prefix=".removed-", dir=target.parent))
    try:
        target.replace(doomed / target.name)
    except FileNotFoundError:
        pass  # another process has removed it
    finally:
        shutil.rmtree(doomed, ignore_errors=True)


def sync(handle: IO[Any]) -> None:
    """Push what was written to an open file down to the disk."""
    handle.flush()
    os.fsync(handle.fileno())


def _rename(making: Path, target: Path) -> None:
    making.chmod(0o755)  # mkdtemp makes folders private; a cache may be shared
    try:
        making.rename(target)
    except OSError:
        if not target.is_dir():  # else another process was quicker, with the same content
            raise


def _cannot_write(target: Path, error: OSError) -> DataError:
    cause = error.__context__ if error.errno is None else error  # pyfaidx wraps without the number
    if isinstance(cause, OSError) and cause.errno in _FULL:
        return DataError(
            f"{target.parent}: no space is left, but the cache needs room for {target.name[:16]}. "
            f"Free some space, or set {VARIABLE} to a folder on another disk."
        )
    return DataError(
        f"{target.parent}: cannot be written ({error}), but the cache needs to. "
        f"Set {VARIABLE} to a folder that can be written."
    )
