"""Other uses of autograd: replay does the same as unroll, or refuses with a message."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from rmt_genomics.rmt import replay, unroll
from tests.toys import ragged, random_memory, random_tokens, tiny, token_model_wrapper

EXACT = {"rtol": 1e-10, "atol": 1e-12}


class TestHooks:
    """A hook sees what it would see without replay, or it is refused before anything runs."""

    @pytest.mark.parametrize("is_before_forward", [True, False])
    def test_a_tensor_hook_of_a_parameter_sees_the_total_once(
        self, *, is_before_forward: bool
    ) -> None:
        seen: list[list[torch.Tensor]] = []
        for options in ({"return_loss": True}, {"memory_replay_backprop": True}):
            model = token_model_wrapper()
            bias, calls = model.transformer.to_logits.bias, []
            if is_before_forward:
                bias.register_hook(lambda gradient, calls=calls: calls.append(gradient))
            output = model(random_tokens(1, 20), **options)
            if not is_before_forward:
                bias.register_hook(lambda gradient, calls=calls: calls.append(gradient))
            (output[0] if isinstance(output, tuple) else output).backward()
            seen.append(calls)
        assert len(seen[0]) == 1
        torch.testing.assert_close(seen[1], seen[0], **EXACT)

    @pytest.mark.parametrize("is_before_forward", [True, False])
    def test_a_hook_of_a_tensor_that_no_module_holds_is_refused(
        self, *, is_before_forward: bool
    ) -> None:
        weight = torch.ones(1, dtype=torch.float64, requires_grad=True)

        def hooked_run() -> None:
            memory = torch.ones(1, 1, 1, dtype=torch.float64)
            if is_before_forward:
                weight.register_hook(lambda gradient: gradient)
            output = replay(lambda _, read: read * weight, range(3), memory, parameters=[weight])
            weight.register_hook(lambda gradient: gradient)
            output.sum().backward()

        with pytest.raises(ValueError, match=r"a trained tensor has a hook .*Pass an nn\.Module"):
            hooked_run()

    def test_a_hook_on_a_frozen_parameter_is_allowed(self) -> None:
        model = tiny()
        weight = model.embed.embedding.weight
        weight.register_hook(lambda gradient: gradient)
        weight.requires_grad_(requires_grad=False)
        replay(model, ragged(model, [20]), random_memory(model, 1)).sum().backward()

    def test_a_hook_after_accumulation_sees_the_total_once(self) -> None:
        seen: list[torch.Tensor] = []
        model = tiny()
        weight = model.embed.embedding.weight
        weight.register_post_accumulate_grad_hook(
            lambda parameter: seen.append(parameter.grad.clone())
        )
        for run in (unroll, replay):
            model.zero_grad()
            run(model, ragged(model, [20]), random_memory(model, 1)).sum().backward()
        assert len(seen) == 2
        torch.testing.assert_close(*seen, **EXACT)

    def test_backward_hooks_of_modules_run_once_per_segment_as_in_unroll(self) -> None:
        seen: dict[Any, list[torch.Tensor]] = {}
        for run in (unroll, replay):
            model, calls = tiny(), seen.setdefault(run, [])
            model.layers.register_full_backward_hook(
                lambda _module, _inputs, outputs, calls=calls: calls.append(outputs[0])
            )
            run(model, ragged(model, [29]), random_memory(model, 1)).sum().backward()
        assert len(seen[unroll]) == 5
        torch.testing.assert_close(seen[replay], seen[unroll], **EXACT)


def gradient_penalty(run: Callable[..., torch.Tensor]) -> tuple[torch.Tensor, nn.Module]:
    """A gradient penalty, which needs a second derivative."""
    model = tiny(use_flash_attn=False)  # the fused kernel has no second derivative of its own
    memories = run(model, ragged(model, [20]), random_memory(model, 1))
    weights = list(model.layers.parameters())
    gradients = torch.autograd.grad(memories.square().sum(), weights, create_graph=True)
    return torch.stack([gradient.square().sum() for gradient in gradients]).sum(), model


def test_a_second_derivative_is_refused() -> None:
    penalty, model = gradient_penalty(replay)
    with pytest.raises(RuntimeError, match=r"differentiate twice .* marked with @once_differ"):
        penalty.backward()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_unroll_has_a_second_derivative() -> None:
    penalty, model = gradient_penalty(unroll)
    penalty.backward()
    assert model.embed.embedding.weight.grad.any()


@pytest.mark.parametrize("keep", [1, 2, 99])
@pytest.mark.parametrize("trains_first", [True, False])
def test_a_mode_changed_before_backward_changes_no_gradient(
    keep: int, *, trains_first: bool
) -> None:
    """As when a callback evaluates in between. One layer stays in evaluation mode."""
    results = []
    for run, options in ((unroll, {}), (replay, {"keep_segments": keep})):
        model = tiny(ff_dropout=0.4).train(trains_first)
        model.layers.layers[0].eval()
        torch.manual_seed(3)
        memories = run(model, ragged(model, [29]), random_memory(model, 1), **options)
        model.train(not trains_first)
        memories.square().sum().backward()
        assert {module.training for module in model.modules()} == {not trains_first}
        results.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(results[1], results[0], **EXACT)


def test_what_a_step_writes_into_attributes_stays() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.count, self.last = tiny(), 0, None

        def forward(self, segment: Any, memory: torch.Tensor) -> torch.Tensor:
            self.count += 1
            self.last = segment.length
            return self.cell(segment, memory)

    step = Counting()
    memories = replay(step, ragged(step.cell, [29]), random_memory(step.cell, 1))
    assert (step.count, step.last) == (5, 5)
    memories.sum().backward()
    assert step.last == 6


@pytest.mark.parametrize("run", [unroll, replay])
@pytest.mark.parametrize("depth", [1, 2])
def test_without_gradients_bptt_depth_has_no_cost_and_no_effect(
    run: Callable[..., torch.Tensor], depth: int
) -> None:
    model, calls = tiny(), []
    segments = ragged(model, [29, 8])
    memory = random_memory(model, 2)
    expected = unroll(model, segments, memory).detach()
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        results = run(model, segments, memory, bptt_depth=depth)
    assert not results.requires_grad
    torch.testing.assert_close(results, expected, **EXACT)
    assert len(calls) == len(segments)  # nothing was run twice


@pytest.mark.parametrize("options", [{}, {"return_loss": True}, {"memory_replay_backprop": True}])
def test_without_gradients_the_wrapper_may_truncate(options: dict[str, Any]) -> None:
    model, tokens = token_model_wrapper(use_xl_memories=True), random_tokens(2, 29)
    with torch.no_grad():
        expected = model(tokens, **options)
        results = model(tokens, truncate_at_step=2, **options)
    torch.testing.assert_close(results, expected, **EXACT)


@pytest.mark.parametrize("options", [{"return_loss": True}, {"memory_replay_backprop": True}])
def test_memories_without_a_batch_axis_are_repeated(options: dict[str, Any]) -> None:
    """A learned initial memory (m, d) is repeated; its gradient is the sum over batch rows."""
    start = torch.randn(2, 8, dtype=torch.float64)
    results = []
    for has_batch in (False, True):
        model, leaf = token_model_wrapper(), start.clone().requires_grad_()
        memories = leaf.expand(3, 2, 8) if has_batch else leaf
        output = model(random_tokens(3, 20), memories, **options)
        loss = output[0] if isinstance(output, tuple) else output
        loss.backward()
        results.append([loss.detach(), leaf.grad])
    torch.testing.assert_close(results[0], results[1], **EXACT)
    assert results[0][1].any()


class TestTheChecksCanFail:
    """A missing protection makes the comparison fail."""

    def test_a_second_run_in_another_mode_would_be_caught(self) -> None:
        results = []
        for is_forgetful in (False, True):
            model = tiny(ff_dropout=0.4)
            torch.manual_seed(3)
            step: Any = model if not is_forgetful else _WithoutModes(model)
            memories = replay(
                step,
                ragged(model, [29]),
                random_memory(model, 1),
                parameters=list(model.parameters()),
            )
            model.eval()
            memories.square().sum().backward()
            results.append([parameter.grad for parameter in model.parameters()])
        with pytest.raises(AssertionError, match=re.escape("not close")):
            torch.testing.assert_close(results[1], results[0], **EXACT)


class _WithoutModes:
    """A step that is no module, so that replay cannot restore its training modes."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, segment: Any, memory: torch.Tensor) -> torch.Tensor:
        written: torch.Tensor = self.model(segment, memory)
        return written
