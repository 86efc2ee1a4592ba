"""Random input to every reader and command: it may be refused, but never end in a traceback.

Hypothesis damages the valid files of the corpus at random, and makes settings and command lines.
Each failure is shown once, by the line of the package where it comes from, as small as it can be.

    python -m tests.fault.fuzz                            20 minutes
    python -m tests.fault.fuzz --minutes 2 --seed 5
    python -m tests.fault.fuzz --only config.json --keep FOLDER   one kind; keep what fails
"""

import json
import random
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import click
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from rmt_genomics.cli import COMMANDS, main
from rmt_genomics.training.config_file import KEYS
from tests.fault import arguments, mutations
from tests.fault.corpus import Case, problem_of
from tests.fault.corpus_cases import TARGETS
from tests.fault.valid_files import write_valid_files

EXAMPLES, TURN_SECONDS = 40, 6.0
"""At most so many cases, or so long, before the next kind of input has its turn."""

_NEVER = ("demo",)  # takes minutes
_PROCESSES = ("--devices", "--num-nodes", "--processes", "--control", "--version", "--help")
_SMALL = ("training.max_epochs=1", "model.dim=8", "model.heads=2", "model.depth=1")
_STYLE = ("the error ", "exit code 0, but")
"""Problems that the corpus looks for, not this."""

_PIECES = [
    b"\n",
    b"\t",
    b",",
    b">",
    b"@",
    b"\0",
    b"\x1b[31m",
    b"\x0c",
    b"\r",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b'"',
    b"{",
    b"[",
    b"]",
    b"null",
    b"NaN",
    b"1e400",
    b"-1",
    b"9" * 25,
    mutations.DIGITS.encode(),
    b"[" * 5000,
    b"A" * 3000,
    "Ω\u200b\u202e".encode(),
]


class FailureError(Exception):
    """A case that fails; the message is the problem."""

    def __init__(self, problem: str, case: Case) -> None:
        super().__init__(problem)
        self.case = case


def _damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """Draw a few edits of a file: pieces inserted, cut out, overwritten or doubled."""
    position = st.integers(0, len(content))
    piece = st.sampled_from(_PIECES) | st.binary(max_size=8) | st.text(max_size=5).map(_encoded)

    def edited(edits: list[tuple[int, int, bytes, str]]) -> bytes:
        result = content
        for start, length, new, kind in edits:
            end = start + (0 if kind == "insert" else length)
            again = result[start:end] if kind == "double" else b""
            result = result[:start] + again + (new if kind != "cut" else b"") + result[end:]
            result = result[:start] + again + result[start:] if kind == "double" else result
        return result

    kind = st.sampled_from(["insert", "cut", "overwrite", "double"])
    edit = st.tuples(position, st.integers(0, 40), piece, kind)
    return st.lists(edit, min_size=1, max_size=3).map(edited) | st.binary(max_size=60)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


def _json_damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """Draw another value for one of the values of a JSON object."""
    value = json.loads(content)
    paths = [path for path, _ in mutations.leaves(value)]
    return st.tuples(st.sampled_from(paths), _JSON).map(
        lambda drawn: json.dumps(mutations.replaced(value, *drawn)).encode()
    )


def _table_damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """Draw another text for one of the cells of a table."""
    lines = content.decode().split("\n")
    separator = "\t" if "\t" in lines[0] else ","
    cells = [
        (row, column)
        for row, line in enumerate(lines)
        for column in range(line.count(separator) + 1)
    ]

    def edited(cell: tuple[int, int], text: str) -> bytes:
        row = lines[cell[0]].split(separator)
        row[cell[1]] = text
        return _encoded("\n".join([*lines[: cell[0]], separator.join(row), *lines[cell[0] + 1 :]]))

    texts = st.text(max_size=8) | st.integers().map(str) | st.floats().map(str)
    return st.tuples(st.sampled_from(cells), texts).map(lambda drawn: edited(*drawn))


def _file_cases(name: str, valid: Path) -> st.SearchStrategy[Case]:
    """Draw a damaged file and a command that reads it."""
    target = TARGETS[name]
    content = sorted(valid.glob(target.file))[0].read_bytes()
    kinds = [_damaged(content)]
    if target.file.endswith(".json"):
        kinds.append(_json_damaged(content))
    if target.file.endswith((".tsv", ".bed", ".csv", ".fai", ".part")):
        kinds.append(_table_damaged(content))

    def case(damaged: bytes, command: str) -> Case:
        def change(path: Path) -> None:
            path.write_bytes(damaged)

        words = tuple(command.replace("FILE", target.file).split())
        before = tuple(target.before.split())
        return Case(name, target.area, words, target.file, change, before)

    return st.builds(case, st.one_of(kinds), st.sampled_from(target.commands))


_VALUES = st.one_of(
    st.sampled_from(arguments.VALUES),
    st.text(max_size=12),
    st.integers().map(str),
    st.floats().map(str),
    _JSON.map(json.dumps),
)
_SETTING = st.tuples(st.sampled_from(KEYS), _VALUES).map("=".join) | st.text(max_size=20)
_INSPECT = ("inspect", "toy.fa", "--labels", "labels.tsv")


def _settings_cases() -> st.SearchStrategy[Case]:
    def case(drawn: list[str]) -> Case:
        pairs = [word for setting in drawn for word in ("--set", setting)]
        return Case("settings", "training", (*_INSPECT, *pairs))

    return st.lists(_SETTING, min_size=1, max_size=3).map(case)


def _is_inside(word: str) -> bool:
    """Whether a word, taken as a path, stays in the folder."""
    return not re.match(r"[/~-]", word) and ".." not in word


_WORDS = st.one_of(
    st.sampled_from(
        ["toy.fa", "run", "labels.tsv", "parts.tsv", "toy.bed", "shards/1", "new", "."]
    ),
    st.sampled_from(
        ["header", "column", "file", "folder", "two.csv", "stopped", "genome/genome.fa"]
    ),
    st.text(max_size=10).filter(_is_inside),
    st.integers(-5, 2000).map(str),
    st.floats(-1, 2).map(str),
    st.sampled_from(["nan", "inf", mutations.DIGITS, "9" * 20, "0", "1/2", "0.8,0.1,0.1", "("]),
)


def _argument_cases() -> st.SearchStrategy[Case]:
    """Draw a command with arguments and options that it has, and values that they may not take."""
    return st.sampled_from([name for name in COMMANDS if name not in _NEVER]).flatmap(_command_line)


def _command_line(name: str) -> st.SearchStrategy[Case]:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    options = [each for each in command.params if isinstance(each, click.Option)]
    options = [each for each in options if each.opts[-1] not in _PROCESSES]

    def option(each: click.Option) -> st.SearchStrategy[tuple[str, ...]]:
        if each.is_flag:
            return st.just((each.opts[-1],))
        values = _SETTING if each.opts[-1] == "--set" else _WORDS
        if isinstance(each.type, click.Choice):
            values = st.sampled_from([*each.type.choices, "x"])
        return values.map(lambda value: (each.opts[-1], value))

    required = st.tuples(*(option(each) for each in options if each.required))
    more = (
        st.lists(st.sampled_from(options).flatmap(option), max_size=3) if options else st.just([])
    )
    words = st.lists(_WORDS, min_size=1, max_size=3)

    def case(
        drawn: list[str], first: tuple[tuple[str, ...], ...], rest: list[tuple[str, ...]]
    ) -> Case:
        small = [f"--set={key}" for key in _SMALL] if name in ("train", "pretrain", "plan") else []
        pairs = [word for pair in (*first, *rest) for word in pair]
        return Case("arguments", "cli", (name, *drawn, *pairs, *small))

    return st.builds(case, words, required, more)


def strategies(valid: Path, only: str = "") -> dict[str, st.SearchStrategy[Case]]:
    """Return what draws the cases of each kind, by its name."""
    of_files = {name: _file_cases(name, valid) for name in TARGETS}
    every = {**of_files, "settings": _settings_cases(), "arguments": _argument_cases()}
    return {name: each for name, each in every.items() if re.search(only, name)}


def _kind_of(problem: str) -> str:
    """Return the problem without what differs from example to example."""
    return re.sub(r":? (?:'|\").*|\d+", "", problem)[:120]


def fuzz(
    valid: Path, root: Path, seconds: float, *, first_seed: int = 0, only: str = ""
) -> Iterator[FailureError]:
    """Try random input for some time; yield each failure once, the kinds of input in turn."""
    end, seen = time.monotonic() + seconds, set[str]()
    cases, number = strategies(valid, only), first_seed
    while time.monotonic() < end:
        for name in random.Random(number).sample(sorted(cases), len(cases)):
            number += 1
            turn_end = min(end, time.monotonic() + TURN_SECONDS)
            failure = _first_failure(cases[name], _checker(valid, root, turn_end, seen), number)
            if failure is not None:
                seen.add(_kind_of(str(failure)))
                yield failure


def _checker(valid: Path, root: Path, end: float, seen: set[str]) -> Callable[[Case], None]:
    def check(case: Case) -> None:
        if time.monotonic() > end:
            return
        folder = Path(tempfile.mkdtemp(dir=root))
        try:
            problem = problem_of(case, valid, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if problem and not problem.startswith(_STYLE) and _kind_of(problem) not in seen:
            raise FailureError(problem, case)

    return check


def _first_failure(
    cases: st.SearchStrategy[Case], check: Callable[[Case], None], number: int
) -> FailureError | None:
    profile = settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    try:
        seed(number)(profile(given(cases)(check)))()
    except FailureError as failure:
        return failure
    except Flaky as error:
        causes = [each for each in error.exceptions if isinstance(each, FailureError)]
        return causes[0] if causes else None
    return None


def shown(failure: FailureError, valid: Path, keep: Path | None) -> str:
    """Return a failure in words, and write its files if they are to be kept."""
    case, text = failure.case, ""
    if case.change is not None:
        with tempfile.TemporaryDirectory() as name:
            change, path = case.change, Path(name) / "file"
            path.touch()
            change(path)
            text = f"\n    {case.file}: {path.read_bytes()!r:.400}"
    if keep is not None:
        folder = keep / str(len(list(keep.iterdir())) if keep.is_dir() else 0)
        folder.mkdir(parents=True)
        replace(case, file=case.file.replace("*", "any")).copy_files(valid, folder)
        (folder / "arguments").write_text(repr(case.arguments))
        case.apply(folder)
    return f"{case.name}: {failure}\n    {list(case.arguments)!r:.400}{text}"


@click.command()
@click.option("--minutes", type=float, default=20.0, show_default=True)
@click.option("--seed", "first_seed", type=int, help="Default: another one in each run.")
@click.option("--only", default="", help="Pattern of the kinds of input.")
@click.option("--keep", type=click.Path(path_type=Path), help="Write what fails into this folder.")
def script(minutes: float, first_seed: int | None, only: str, keep: Path | None) -> None:
    """Show each failure; exit with 1 if there is one."""
    if first_seed is None:
        first_seed = random.SystemRandom().randrange(10**6)
    click.echo(f"{minutes:g} minutes from seed {first_seed}")
    num_failures = 0
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        root = Path(name)
        valid = write_valid_files(root / "valid")
        for failure in fuzz(valid, root, 60 * minutes, first_seed=first_seed, only=only):
            num_failures += 1
            click.echo(shown(failure, valid, keep))
    click.echo(f"{num_failures} failures")
    sys.exit(min(num_failures, 1))


if __name__ == "__main__":
    script()
