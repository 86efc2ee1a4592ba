"""A short form of the kill script, in a new process: one that has computed cannot fork."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fault.kill import COMMANDS

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_nothing_is_lost_or_mixed_or_left_behind() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.fault.kill", "--kills=1", "--pairs=1", "--forks"],
        capture_output=True,
        check=False,
        cwd=ROOT,
        text=True,
    )

    assert finished.returncode == 0, finished.stdout + finished.stderr
    num_pairs = sum(command.in_pairs for command in COMMANDS)
    num_lines = 1 + len(COMMANDS) + num_pairs
    assert len(finished.stdout.splitlines()) == num_lines, finished.stdout
