"""The only place that writes files: atomic writes, resumable output, cache folders, checksums.

A file or folder is written under a temporary name, pushed to the disk, and then renamed. So it
appears complete or not at all, also when the program is killed or the disk is full.
"""

import errno
import hashlib
import io
import json
import mmap
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from rmt_genomics.errors import ConfigError, DataError

CACHE_VARIABLE = "RMT_GENOMICS_CACHE"

Key = Mapping[str, Any]
"""What the content of a resumable file depends on, by name; values can be written as JSON."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_PROGRESS = "progress"  # its name in the note beside partial output; not a part of the key
_LOCK = ".lock"
_locks_held: set[Path] = set()  # by this process
_LAST_STAGED = "config.json"  # a folder without it is not a model, so it must appear last


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error means that no space is left on the disk, or in the user's quota."""
    if isinstance(error, OSError) and error.errno is None and error.__context__ is not None:
        error = error.__context__  # pyfaidx raises an error without a number of its own
    if isinstance(error, OSError):
        return error.errno in _DISK_FULL
    # safetensors passes the system's error on as text
    return any(f"os error {number})" in str(error) for number in _DISK_FULL)


def check_new_file(
    path: Path, *, inputs: Sequence[Path], overwrite: bool, or_stdout: bool = False
) -> None:
    """Raise ConfigError if ``path`` may not be written, before any work is done for it.

    Args:
        path: The file to be written.
        inputs: The files that are read; they must not be overwritten.
        overwrite: A file at ``path`` may be replaced. Links, devices and pipes never are.
        or_stdout: Without ``--out`` the command writes to stdout.
    """
    if any(file.exists() and path.exists() and file.samefile(path) for file in inputs):
        raise ConfigError(
            f"{path}: is also an input, but an input must not be overwritten. Give another --out."
        )
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder, but must be a file. Name a file inside it.")
    kind = None
    if path.is_symlink():
        kind = f"a link to {path.readlink()}"
    elif path.exists() and not path.is_file():
        kind = "a named pipe" if path.is_fifo() else "a socket" if path.is_socket() else "a device"
    if kind is not None:
        remedy = "Omit --out to write to stdout, or name" if or_stdout else "Name"
        raise ConfigError(
            f"{path}: is {kind}, but --out creates a file and replaces only files. "
            f"{remedy} a file in a folder."
        )
    if path.exists() and not overwrite:
        raise ConfigError(
            f"{path}: the file exists, but is only replaced on request. "
            "Add --overwrite, or give another --out."
        )
    if not (folder := path.absolute().parent).is_dir():
        raise ConfigError(f"{path}: the folder {folder} does not exist, but must. Create it first.")


def check_new_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise ConfigError if ``folder`` is in use, before any work is done for it."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file, but must be a folder. Give another --out.")
    if not is_unused(folder) and not overwrite:
        raise ConfigError(
            f"{folder}: the folder is not empty, but files are only replaced on request. "
            "Add --overwrite, or give another --out."
        )


def is_unused(folder: Path) -> bool:
    """Whether a folder does not exist, or holds nothing but the file of its lock."""
    return not folder.is_dir() or all(path.name == _LOCK for path in folder.iterdir())


def check_replaceable(folder: Path, names: Iterable[str], *, marker: str, text: str) -> None:
    """Raise ConfigError unless what is to be replaced is proved to be of this program.

    Args:
        folder: An output folder.
        names: Files in it that are to be removed or replaced, if they are there.
        marker: The file whose text is the proof.
        text: What it contains if it is of this program.
    """
    present = [folder / name for name in names if os.path.lexists(folder / name)]
    for path in present:
        for part in (path.parent, path):
            if part.is_symlink() and part != folder:
                raise ConfigError(
                    f"{part}: is a link, but only what is in {folder} itself is replaced. Remove "
                    "the link, or give another --out."
                )
        if path.is_dir():
            raise ConfigError(
                f"{path}: is a folder, but only files are replaced. Move it away, or give another "
                "--out."
            )
    proof = folder / marker
    is_ours = proof.is_file() and text in proof.read_text(encoding="utf-8", errors="replace")
    if present and not is_ours:
        raise ConfigError(
            f"{present[0]}: would be replaced, but no {marker} of rmt-genomics is beside it: it "
            "may be of another program. Move it away, or give another --out."
        )


@contextmanager
def locked(path: Path, *, is_folder: bool) -> Iterator[None]:
    """Keep other processes from writing an output; the lock ends with this process.

    It is on a file in a folder, or beside a file, which is removed at the end; one that a killed
    process has left does not matter. A process may lock again what it has locked. Where the file
    system has no locks, nothing is locked.

    Args:
        path: The output.
        is_folder: Whether it is a folder; it is made, and removed at the end if it is empty.

    Raises:
        ConfigError: If another process holds the lock, naming it, or the folder is a file.
    """
    if is_folder and path.exists() and not path.is_dir():
        raise ConfigError(f"{path}: is a file, but --out must name a folder. Give another --out.")
    folder = path if is_folder else path.parent
    lock = folder.resolve() / (_LOCK if is_folder else f".{path.name}{_LOCK}")
    if lock in _locks_held:
        yield
        return
    made = [each for each in (folder, *folder.parents) if not each.exists()] if is_folder else []
    with _errors_name(path):
        for each in reversed(made):
            each.mkdir(exist_ok=True)
        file = _acquire(lock, path)
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


def _acquire(lock: Path, path: Path) -> IO[bytes]:
    """Lock a file for the output at ``path``, and write into it who holds the lock."""
    while True:
        file = lock.open("ab+")
        if not _try_lock(file):
            file.seek(0)
            holder = file.read(200).decode(errors="replace") or "another process"
            file.close()
            raise ConfigError(
                f"{path}: {holder} is writing it, but only one process may. Wait for it, or stop "
                "it, or give another --out."
            )
        if os.fstat(file.fileno()).st_nlink:  # else its last holder has just removed it
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
            file.flush()
            return file
        file.close()


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; the file written there becomes ``path`` at the end.

    Raises:
        OSError: If it cannot be written, naming ``path``. After any error ``path`` is as before,
            and the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with _errors_name(path):
        try:
            yield temporary
            _publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_file(path) as temporary:
        # A path that is not UTF-8 is written with escapes.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines, given without line ends, atomically and as they come."""
    with (
        atomic_file(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file,
    ):
        file.writelines(f"{line}\n" for line in lines)


@contextmanager
def staged_files(folder: Path) -> Iterator[Path]:
    """Give a temporary folder whose files move to ``folder`` at the end, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".saving-", dir=folder))
    try:
        yield temporary
        for file in sorted(temporary.iterdir(), key=lambda file: file.name == _LAST_STAGED):
            file.chmod(0o644)  # safetensors makes files that only their owner can read
            _publish(file, folder / file.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary: Path, path: Path) -> None:
    """Give a complete file its name, after its content has reached the disk."""
    _sync(temporary)
    temporary.replace(path)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """Put the path into an OSError: of a full disk the system does not name the file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from error


class ResumableFile:
    """A text file that is being written line by line; made by ``resumable_file``."""

    def __init__(self, file: IO[bytes], path: Path, note: Path, key: Key, *, keep: bool) -> None:
        self._file = file
        self.path = path
        self._note = note
        self._key = key
        self.progress: dict[str, Any] | None = None
        """What was last saved by ``save_progress``, also by an interrupted run."""
        self.keep = keep
        """After an error the lines stay."""

    def save_progress(self, progress: Key) -> None:
        """Save what a resumed run needs to know about the lines, beside the key."""
        self.progress = dict(progress)
        write_text(self._note, key_as_json({**self._key, _PROGRESS: self.progress}))

    def write(self, line: str) -> None:
        """Add a line, given without line end. It then survives if this process is killed."""
        self._file.write(f"{line}\n".encode())
        self._file.flush()

    def clear(self) -> None:
        """Remove all lines."""
        self._file.truncate(0)

    def lines(self) -> Iterator[str]:
        """Yield the lines written so far, without line ends."""
        with self.path.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                yield line.removesuffix("\n")


def partial_path(path: Path) -> Path:
    """Return where the lines of a resumable file are kept until it is complete."""
    return path.with_name(f"{path.name}.part")


def check_partial(path: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise ConfigError if an interrupted run has left lines that would be lost."""
    partial = partial_path(path)
    if partial.exists() and not resume and not overwrite:
        raise ConfigError(
            f"{partial}: an interrupted run has left {partial.stat().st_size} bytes here, but they "
            "are only removed on request. Add --resume to continue it, or --overwrite to start "
            "over."
        )


@contextmanager
def resumable_file(path: Path, key: Key, *, resume: bool) -> Iterator[ResumableFile]:
    """Open a file to be written line by line; at the end it is complete and gets its name.

    Until then the lines are in ``PATH.part`` and the key is in ``PATH.part.json``. After an error
    both are removed, unless ``resume`` is set. A kill or Ctrl-C leaves them.

    Args:
        path: The file.
        key: What the lines depend on; must be the same when the file is resumed.
        resume: Keep the lines that an interrupted run has left, if there are any.

    Raises:
        ConfigError: If the lines have another key, or another process is writing them.
    """
    partial = partial_path(path)
    note = partial.with_name(f"{partial.name}.json")
    with _errors_name(path), partial.open("a+b") as file:
        _lock(file, partial)
        resumable = ResumableFile(file, partial, note, key, keep=resume)
        try:
            if resume and note.exists():
                resumable.progress = check_key(partial, note, key).get(_PROGRESS)
                file.truncate(_end_of_last_line(file))  # a kill may have cut the last line
                file.seek(0, os.SEEK_END)
            else:
                file.truncate(0)
                write_text(note, key_as_json(key))
            yield resumable
            _publish(partial, path)
            note.unlink()
        except KeyboardInterrupt as error:
            remedy = f"{partial} holds the finished lines. Continue with --resume."
            raise KeyboardInterrupt(remedy) from error
        except BaseException:
            if not resumable.keep:
                partial.unlink(missing_ok=True)
                note.unlink(missing_ok=True)
            raise


def key_as_json(key: Key) -> str:
    """Return a key as the text of the file that is kept beside partial output."""
    return json.dumps(dict(key), indent=2, sort_keys=True) + "\n"


def check_key(partial: Path, note: Path, key: Key) -> dict[str, Any]:
    """Raise ConfigError if partial output was written with another key; else return the note.

    Args:
        partial: The partial output, for the error.
        note: The file with the key it was started with, as written by ``key_as_json``.
        key: The key of this run.
    """
    try:
        before = dict(json.loads(note.read_text(encoding="utf-8")))
    except ValueError:
        before = {}
    now = dict(json.loads(key_as_json(key)))  # as JSON reads it back: lists, not tuples
    for name in sorted((now.keys() | before.keys()) - {_PROGRESS}):
        if now.get(name) != before.get(name):
            raise ConfigError(
                f"{partial}: was started with {name} {before.get(name)!r}, but this run has "
                f"{now.get(name)!r}, and a resumed run must have the same settings. Use the "
                "settings it was started with, or start over: --overwrite instead of --resume."
            )
    return before


def _end_of_last_line(file: IO[bytes]) -> int:
    """Return the position after the last line end of a file; 0 if there is none."""
    if not file.tell():  # an empty file, which cannot be mapped
        return 0
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.rfind(b"\n") + 1


def _lock(file: IO[bytes], path: Path) -> None:
    """Keep a second process from writing the same file, where the system has file locks."""
    if not _try_lock(file):
        raise ConfigError(
            f"{path}: another process is writing this file, but only one may. "
            "Wait for it, or stop it."
        )


def _try_lock(file: IO[bytes]) -> bool:
    """Lock a file; False if another process has locked it. Without locks in the system, True."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # Windows, or a file system without locks
        return True
    return True


def default_cache() -> Path:
    """Return the cache folder.

    That is ``$RMT_GENOMICS_CACHE``, else ``rmt_genomics`` in ``$XDG_CACHE_HOME``, which is
    ``~/.cache`` if it is not set; without a home folder, as in some containers, it is in the folder
    for temporary files.
    """
    if variable := os.environ.get(CACHE_VARIABLE):
        return Path(variable).absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # as its specification says
        try:
            base = Path.home() / ".cache"
        except RuntimeError:  # the user has no home, and no entry in the list of users
            return Path(tempfile.gettempdir()) / f"rmt_genomics-{os.getuid()}"
    return base / "rmt_genomics"


def cache_key(*parts: object) -> str:
    """Return a short name for a cache entry that differs whenever one of the parts does."""
    text = "\0".join(map(str, parts))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


@contextmanager
def cache_folder(target: Path) -> Iterator[Path]:
    """Give an empty temporary folder to be filled; at the end it becomes ``target``.

    If another process has made ``target`` in the meantime, that one stays: both have the same
    content.

    Args:
        target: The new folder in the cache. It must not exist yet.

    Raises:
        DataError: If it cannot be written, for example because no space is left. After any error
            nothing is left behind.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name[:8]}-", dir=target.parent))
        try:
            yield temporary
            for file in temporary.iterdir():
                _sync(file)
            temporary.chmod(0o755)  # mkdtemp makes folders private; a cache may be shared
            try:
                temporary.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        if is_disk_full(error):
            raise DataError(
                f"{target.parent}: no space is left, but the cache needs room for "
                f"{target.name[:16]}. Free some space, or set {CACHE_VARIABLE} to a folder on "
                "another disk."
            ) from error
        raise DataError(
            f"{target.parent}: cannot be written ({error}), but the cache must be writable. "
            f"Set {CACHE_VARIABLE} to another folder."
        ) from error


def remove_cache_folder(target: Path) -> None:
    """Remove a cache entry in such a way that no other process sees a part of it."""
    temporary = Path(tempfile.mkdtemp(prefix=".removed-", dir=target.parent))
    try:
        target.replace(temporary / target.name)
    except FileNotFoundError:
        pass  # another process has removed it
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class HashingReader(io.RawIOBase):
    """A binary file that is hashed while it is read, so that it need not be read twice.

    Args:
        file: The open file, which is read front to back only; closed together with this one.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._sha256 = hashlib.sha256()
        self.hexdigest = self._sha256.hexdigest
        """Returns the SHA-256 of the bytes read so far, as hexadecimal digits."""

        self.num_bytes = 0
        """How many bytes have been read so far."""

    def readable(self) -> bool:
        """Return True; without it ``io.BufferedReader`` refuses this object."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a writable buffer; return the number of bytes, 0 at the end of the file."""
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        self._sha256.update(content)
        self.num_bytes += len(content)
        return len(content)

    def close(self) -> None:
        """Close the file, too."""
        if not self.closed:
            self._file.close()
        super().close()
