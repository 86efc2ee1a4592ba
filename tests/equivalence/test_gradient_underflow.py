"""A gradient that underflows is dropped, and nothing else is lost."""

import pytest
import torch
from torch import Tensor, nn

from rmt_genomics.rmt import replay, unroll


class ShrinkingMemory(nn.Module):
    """A step whose memory, and so its gradient, shrinks by the same factor in every segment."""

    def __init__(self, factor: float, num_segments: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.shared = nn.Parameter(torch.tensor(factor, dtype=dtype))
        self.own = nn.Parameter(torch.ones(num_segments, dtype=dtype))
        self.calls: list[int] = []

    def forward(self, segment: int, memory: Tensor) -> Tensor:
        self.calls.append(segment)
        return memory * self.shared * self.own[segment] + 1


def results(
    run,
    losses: dict[int, float],
    *,
    factor: float = 1e-3,
    dtype: torch.dtype = torch.float32,
    bptt_depth: int | None = None,
) -> tuple[list[Tensor | None], list[int]]:
    """Return gradients (of the first memory last) of a sum of written memories, and the calls."""
    step = ShrinkingMemory(factor, 30, dtype)
    memory = torch.ones(1, 1, 1, dtype=dtype, requires_grad=True)
    memories = run(step, range(30), memory, bptt_depth=bptt_depth)
    sum(weight * memories[index].sum() for index, weight in losses.items()).backward()
    return [step.shared.grad, step.own.grad, memory.grad], step.calls[30:]


def test_segments_without_gradient_are_not_recomputed() -> None:
    gradients, recomputed = results(replay, {29: 1.0})
    plain, _ = results(unroll, {29: 1.0})

    assert recomputed == list(range(28, 18, -1))  # 1e-30 arrives at segment 19, 1e-33 at no other
    torch.testing.assert_close(gradients[:2], plain[:2], rtol=1e-6, atol=1e-30)
    assert gradients[2].tolist() == [[[0.0]]]


@pytest.mark.parametrize("bptt_depth", [None, 4, 20])
def test_earlier_losses_still_get_their_gradient(bptt_depth: int | None) -> None:
    losses = {29: 1.0, 28: 2.0, 12: 0.5, 3: 1.0}

    gradients, recomputed = results(replay, losses, bptt_depth=bptt_depth)

    plain, _ = results(unroll, losses, bptt_depth=bptt_depth)
    materialised = [
        torch.zeros(1, 1, 1) if gradient is None else gradient
        for gradient in (gradients[2], plain[2])
    ]
    torch.testing.assert_close(gradients[:2], plain[:2], rtol=1e-6, atol=1e-30)
    torch.testing.assert_close(*materialised, rtol=1e-6, atol=1e-30)
    assert set(range(4)) <= set(recomputed)


def test_small_normal_gradients_are_kept() -> None:
    gradients, recomputed = results(replay, {29: 1e-20}, factor=0.5)
    plain, _ = results(unroll, {29: 1e-20}, factor=0.5)

    assert recomputed == list(range(28, -1, -1))
    torch.testing.assert_close(gradients, plain, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_the_limit_depends_on_the_number_format(dtype: torch.dtype) -> None:
    """The range of float16 is too narrow, so nothing is dropped there."""
    factor = {torch.float16: 0.5, torch.float64: 1e-3}[dtype]
    gradients, recomputed = results(replay, {29: 0.125}, factor=factor, dtype=dtype)
    plain, _ = results(unroll, {29: 0.125}, factor=factor, dtype=dtype)

    assert recomputed == list(range(28, -1, -1))
    torch.testing.assert_close(gradients, plain, rtol=1e-3, atol=0.0)


def test_nan_gradients_are_kept() -> None:
    (_, own, memory), _ = results(replay, {29: float("nan")})

    assert own.isnan().all()
    assert memory.isnan().all()


def test_recomputation_ends_where_bptt_depth_or_underflow_ends_the_gradient() -> None:
    _, recomputed = results(replay, {29: 1.0, 28: 1.0}, bptt_depth=25)

    assert recomputed == list(range(28, 17, -1))
