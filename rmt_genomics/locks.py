"""Locks of outputs, and the proof that what is to be replaced is of this program.

Two processes that write one folder or file would mix their results: the second is refused. A lock
ends with its process, however that ends.
"""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from rmt_genomics.atomic_io import check_new_file, named_errors, try_lock
from rmt_genomics.errors import ConfigError

_LOCK = ".lock"
_locks_held: set[Path] = set()  # by this process


def check_new_folder(folder: Path, *, overwrite: bool, option: str = "--out") -> None:
    """Raise ConfigError if ``folder``, given by an option, is in use, before any work is done."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file, but must be a folder. Give another {option}.")
    if not is_unused(folder) and not overwrite:
        raise ConfigError(
            f"{folder}: the folder is not empty, but files are only replaced on request. "
            f"Add --overwrite, or give another {option}."
        )


def is_unused(folder: Path) -> bool:
    """Whether a folder does not exist, or holds nothing but the file of its lock."""
    return not folder.is_dir() or all(path.name == _LOCK for path in folder.iterdir())


def check_replaceable(
    folder: Path, names: Iterable[str], *, marker: str, text: str, option: str = "--out"
) -> None:
    """Raise ConfigError unless what is to be replaced is proved to be of this program.

    Args:
        folder: An output folder.
        names: Files in it that are to be removed or replaced, if they are there.
        marker: The file whose text is the proof.
        text: What it contains if it is of this program.
        option: The option that names the folder.
    """
    present = [folder / name for name in names if os.path.lexists(folder / name)]
    for path in present:
        for part in (path.parent, path):
            if part.is_symlink() and part != folder:
                raise ConfigError(
                    f"{part}: is a link, but only what is in {folder} itself is replaced. Remove "
                    f"the link, or give another {option}."
                )
        if path.is_dir():
            raise ConfigError(
                f"{path}: is a folder, but only files are replaced. Move it away, or give another "
                f"{option}."
            )
    proof = folder / marker
    is_ours = proof.is_file() and text in proof.read_text(encoding="utf-8", errors="replace")
    if present and not is_ours:
        raise ConfigError(
            f"{present[0]}: would be replaced, but no {marker} of rmt-genomics is beside it: it "
            f"may be of another program. Move it away, or give another {option}."
        )


@contextmanager
def locked(path: Path, *, is_folder: bool, option: str = "--out") -> Iterator[None]:
    """Keep other processes from writing an output; the lock ends with this process.

    It is on a file in a folder, or beside a file, which is removed at the end; one that a killed
    process has left does not matter. A process may lock again what it has locked. Where the file
    system has no locks, nothing is locked.

    Args:
        path: The output.
        is_folder: Whether it is a folder; it is made, and removed at the end if it is empty.
        option: The option that names it.

    Raises:
        ConfigError: If another process holds the lock, naming it, or the folder is a file.
    """
    if is_folder and path.exists() and not path.is_dir():
        raise ConfigError(
            f"{path}: is a file, but {option} must name a folder. Give another {option}."
        )
    folder = path if is_folder else path.parent
    lock = folder.resolve() / (_LOCK if is_folder else f".{path.name}{_LOCK}")
    if lock in _locks_held:
        yield
        return
    made = [each for each in (folder, *folder.parents) if not each.exists()] if is_folder else []
    with named_errors(path):
        for each in reversed(made):
            each.mkdir(exist_ok=True)
        file = _acquire(lock, path, option)
    _locks_held.add(lock)
    try:
        yield
    finally:
        _locks_held.remove(lock)
        with suppress(OSError):
            lock.unlink()
        file.close()
        for each in made:
            with suppress(OSError):  # it is in use
                each.rmdir()


@contextmanager
def new_file(path: Path, **rules: Any) -> Iterator[None]:
    """Lock a file to be written; ``rules`` are the other arguments of ``check_new_file``."""
    check_new_file(path, **rules)
    with locked(path, is_folder=False):
        check_new_file(path, **rules)  # another process may have made it
        yield


def _acquire(lock: Path, path: Path, option: str) -> IO[bytes]:
    """Lock a file for the output at ``path``, and write into it who holds the lock."""
    while True:
        file = lock.open("ab+")
        if not try_lock(file):
            file.seek(0)
            holder = file.read(200).decode(errors="replace") or "another process"
            file.close()
            raise ConfigError(
                f"{path}: {holder} is writing it, but only one process may. Wait for it, or stop "
                f"it, or give another {option}."
            )
        if os.fstat(file.fileno()).st_nlink:  # else its last holder has just removed it
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
            file.flush()
            return file
        file.close()
