"""Replay of a compiled step gives the gradients of the plain one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rmt_genomics.rmt import replay, unroll
from rmt_genomics.training.runtime import compile_layers
from tests.model.toys import toy
from tests.toys import ragged, random_memory, tiny


def compare_with_compiled() -> None:
    """Raise unless values and gradients agree; the compiler does all but generate code."""
    model = tiny(stem_width=3, memory_gate=True)
    results = []
    for step in (model, torch.compile(model, backend="aot_eager")):
        memory = random_memory(model, 2)
        loss = replay(step, ragged(model, [26, 15]), memory).square().sum()
        results.append([loss, *torch.autograd.grad(loss, [memory, *model.parameters()])])
    torch.testing.assert_close(results[1], results[0], rtol=1e-10, atol=1e-12)


def compare_with_compiled_caller() -> None:
    """Raise unless a compiled function may call replay, again and without a warning."""
    model, results = tiny(stem_width=3), []
    for compiled in (False, True):

        def train() -> torch.Tensor:
            return replay(model, ragged(model, [26, 15]), random_memory(model, 2)).square().sum()

        run = torch.compile(train, backend="aot_eager") if compiled else train
        for _ in range(2):
            loss = run()
            results.append([loss, *torch.autograd.grad(loss, list(model.parameters()))])
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=1e-10, atol=1e-12)


def compare_with_fused() -> None:
    """Raise unless generated code draws the same dropout masks in replay."""
    model = tiny(stem_width=3, ff_dropout=0.5)
    model.layers.compile()
    results = []
    for run in (unroll, replay):
        torch.manual_seed(3)
        memory = random_memory(model, 2)
        loss = run(model, ragged(model, [26, 15]), memory).square().sum()
        results.append([loss, *torch.autograd.grad(loss, [memory, *model.parameters()])])
    torch.testing.assert_close(results[1], results[0], rtol=1e-10, atol=1e-12)


def compile_ragged_batches() -> None:
    """Raise if the compiler gives up on one of the many shapes of ragged batches."""
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    model = toy(segment_length=8, dropout=0.1)
    compile_layers(model, backend="eager")
    for lengths in ([30, 21], [32, 32], [9], [16], [25, 25, 3], [40, 17, 2, 1]):
        codes = torch.randint(0, 4, (len(lengths), max(lengths)), dtype=torch.uint8)
        model.train()(codes, torch.tensor(lengths), replay=True).sum().backward()
        with torch.inference_mode():
            model.eval()(codes, torch.tensor(lengths))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 8


@pytest.mark.slow
def test_ragged_batches_stay_compiled() -> None:
    run_alone("compile_ragged_batches")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler, here g++")
def test_replay_of_fused_layers_is_exact() -> None:
    run_alone("compare_with_fused")


@pytest.mark.slow
def test_a_compiled_step_changes_nothing() -> None:
    run_alone("compare_with_compiled")


@pytest.mark.slow
def test_a_compiled_function_may_call_replay() -> None:
    run_alone("compare_with_compiled_caller")


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
