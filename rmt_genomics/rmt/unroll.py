"""Run a recurrent step over segments, the plain way: keep every graph (full BPTT).

This is the reference that ``replay`` is held against; it has the same signature and the same
answer.

Dimensions: s segments, b batch, m memory tokens, d model width.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rmt_genomics.rmt.random_state import RandomState

Step = Callable[[Any, Tensor], Tensor]
"""Maps (segment, memory read) to the memory written; usually an ``nn.Module``."""


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
    check_run(segments, bptt_depth)
    if bptt_depth is None or bptt_depth >= len(segments):
        return torch.stack(list(each_memory(step, segments, memory)))
    return _unroll_cut(step, segments, memory, bptt_depth)


def check_run(segments: Sequence[Any], bptt_depth: int | None) -> None:
    """Raise ValueError if a run over segments was asked for that makes no sense."""
    if not len(segments):
        raise ValueError("segments is empty, but must hold at least one segment")
    if bptt_depth is not None and bptt_depth < 1:
        raise ValueError(f"bptt_depth is {bptt_depth}, but must be at least 1, or None for all")


def _unroll_cut(step: Step, segments: Sequence[Any], memory: Tensor, bptt_depth: int) -> Tensor:
    """Run each memory's last ``bptt_depth`` segments again, from a memory cut off the graph."""
    reads, states = [memory], []
    with torch.no_grad():
        for index in range(len(segments)):
            states.append(RandomState.now(memory.device))
            reads.append(step(segments[index], reads[-1]))
    after = RandomState.now(memory.device)
    written = []
    for last in range(len(segments)):
        first = max(0, last - bptt_depth + 1)
        current = reads[first] if first == 0 else reads[first].detach()
        for index in range(first, last + 1):
            states[index].restore()
            current = step(segments[index], current)
        written.append(current)
    after.restore()
    return torch.stack(written)
