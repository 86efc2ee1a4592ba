"""Run a recurrent step over segments while keeping one segment's activations at a time.

``unroll`` keeps the activations of every segment until backward. ``replay`` keeps only the
memories that passed between segments; in backward it runs the segments again, last to first, and
hands the gradient of each memory to the segment that wrote it (memory replay back-propagation,
Wu et al. 2020, arXiv:2010.06891, algorithm 1). Value and gradients are those of ``unroll``; the
price is one more forward pass of all segments but the last ones, whose graphs are kept. Segments
that no gradient reaches any more are not run again.

Three things make the second run repeat the first: the same memory read, the same random state
(dropout masks), the same autocast setting. ``tests/equivalence/test_replay.py`` checks each.
Parameters are inputs of one autograd function, so DDP, gradient scaling and accumulation see
ordinary gradients.

Dimensions: s segments, b batch, m memory tokens, d model width.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from rmt_genomics.rmt.gradients import Gradients
from rmt_genomics.rmt.modes import modes_of
from rmt_genomics.rmt.random_state import AutocastState
from rmt_genomics.rmt.rerun import Rerun
from rmt_genomics.rmt.unroll import (
    Cache,
    RichStep,
    Step,
    Trail,
    check_run,
    enriched,
    unroll_trail,
)

KeepSegments = int | Literal["auto"]


def replay(
    step: Step,
    segments: Sequence[Any],
    memory: Float[Tensor, "b m d"],
    *,
    bptt_depth: int | None = None,
    keep_segments: KeepSegments = 1,
    memory_device: torch.device | None = None,
    parameters: Iterable[Tensor] | None = None,
) -> Float[Tensor, "s b m d"]:
    """Compute what ``unroll`` computes, in the activation memory of one segment.

    Args:
        step: Maps (segment, memory read) to the memory written. Must compute the same thing when
            called again; gradients reach ``parameters`` and ``memory``, and nothing else.
        segments: What the step reads, in reading order; at least one.
        memory: What the first segment reads.
        bptt_depth: How many segments the gradient of each written memory crosses, its own
            included; None = all. The gradient beyond is exactly zero.
        keep_segments: How many of the last segments keep their graph and are not run again;
            "auto" = as many as a quarter of the free memory holds.
        memory_device: Where written memories are kept and returned; None = where they are.
        parameters: What the step is trained by; None = those of ``step``, an ``nn.Module``.

    Returns:
        The memory written by every segment; ``[-1]`` is the last.

    Raises:
        ValueError: If there is no segment, ``bptt_depth`` or ``keep_segments`` is below 1, or
            ``step`` is no module and no parameters are given.
    """
    return replay_trail(
        enriched(step),
        segments,
        memory,
        bptt_depth=bptt_depth,
        keep_segments=keep_segments,
        memory_device=memory_device,
        parameters=_parameters_of(step, parameters),
        modules=step if isinstance(step, nn.Module) else None,
    ).memories


def replay_trail(  # noqa: PLR0913  # replay's arguments, and the cache
    step: RichStep,
    segments: Sequence[Any],
    memory: Float[Tensor, "b m d"],
    cache: Cache = (),
    *,
    bptt_depth: int | None = None,
    keep_segments: KeepSegments = 1,
    memory_device: torch.device | None = None,
    parameters: Iterable[Tensor] | None = None,
    modules: nn.Module | None = None,
) -> Trail:
    """Do as ``replay`` for a rich step; ``cache`` is what the first segment finds in it.

    A cache is kept for every segment: with XL memories that is what grows. ``modules`` are those
    that the step runs (None = the step itself): they are run again in the mode they are in now.
    """
    check_run(segments, bptt_depth)
    if isinstance(keep_segments, int) and keep_segments < 1:
        raise ValueError(f"keep_segments is {keep_segments}, but must be at least 1, or 'auto'")
    trained = [each for each in _parameters_of(step, parameters) if each.requires_grad]
    _refuse_hooks(trained)
    if not (torch.is_grad_enabled() and (trained or memory.requires_grad)):
        trail = unroll_trail(step, segments, memory, cache)  # no graph is recorded
        return trail._replace(memories=trail.memories.to(memory_device or memory.device))
    run = Rerun(step, segments, keep_segments, AutocastState.now(memory.device))
    if modules is None and isinstance(step, nn.Module):
        modules = step
    if modules is not None:
        run.modes = modes_of(modules)
    depth = bptt_depth if bptt_depth and bptt_depth < len(segments) else None
    memories, *outputs = _Replay.apply(  # type: ignore[no-untyped-call]
        run, depth, memory_device or memory.device, memory, cache, *trained
    )
    return Trail(memories, tuple(outputs), run.last_cache)


def _parameters_of(step: Any, given: Iterable[Tensor] | None) -> list[Tensor]:
    """Return the tensors a step is trained by."""
    if given is not None:
        return list(given)
    if not isinstance(step, nn.Module):
        raise ValueError(
            f"parameters is None, but step is a {type(step).__name__} and no nn.Module: "
            "name the tensors it is trained by, or they would get no gradient"
        )
    return list(step.parameters())


def _refuse_hooks(parameters: Iterable[Tensor]) -> None:
    """Raise ValueError for hooks that would run in every segment and once more on the total."""
    if any(getattr(parameter, "_backward_hooks", None) for parameter in parameters):
        raise ValueError(
            "a trained parameter has a hook (Tensor.register_hook), but replay would call it once "
            "a segment. Use register_post_accumulate_grad_hook, which sees the total."
        )


class _Replay(torch.autograd.Function):
    """Parameters are inputs, so autograd and DDP see their gradients in the usual way."""

    @staticmethod
    def forward(
        ctx: Any,
        run: Rerun,
        bptt_depth: int | None,
        memory_device: torch.device,
        memory: Tensor,
        cache: Cache,
        *parameters: Tensor,
    ) -> tuple[Tensor, ...]:
        memories, caches, outputs = run.forward(memory, cache, memory_device)
        flat_caches = [tensor for each in caches for tensor in each]
        ctx.save_for_backward(memory, memories, *flat_caches, *parameters)
        ctx.run, ctx.bptt_depth = run, bptt_depth
        ctx.cache_sizes = [len(each) for each in caches]
        ctx.set_materialize_grads(False)  # a loss that reads no memory costs no zeros
        return memories, *outputs

    @staticmethod
    @once_differentiable  # a second derivative would be cut without a word
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Any, ...]:
        memory, memories, *rest = ctx.saved_tensors
        caches = [tuple(rest.pop(0) for _ in range(size)) for size in ctx.cache_sizes]
        grad_memories, *grad_of_output = grad_outputs
        gradients = Gradients(rest, ctx.bptt_depth)
        reads = [memory, *memories[:-1]]
        for index, has_loss in reversed(list(enumerate(_with_loss(grad_memories, len(reads))))):
            assert grad_memories is not None or not has_loss
            gradients.start(
                grad_memories[index].to(memory.device) if has_loss else None,  # type: ignore[index]
                grad_of_output[index] if grad_of_output else None,
            )
            if gradients.are_present:
                read, wrote = ctx.run.again(index, reads[index].to(memory.device), caches[index])
                gradients.cross(read, wrote.memory, wrote.output, is_first=index == 0)
        of_memory = gradients.of_memory
        if of_memory is None and gradients.has_vanished:
            of_memory = torch.zeros_like(memory)
        of_memory = of_memory if memory.requires_grad else None
        return None, None, None, of_memory, None, *gradients.of_parameters


def _with_loss(grad_memories: Tensor | None, num_segments: int) -> list[bool]:
    """Say which memories have a gradient of their own; waits for the device once."""
    if grad_memories is None:
        return [False] * num_segments
    return [bool(each) for each in grad_memories.ne(0).flatten(1).any(dim=1).tolist()]
