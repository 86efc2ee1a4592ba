"""A short form of the kill script, in a new process: one that has computed cannot fork."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("counts", ["--kills 2 --pairs 0", "--kills 0 --pairs 1 --forks"])
def test_nothing_is_lost_or_mixed_or_left_behind(counts: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.fault.kill", *counts.split()],
        capture_output=True,
        check=False,
        cwd=ROOT,
        text=True,
    )

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert len(finished.stdout.splitlines()) > 8, finished.stdout
