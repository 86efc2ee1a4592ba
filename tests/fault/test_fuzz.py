"""A short form of `make fuzz`: every kind of random input is drawn; none ends in a traceback."""

import time
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.fault.corpus import Case
from tests.fault.fuzz import fuzz, shown, strategies

SECONDS = 5


@pytest.mark.slow
def test_random_input_never_ends_in_a_traceback(valid: Path, tmp_path: Path) -> None:
    first_seed = int(time.time()) // 86_400  # other input each day

    failures = [
        shown(each, valid, None) for each in fuzz(valid, tmp_path, SECONDS, first_seed=first_seed)
    ]

    assert failures == []


def test_a_failure_would_be_seen_once_and_its_files_kept(valid: Path, tmp_path: Path) -> None:
    def problem(case: Case, *_: object) -> str | None:
        return "KeyError in here.py:there: 'x'" if case.name == "config.json" else None

    with patch("tests.fault.fuzz.problem_of", problem):
        failures = list(fuzz(valid, tmp_path, 1, only="config.json"))

    assert len(failures) == 1
    text = shown(failures[0], valid, tmp_path / "kept")
    assert text.startswith("config.json: KeyError in here.py:there")
    assert (tmp_path / "kept/0/run/config.json").is_file()


def test_settings_and_arguments_are_drawn_too(valid: Path) -> None:
    names = strategies(valid)

    assert {"fasta", "labels", "last.ckpt", "settings", "arguments"} <= names.keys()
