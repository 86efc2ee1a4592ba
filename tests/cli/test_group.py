"""What all commands share: a light start, plain errors, exit codes."""

import errno
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from rmt_genomics.cli import COMMANDS, main
from rmt_genomics.cli.group import LazyGroup, messages_on_stderr
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from tests.cli.toys import run

ROOT = Path(__file__).parents[2]


class TerminalText(StringIO):
    """What a terminal received."""

    def isatty(self) -> bool:
        return True


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


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes")]
)
def test_exhausted_memory_is_one_sentence_with_settings_that_need_less(error: Exception) -> None:
    result = CliRunner().invoke(group_that_raises(error), ["go"])

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: memory ran out (")
    assert "--set training.replay=true and a smaller training.batch_size" in result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_has_the_first_line_of_each_help(name: str) -> None:
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


def test_inspect_loads_no_torch(tmp_path: Path) -> None:
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


def test_the_package_exports_the_classifier_and_refuses_a_wrong_name() -> None:
    import rmt_genomics
    from rmt_genomics.model import RMTClassifier

    assert rmt_genomics.RMTClassifier is RMTClassifier
    assert set(rmt_genomics.__all__) <= set(dir(rmt_genomics))
    with pytest.raises(AttributeError, match="no attribute 'Classifier'"):
        rmt_genomics.Classifier  # noqa: B018


def test_a_clone_that_is_not_installed_has_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
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
            "Error: out: Permission denied, but the command must be able to use it. "
            "Check the path.\n",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "out/a.tsv"),
            1,
            "Error: out/a.tsv: no space is left on the disk, but the output needs some. "
            "Free some space, or give an --out on another disk.\n",
        ),
    ],
    ids=["ours", "Ctrl-C", "no rights", "full disk"],
)
def test_an_error_has_its_exit_code_and_one_line(
    error: BaseException, code: int, stderr: str
) -> None:
    result = CliRunner().invoke(group_that_raises(error), ["go"])

    assert (result.exit_code, result.stderr, result.stdout) == (code, stderr, "")


def test_a_bug_keeps_its_traceback() -> None:
    result = CliRunner().invoke(group_that_raises(ZeroDivisionError("a bug")), ["go"])

    assert isinstance(result.exception, ZeroDivisionError)


def invoke_main(command: Callable[[], None], *options: str, patch: pytest.MonkeyPatch) -> Result:
    """Run ``rmt-genomics OPTIONS demo`` with another function in the place of ``demo``."""
    patch.setattr(main, "get_command", lambda *_: click.command()(command))
    result = CliRunner().invoke(main, [*options, "demo"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def log_at_every_level() -> None:
    logger = logging.getLogger("rmt_genomics.training.train")
    logger.debug("loss %g", 0.5)
    logger.info("[b]x[/b] %s", "word " * 40 + "end")
    warnings.warn("it is odd.", RMTGenomicsWarning, stacklevel=1)
    logger.error("it failed.")
    click.echo("data")


@pytest.mark.parametrize(
    ("options", "levels"), [([], "IWE"), (["-q"], "WE"), (["--verbose"], "DIWE")]
)
def test_each_message_is_one_line_on_stderr_of_the_chosen_level(
    options: list[str], levels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = {
        "D": "loss 0.5",
        "I": "[b]x[/b] " + "word " * 40 + "end",
        "W": "Warning: it is odd.",
        "E": "Error: it failed.",
    }

    result = invoke_main(log_at_every_level, *options, patch=monkeypatch)

    assert result.stderr.splitlines() == [lines[level] for level in levels]
    assert result.stdout == "data\n"


def test_on_a_terminal_messages_are_coloured_and_keep_their_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = TerminalText()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)

    with messages_on_stderr(logging.INFO):
        log_at_every_level()

    first, second, third = terminal.getvalue().splitlines()
    assert first == "[b]x[/b] " + "word " * 40 + "end"
    assert second.endswith("it is odd.")
    assert "\x1b[1;33mWarning: " in second
    assert "\x1b[1;31mError: " in third


@pytest.mark.parametrize("words", [["-q", "-v", "demo"], ["-q", "demo", "-v"], ["demo", "-qv"]])
def test_quiet_and_verbose_exclude_each_other(words: list[str]) -> None:
    result = run(*words)

    assert result.exit_code == 2
    assert "-q and -v exclude each other" in result.stderr


def test_they_may_be_given_after_the_command(tmp_path: Path) -> None:
    fasta = tmp_path / "a.fa"
    fasta.write_text(">r1\nACGT\n")

    results = [run(*words) for words in (["inspect", fasta], ["inspect", fasta, "-q"])]

    assert "1 record" in results[0].stderr
    assert results[1].stderr == ""
    assert results[0].stdout == results[1].stdout != ""


def test_the_logger_is_as_before_once_a_command_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("rmt_genomics")
    before = logger.level, logger.propagate, list(logger.handlers)

    invoke_main(log_at_every_level, patch=monkeypatch)

    assert (logger.level, logger.propagate, list(logger.handlers)) == before


def test_a_warning_of_ours_is_shown_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def go() -> None:
        for number in (2, 3, 2):
            warnings.warn(f"{number} are odd.", RMTGenomicsWarning, stacklevel=1)

    result = invoke_main(go, patch=monkeypatch)

    assert result.stderr == "Warning: 2 are odd.\nWarning: 3 are odd.\n"


def test_warnings_of_others_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def go() -> None:
        warnings.warn("theirs", UserWarning, stacklevel=1)

    with pytest.warns(UserWarning, match="theirs"):
        invoke_main(go, patch=monkeypatch)


@pytest.mark.parametrize(
    "arguments", [["predikt"], ["predict"], ["predict", "m", "a.fa", "--speed", "9"]]
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: ")
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_closed_pipe_is_not_an_error(tmp_path: Path) -> None:
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
    assert writer.returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs named pipes, which this system does not have")
def test_ctrl_c_exits_with_130(tmp_path: Path) -> None:
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


UNSAFE = "a\x1b[31m\nb\u2028c\x07\udcff\u202e " + "x" * 5000
SAFE = r"a\x1b[31m b c\x07\udcff\u202e " + "x" * 200 + "..." + "x" * 100


@pytest.mark.parametrize(
    "error",
    [
        DataError(UNSAFE),
        OSError(errno.EIO, UNSAFE),
        click.ClickException(UNSAFE),
        click.BadParameter(UNSAFE),
    ],
    ids=type,
)
def test_an_error_is_one_line_that_cannot_control_the_terminal(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def go() -> None:
        raise error

    result = invoke_main(go, patch=monkeypatch)

    assert f" {SAFE[:-1]}" in result.stderr.splitlines()[-1]  # a comma may follow


def test_a_message_is_one_line_that_cannot_control_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def go() -> None:
        logging.getLogger("rmt_genomics").info("  %s", UNSAFE)
        warnings.warn(UNSAFE, RMTGenomicsWarning, stacklevel=1)
        raise KeyboardInterrupt(UNSAFE)

    result = invoke_main(go, patch=monkeypatch)

    assert result.stderr.splitlines() == [
        f"  {SAFE}",
        f"Warning: {SAFE}",
        f"Stopped by Ctrl-C. {SAFE}",
    ]


def test_a_traceback_keeps_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    def go() -> None:
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            logging.getLogger("rmt_genomics").exception("it failed")

    result = invoke_main(go, patch=monkeypatch)

    assert len(result.stderr.splitlines()) > 3
