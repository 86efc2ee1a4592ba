"""Output that appears whole or not at all: written under a temporary name, then renamed."""

import errno
import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from rmt_genomics.errors import ConfigError, DataError

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


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as hexadecimal digits.

    Raises:
        OSError: If it cannot be read.
    """
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

    def hexdigest(self) -> str:
        """Return the SHA-256 of the bytes read so far, as hexadecimal digits."""
        return self._sha256.hexdigest()

    def close(self) -> None:
        """Close the file, too."""
        if not self.closed:
            self._file.close()
        super().close()


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


def check_new_file(
    path: Path, *, inputs: Sequence[Path], overwrite: bool, or_stdout: bool = False
) -> None:
    """Raise ConfigError if ``path`` may not be written, before any work is done for it.

    Args:
        path: What is to be made.
        inputs: What is read; it must not be written over.
        overwrite: A file at ``path`` may be replaced. Links, devices and pipes never are.
        or_stdout: Without ``--out`` the command writes to stdout.
    """
    if any(each.exists() and path.exists() and each.samefile(path) for each in inputs):
        raise ConfigError(f"{path}: is an input too, but would be overwritten. Give another --out.")
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder, but must be a file. Name a file inside it.")
    if (kind := _kind_of(path)) not in (None, "a file"):
        remedy = "Leave --out out to write to stdout, or name" if or_stdout else "Name"
        raise ConfigError(
            f"{path}: is {kind}, but --out makes a file and replaces nothing else. "
            f"{remedy} a file in a folder."
        )
    if kind is not None and not overwrite:
        raise ConfigError(
            f"{path}: there is a file already, but nothing is overwritten unasked. "
            "Add --overwrite, or give another --out."
        )
    if not path.absolute().parent.is_dir():
        raise ConfigError(
            f"{path}: there is no folder {path.absolute().parent}, but the file is to be in it. "
            "Make the folder first."
        )


def _kind_of(path: Path) -> str | None:
    """Say in words what is at a path, without following a link; None if nothing is."""
    if path.is_symlink():
        return f"a link to {path.readlink()}"
    if not path.exists():
        return None
    mode = path.stat().st_mode
    kinds = {stat.S_IFREG: "a file", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def check_new_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise ConfigError if ``folder`` is in use, before any work is done for it."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file, but must be a folder. Give another --out.")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise ConfigError(
            f"{folder}: the folder is not empty, but nothing is overwritten unasked. "
            "Add --overwrite, or give another --out."
        )


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that becomes ``path`` if all goes well.

    Raises:
        OSError: If it cannot be written, naming ``path``; then nothing is left behind.
    """
    making = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield making
        with making.open("rb+") as written:
            os.fsync(written.fileno())
        making.replace(path)
    except OSError as error:  # a full disk does not say which file it was
        raise type(error)(error.errno, error.strerror, str(path)) from error
    finally:
        making.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole_file(path) as making:
        making.write_text(text, encoding="utf-8")


_BYTES_AT_ONCE = 1 << 20

Key = Mapping[str, Any]


class ResumableFile:
    """The lines of a file that is being written."""

    def __init__(self, text: IO[bytes], path: Path) -> None:
        self._text = text
        self.path = path

    def write(self, line: str) -> None:
        """Add a line, given without its end; a kill of this process then loses nothing of it."""
        self._text.write(f"{line}\n".encode())
        self._text.flush()

    def clear(self) -> None:
        """Begin anew."""
        self._text.truncate(0)

    def lines(self) -> Iterator[str]:
        """Yield the lines that are there, without line ends."""
        with self.path.open(encoding="utf-8", newline="\n") as text:
            for line in text:
                yield line.removesuffix("\n")


def part_of(path: Path) -> Path:
    """Return where a file is kept until it is whole."""
    return path.with_name(f"{path.name}.part")


def check_part(path: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise ConfigError if a stopped run has left lines that would be lost."""
    part = part_of(path)
    if part.exists() and not resume and not overwrite:
        raise ConfigError(
            f"{part}: a run that was stopped has left {part.stat().st_size} bytes here, but "
            "nothing is overwritten unasked. Add --resume to go on with it, or --overwrite to "
            "begin anew."
        )


@contextmanager
def resumable_file(path: Path, key: Key, *, resume: bool) -> Iterator[ResumableFile]:
    """Open a file to be written line by line; at the end it is whole and has its name.

    An error takes away what was written, unless ``resume`` says that it is to be gone on with. A
    kill or Ctrl-C leaves it.

    Args:
        path: The file.
        key: What the lines depend on; must be the same when they are gone on with.
        resume: Go on with the lines that a stopped run has left, if there are any.

    Raises:
        ConfigError: If there are lines of another key, or another process is writing them.
    """
    part, note = part_of(path), part_of(path).with_name(f"{path.name}.part.json")
    with _as_error_of(path), part.open("ab") as text:
        _lock(text, part)
        try:
            _begin(text, part, note, key, resume=resume)
            yield ResumableFile(text, part)
            os.fsync(text.fileno())
            part.replace(path)
            note.unlink()
        except KeyboardInterrupt as stop:
            where = f"{part} holds what was done. Go on with it: add --resume."
            raise KeyboardInterrupt(where) from stop
        except BaseException:
            if not resume:
                part.unlink(missing_ok=True)
                note.unlink(missing_ok=True)
            raise


def _begin(text: IO[bytes], part: Path, note: Path, key: Key, *, resume: bool) -> None:
    """Cut back to whole lines of the same key, or to nothing."""
    if not resume or not note.exists():
        text.truncate(0)
        write_text(note, as_note(key))
        return
    check_key(part, note, key)
    text.truncate(_end_of_last_line(part))
    text.seek(0, os.SEEK_END)


def as_note(key: Key) -> str:
    """Return the text of the file that says what lines are answers to."""
    return json.dumps(dict(key), indent=2, sort_keys=True) + "\n"


def check_key(begun_at: Path, note: Path, key: Key) -> None:
    """Raise ConfigError if what was begun is not what is asked for now.

    Args:
        begun_at: What was begun, for the error.
        note: What ``as_note`` gave when it was begun.
        key: What is asked for now.
    """
    try:
        begun = dict(json.loads(note.read_text(encoding="utf-8")))
    except ValueError:
        begun = {}
    now = dict(json.loads(as_note(key)))
    for name in sorted(now.keys() | begun.keys()):
        if now.get(name) != begun.get(name):
            raise ConfigError(
                f"{begun_at}: was begun with {name} {begun.get(name)!r}, but this run has "
                f"{now.get(name)!r}, and a file must be of one kind. Run what was begun, or begin "
                "anew: leave --resume out and add --overwrite."
            )


def _end_of_last_line(part: Path) -> int:
    """Return the place after the last line end."""
    with part.open("rb") as text:
        end = text.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _BYTES_AT_ONCE)
            text.seek(start)
            if (place := text.read(end - start).rfind(b"\n")) >= 0:
                return start + place + 1
            end = start
    return 0


def _lock(text: IO[bytes], part: Path) -> None:
    """Keep a second process from writing the same file; where locks exist."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(text, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ConfigError(
            f"{part}: another process is writing it, but only one may. Wait for it, or stop it."
        ) from error


@contextmanager
def _as_error_of(path: Path) -> Iterator[None]:
    """Name the file where the system does not: a full disk does not say which file it was."""
    try:
        yield
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error


_LAST = "config.json"  # a folder without it is no model: it appears when all else is there


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Give a temporary folder whose files move to ``folder`` at the end, each in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".saving-", dir=folder))
    try:
        yield stage
        for file in sorted(stage.iterdir(), key=lambda each: each.name == _LAST):
            with file.open("rb+") as written:
                os.fsync(written.fileno())
            file.chmod(0o644)  # safetensors makes files that only their owner can read
            file.replace(folder / file.name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
