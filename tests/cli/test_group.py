"""What all commands share: a light start, plain errors, exit codes."""

import errno
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from rmt_genomics.cli import COMMANDS, main
from rmt_genomics.cli.group import LazyGroup
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from tests.cli.toys import run

ROOT = Path(__file__).parents[2]


def python(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=False, **settings
    )  # type: ignore[call-overload, no-any-return]


def group_that_raises(error: BaseException) -> LazyGroup:
    """A group whose one command ``go`` raises an error."""

    @click.command()
    def go() -> None:
        raise error

    group = LazyGroup(name="toy", lazy={"go": "Raise."})
    group.get_command = lambda *_: go  # type: ignore[method-assign]
    return group


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    command = main.get_command(click.Context(main), name)

    assert command is not None
    assert (command.help or "").splitlines()[0] == COMMANDS[name]


def test_help_answers_in_a_second() -> None:
    seconds = []
    for _ in range(3):  # the best of three: the machine may be busy
        start = time.perf_counter()
        finished = python("cli.py", "--help")
        seconds.append(time.perf_counter() - start)

    assert finished.returncode == 0
    assert min(seconds) < 1


def test_looking_at_data_loads_no_torch(tmp_path: Path) -> None:
    (tmp_path / "toy.fa").write_text(">r\nACGT\n")
    (tmp_path / "labels.tsv").write_text("record\tlabel\nr\tx\n")
    code = (
        "import sys; from rmt_genomics.cli import main;"
        "main(sys.argv[1:], standalone_mode=False);"
        "print([name for name in ('torch', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    files = [str(tmp_path / "toy.fa"), "--labels", str(tmp_path / "labels.tsv")]

    assert python("-c", code, "inspect", *files).stdout.endswith("\n[]\n")


@pytest.mark.parametrize("arguments", [["cli.py"], ["-m", "rmt_genomics.cli"]])
def test_the_version_is_that_of_the_package(arguments: list[str]) -> None:
    from rmt_genomics import __version__

    assert python(*arguments, "--version").stdout == f"rmt-genomics {__version__}\n"


def test_the_classifier_is_at_hand_and_a_wrong_name_is_not() -> None:
    import rmt_genomics
    from rmt_genomics.model import RMTClassifier

    assert rmt_genomics.RMTClassifier is RMTClassifier
    assert set(rmt_genomics.__all__) <= set(dir(rmt_genomics))
    with pytest.raises(AttributeError, match="no attribute 'Classifier'"):
        rmt_genomics.Classifier  # noqa: B018


def test_a_clone_that_is_not_installed_knows_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    import rmt_genomics

    def not_installed(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", not_installed)
    assert f'version = "{rmt_genomics.__version__}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("error", "code", "stderr"),
    [
        (DataError("a.fa: is wrong"), 1, "Error: a.fa: is wrong\n"),
        (KeyboardInterrupt(), 130, "Stopped by Ctrl-C.\n"),
        (
            PermissionError(errno.EACCES, "Permission denied", "out"),
            1,
            "Error: out: Permission denied\n",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "out/a.tsv"),
            1,
            "Error: out/a.tsv: no space is left on the disk, but the output needs some. "
            "Free some space, or give an --out on another disk.\n",
        ),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, ""),
    ],
    ids=["ours", "Ctrl-C", "no rights", "full disk", "closed pipe"],
)
def test_an_end_has_its_exit_code_and_one_line(
    error: BaseException, code: int, stderr: str
) -> None:
    result = CliRunner().invoke(group_that_raises(error), ["go"])

    assert (result.exit_code, result.stderr, result.stdout) == (code, stderr, "")


def test_a_bug_keeps_its_traceback() -> None:
    result = CliRunner().invoke(group_that_raises(ZeroDivisionError("a bug")), ["go"])

    assert isinstance(result.exception, ZeroDivisionError)


def test_a_warning_of_ours_is_one_line_on_stderr_each_told_once() -> None:
    @click.command()
    def go() -> None:
        for number in (2, 3, 2):
            warnings.warn(f"{number} are odd.", RMTGenomicsWarning, stacklevel=1)
        click.echo("data")

    group = group_that_raises(AssertionError())
    group.get_command = lambda *_: go  # type: ignore[method-assign]
    result = CliRunner().invoke(group, ["go"])

    assert result.stderr == "Warning: 2 are odd.\nWarning: 3 are odd.\n"
    assert result.stdout == "data\n"


def test_warnings_of_others_stay_as_they_are() -> None:
    @click.command()
    def go() -> None:
        warnings.warn("theirs", UserWarning, stacklevel=1)

    group = group_that_raises(AssertionError())
    group.get_command = lambda *_: go  # type: ignore[method-assign]

    with pytest.warns(UserWarning, match="theirs"):
        CliRunner().invoke(group, ["go"])


@pytest.mark.parametrize(
    "arguments", [["predikt"], ["predict"], ["predict", "m", "a.fa", "--speed", "9"]]
)
def test_a_mistyped_command_ends_with_2(arguments: list[str]) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "many.fa"
    path.write_text("".join(f">record_{number}\nACGT\n" for number in range(50_000)))
    with subprocess.Popen(
        [sys.executable, "cli.py", "inspect", str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None

        first = writer.stdout.readline()
        writer.stdout.close()

        assert first.startswith(b"record\t")
        assert writer.stderr.read() == b""
    assert writer.returncode == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs named pipes, which this system has not")
def test_ctrl_c_ends_with_130(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never_ends.fa")
    command = [sys.executable, "cli.py", "inspect", str(tmp_path / "never_ends.fa")]
    with (
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as reader,
        (tmp_path / "never_ends.fa").open("w"),  # opens once the command reads
    ):
        time.sleep(0.3)
        reader.send_signal(signal.SIGINT)
        _, stderr = reader.communicate()

    assert (reader.returncode, stderr) == (130, b"Stopped by Ctrl-C.\n")
