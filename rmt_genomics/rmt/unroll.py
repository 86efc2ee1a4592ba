"""Run a recurrent step over segments, the plain way: keep every graph (full BPTT).

This is the reference that ``replay`` is held against; it has the same signature and the same
answer.

A *step* maps (segment, memory read) to the memory written. A *rich* step also hands on a cache
that carries no gradient (XL memories), and may return an output of its own (a token loss).

Dimensions: s segments, b batch, m memory tokens, d model width.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from rmt_genomics.rmt.runtime import RandomState

Cache = tuple[Tensor, ...]


class Written(NamedTuple):
    """What a rich step returns.

    Attributes:
        memory: To be read by the next segment; gradients flow through it.
        cache: Also handed on, without gradient.
        output: Of this segment alone; gradients flow from it. None = nothing.
    """

    memory: Float[Tensor, "b m d"]
    cache: Cache = ()
    output: Tensor | None = None


class Trail(NamedTuple):
    """What a run over segments leaves.

    Attributes:
        memories: The memory written by every segment; ``[-1]`` is the last.
        outputs: The output of every segment; empty if the step has none.
        cache: What the next segment would read, without gradient.
    """

    memories: Float[Tensor, "s b m d"]
    outputs: tuple[Tensor, ...]
    cache: Cache


Step = Callable[[Any, Tensor], Tensor]
RichStep = Callable[[Any, Tensor, Cache], Written]


def each_memory(step: Step, segments: Sequence[Any], memory: Tensor) -> Iterator[Tensor]:
    """Yield the memory ``[b, m, d]`` written by each segment, in reading order."""
    for index in range(len(segments)):
        memory = step(segments[index], memory)
        yield memory


def unroll(
    step: Step,
    segments: Sequence[Any],
    memory: Float[Tensor, "b m d"],
    *,
    bptt_depth: int | None = None,
) -> Float[Tensor, "s b m d"]:
    """Feed ``segments`` through ``step`` in order.

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
    return unroll_trail(enriched(step), segments, memory, bptt_depth=bptt_depth).memories


def unroll_trail(
    step: RichStep,
    segments: Sequence[Any],
    memory: Float[Tensor, "b m d"],
    cache: Cache = (),
    *,
    bptt_depth: int | None = None,
) -> Trail:
    """Do as ``unroll`` for a rich step; ``cache`` is what the first segment finds in it."""
    check_run(segments, bptt_depth)
    if bptt_depth is None or bptt_depth >= len(segments) or not torch.is_grad_enabled():
        trail = list(_each(step, segments, Written(memory, cache)))
    else:
        trail = _each_cut(step, segments, Written(memory, cache), bptt_depth)
    outputs = tuple(written.output for written in trail if written.output is not None)
    return Trail(torch.stack([written.memory for written in trail]), outputs, trail[-1].cache)


def enriched(step: Step) -> RichStep:
    """Make a rich step, with an empty cache and no output, of a plain one."""
    return lambda segment, memory, _: Written(step(segment, memory))


def check_run(segments: Sequence[Any], bptt_depth: int | None) -> None:
    """Raise ValueError if a run over segments was asked for that makes no sense."""
    if not len(segments):
        raise ValueError("segments is empty, but must hold at least one segment")
    if bptt_depth is not None and bptt_depth < 1:
        raise ValueError(f"bptt_depth is {bptt_depth}, but must be at least 1, or None for all")


def without_gradient(cache: Cache) -> Cache:
    """Cut a cache off the graph."""
    return tuple(tensor.detach() for tensor in cache)


def _each(step: RichStep, segments: Sequence[Any], state: Written) -> Iterator[Written]:
    """Yield what each segment writes."""
    for index in range(len(segments)):
        state = step(segments[index], state.memory, without_gradient(state.cache))
        yield state


def _each_cut(
    step: RichStep, segments: Sequence[Any], start: Written, bptt_depth: int
) -> list[Written]:
    """Run the last ``bptt_depth`` segments of each again, from a memory cut off the graph."""
    states, random_states = [start], []
    with torch.no_grad():
        for index in range(len(segments)):
            random_states.append(RandomState.now(start.memory.device))
            states.append(step(segments[index], states[-1].memory, states[-1].cache))
    after = RandomState.now(start.memory.device)
    trail = []
    for last in range(len(segments)):
        first = max(0, last - bptt_depth + 1)
        state = states[first]
        for index in range(first, last + 1):
            random_states[index].restore()
            state = step(segments[index], state.memory, without_gradient(state.cache))
        trail.append(state)
    after.restore()
    return trail
