"""Replay inside what people wrap around models: the gradients of unroll, or a refusal.

Each function of ``RIGHT`` runs a step with ``run`` (``unroll`` or ``replay``) inside one wrapper
and returns the gradients; each function of ``REFUSED`` must raise. ``test_ddp.py`` has DDP and
FSDP2, ``test_compiled.py`` has torch.compile. docs/explanation/replay.md has the list for users.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint

from rmt_genomics.rmt import replay, unroll

Run = Callable[..., Tensor]
Gradients = list[Tensor | None]
EXACT = {"rtol": 1e-10, "atol": 1e-12}
DIM = 4
TORCH_WARNS = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")


class Cell(nn.Module):
    """A small recurrent step in float64, whose segments are tensors [b, 1, d]."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Linear(DIM, DIM)
        self.outer = nn.Linear(DIM, DIM)
        self.double()

    def forward(self, segment: Tensor, memory: Tensor) -> Tensor:
        return torch.tanh(self.outer(F.gelu(self.inner(memory) + segment)))


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def segments() -> list[Tensor]:
    return list(normal(5, 2, 1, DIM))


def memory() -> Tensor:
    return normal(2, 1, DIM, seed=2).requires_grad_()


def loss_of(memories: Tensor) -> Tensor:
    return (memories * normal(*memories.shape, seed=3)).square().sum()


def gradients(loss: Tensor, *inputs: Tensor) -> Gradients:
    return list(torch.autograd.grad(loss, inputs, allow_unused=True))


def gradients_of(run: Run, cell: nn.Module, **options: Any) -> Gradients:
    first = memory()
    return gradients(loss_of(run(cell, segments(), first, **options)), first, *cell.parameters())


# --- right ----------------------------------------------------------------------------------------


def functional_call(run: Run) -> Gradients:
    """Other parameters during forward only, computed from trained ones."""
    cell = Running(run)
    trained = {name: normal(*value.shape).requires_grad_() for name, value in named(cell)}
    others = {name: 2 * value.sin() for name, value in trained.items()}
    loss = torch.func.functional_call(cell, others, (memory(),))
    return gradients(loss, *trained.values())


def functional_call_of_a_frozen_module(run: Run) -> Gradients:
    cell = Running(run).requires_grad_(requires_grad=False)
    trained = {name: normal(*value.shape).requires_grad_() for name, value in named(cell)}
    return gradients(torch.func.functional_call(cell, trained, (memory(),)), *trained.values())


def functional_call_with_one_parameter_computed_from_another(run: Run) -> Gradients:
    cell, weight = Running(run), normal(DIM, DIM).requires_grad_()
    others = {"cell.inner.weight": weight, "cell.outer.weight": weight.exp() + weight}
    return gradients(torch.func.functional_call(cell, others, (memory(),)), weight)


def a_parametrization(run: Run) -> Gradients:
    return gradients_of(run, parametrized())


def cached_parametrization_in_forward(run: Run) -> Gradients:
    cell, first = parametrized(), memory()
    with parametrize.cached():
        loss = loss_of(run(cell, segments(), first)) + cell.inner.weight.sum()
    return gradients(loss, first, *cell.parameters())


def cached_parametrization_used_before(run: Run) -> Gradients:
    cell, first = parametrized(), memory()
    with parametrize.cached():
        loss = cell.inner.weight.sum() + loss_of(run(cell, segments(), first))
    return gradients(loss, first, *cell.parameters())


def cached_parametrization_in_forward_and_backward(run: Run) -> Gradients:
    with parametrize.cached():
        return gradients_of(run, parametrized())


def cached_parametrization_in_backward(run: Run) -> Gradients:
    cell, first = parametrized(), memory()
    loss = loss_of(run(cell, segments(), first))
    with parametrize.cached():
        return gradients(loss, first, *cell.parameters())


def weight_norm(run: Run) -> Gradients:
    cell = Cell()
    parametrizations.weight_norm(cell.inner)
    return gradients_of(run, cell)


def orthogonal(run: Run) -> Gradients:
    cell = Cell()
    parametrizations.orthogonal(cell.inner)
    return gradients_of(run, cell)


def pruning(run: Run) -> Gradients:
    cell = Cell()
    prune.l1_unstructured(cell.inner, "weight", 0.3)
    return gradients_of(run, cell)


def spectral_norm_in_evaluation_mode(run: Run) -> Gradients:
    return gradients_of(run, spectral().eval())


def weights_tied_in_the_step(run: Run) -> Gradients:
    cell = Cell()
    cell.outer.weight = cell.inner.weight
    return gradients_of(run, cell)


def weights_tied_to_a_head(run: Run) -> Gradients:
    cell, first = Cell(), memory()
    logits = run(cell, segments(), first) @ cell.inner.weight.T
    return gradients(loss_of(logits), first, *cell.parameters())


def weights_tied_to_the_first_memory(run: Run) -> Gradients:
    cell = Cell()
    first = (normal(2, 1, DIM) * cell.inner.bias).tanh()
    return gradients(loss_of(run(cell, segments(), first)), *cell.parameters())


def the_first_memory_is_a_parameter(run: Run) -> Gradients:
    cell = Cell()
    cell.first = nn.Parameter(normal(2, 1, DIM))
    return gradients(loss_of(run(cell, segments(), cell.first)), *cell.parameters())


def parameters_that_share_storage(run: Run) -> Gradients:
    cell = Cell()
    cell.outer.weight = nn.Parameter(cell.inner.weight.detach().T)
    return gradients_of(run, cell)


def a_parameter_listed_twice(run: Run) -> Gradients:
    cell, first = Cell(), memory()
    twice = [*cell.parameters(), *cell.parameters()]
    options = {} if run is unroll else {"parameters": twice}
    return gradients(loss_of(run(cell, segments(), first, **options)), first, *cell.parameters())


def a_listed_segment_tensor(run: Run) -> Gradients:
    cell, parts = Cell(), [part.requires_grad_() for part in segments()]
    options = {} if run is unroll else {"parameters": [*cell.parameters(), *parts]}
    return gradients(loss_of(run(cell, parts, memory(), **options)), *parts, *cell.parameters())


def a_step_that_is_no_module(run: Run) -> Gradients:
    weight = normal(DIM, DIM).requires_grad_()
    computed = weight.tanh()
    options = {} if run is unroll else {"parameters": [computed]}
    memories = run(
        lambda part, read: (read @ computed + part).tanh(), segments(), memory(), **options
    )
    return gradients(loss_of(memories), weight)


def a_tensor_hook_before_forward(run: Run) -> Gradients:
    cell, seen = Cell(), []
    cell.inner.weight.register_hook(seen.append)
    return [*gradients_of(run, cell), *seen]


def a_tensor_hook_before_backward(run: Run) -> Gradients:
    cell, seen, first = Cell(), [], memory()
    loss = loss_of(run(cell, segments(), first))
    cell.inner.weight.register_hook(lambda gradient: seen.append(gradient) or 3 * gradient)
    return [*gradients(loss, first, *cell.parameters()), *seen]


def a_hook_after_accumulation(run: Run) -> Gradients:
    cell, seen = Cell(), []
    loss = loss_of(run(cell, segments(), memory()))
    cell.inner.weight.register_post_accumulate_grad_hook(lambda weight: seen.append(weight.grad))
    loss.backward()
    return seen


def an_empty_part(run: Run) -> Gradients:
    """A module may have a length: it is no truth value."""
    return gradients_of(run, Chain(Cell()))


def a_forward_pre_hook(run: Run) -> Gradients:
    cell = Cell()
    cell.outer.register_forward_pre_hook(lambda _, inputs: (inputs[0] * 1.5,))
    return gradients_of(run, cell)


def a_forward_hook_removed_before_backward(run: Run) -> Gradients:
    cell, first = Cell(), memory()
    handle = cell.inner.register_forward_hook(lambda _, _inputs, output: output * 1.5)
    loss = loss_of(run(cell, segments(), first))
    handle.remove()
    return gradients(loss, first, *cell.parameters())


def a_forward_hook_added_before_backward(run: Run) -> Gradients:
    cell, first = Cell(), memory()
    loss = loss_of(run(cell, segments(), first))
    cell.inner.register_forward_hook(lambda _, _inputs, output: output * 1.5)
    cell.outer.register_forward_pre_hook(lambda _, inputs: (inputs[0] * 1.5,))
    return gradients(loss, first, *cell.parameters())


def a_full_backward_hook(run: Run) -> Gradients:
    cell, seen = Cell(), []
    for part in (cell, cell.inner):
        part.register_full_backward_hook(lambda *arguments: seen.append(arguments[2][0]))
    return [*gradients_of(run, cell), *seen]


def a_full_backward_hook_that_changes_gradients(run: Run) -> Gradients:
    cell = Cell()
    cell.inner.register_full_backward_hook(lambda _, inputs, _outputs: (2 * inputs[0],))
    cell.outer.register_full_backward_pre_hook(lambda _, outputs: (3 * outputs[0],))
    return gradients_of(run, cell)


def an_attribute_changed_before_backward(run: Run) -> Gradients:
    cell, first = LowRank(Cell()), memory()
    loss = loss_of(run(cell, segments(), first))
    cell.scale = 7.0
    return gradients(loss, first, *trained(cell))


def a_low_rank_adapter(run: Run) -> Gradients:
    cell, first = LowRank(Cell()), memory()
    return gradients(loss_of(run(cell, segments(), first)), first, *trained(cell))


def an_adapter_taken_off_before_backward(run: Run) -> Gradients:
    cell, first = Cell(), memory()
    plain = cell.inner
    cell.inner = LowRank(plain)
    adapted = trained(cell)
    loss = loss_of(run(cell, segments(), first))
    cell.inner = plain
    return gradients(loss, first, *adapted)


def an_lstm(run: Run) -> Gradients:
    """Its flat list of weights refers to the parameters a second time."""
    cell = Cell()
    cell.outer = FirstOutput(nn.LSTM(DIM, DIM, batch_first=True).double())
    return gradients_of(run, cell)


def a_list_of_parameters_beside_the_registered_ones(run: Run) -> Gradients:
    cell = Cell()
    cell.inner = ByList(nn.Linear(DIM, DIM).double())
    return gradients_of(run, cell)


def checkpointed(use_reentrant: bool) -> Callable[[Run], Gradients]:  # noqa: FBT001
    def around_the_whole_run(run: Run) -> Gradients:
        cell, first = Cell(), memory()
        memories = checkpoint(run, cell, segments(), first, use_reentrant=use_reentrant)
        loss_of(memories).backward()
        return [first.grad, *(parameter.grad for parameter in cell.parameters())]

    return around_the_whole_run


def autocast(run: Run) -> Gradients:
    """It leaves float64 alone; bfloat16 is compared in test_replay.py."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return gradients_of(run, Cell())


def no_grad_inside(run: Run) -> Gradients:
    cell = Cell()

    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell

        def forward(self, segment: Tensor, read: Tensor) -> Tensor:
            with torch.no_grad():
                gate = self.cell(segment, read)
            with torch.inference_mode():
                shift = (read.detach() * 2).sum()
            return self.cell(segment, read) * gate + shift.item()

    return gradients_of(run, Partly())


def backward_in_no_grad(run: Run) -> Gradients:
    first, cell = memory(), Cell()
    loss = loss_of(run(cell, segments(), first))
    with torch.no_grad():
        return gradients(loss, first, *cell.parameters())


def backward_in_inference_mode(run: Run) -> Gradients:
    first, cell = memory(), Cell()
    loss = loss_of(run(cell, segments(), first))
    with torch.inference_mode():
        return [gradient.clone() for gradient in gradients(loss, first, *cell.parameters())]


def memory_in_a_lower_precision_than_the_step(run: Run) -> Gradients:
    cell, first = Cell(), memory().detach().float()

    class Widening(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell

        def forward(self, segment: Tensor, read: Tensor) -> Tensor:
            return self.cell(segment, read.double())

    return gradients(loss_of(run(Widening(), segments(), first)), *cell.parameters())


def nothing_trained_but_a_segment(run: Run) -> Gradients:
    cell = Cell().requires_grad_(requires_grad=False)
    parts = [part.requires_grad_() for part in segments()]
    memories = run(cell, parts, memory().detach(), bptt_depth=2)
    return gradients(loss_of(memories), *parts)


def saved_on_the_cpu(run: Run) -> Gradients:
    with torch.autograd.graph.save_on_cpu():
        return gradients_of(run, Cell())


RIGHT = [
    functional_call,
    functional_call_of_a_frozen_module,
    functional_call_with_one_parameter_computed_from_another,
    a_parametrization,
    cached_parametrization_in_forward,
    cached_parametrization_used_before,
    cached_parametrization_in_forward_and_backward,
    cached_parametrization_in_backward,
    weight_norm,
    orthogonal,
    pruning,
    spectral_norm_in_evaluation_mode,
    weights_tied_in_the_step,
    weights_tied_to_a_head,
    weights_tied_to_the_first_memory,
    the_first_memory_is_a_parameter,
    parameters_that_share_storage,
    a_parameter_listed_twice,
    a_listed_segment_tensor,
    a_step_that_is_no_module,
    a_tensor_hook_before_forward,
    a_tensor_hook_before_backward,
    a_hook_after_accumulation,
    an_empty_part,
    a_forward_pre_hook,
    a_forward_hook_removed_before_backward,
    a_forward_hook_added_before_backward,
    a_full_backward_hook,
    a_full_backward_hook_that_changes_gradients,
    an_attribute_changed_before_backward,
    a_low_rank_adapter,
    an_adapter_taken_off_before_backward,
    an_lstm,
    a_list_of_parameters_beside_the_registered_ones,
    checkpointed(use_reentrant=False),
    checkpointed(use_reentrant=True),
    autocast,
    no_grad_inside,
    backward_in_no_grad,
    backward_in_inference_mode,
    memory_in_a_lower_precision_than_the_step,
    nothing_trained_but_a_segment,
    saved_on_the_cpu,
]


@pytest.mark.parametrize("gradients_in", RIGHT)
def test_replay_has_the_gradients_of_unroll(gradients_in: Callable[[Run], Gradients]) -> None:
    expected, results = gradients_in(unroll), gradients_in(replay)
    assert any(gradient is not None and gradient.any() for gradient in expected)
    assert [gradient is None for gradient in results] == [gradient is None for gradient in expected]
    torch.testing.assert_close(
        [gradient for gradient in results if gradient is not None],
        [gradient for gradient in expected if gradient is not None],
        **EXACT,
    )


# --- refused --------------------------------------------------------------------------------------


def grad_of_torch_func(run: Run) -> Any:
    cell, parts, first = Cell(), segments(), memory()
    weights = normal(5, 2, 1, DIM)

    def loss(own: dict[str, Tensor]) -> Tensor:
        runs = Calling(lambda: run(cell, parts, first), cell)
        return (torch.func.functional_call(runs, own) * weights).sum()

    return torch.func.grad(loss)({f"cell.{name}": value for name, value in named(cell)})


def vmap(run: Run, *, trains: bool = True) -> Any:
    cell, parts = Cell().requires_grad_(trains), segments()
    return torch.func.vmap(lambda first: run(cell, parts, first))(normal(3, 2, 1, DIM))


def jvp(run: Run, *, trains: bool = True) -> Any:
    cell, parts, first = Cell().requires_grad_(trains), segments(), normal(2, 1, DIM)
    return torch.func.jvp(lambda read: run(cell, parts, read), (first,), (first,))


def forward_mode_gradients(run: Run, *, trains: bool = True) -> Any:
    cell = Cell().requires_grad_(trains)
    with forward_ad.dual_level():
        first = forward_ad.make_dual(normal(2, 1, DIM), normal(2, 1, DIM))
        return tuple(forward_ad.unpack_dual(run(cell, segments(), first)))


def batched_gradients(run: Run) -> Any:
    first = memory()
    memories = run(Cell(), segments(), first)
    return torch.autograd.grad(
        memories, first, torch.ones(3, *memories.shape).double(), is_grads_batched=True
    )


def double_backward(run: Run) -> Any:
    cell = Cell()
    loss = loss_of(run(cell, segments(), memory()))
    (slope,) = torch.autograd.grad(loss, [cell.inner.weight], create_graph=True)
    slope.square().sum().backward()


def a_segment_that_requires_grad(run: Run) -> Any:
    return loss_of(run(Cell(), [part.requires_grad_() for part in segments()], memory()))


def a_segment_computed_from_a_parameter(run: Run) -> Any:
    """Weights tied to an embedding outside the step."""
    cell = Cell()
    parts = [cell.inner(part) for part in segments()]
    return loss_of(run(cell, parts, memory()))


def one_segment_that_requires_grad(run: Run) -> Any:
    parts = segments()
    parts[1].requires_grad_()
    return gradients(loss_of(run(Cell(), parts, memory())), parts[1])


def a_weight_computed_outside(run: Run) -> Any:
    weight = normal(DIM, DIM).requires_grad_()
    computed = weight.exp()
    options = {} if run is unroll else {"parameters": [weight]}
    step = lambda part, read: (read @ computed + part).tanh()  # noqa: E731
    return gradients(loss_of(run(step, segments(), memory(), **options)), weight)


def an_unlisted_tensor(run: Run) -> Any:
    cell, shift = Cell(), normal(DIM).requires_grad_()
    options = {} if run is unroll else {"parameters": cell.parameters()}
    return run(lambda part, read: cell(part, read) + shift, segments(), memory(), **options)


def an_unregistered_tensor(run: Run) -> Any:
    cell = Cell()
    cell.inner.__dict__["extra"] = normal(DIM).requires_grad_()
    cell.inner.register_forward_hook(lambda inner, _, output: output * inner.extra)
    return run(cell, segments(), memory())


def a_listed_tensor_computed_from_another_listed_one(run: Run) -> Any:
    weight = normal(DIM, DIM).requires_grad_()
    twice = 2 * weight
    options = {} if run is unroll else {"parameters": [weight, twice]}
    step = lambda part, read: (read @ twice @ weight + part).tanh()  # noqa: E731
    return run(step, segments(), memory(), **options)


def spectral_norm(run: Run) -> Any:
    return gradients_of(run, spectral())


def batch_norm(run: Run) -> Any:
    cell = Cell()
    cell.outer = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(DIM), nn.Unflatten(1, (1, DIM)))
    return gradients_of(run, cell.double())


def torch_script(run: Run) -> Any:
    cell = Cell()
    cell.inner = torch.jit.script(cell.inner)
    return gradients_of(run, cell)


def a_weight_changed_before_backward(run: Run) -> Any:
    cell, first = LowRank(Cell()), memory()
    loss = loss_of(run(cell, segments(), first))
    with torch.no_grad():
        cell.base.inner.weight.mul_(2)
    return gradients(loss, first)


REFUSED = [
    (grad_of_torch_func, RuntimeError, r"functorch transforms \(vmap, grad, jvp"),
    (vmap, RuntimeError, r"functorch transforms \(vmap, grad, jvp"),
    (jvp, RuntimeError, r"functorch transforms \(vmap, grad, jvp"),
    (forward_mode_gradients, RuntimeError, "jvp"),
    (batched_gradients, RuntimeError, "Batching rule not implemented"),
    (double_backward, RuntimeError, "differentiate twice .* marked with @once_differentiable"),
    (a_segment_that_requires_grad, ValueError, r"of shape \(2, 1, 4\) that requires"),
    (
        a_segment_computed_from_a_parameter,
        ValueError,
        r"of shape \(4, 4\) that requires .*, or one computed",
    ),
    (a_weight_computed_outside, RuntimeError, "backward through the graph a second time"),
    (one_segment_that_requires_grad, ValueError, r"of shape \(2, 1, 4\) that requires"),
    (an_unlisted_tensor, ValueError, r"of shape \(4,\) that requires a gradient"),
    (an_unregistered_tensor, ValueError, r"of shape \(4,\) that requires a gradient"),
    (a_listed_tensor_computed_from_another_listed_one, ValueError, "or count the gradient twice"),
    (spectral_norm, ValueError, "changes a buffer whenever it runs"),
    (batch_norm, ValueError, "changes a buffer whenever it runs"),
    (
        torch_script,
        ValueError,
        "requires a gradient, or one computed from it, but it is not in par",
    ),
    (a_weight_changed_before_backward, RuntimeError, "modified by an inplace operation"),
]


@TORCH_WARNS
@pytest.mark.parametrize(("used", "kind", "message"), REFUSED)
def test_replay_refuses(used: Callable[[Run], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        used(replay)


@TORCH_WARNS
@pytest.mark.parametrize("used", [vmap, jvp, forward_mode_gradients])
def test_without_anything_to_train_replay_is_unroll(used: Callable[..., Any]) -> None:
    torch.testing.assert_close(used(replay, trains=False), used(unroll, trains=False), **EXACT)


# --- helpers --------------------------------------------------------------------------------------


class Running(nn.Module):
    """A loss over a whole run."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run, self.cell = run, Cell()

    def forward(self, first: Tensor) -> Tensor:
        return loss_of(self.run(self.cell, segments(), first))


class Calling(nn.Module):
    """Calls a function when called."""

    def __init__(self, function: Callable[[], Tensor], cell: nn.Module) -> None:
        super().__init__()
        self.function, self.cell = function, cell

    def forward(self) -> Tensor:
        return self.function()


class LowRank(nn.Module):
    """A frozen module and a trained addition to what it returns."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base.requires_grad_(requires_grad=False)
        self.down, self.up = nn.Parameter(normal(DIM, 2)), nn.Parameter(normal(2, DIM))
        self.scale = 0.5

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.base(*inputs) + self.scale * (inputs[-1] @ self.down @ self.up)


class Chain(nn.ModuleList):
    """A step without length."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def __len__(self) -> int:
        return 0

    def forward(self, segment: Tensor, read: Tensor) -> Tensor:
        return self.cell(segment, read)


class FirstOutput(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: Tensor) -> Tensor:
        return self.inner(inputs)[0]


class ByList(nn.Module):
    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.inner = inner
        self.tensors = [inner.weight, inner.bias]

    def forward(self, inputs: Tensor) -> Tensor:
        return F.linear(inputs, *self.tensors)


class Squared(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.square()


def parametrized() -> Cell:
    cell = Cell()
    parametrize.register_parametrization(cell.inner, "weight", Squared())
    return cell


def spectral() -> Cell:
    cell = Cell()
    parametrizations.spectral_norm(cell.inner)
    return cell


def named(module: nn.Module) -> list[tuple[str, Tensor]]:
    return list(module.named_parameters())


def trained(module: nn.Module) -> list[Tensor]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
