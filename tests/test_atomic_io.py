"""Files appear whole or not at all, and never in the place of others unasked."""

import errno
import hashlib
import io
import os
from pathlib import Path

import pytest

from rmt_genomics.atomic_io import (
    HashingReader,
    check_new_file,
    check_new_folder,
    sha256_of_file,
    whole_file,
    write_text,
)
from rmt_genomics.errors import ConfigError


def write_half(path: Path, error: Exception) -> None:
    with whole_file(path) as making:
        making.write_text("half")
        raise error


def test_a_file_appears_whole_and_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "new\n")

    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "new\n"


def test_what_goes_wrong_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    with pytest.raises(ZeroDivisionError):
        write_half(path, ZeroDivisionError())

    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"a.txt": "old"}


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device: .*a\.txt") as caught:
        write_half(tmp_path / "a.txt", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_not_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.touch()

    with pytest.raises(ConfigError, match=r"a\.tsv: there is a file already.*--overwrite"):
        check_new_file(path, inputs=[], overwrite=False)
    check_new_file(path, inputs=[], overwrite=True)


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.fa"
    path.touch()

    with pytest.raises(ConfigError, match=r"a\.fa: is an input too"):
        check_new_file(path, inputs=[tmp_path / "." / "a.fa"], overwrite=True)


@pytest.mark.parametrize(
    ("name", "words"), [("", "is a folder, but must be a file"), ("x/a.tsv", "no folder .*x")]
)
def test_a_file_needs_a_place(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_new_file(tmp_path / name, inputs=[], overwrite=True)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    check_new_folder(tmp_path, overwrite=False)
    check_new_folder(tmp_path / "new", overwrite=False)
    (tmp_path / "a.txt").touch()

    with pytest.raises(ConfigError, match=r"the folder is not empty.*--overwrite"):
        check_new_folder(tmp_path, overwrite=False)
    check_new_folder(tmp_path, overwrite=True)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()

    with pytest.raises(ConfigError, match=r"a\.txt: is a file, but must be a folder"):
        check_new_folder(tmp_path / "a.txt", overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_is_never_replaced(tmp_path: Path, *, overwrite: bool) -> None:
    (tmp_path / "a.tsv").write_text("mine")
    for name, target in (("link", "a.tsv"), ("dangling", "gone")):
        (tmp_path / name).symlink_to(target)

        with pytest.raises(ConfigError, match=f"{name}: is a link to {target}.*Name a file") as got:
            check_new_file(tmp_path / name, inputs=[], overwrite=overwrite)

        assert "--overwrite" not in str(got.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_pipe_or_device_is_never_replaced(tmp_path: Path, *, overwrite: bool) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path, kind in ((tmp_path / "pipe", "a named pipe"), (Path(os.devnull), "a device")):
        with pytest.raises(ConfigError, match=f"{path}: is {kind}, but --out makes a file") as got:
            check_new_file(path, inputs=[], overwrite=overwrite)
        assert "--overwrite" not in str(got.value)


def test_where_stdout_will_do_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "stdout").symlink_to("/dev/fd/1")

    with pytest.raises(ConfigError, match=r"stdout: is a link to .*Leave --out out to write to st"):
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
