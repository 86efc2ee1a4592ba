"""A corpus of malformed files and settings: each is given to the commands that read it.

Valid files of every kind are made once, by a tiny training. A case damages one of them (see
``mutations``) or changes one argument, runs a command within this process, and is fine if the
command ends with exit code 0, or with exit code 1 and one line of error, and leaves no file behind.

    python -m tests.fault.corpus                 run all cases; print those that fail, by area
    python -m tests.fault.corpus --only PATTERN  only those whose name contains PATTERN
    python -m tests.fault.corpus --write FOLDER  write the malformed files, run nothing
    python -m tests.fault.corpus --update        write known_failures.tsv, which the test reads
"""

import hashlib
import os
import re
import resource
import shutil
import signal
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import click.testing
from click.testing import CliRunner

from rmt_genomics.cli import COMMANDS, main
from rmt_genomics.cli.group import LazyGroup

Change = Callable[[Path], None]
"""Damages the file at a path."""

SECONDS = 60
"""Longest time of a case."""

EXTRA_BYTES = 6 << 30
"""Most memory that a case may ask for."""

LONGEST_MESSAGE = 1_200

KNOWN_FAILURES = Path(__file__).parent / "known_failures.tsv"
"""Names of cases that fail, and why."""

_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_PLACE = re.compile(r".{1,300}?: ")
_RULE = re.compile(r"\b(?:but|must|cannot|needs?|unknown|no|not)\b")
_REMEDY = re.compile(  # a rule such as "must be at least 1" is its own remedy
    r"\b(?:must|needs?)\b|[.?)] .*(?:[.?!][)\"']?|\brmt-genomics .*|--[\w-]+)$"
)
_FOREIGN = re.compile(r"weights_only|Traceback|site-packages|Error\(|codec can't|JSONDecode")


@dataclass(frozen=True)
class Case:
    """One command on malformed input."""

    name: str
    area: str
    """The part of the package that reads what is malformed."""

    arguments: tuple[str, ...]
    """Of ``rmt-genomics``; paths are relative to the folder of the valid files."""

    file: str = ""
    """The file that is changed; may be a pattern, for a file that ``before`` makes."""

    change: Change | None = None
    before: tuple[str, ...] = ()
    """Arguments of a command that is run first, on valid files."""

    must_fail: bool = False
    """Accepting it would give wrong results."""

    def copy_files(self, valid: Path, folder: Path) -> None:
        """Copy the files that the command reads into an empty folder."""
        words = {word.split("/")[0] for word in (*self.arguments, *self.before, self.file)}
        present = {path.name for path in valid.iterdir()} - {"cache"}  # its keys have paths in them
        for name in words & present:
            if (valid / name).is_dir():
                shutil.copytree(valid / name, folder / name)
            else:
                shutil.copy2(valid / name, folder / name)

    def apply(self, folder: Path) -> None:
        """Damage the file."""
        if self.change is not None:
            files = sorted(folder.glob(self.file)) if "*" in self.file else [folder / self.file]
            assert files, f"{self.file}: the case has no such file"
            self.change(files[0])


class TooSlowError(BaseException):
    """A command has taken longer than it may; no command can catch it by mistake."""


def problem_of(case: Case, valid: Path, folder: Path) -> str | None:
    """Run a case in an empty folder; return what is wrong with its result, or None."""
    case.copy_files(valid, folder)
    with _inside(folder):
        if case.before:
            invoke(case.before)
        case.apply(folder)
        before = _contents(folder)
        try:
            with _limits():
                result = invoke(case.arguments)
        except TooSlowError:
            return f"runs for more than {SECONDS} s"
        except BaseException as error:
            return _traceback_of(error)
        after = _contents(folder)
    return problem_of_result(result, case) or _problem_of_files(before, after, result.exit_code)


class _Functions(LazyGroup):
    """Public functions that read files but are no commands, with the errors of a command."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the function as a command whose arguments are paths."""
        from rmt_genomics import reports
        from rmt_genomics.evaluation import evaluate_run
        from rmt_genomics.evaluation.evaluate import evaluate
        from rmt_genomics.training import read_config, train

        def resume(fasta: Path, labels: Path, out: Path) -> None:
            train(fasta, labels, out, read_config(out / "config.toml"), device="cpu", resume=True)

        functions: dict[str, Callable[..., object]] = {
            "report": reports.write_report,
            "card": reports.write_model_card,
            "plots": reports.write_plots,
            "training_plot": reports.write_training_plot,
            "evaluate_run": evaluate_run,
            "evaluate_model": evaluate,  # without figures, which take a second
            "resume": resume,
        }
        if cmd_name not in functions:
            return super().get_command(ctx, cmd_name)
        paths = click.Argument(["paths"], nargs=-1, type=click.Path(path_type=Path))

        def call(paths: tuple[Path, ...]) -> None:
            functions[cmd_name](*paths)

        return click.Command(cmd_name, params=[paths], callback=call)


def invoke(arguments: Sequence[str]) -> click.testing.Result:
    """Run a command or a function within this process; raise what a user would see as traceback."""
    group = _Functions(lazy=COMMANDS, params=main.params, callback=main.callback)
    result = CliRunner().invoke(group, arguments, terminal_width=80)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Work in a folder, with a cache folder in it."""
    old, cache = Path.cwd(), os.environ.get("RMT_GENOMICS_CACHE")
    os.chdir(folder)
    os.environ["RMT_GENOMICS_CACHE"] = str(folder / "cache")
    try:
        yield
    finally:
        os.chdir(old)
        os.environ.pop("RMT_GENOMICS_CACHE")
        if cache is not None:
            os.environ["RMT_GENOMICS_CACHE"] = cache


@contextmanager
def _limits() -> Iterator[None]:
    """Limit time and memory; warnings of other packages are errors, as users should see none."""

    def stop(*_: object) -> None:
        raise TooSlowError

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + EXTRA_BYTES, hard))
    handler = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for message in (
                r".*LeafSpec.* is deprecated",
                r".*not have many workers",
                r"The `srun`",
            ):
                warnings.filterwarnings("ignore", message)  # of Lightning; see pyproject.toml
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def problem_of_result(result: click.testing.Result, case: Case) -> str | None:
    """Return what is wrong with the exit code or with the messages of a command."""
    lines = result.stderr.splitlines()
    if control := _CONTROLS.search(result.stderr):
        return f"stderr has the control character {control[0]!r}: {_line_with(control[0], lines)}"
    if result.exit_code == 0:
        return "exit code 0, but it must be refused" if case.must_fail else None
    if result.exit_code == 2 and not case.file:
        return None
    errors = [line for line in lines if line.startswith("Error: ")]
    if result.exit_code != 1 or len(errors) != 1 or lines[-1] != errors[0]:
        return f"exit code {result.exit_code} with these last lines: {lines[-3:]}"
    return problem_of_message(errors[0].removeprefix("Error: "), is_of_file=bool(case.file))


def problem_of_message(message: str, *, is_of_file: bool) -> str | None:
    """Return what an error lacks of place, value, rule and remedy; it is a sentence or two."""
    checks = {
        f"has {len(message)} characters": len(message) <= LONGEST_MESSAGE,
        "does not say where": not is_of_file or "--" in message or _PLACE.match(message),
        "has no rule": _RULE.search(message),
        "has no remedy": _REMEDY.search(message),
        "has words of another program": not _FOREIGN.search(message),
    }
    failed = [problem for problem, is_fine in checks.items() if not is_fine]
    return f"the error {failed[0]}: {ascii(message)[1:300]}" if failed else None


def _line_with(text: str, lines: list[str]) -> str:
    return next((ascii(line)[:200] for line in lines if text in line), "")


def _traceback_of(error: BaseException) -> str:
    """Return an error, and the last place in our package it went through."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "/rmt_genomics/" in frame.filename
    ]
    where = (
        f"{frames[-1].filename.rpartition('rmt_genomics/')[2]}:{frames[-1].name}" if frames else "?"
    )
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__} in {where}: {ascii(text)[:160]}"


def _contents(folder: Path) -> dict[str, str]:
    """Return the checksum of each file, by its path; folders and links have a word."""
    contents = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            contents[name] = f"link to {path.readlink()}"
        elif path.is_file():
            contents[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif not path.is_dir():
            contents[name] = "special"
    return contents


def _problem_of_files(before: dict[str, str], after: dict[str, str], exit_code: int) -> str | None:
    """Return what is wrong with the files after a command."""
    new = [name for name in after if name not in before]
    if left := [name for name in new if any(part.startswith(".") for part in Path(name).parts)]:
        return f"a temporary file is left: {', '.join(left)}"
    if exit_code == 0:
        return None
    if made := [name for name in new if not name.startswith("cache/")]:
        return f"exit code 1, but there are new files: {', '.join(made)}"
    changed = [name for name, content in before.items() if after.get(name) != content]
    changed = [name for name in changed if not name.startswith("cache/")]
    if changed:
        return f"exit code 1, but files have changed or gone: {', '.join(changed)}"
    return None


def write_files(chosen: Sequence[Case], valid: Path, out: Path) -> None:
    """Write what each case gives to its command, a folder a case; not where a command is first."""
    for number, case in enumerate(case for case in chosen if not case.before):
        (folder := out / str(number)).mkdir(parents=True)
        case.copy_files(valid, folder)
        case.apply(folder)
        click.echo(f"{folder}\t{case.name}\t{' '.join(case.arguments)[:200]}")


def failures(chosen: Sequence[Case], valid: Path, root: Path) -> Iterator[tuple[Case, str]]:
    """Run cases; yield those that fail, with the problem."""
    for number, case in enumerate(chosen):
        (folder := root / str(number)).mkdir()
        if (problem := problem_of(case, valid, folder)) is not None:
            yield case, problem
        shutil.rmtree(folder)


@click.command()
@click.option("--only", default="", help="Part of the name of the cases to run.")
@click.option("--write", type=click.Path(path_type=Path), help="Write the files here instead.")
@click.option("--update", is_flag=True, help="Write the table of known failures.")
def script(only: str, write: Path | None, *, update: bool) -> None:
    """Run the cases, or write their files."""
    from tests.fault.corpus_cases import cases
    from tests.fault.valid_files import write_valid_files

    with tempfile.TemporaryDirectory() as name:
        valid = write_valid_files(Path(name) / "valid")
        chosen = [case for case in cases(valid) if only in case.name]
        if write is not None:
            write_files(chosen, valid, write)
            return
        failed = list(failures(chosen, valid, Path(name)))
    for area in sorted({case.area for case, _ in failed}):
        lines = [f"- `{case.name}`: {problem}" for case, problem in failed if case.area == area]
        click.echo("\n".join([f"\n## {area}: {len(lines)} failures\n", *lines]))
    click.echo(f"\n{len(chosen)} cases, {len(failed)} failures.")
    if update:
        rows = sorted(f"{case.name}\t{ascii(problem)[1:90]}\n" for case, problem in failed)
        KNOWN_FAILURES.write_text("".join(rows))


if __name__ == "__main__":
    script()
