"""A file that grows line by line, outlives a kill, and goes on where it ended.

Lines go to ``NAME.part``; ``NAME.part.json`` says what they are answers to. At the end the first
takes the name of the file and the second goes. What was cut in mid-line is cut back to whole lines.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rmt_genomics.dna.files import explain_reading
from rmt_genomics.errors import ConfigError
from rmt_genomics.inference.output import write_text

_BYTES_AT_ONCE = 1 << 20

Key = Mapping[str, Any]


class GrowingFile:
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
def growing_file(path: Path, key: Key, *, resume: bool) -> Iterator[GrowingFile]:
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
            yield GrowingFile(text, part)
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


def sha256_of(paths: Sequence[Path]) -> list[str]:
    """Return the SHA-256 of the bytes of each file."""
    sums = []
    for path in paths:
        with explain_reading(path), path.open("rb") as file:
            sums.append(hashlib.file_digest(file, "sha256").hexdigest())
    return sums
