"""Replay of a compiled step gives the gradients of the plain one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rmt_genomics.rmt import replay, unroll
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


def compare_with_fused() -> None:
    """Raise unless generated code repeats itself in replay, dropout included."""
    model = tiny(stem_width=3, ff_dropout=0.5)
    model.layers.compile()
    found = []
    for run in (unroll, replay):
        torch.manual_seed(3)
        memory = some_memory(model, 2)
        loss = run(model, ragged(model, [26, 15]), memory).square().sum()
        found.append([loss, *torch.autograd.grad(loss, [memory, *model.parameters()])])
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler, here g++")
def test_replay_of_fused_layers_is_exact() -> None:
    run_alone("compare_with_fused")


@pytest.mark.slow
def test_a_compiled_step_changes_nothing() -> None:
    run_alone("compare_with_compiled")


def run_alone(name: str) -> None:
    """Run in a process without the shape checker of the tests, which the compiler cannot trace."""
    program = f"from tests.equivalence import test_compiled; test_compiled.{name}()"
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert run.returncode == 0, run.stderr
