"""Threads that wait give their core away, unless the user has said otherwise."""

import os
import subprocess
import sys

import pytest

SHOW = "import os, rmt_genomics; print(os.environ['OMP_WAIT_POLICY'])"
TORCH_FIRST = "import logging, torch; logging.basicConfig(level=logging.DEBUG); import rmt_genomics"


def run(code: str, policy: str | None) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if policy is not None:
        env["OMP_WAIT_POLICY"] = policy
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True)


@pytest.mark.parametrize(("policy", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_importing_the_package_sets_the_policy_unless_the_user_has(
    policy: str | None, expected: str
) -> None:
    assert run(SHOW, policy).stdout.strip() == expected


def test_the_command_line_sets_it_before_torch_is_loaded() -> None:
    code = (
        "import sys, os, rmt_genomics.cli; "
        "print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )

    assert run(code, None).stdout.split() == ["PASSIVE", "False"]


@pytest.mark.slow
def test_a_policy_that_comes_too_late_is_reported_at_debug_level() -> None:
    assert "torch was imported first" in run(TORCH_FIRST, None).stderr
    assert "torch was imported first" not in run(TORCH_FIRST, "PASSIVE").stderr
