"""Law 1: replay gives the value and every gradient of plain back-propagation."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rmt_genomics.rmt import (
    Segments,
    SegmentTransformer,
    replay,
    replay_with_outputs,
    unroll,
    unroll_with_outputs,
)
from tests.toys import ragged, random_memory, tiny

Run = Callable[..., Tensor]
EXACT = {"rtol": 1e-10, "atol": 1e-12}


def value_and_gradients(
    run: Run,
    model: SegmentTransformer,
    segments: Segments,
    *,
    last_only: bool = False,
    **options: Any,
) -> list[Tensor]:
    """Return the loss, then its gradient for the first memory and for each parameter."""
    memory = random_memory(model, len(segments.tokens))
    memories = run(model, segments, memory, **options)
    weights = torch.randn_like(memories)
    loss = (memories[-1] * weights[-1] if last_only else memories * weights).square().sum()
    inputs = [memory, *model.parameters()]
    return [loss, *torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)]


@pytest.mark.parametrize("last_only", [True, False])
@pytest.mark.parametrize("bptt_depth", [None, 1, 2, 3, 99])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("lengths", [[5], [12], [40, 40], [38, 13, 6]])
def test_replay_equals_unroll(
    *, lengths: list[int], dropout: float, bptt_depth: int | None, last_only: bool
) -> None:
    model = tiny(attn_dropout=dropout, ff_dropout=dropout, stem_width=3, memory_gate=True)
    options: dict[str, Any] = {"bptt_depth": bptt_depth, "last_only": last_only}
    plain = value_and_gradients(unroll, model, ragged(model, lengths), **options)
    replayed = value_and_gradients(replay, model, ragged(model, lengths), **options)
    torch.testing.assert_close(replayed, plain, **EXACT)


@pytest.mark.parametrize(
    "changes",
    [
        {"causal": True},
        {"causal": True, "stem_width": 5},
        {"stem_width": 5, "stem_pool": 3},
        {"stem_width": 3, "stem_pool": 2, "rotary_pos_emb": False, "abs_pos_emb": True},
        {"use_flash_attn": False},
        {"rotary_pos_emb": False, "stem_width": 3},
        {"add_write_to_next_write_mem": True},
        {"add_write_to_next_write_mem": True, "next_write_mem_stop_grad": False},
        {"memory_reset": "segment"},
        {"depth": 1},
    ],
)
def test_replay_equals_unroll_for_every_switch(changes: dict[str, Any]) -> None:
    model = tiny(ff_dropout=0.3, **changes)
    plain = value_and_gradients(unroll, model, ragged(model, [20, 7]))
    replayed = value_and_gradients(replay, model, ragged(model, [20, 7]))
    torch.testing.assert_close(replayed, plain, **EXACT)


@pytest.mark.parametrize("bptt_depth", [None, 2])
@pytest.mark.parametrize("lengths", [[12], [38, 13, 6]])
def test_replay_equals_unroll_for_what_segments_wrote(
    lengths: list[int], bptt_depth: int | None
) -> None:
    """The read-out of the head: what each segment wrote, before the gate."""
    model = tiny(ff_dropout=0.3, memory_gate=True)
    found = []
    for run in (unroll_with_outputs, replay_with_outputs):
        memory = random_memory(model, len(lengths))
        result = run(model, ragged(model, lengths), memory, bptt_depth=bptt_depth)
        written = torch.stack(result.outputs)
        torch.manual_seed(3)
        loss = (written * torch.randn_like(written)).square().sum() + result.memories[-1].sum()
        gradients = torch.autograd.grad(
            loss, [memory, *model.parameters()], allow_unused=True, materialize_grads=True
        )
        found.append([loss, *gradients])
    torch.testing.assert_close(found[1], found[0], **EXACT)


def test_replay_equals_checkpointing_every_segment() -> None:
    def checkpointed(step: nn.Module, segments: Sequence[Any], memory: Tensor) -> Tensor:
        written = []
        for segment in segments:
            memory = checkpoint(step, segment, memory, use_reentrant=False)
            written.append(memory)
        return torch.stack(written)

    model = tiny(ff_dropout=0.3)
    plain = value_and_gradients(checkpointed, model, ragged(model, [26, 9]))
    replayed = value_and_gradients(replay, model, ragged(model, [26, 9]))
    torch.testing.assert_close(replayed, plain, **EXACT)


def test_replay_equals_unroll_under_autocast() -> None:
    """Weights are cast again in each segment, so the reference is autocast without its cache."""
    model = tiny(ff_dropout=0.3).float()
    results = []
    for run in (unroll, replay):
        with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=run is replay):
            results.append(value_and_gradients(run, model, ragged(model, [40, 9])))
    torch.testing.assert_close(results[1], results[0], rtol=1e-5, atol=1e-5)
    assert all(gradient.abs().sum() > 0 for gradient in results[1][1:])


def test_the_random_state_afterwards_is_that_of_unroll() -> None:
    model, after = tiny(ff_dropout=0.5), []
    for run in (unroll, replay):
        torch.manual_seed(3)
        memories = run(model, ragged(model, [30]), random_memory(model, 1))
        here = torch.get_rng_state()
        memories.sum().backward()
        assert torch.equal(here, torch.get_rng_state())
        after.append(here)
    assert torch.equal(*after)


def test_a_second_backward_gives_the_same_gradients() -> None:
    model = tiny(ff_dropout=0.3)
    memories = replay(model, ragged(model, [20]), random_memory(model, 1))
    parameters = list(model.parameters())
    first = torch.autograd.grad(memories.square().sum(), parameters, retain_graph=True)
    second = torch.autograd.grad(memories.square().sum(), parameters)
    torch.testing.assert_close(first, second, **EXACT)


def test_frozen_parameters_get_no_gradient_and_change_none() -> None:
    model = tiny()
    model.embed.requires_grad_(requires_grad=False)
    for run in (unroll, replay):
        model.zero_grad()
        run(model, ragged(model, [20]), random_memory(model, 1)).sum().backward()
        assert all(parameter.grad is None for parameter in model.embed.parameters())
        assert all(parameter.grad is not None for parameter in model.layers.parameters())


def test_every_trainable_parameter_gets_some_gradient() -> None:
    model = tiny(stem_width=3, memory_gate=True)
    replay(model, ragged(model, [20, 9]), random_memory(model, 2)).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.any()] == []


def test_the_last_segment_runs_once_and_the_others_twice() -> None:
    model, calls = tiny(), []
    model.register_forward_pre_hook(lambda _, args: calls.append(args[0].length))
    replay(model, ragged(model, [29]), random_memory(model, 1)).sum().backward()
    assert calls == [6, 6, 6, 6, 5, 6, 6, 6, 6]


def test_without_gradients_nothing_is_replayed() -> None:
    model = tiny()
    with torch.no_grad():
        memories = replay(model, ragged(model, [20]), random_memory(model, 1))
    assert not memories.requires_grad


class Numbered(nn.Module):
    """A step with one weight per segment, which shows how far a gradient reaches."""

    def __init__(self, num_segments: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            torch.tensor(2.0 + index, dtype=torch.float64) for index in range(num_segments)
        )

    def forward(self, segment: int, memory: Tensor) -> Tensor:
        return memory * self.weights[segment]


@pytest.mark.parametrize("run", [unroll, replay])
def test_the_gradient_reaches_exactly_bptt_depth_segments_back(run: Run) -> None:
    """By hand: memory is 1, weights 2 3 4 5, written memories 2 6 24 120."""
    step, memory = Numbered(4), torch.ones(1, 1, 1, dtype=torch.float64)
    memories = run(step, range(4), memory, bptt_depth=2)
    assert memories.flatten().tolist() == [2, 6, 24, 120]
    memories[-1].sum().backward(retain_graph=True)
    assert [weight.grad and weight.grad.item() for weight in step.weights] in (
        [None, None, 30.0, 24.0],
        [0.0, 0.0, 30.0, 24.0],
    )


@pytest.mark.parametrize("run", [unroll, replay])
def test_the_depth_counts_from_each_loss(run: Run) -> None:
    """By hand: d(2 + 6 + 24 + 120) with paths of two weights at most."""
    step, memory = Numbered(4), torch.ones(1, 1, 1, dtype=torch.float64)
    run(step, range(4), memory, bptt_depth=2).sum().backward()
    assert [weight.grad.item() for weight in step.weights] == [1 + 3, 2 + 2 * 4, 6 + 6 * 5, 24]


class TestTheChecksCanFail:
    """Faults known from other implementations must be caught."""

    def test_fresh_dropout_masks_are_caught(self) -> None:
        def careless(step: nn.Module, segments: Segments, memory: Tensor) -> Tensor:
            unroll(step, segments, memory)
            return unroll(step, segments, memory)

        model = tiny(ff_dropout=0.4)
        plain = value_and_gradients(unroll, model, ragged(model, [20]))
        wrong = value_and_gradients(careless, model, ragged(model, [20]))
        with pytest.raises(AssertionError, match="not close"):
            torch.testing.assert_close(wrong, plain, **EXACT)

    def test_a_memory_cut_off_the_graph_is_caught(self) -> None:
        def cut(step: nn.Module, segments: Segments, memory: Tensor) -> Tensor:
            return replay(step, segments, memory, bptt_depth=2)

        model = tiny()
        plain = value_and_gradients(unroll, model, ragged(model, [20]))
        wrong = value_and_gradients(cut, model, ragged(model, [20]))
        with pytest.raises(AssertionError, match="not close"):
            torch.testing.assert_close(wrong, plain, **EXACT)


@pytest.mark.parametrize("run", [unroll, replay])
def test_empty_runs_and_depths_below_one_are_refused(run: Run) -> None:
    step, memory = Numbered(1), torch.ones(1, 1, 1)
    with pytest.raises(ValueError, match="segments is empty, but must hold at least one"):
        run(step, [], memory)
    with pytest.raises(ValueError, match="bptt_depth is 0, but must be at least 1"):
        run(step, range(1), memory, bptt_depth=0)
    with pytest.raises(ValueError, match="bptt_depth is True, but must be a whole number"):
        run(step, range(1), memory, bptt_depth=True)


@pytest.mark.parametrize("number", [0, True])
def test_the_number_of_stored_graphs_is_checked(number: int) -> None:
    with pytest.raises(ValueError, match=f"keep_segments is {number}, but must be"):
        replay(Numbered(1), range(1), torch.ones(1, 1, 1), keep_segments=number)


def test_a_step_that_is_no_module_needs_parameters() -> None:
    with pytest.raises(ValueError, match=r"parameters is None, but step is no nn\.Module"):
        replay(lambda segment, memory: memory * segment, range(1, 3), torch.ones(1, 1, 1))
