"""Replay of a compiled step gives the gradients of the plain one."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rmt_genomics.rmt import replay
from tests.toys import ragged, some_memory, tiny


def compare_with_compiled() -> None:
    """Raise unless values and gradients agree; the compiler does all but generate code."""
    model = tiny(stem_width=3, memory_gate=True)
    found = []
    for step in (model, torch.compile(model, backend="aot_eager")):
        memory = some_memory(model, 2)
        loss = replay(step, ragged(model, [26, 15]), memory).square().sum()
        found.append([loss, *torch.autograd.grad(loss, [memory, *model.parameters()])])
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_a_compiled_step_changes_nothing() -> None:
    """In a process without the shape checker of the tests, which the compiler cannot trace."""
    program = (
        "from tests.equivalence.test_compiled import compare_with_compiled as compare; compare()"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert run.returncode == 0, run.stderr
