"""Truncated back-propagation: unroll runs each segment once, with the gradients of the plain way.

The plain way builds the graph of each written memory from ``bptt_depth`` segments of its own.
"""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rmt_genomics.rmt import (
    RunOutput,
    StepOutput,
    replay,
    replay_with_outputs,
    unroll,
    unroll_with_outputs,
)
from rmt_genomics.rmt.runtime import RandomState
from rmt_genomics.rmt.unroll import StepWithCache
from tests.toys import ragged, random_memory, tiny

EXACT = {"rtol": 1e-10, "atol": 1e-12}


def plainly_truncated(
    step: StepWithCache, segments: Sequence[Any], memory: Tensor, *, bptt_depth: int
) -> RunOutput:
    """Build the graph of each written memory from ``bptt_depth`` segments, the first detached."""
    states, random_states = [StepOutput(memory)], []
    with torch.no_grad():
        for segment in segments:
            random_states.append(RandomState.current(memory.device))
            states.append(step(segment, states[-1].memory, states[-1].cache))
    truncated = []
    for last in range(len(segments)):
        first = max(0, last - bptt_depth + 1)
        state = states[first]
        for index in range(first, last + 1):
            random_states[index].restore()  # the dropout masks of the first run
            state = step(segments[index], state.memory, state.cache)
        truncated.append(state)
    outputs = tuple(state.output for state in truncated if state.output is not None)
    memories = torch.stack([state.memory for state in truncated])
    return RunOutput(memories, outputs, states[-1].cache)


class Sometimes(nn.Module):
    """A step with cache, whose cache matters; only segments in ``with_output`` have an output."""

    def __init__(self, with_output: Sequence[int], **changes: Any) -> None:
        super().__init__()
        self.step = tiny(use_xl_memories=True, xl_mem_len=4, **changes)
        self.with_output = with_output

    def forward(self, numbered: Any, memory: Tensor, cache: Any) -> StepOutput:
        index, segment = numbered
        state = self.step.read(segment, memory, cache, return_tokens=True)
        return state if index in self.with_output else state._replace(output=None)


def value_and_gradients(run: Any, step: Sometimes, **options: Any) -> list[Any]:
    segments = list(enumerate(ragged(step.step, [31, 20])))
    memory = random_memory(step.step, 2)
    output = run(step, segments, memory, **options)
    loss = (output.memories * torch.randn_like(output.memories)).square().sum()
    loss = loss + sum((part.square() * torch.randn_like(part)).sum() for part in output.outputs)
    inputs = [memory, *step.parameters()]
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)
    return [output.memories, *output.outputs, *output.cache, *gradients]


@pytest.mark.parametrize("with_output", [(), (0, 3), (5,), range(6)])
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_unroll_and_replay_truncate_as_the_plain_way(
    depth: int, with_output: Sequence[int]
) -> None:
    step = Sometimes(with_output, ff_dropout=0.3, memory_gate=True)
    expected = value_and_gradients(plainly_truncated, step, bptt_depth=depth)
    for run in (unroll_with_outputs, replay_with_outputs):
        results = value_and_gradients(run, step, bptt_depth=depth)
        torch.testing.assert_close(results, expected, **EXACT)


@pytest.mark.parametrize("with_output", [(), (0,), (0, 3), (5,), (2, 4), range(6)])
@pytest.mark.parametrize("keep", [1, 3, "auto"])
def test_some_segments_may_have_no_output(keep: Any, with_output: Sequence[int]) -> None:
    step = Sometimes(with_output)
    expected = value_and_gradients(unroll_with_outputs, step)
    results = value_and_gradients(replay_with_outputs, step, keep_segments=keep)
    torch.testing.assert_close(results, expected, **EXACT)


@pytest.mark.parametrize("depth", [1, 2, 16, 31, 32])
def test_each_segment_runs_once(depth: int) -> None:
    model, calls = tiny(), []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    memories = unroll(model, ragged(model, [6 * 32]), random_memory(model, 1), bptt_depth=depth)
    memories.sum().backward()
    assert len(calls) == 32


@pytest.mark.parametrize("run", [unroll, replay])
def test_the_gradient_is_cut_where_nothing_is_trained(run: Any) -> None:
    """Frozen weights: only the first bptt_depth memories depend on the first memory."""
    model = tiny().requires_grad_(requires_grad=False)
    memory = random_memory(model, 1)
    memories = run(model, ragged(model, [30]), memory, bptt_depth=2)
    for index, written in enumerate(memories):
        (gradient,) = torch.autograd.grad(
            written.sum(), memory, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        assert gradient.any() == (index < 2)


def test_without_anything_to_train_no_gradient_is_required() -> None:
    model = tiny().requires_grad_(requires_grad=False)
    memory = random_memory(model, 1).detach()
    assert not unroll(model, ragged(model, [30]), memory, bptt_depth=2).requires_grad


def test_a_second_derivative_of_a_truncated_run_is_refused() -> None:
    model = tiny(use_flash_attn=False)
    memories = unroll(model, ragged(model, [30]), random_memory(model, 1), bptt_depth=2)
    weights = list(model.layers.parameters())
    gradients = torch.autograd.grad(memories.square().sum(), weights, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        sum(gradient.square().sum() for gradient in gradients).backward()
