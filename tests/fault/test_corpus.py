"""The corpus of malformed files and settings: see ``corpus``. Known failures are in a table."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tests.fault.corpus import KNOWN_FAILURES, Case, failures, problem_of, problem_of_result
from tests.fault.corpus_cases import NAMES, cases, cases_of

KNOWN = {
    name: reason
    for line in KNOWN_FAILURES.read_text().splitlines()
    for name, _, reason in [line.partition("\t")]
}
"""Cases that fail, with the reason. One that no longer fails must be removed from the table."""

EVERY = {
    **dict.fromkeys(("fasta", "csv", "fai", "labels", "bed", "metrics.jsonl"), 2),
    **dict.fromkeys(("last.ckpt", "config.toml of a run", "cd-hit clusters", "k-mer baseline"), 2),
    **dict.fromkeys(("leakage.json", "predictions.tsv", "split.tsv", "lines of metrics.jsonl"), 2),
    **dict.fromkeys(("cached codes", "cached fai", "mmseqs clusters"), 3),
    "cached index": 4,
}
"""Of slow kinds one case in so many is run here; ``python -m tests.fault.corpus`` runs all."""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_malformed_input_is_answered_in_one_line(name: str, valid: Path, tmp_path: Path) -> None:
    chosen = list(cases_of(name, valid))[:: EVERY.get(name, 1)]
    problems = {case.name: problem for case, problem in failures(chosen, valid, tmp_path)}

    new = {case: problem for case, problem in problems.items() if case not in KNOWN}
    fixed = [case.name for case in chosen if case.name in KNOWN.keys() - problems.keys()]
    assert new == {}
    assert fixed == [], "these no longer fail: remove them from known_failures.tsv"


def test_the_corpus_is_large_and_its_cases_have_different_names(valid: Path) -> None:
    names = [case.name for case in cases(valid)]

    assert len(names) >= 400
    assert sorted(names) == sorted(set(names))
    assert KNOWN.keys() <= set(names)


def result_of(function: Any) -> Any:
    """Return what the command line makes of a function."""
    return CliRunner().invoke(click.Command("it", callback=function))


CASE = Case("case", "area", ("inspect", "toy.fa"), "toy.fa")


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("toy.fa: is empty, but must have a record. Add one.", None),
        ("is empty, but must have a record. Add one.", "does not say where"),
        ("toy.fa: is empty. Add a record.", "has no rule"),
        ("toy.fa: is not readable", "has no remedy"),
        ("toy.fa: is \x07empty, but must not. Add one.", "the control character"),
        (f"toy.fa: has {'A' * 2000}, but must not. Remove it.", "characters"),
        ("toy.fa: cannot be read (ValueError('x')). Try it again.", "words of another program"),
    ],
)
def test_an_error_that_lacks_something_would_be_seen(message: str, problem: str | None) -> None:
    def fail() -> None:
        raise click.ClickException(message)

    found = problem_of_result(result_of(fail), CASE)

    assert (found is None) if problem is None else (found is not None and problem in found)


def test_other_exit_codes_and_several_errors_would_be_seen() -> None:
    for code, stderr in ((3, "Error: toy.fa: x"), (1, "Error: a\nError: b"), (1, "more"), (2, "")):
        assert problem_of_result(SimpleNamespace(exit_code=code, stderr=stderr), CASE)  # type: ignore[arg-type]


def test_files_left_behind_and_changed_files_would_be_seen(valid: Path, tmp_path: Path) -> None:
    from unittest.mock import patch

    def leave(*_: object) -> Any:
        Path(".toy.fa.123.part").touch()
        return SimpleNamespace(exit_code=0, stderr="")

    def change(*_: object) -> Any:
        Path("toy.fa").write_text("")
        return SimpleNamespace(
            exit_code=1, stderr="Error: toy.fa: is wrong, but must not. Mend it."
        )

    def crash(*_: object) -> Any:
        return [][0]

    problems = []
    for function in (leave, change, crash):
        (folder := tmp_path / function.__name__).mkdir()
        with patch("tests.fault.corpus.invoke", function):
            problems.append(problem_of(CASE, valid, folder))

    assert ["temporary file" in str(problems[0]), "have changed" in str(problems[1])] == [True] * 2
    assert "IndexError" in str(problems[2])
