"""Output that appears whole or not at all: written under a temporary name, then renamed."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rmt_genomics.errors import ConfigError


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
