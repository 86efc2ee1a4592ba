"""The only place that writes files: atomic writes, resumable output, cache folders, checksums.

A file or folder is written under a temporary name, pushed to the disk, and then renamed. So it
appears complete or not at all, also when the program is killed or the disk is full.
"""

import errno
import glob
import hashlib
import io
import json
import mmap
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, BinaryIO

from rmt_genomics.errors import ConfigError, DataError
from rmt_genomics.parsing import read_json, read_text

CACHE_VARIABLE = "RMT_GENOMICS_CACHE"

Key = Mapping[str, Any]
"""What the content of a resumable file depends on, by name; values can be written as JSON."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_PROGRESS = "progress"  # its name in the note beside partial output; not a part of the key
_PROGRAM = {"program": "rmt-genomics"}  # in the note: only what has it is ever removed
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
    path: Path,
    *,
    inputs: Sequence[Path],
    overwrite: bool,
    or_stdout: bool = False,
    is_ours: Callable[[Path], bool] | None = None,
) -> None:
    """Raise ConfigError if ``path`` may not be written, before any work is done for it.

    Args:
        path: The file to be written.
        inputs: The files that are read; they must not be overwritten.
        overwrite: A file at ``path`` may be replaced. Links, devices and pipes never are.
        or_stdout: Without ``--out`` the command writes to stdout.
        is_ours: Proves by its content that a file is of this program; no other is replaced, unless
            it is empty.
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
    if is_ours is not None and path.exists() and path.stat().st_size and not is_ours(path):
        raise ConfigError(
            f"{path}: is not output of this command, but nothing else is replaced. Move it away, "
            "or give another --out."
        )
    if not (folder := path.absolute().parent).is_dir():
        raise ConfigError(f"{path}: the folder {folder} does not exist, but must. Create it first.")


def _temporary(folder: Path, name: str) -> Path:
    """Return a temporary path for this process; remove those of processes that were killed."""
    prefix = f".{name[:80]}.rmt-genomics-{platform.node()[:40]}-"
    _remove_abandoned(folder.absolute(), prefix)
    return folder / f"{prefix}{os.getpid()}"


def _make_temporary_folder(folder: Path, name: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"{_temporary(folder, name).name}-", dir=folder))


@cache
def _remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove temporary files and folders of processes of this machine that do not run any more."""
    for path in folder.glob(f"{glob.escape(prefix)}*"):
        process = re.match(r"[0-9]{1,9}", path.name.removeprefix(prefix))
        if process is None or path.is_symlink() or _is_running(int(process[0])):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    if os.name != "posix":
        return True  # not known: on Windows signal 0 would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is of another user
    return True


@contextmanager
def utf8_path(path: Path) -> Iterator[Path]:
    """Give a path to a file for libraries that take no other paths than UTF-8, as safetensors.

    It is ``path`` itself, or a temporary link to it. The name of the file must be UTF-8.
    """
    try:
        os.fspath(path.absolute()).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="rmt-genomics-") as folder:
            link = Path(folder) / path.name
            link.symlink_to(path.absolute())
            yield link
    else:
        yield path


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; the file written there becomes ``path`` at the end.

    Raises:
        OSError: If it cannot be written, naming ``path``. After any error ``path`` is as before,
            and the temporary file is removed.
    """
    temporary = _temporary(path.parent, path.name)
    with named_errors(path):
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
    temporary = _make_temporary_folder(folder, "saving")
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
def named_errors(path: Path) -> Iterator[None]:
    """Put the path into an OSError: of a full disk the system does not name the file."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from error


class ResumableFile:
    """A text file that is being written line by line; made by ``resumable_file``."""

    def __init__(self, file: IO[bytes], path: Path, key: Key, *, keep: bool) -> None:
        self._file = file
        self.path = path
        self.note = _note_path(path)
        self._key = key
        self.progress: dict[str, Any] | None = None
        """What was last saved by ``save_progress``, also by an interrupted run."""
        self.keep = keep
        """After an error the lines stay."""
        self._may_be_cut = True

    def save_progress(self, progress: Key) -> None:
        """Save what a resumed run needs to know about the lines, beside the key."""
        self.progress = dict(progress)
        write_text(self.note, key_as_json({**self._key, _PROGRESS: self.progress}))

    def write(self, line: str) -> None:
        """Add a line, given without line end. It then survives if this process is killed."""
        self.cut()
        self._file.write(f"{line}\n".encode())
        self._file.flush()

    def clear(self) -> None:
        """Remove all lines."""
        self._file.truncate(0)

    def cut(self) -> None:
        """Remove the last line if a kill has cut it."""
        if self._may_be_cut and os.fstat(self._file.fileno()).st_size:  # an empty file has no map
            with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                end_of_last_line = content.rfind(b"\n") + 1
            self._file.truncate(end_of_last_line)
        self._may_be_cut = False

    def lines(self) -> Iterator[str]:
        """Yield the whole lines written so far, without line ends."""
        with self.path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    try:
                        yield line[:-1].decode()
                    except UnicodeDecodeError as error:
                        raise self.damaged("it is not UTF-8 text") from error

    def damaged(self, what: str) -> ConfigError:
        """Return an error for lines that cannot be of an interrupted run."""
        return ConfigError(
            f"{self.path}: is damaged, {what}, but only the lines of an interrupted run can be "
            "continued. Start over: --overwrite instead of --resume."
        )


def partial_path(path: Path) -> Path:
    """Return where the lines of a resumable file are kept until it is complete."""
    return path.with_name(f"{path.name}.part")


def _note_path(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def check_partial(path: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise ConfigError if partial output is not ours, or of an interrupted run and not to be lost.

    Args:
        path: The file that is to be written.
        resume: The lines of an interrupted run are kept.
        overwrite: They may be removed.
    """
    partial = partial_path(path)
    if _read_note(partial) and not resume and not overwrite:
        num_bytes = partial.stat().st_size if partial.exists() else 0
        raise ConfigError(
            f"{partial}: an interrupted run has left {num_bytes} bytes here, but they "
            "are only removed on request. Add --resume to continue it, or --overwrite to start "
            "over."
        )


def _read_note(partial: Path) -> dict[str, Any]:
    """Return the note beside partial output; empty if there is neither.

    Raises:
        ConfigError: If one of the two is not a file of this program: it must not be changed.
    """
    note_path, note = _note_path(partial), {}
    for path in (partial, note_path):
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise ConfigError(
                f"{path}: is a link or not a file, but unfinished output is kept there. "
                "Move it away, or give another --out."
            )
    if note_path.exists():
        with suppress(ConfigError, TypeError, ValueError):  # then it is not of this program
            text = read_text(note_path, "a note", ConfigError)
            note = dict(read_json(text, str(note_path), "", ConfigError))
    is_there = note_path.exists() or (partial.exists() and partial.stat().st_size)
    if is_there and not note.items() >= _PROGRAM.items():
        raise ConfigError(
            f"{partial}: is not unfinished output of rmt-genomics with its {note_path.name}, but "
            "nothing else is continued or replaced. Move both away, or give another --out."
        )
    return note


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
        ConfigError: If the lines have another key or are of another program, or another process
            is writing them.
    """
    partial = partial_path(path)
    _read_note(partial)  # before anything is created
    with named_errors(path), _open_locked(partial) as file:
        note = _read_note(partial)
        resumable = ResumableFile(file, partial, key, keep=resume)
        try:
            if resume and note:
                check_key(partial, note, key)
                resumable.progress = note.get(_PROGRESS)
            else:
                file.truncate(0)
                write_text(resumable.note, key_as_json(key))
            yield resumable
            resumable.cut()
            _publish(partial, path)
            resumable.note.unlink()
        except KeyboardInterrupt as error:
            remedy = f"{partial} holds the finished lines. Continue with --resume."
            raise KeyboardInterrupt(remedy) from error
        except BaseException:
            if not resumable.keep:
                partial.unlink(missing_ok=True)
                resumable.note.unlink(missing_ok=True)
            raise


def key_as_json(key: Key) -> str:
    """Return a key as the text of the file that is kept beside partial output."""
    return json.dumps({**_PROGRAM, **key}, indent=2, sort_keys=True) + "\n"


def check_key(partial: Path, before: Mapping[str, Any], key: Key) -> None:
    """Raise ConfigError if partial output was written with another key.

    Args:
        partial: The partial output, for the error.
        before: The note with the key it was started with, as written by ``key_as_json``.
        key: The key of this run.
    """
    now = dict(json.loads(key_as_json(key)))  # as JSON reads it back: lists, not tuples
    for name in sorted((now.keys() | before.keys()) - {_PROGRESS}):
        if now.get(name) != before.get(name):
            raise ConfigError(
                f"{partial}: was started with {name} {before.get(name)!r}, but this run has "
                f"{now.get(name)!r}, and a resumed run must have the same settings. Use the "
                "settings it was started with, or start over: --overwrite instead of --resume."
            )


@contextmanager
def _open_locked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to append to it, for this process alone; a link is not followed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags, 0o666), "a+b") as file:
        _lock(file, path)
        yield file


def _lock(file: IO[bytes], path: Path) -> None:
    """Keep a second process from writing the same file, where the system has file locks."""
    is_locked = try_lock(file)
    # Until the lock was there another process may have given the file its final name.
    if not (
        is_locked and path.exists() and os.path.samestat(path.lstat(), os.fstat(file.fileno()))
    ):
        raise ConfigError(
            f"{path}: another process is writing this file, but only one may. "
            "Wait for it, or stop it."
        )


def try_lock(file: IO[bytes]) -> bool:
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
        temporary = _make_temporary_folder(target.parent, target.name)
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
    temporary = _make_temporary_folder(target.parent, target.name)
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
