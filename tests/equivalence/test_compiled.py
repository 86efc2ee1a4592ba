"""Compiled code gives what plain code gives; replay of a compiled step its gradients."""

import json
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rmt_genomics.rmt import Segment, replay, unroll
from rmt_genomics.training.runtime import compile_layers
from tests.model.toys import toy
from tests.toys import ragged, random_memory, random_tokens, tiny


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
    model = toy(segment_length=8, dropout=0.1)
    compile_layers(model, backend="eager")
    for lengths in ([30, 21], [32, 32], [9], [16], [25, 25, 3], [40, 17, 2, 1]):
        codes = torch.randint(0, 4, (len(lengths), max(lengths)), dtype=torch.uint8)
        model.train()(codes, torch.tensor(lengths), replay=True).sum().backward()
        with torch.inference_mode():
            model.eval()(codes, torch.tensor(lengths))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 8


def compare_with_compiled_step() -> None:
    """Raise unless the step with cache is one graph and gives the same, segment by segment."""
    model = tiny(depth=1, use_xl_memories=True, xl_mem_len=8, causal=True, memory_gate="hard")
    compiled = torch.compile(model.read, backend="aot_eager", fullgraph=True)
    plain = traced = (torch.randn(3, 2, 8, dtype=torch.float64), ())
    for index in range(2):
        tokens = random_tokens(3, 6)
        keep = torch.arange(6) < torch.arange(3)[:, None] + 2 if index else None
        segment = Segment(tokens, keep, 0, 6, index == 0, keep is not None)
        plain, traced = model.read(segment, *plain[:2]), compiled(segment, *traced[:2])
        torch.testing.assert_close(traced, plain, rtol=1e-10, atol=1e-12)


CHECKS: dict[str, Callable[[], None]] = {
    "ragged batches stay compiled": compile_ragged_batches,
    "replay of fused layers is exact": compare_with_fused,
    "a compiled step changes nothing": compare_with_compiled,
    "a compiled step with cache changes nothing": compare_with_compiled_step,
    "a compiled function may call replay": compare_with_compiled_caller,
}


def print_problems() -> None:
    """Run all checks; print the traceback of each that fails, by name, as JSON."""
    problems = {}
    for name, check in CHECKS.items():
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        torch.manual_seed(0)
        try:
            with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
                check()
        except Exception:
            problems[name] = traceback.format_exc()
    print(json.dumps(problems))


@pytest.fixture(scope="module")
def problems() -> dict[str, str]:
    """Run in a process without the shape checker of the tests, which the compiler cannot trace."""
    program = "from tests.equivalence import test_compiled; test_compiled.print_problems()"
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, str] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_compiled_and_plain_code_agree(name: str, problems: dict[str, str]) -> None:
    if "fused" in name and shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler, here g++")
    assert name not in problems, problems[name]
