"""Run a recurrent step over segments the plain way: keep every graph (full BPTT).

This is the reference for ``replay``, which has the same signature and gives the same answer.

A *step* maps (segment, memory read) to the memory written. A *step with cache* maps (segment,
memory read, cache) to a ``StepOutput``: it also passes on a cache that carries no gradient (XL
memories), and may return an output of its own, such as a token loss.

Dimensions: s segments, b batch, m memory tokens, d model width.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from rmt_genomics.rmt.config import as_declared
from rmt_genomics.rmt.memory import Cache, detached


class StepOutput(NamedTuple):
    """What a step with cache returns.

    Attributes:
        memory: To be read by the next segment; gradients flow through it.
        cache: Also passed to the next segment, without gradient.
        output: Of this segment alone; gradients flow from it. None = nothing.
    """

    memory: Float[Tensor, "b m d"]
    cache: Cache = ()
    output: Tensor | None = None


class RunOutput(NamedTuple):
    """What a run over segments returns.

    Attributes:
        memories: The memory written by every segment; ``[-1]`` is the last.
        outputs: The output of every segment; empty if the step has none.
        cache: What the next segment would read, without gradient.
    """

    memories: Float[Tensor, "s b m d"]
    outputs: tuple[Tensor, ...]
    cache: Cache


Step = Callable[[Any, Tensor], Tensor]
StepWithCache = Callable[[Any, Tensor, Cache], StepOutput]


def unroll(
    step: Step,
    segments: Sequence[Any],
    memory: Float[Tensor, "b m d"],
    *,
    bptt_depth: int | None = None,
) -> Float[Tensor, "s b m d"]:
    """Run ``step`` over ``segments`` in order.

    Args:
        step: Maps (segment, memory read) to the memory written.
        segments: What the step reads, in reading order; at least one.
        memory: What the first segment reads.
        bptt_depth: How many segments the gradient of each written memory crosses, its own
            included; None = all. The gradient beyond is exactly zero.

    Returns:
        The memory written by every segment; ``[-1]`` is the last.

    Raises:
        ValueError: If there is no segment, or ``bptt_depth`` is below 1.
    """
    return unroll_with_outputs(
        with_empty_cache(step), segments, memory, bptt_depth=bptt_depth
    ).memories


def unroll_with_outputs(
    step: StepWithCache,
    segments: Sequence[Any],
    memory: Float[Tensor, "b m d"],
    cache: Cache = (),
    *,
    bptt_depth: int | None = None,
) -> RunOutput:
    """Do as ``unroll`` for a step with cache; the first segment reads ``cache``."""
    check_run(segments, bptt_depth)
    if bptt_depth is None or bptt_depth >= len(segments) or not torch.is_grad_enabled():
        states = list(iterate_steps(step, segments, memory, cache))
    else:
        states = _truncated(step, segments, StepOutput(memory, cache), bptt_depth)
    outputs = tuple(state.output for state in states if state.output is not None)
    return RunOutput(torch.stack([state.memory for state in states]), outputs, states[-1].cache)


def _truncated(
    step: StepWithCache, segments: Sequence[Any], initial: StepOutput, bptt_depth: int
) -> list[StepOutput]:
    """Run every segment once, with a graph of its own; chain ``bptt_depth`` graphs per memory.

    A graph begins at the memory read, detached. The chains of the first memories all begin at the
    first segment, so they are one; each later memory has its own chain of the same graphs.
    """
    chain, cache, _ = initial
    graphs: list[tuple[Tensor, StepOutput]] = []
    truncated: list[StepOutput] = []
    for last, segment in enumerate(segments):
        read = chain.detach().requires_grad_(chain.requires_grad)
        written = step(segment, read.view_as(read), detached(cache))
        graphs.append((read, written))
        cache, begin = written.cache, last
        if last >= bptt_depth:  # not the chain of the memory before and one more graph
            begin = last - bptt_depth + 1
            chain = graphs[begin][0].detach()
        for read, (memory, _, output) in graphs[begin:]:
            if chain.requires_grad:
                memory, output = _Joined.apply(chain, read, memory, output)  # type: ignore[no-untyped-call]
            chain = memory
        truncated.append(StepOutput(chain, cache, output))
    return truncated


class _Joined(torch.autograd.Function):
    """What a segment wrote, as a function of the chain of graphs that it read the end of."""

    @staticmethod
    def forward(
        ctx: Any, _chain: Tensor, read: Tensor, memory: Tensor, output: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        ctx.save_for_backward(read, memory, output)
        ctx.set_materialize_grads(False)
        return memory.view_as(memory), None if output is None else output.view_as(output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_written: Tensor | None) -> tuple[Tensor | None, ...]:
        read, *targets = ctx.saved_tensors
        (grad_chain,) = gradients_of(targets, grad_written, [read], retain_graph=True)
        return grad_chain, None, *grad_written


def gradients_of(
    targets: Sequence[Tensor | None],
    gradients: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    *,
    retain_graph: bool = False,
) -> Sequence[Tensor | None]:
    """Return ``autograd.grad`` of those targets that have a gradient; None where there is none."""
    present = [
        (target, gradient)
        for target, gradient in zip(targets, gradients, strict=True)
        if gradient is not None and target is not None and target.requires_grad
    ]
    if not present or not inputs:
        return [None] * len(inputs)
    outputs, grad_outputs = zip(*present, strict=True)
    return torch.autograd.grad(
        outputs, inputs, grad_outputs, retain_graph=retain_graph, allow_unused=True
    )


def iterate_steps(
    step: StepWithCache, segments: Iterable[Any], memory: Tensor, cache: Cache = ()
) -> Iterator[StepOutput]:
    """Yield what the step returns for each segment, in reading order."""
    state = StepOutput(memory, cache)
    for segment in segments:
        state = step(segment, state.memory, detached(state.cache))
        yield state


def with_empty_cache(step: Step) -> StepWithCache:
    """Return a plain step as a step with cache that has no cache and no output."""
    return lambda segment, memory, _: StepOutput(step(segment, memory))


def check_run(segments: Sequence[Any], bptt_depth: int | None) -> None:
    """Raise ValueError unless there is a segment and ``bptt_depth`` is a positive whole number."""
    if not len(segments):
        raise ValueError("segments is empty, but must hold at least one segment")
    as_declared("bptt_depth", int | None, bptt_depth)
    if bptt_depth is not None and bptt_depth < 1:
        raise ValueError(f"bptt_depth is {bptt_depth}, but must be at least 1, or None for all")
