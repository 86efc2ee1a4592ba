"""Files appear complete or not at all, and replace other files only on request."""

import errno
import hashlib
import io
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from rmt_genomics.atomic_io import (
    HashingReader,
    atomic_file,
    cache_folder,
    check_new_file,
    is_disk_full,
    sha256_of_file,
    staged_files,
    write_lines,
    write_text,
)
from rmt_genomics.errors import ConfigError
from rmt_genomics.locks import check_new_folder


def write_half(path: Path, error: Exception) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        raise error


def test_a_file_appears_complete_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "new\n")

    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "new\n"


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    with pytest.raises(ZeroDivisionError):
        write_half(path, ZeroDivisionError())

    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"a.txt": "old"}


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device: .*a\.txt") as caught:
        write_half(tmp_path / "a.txt", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_staged_files_appear_at_the_end_and_are_readable(tmp_path: Path) -> None:
    with staged_files(tmp_path / "model") as stage:
        for name in ("config.json", "weights"):
            (stage / name).write_text(name)
            (stage / name).chmod(0o600)
        assert not (tmp_path / "model" / "weights").exists()

    files = sorted((tmp_path / "model").iterdir())
    assert [file.name for file in files] == ["config.json", "weights"]
    assert [file.stat().st_mode & 0o777 for file in files] == [0o644] * 2


def test_an_error_leaves_none_of_the_staged_files(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), staged_files(tmp_path) as stage:  # noqa: PT012
        (stage / "weights").write_text("half")
        raise ZeroDivisionError

    assert list(tmp_path.iterdir()) == []


def test_a_file_is_only_overwritten_on_request(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.touch()

    with pytest.raises(ConfigError, match=r"a\.tsv: the file exists.*--overwrite"):
        check_new_file(path, inputs=[], overwrite=False)
    check_new_file(path, inputs=[], overwrite=True)


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.fa"
    path.touch()

    with pytest.raises(ConfigError, match=r"a\.fa: is also an input"):
        check_new_file(path, inputs=[tmp_path / "." / "a.fa"], overwrite=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "is a folder, but must be a file"), ("x/a.tsv", "the folder .*x does not exist")],
)
def test_a_file_needs_a_folder_and_a_name(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_new_file(tmp_path / name, inputs=[], overwrite=True)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    check_new_folder(tmp_path, overwrite=False)
    check_new_folder(tmp_path / "new", overwrite=False)
    (tmp_path / "a.txt").touch()

    with pytest.raises(ConfigError, match=r"the folder is not empty.*--overwrite"):
        check_new_folder(tmp_path, overwrite=False)
    check_new_folder(tmp_path, overwrite=True)


def test_a_file_is_refused_as_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()

    with pytest.raises(ConfigError, match=r"a\.txt: is a file, but must be a folder"):
        check_new_folder(tmp_path / "a.txt", overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_is_never_replaced(tmp_path: Path, *, overwrite: bool) -> None:
    (tmp_path / "a.tsv").write_text("mine")
    for name, target in (("link", "a.tsv"), ("dangling", "gone")):
        (tmp_path / name).symlink_to(target)

        with pytest.raises(
            ConfigError, match=f"{name}: is a link to {target}.*Name a file"
        ) as caught:
            check_new_file(tmp_path / name, inputs=[], overwrite=overwrite)

        assert "--overwrite" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_pipe_or_device_is_never_replaced(tmp_path: Path, *, overwrite: bool) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path, kind in ((tmp_path / "pipe", "a named pipe"), (Path(os.devnull), "a device")):
        with pytest.raises(ConfigError, match=f"{path}: is {kind}, but --out creates") as caught:
            check_new_file(path, inputs=[], overwrite=overwrite)
        assert "--overwrite" not in str(caught.value)


def test_writing_to_stdout_is_proposed_where_possible(tmp_path: Path) -> None:
    (tmp_path / "stdout").symlink_to("/dev/fd/1")

    with pytest.raises(ConfigError, match=r"stdout: is a link to .*Omit --out to write to st"):
        check_new_file(tmp_path / "stdout", inputs=[], overwrite=True, or_stdout=True)


def test_the_checksum_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_bytes(b">a\nACGT\n")

    assert sha256_of_file(tmp_path / "a.fa") == hashlib.sha256(b">a\nACGT\n").hexdigest()


@pytest.mark.parametrize("size", [0, 1, 100_003])
def test_a_file_is_hashed_while_it_is_read(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.bin"
    content = bytes(index % 251 for index in range(size))
    path.write_bytes(content)

    reader = HashingReader(path.open("rb"))
    with io.BufferedReader(reader, 4096) as buffered:
        assert buffered.read() == content

    assert reader.hexdigest() == sha256_of_file(path)
    assert reader.num_bytes == size


def test_the_checksum_of_a_half_read_file_is_that_of_the_bytes_read(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"ACGTACGT")
    file = (tmp_path / "a.bin").open("rb")
    reader = HashingReader(file)

    assert reader.read(3) == b"ACG"
    assert reader.hexdigest() == hashlib.sha256(b"ACG").hexdigest()

    reader.close()
    assert file.closed


def test_lines_are_written_as_they_come(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.tsv", (f"line {number}" for number in range(2)))

    assert (tmp_path / "a.tsv").read_bytes() == b"line 0\nline 1\n"


def test_a_path_that_is_not_utf8_is_written_with_escapes(tmp_path: Path) -> None:
    path = os.fsdecode(b"caf\xe9")
    write_text(tmp_path / "a.txt", f"{path}\n")
    write_lines(tmp_path / "b.txt", [path])

    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes() == b"caf\\udce9\n"


def pyfaidx_error() -> OSError:
    """An error without a number, raised while the system's error is handled."""
    error = OSError("the index cannot be written")
    error.__context__ = OSError(errno.ENOSPC, "No space left on device")
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (pyfaidx_error(), True),
        (ValueError("Error while serializing: I/O error (os error 28)"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (OSError("no number"), False),
        (ValueError("broken"), False),
    ],
)
def test_a_full_disk_is_recognised(error: Exception, *, expected: bool) -> None:
    assert is_disk_full(error) is expected


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from rmt_genomics import atomic_io as io; "
        "folder = pathlib.Path(sys.argv[1]); "
        "made = [io.atomic_file(folder / 'a.tsv'), io.staged_files(folder), "
        "io.cache_folder(folder / 'entry')]; paths = [each.__enter__() for each in made]; "
        "paths[0].write_text('half'); [(each / 'x').touch() for each in paths[1:]]; os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 3
    (foreign := tmp_path / ".a.tsv.123.part").touch()
    (running := tmp_path / f".a.tsv.rmt-genomics-{platform.node()}-{os.getppid()}").touch()

    write_text(tmp_path / "a.tsv", "whole")
    with staged_files(tmp_path), cache_folder(tmp_path / "entry"):
        pass

    found = sorted(tmp_path.iterdir())
    assert found == sorted([foreign, running, tmp_path / "a.tsv", tmp_path / "entry"])
