"""Threads that wait give their core away, unless the user has said otherwise."""

import os
import subprocess
import sys

import pytest

SHOW = "import os, rmt_genomics; print(os.environ['OMP_WAIT_POLICY'])"
TORCH_FIRST = "import logging, torch; logging.basicConfig(level=logging.DEBUG); import rmt_genomics"


def run(code: str, policy: str | None) -> subprocess.CompletedProcess[str]:
    ours = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    env = {name: value for name, value in os.environ.items() if name not in ours}
    if policy is not None:
        env["OMP_WAIT_POLICY"] = policy
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True)


@pytest.mark.parametrize(("policy", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_importing_the_package_sets_the_policy_unless_the_user_has(
    policy: str | None, expected: str
) -> None:
    assert run(SHOW, policy).stdout.strip() == expected


@pytest.mark.parametrize(("policy", "expected"), [(None, "1000"), ("ACTIVE", "None")])
def test_threads_spin_for_a_moment_unless_the_user_has_chosen(
    policy: str | None, expected: str
) -> None:
    code = "import os, rmt_genomics; print(os.environ.get('GOMP_SPINCOUNT'))"

    assert run(code, policy).stdout.strip() == expected


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
