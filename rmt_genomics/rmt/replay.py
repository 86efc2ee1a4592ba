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

from rmt_genomics.rmt.runtime import (
    AutocastState,
    Modes,
    RandomState,
    free_bytes,
    in_modes,
    modes_of,
    random_state_kept,
    with_saved_bytes,
)
from rmt_genomics.rmt.unroll import (
    Cache,
    RichStep,
    Step,
    Trail,
    Written,
    check_run,
    enriched,
    unroll_trail,
    without_gradient,
)


class Gradients:
    """Totals of the parameters and of the memory reached.

    Args:
        parameters: What gradients are gathered for.
        bptt_depth: How many segments each loss crosses; None = all.
    """

    def __init__(self, parameters: Sequence[Tensor], bptt_depth: int | None) -> None:
        self.parameters = list(parameters)
        self.bptt_depth = bptt_depth
        self.of_parameters: list[Tensor | None] = [None] * len(self.parameters)
        self.by_age: list[Tensor | None] = []
        self.of_output: Tensor | None = None
        self.has_vanished = False  # a gradient was there once, and became too small to go on

    @property
    def are_present(self) -> bool:
        """Whether any loss reaches the present segment."""
        return self.of_output is not None or any(each is not None for each in self.by_age)

    @property
    def of_memory(self) -> Tensor | None:
        """The gradient of the memory reached."""
        return _total(self.by_age)

    def start(self, of_memory: Tensor | None, of_output: Tensor | None) -> None:
        """Move on to an earlier segment and add the gradients of its own losses."""
        self.by_age.insert(0, of_memory)
        self.of_output = of_output

    def cross(self, read: Tensor, memory: Tensor, output: Tensor | None, *, is_first: bool) -> None:
        """Take the gradients over one segment, from what it wrote to the memory it read."""
        targets, total = [memory, output], [_total(self.by_age), self.of_output]
        if self.bptt_depth is None or is_first:
            self.by_age = [self._walk(targets, total, read)]
            return
        going_on = self.by_age[: self.bptt_depth - 1]
        own = [self.of_output, *(None for _ in going_on)]  # an output is a loss of age 0
        losses = [age for age, each in enumerate(self.by_age) if each is not None]
        losses = sorted({*losses, *([0] if self.of_output is not None else [])})
        crossed: list[Tensor | None] = [None] * len(going_on)
        if len(losses) == 1 and losses[0] < len(going_on):
            crossed[losses[0]] = self._walk(targets, total, read)
        else:
            for age, gradient in enumerate(going_on):
                over = _grad(targets, [gradient, own[age]], [read], keep=True)[0]
                crossed[age] = self._without_dust(over)
            self._add(_grad(targets, total, self.parameters))
        self.by_age = crossed

    def _walk(
        self, targets: list[Tensor | None], gradients: list[Tensor | None], read: Tensor
    ) -> Tensor | None:
        """Walk a segment's graph once, to the memory read and to the parameters."""
        crossed, *of_parameters = _grad(targets, gradients, [read, *self.parameters])
        self._add(of_parameters)
        return self._without_dust(crossed)

    def _without_dust(self, gradient: Tensor | None) -> Tensor | None:
        """Set to zero what is too small to be multiplied in its number format.

        What a CPU makes of such numbers is subnormal, costs it up to ten times as long, and is lost
        in any sum with an ordinary gradient. A GPU does not mind, and would have to be waited for.
        The range of float16 is too narrow for this.

        Returns:
            None if nothing is left.
        """
        if gradient is None or gradient.device.type != "cpu" or gradient.dtype == torch.float16:
            return gradient
        limits = torch.finfo(gradient.dtype)
        kept = gradient.masked_fill(gradient.abs() < limits.tiny / limits.eps, 0)
        if kept.any():
            return kept
        self.has_vanished = True
        return None

    def _add(self, gradients: Sequence[Tensor | None]) -> None:
        for index, gradient in enumerate(gradients):
            if gradient is not None:
                total = self.of_parameters[index]
                # a clone, since autograd may hand one tensor to two parameters
                self.of_parameters[index] = (
                    gradient.clone() if total is None else total.add_(gradient)
                )


def _grad(
    targets: Sequence[Tensor | None],
    gradients: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    *,
    keep: bool = False,
) -> Sequence[Tensor | None]:
    """Return ``autograd.grad`` of those targets that have a gradient; None where there is none."""
    present = [
        (target, gradient)
        for target, gradient in zip(targets, gradients, strict=True)
        if gradient is not None and target is not None and target.requires_grad
    ]
    if not present or not inputs:
        return [None] * len(inputs)
    found: Sequence[Tensor | None] = torch.autograd.grad(
        [target for target, _ in present],
        inputs,
        [gradient for _, gradient in present],
        retain_graph=keep,
        allow_unused=True,
    )
    return found


def _total(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """Add what is present; None if nothing is."""
    present = [gradient for gradient in gradients if gradient is not None]
    if len(present) > 1:
        return torch.stack(present).sum(dim=0)
    return present[0] if present else None


SHARE_OF_FREE_MEMORY = 0.25


class Rerun:
    """One run over segments: what backward needs that is not a tensor of its own.

    Args:
        step: The rich step.
        segments: What it reads.
        keep_segments: How many of the last segments keep their graph; "auto" = what fits.
        autocast: The caller's autocast setting.
    """

    def __init__(
        self,
        step: RichStep,
        segments: Sequence[Any],
        keep_segments: int | Literal["auto"],
        autocast: AutocastState,
    ) -> None:
        self.step = step
        self.segments = segments
        self.keep_segments = keep_segments
        self.autocast = autocast
        self.random_states: list[RandomState] = []
        self.kept: dict[int, tuple[Tensor, Written]] = {}
        self.last_cache: Cache = ()
        self.modes: Modes = {}

    def forward(
        self, memory: Tensor, cache: Cache, memory_device: torch.device
    ) -> tuple[Tensor, list[Cache], list[Tensor]]:
        """Run all segments; record graphs for the last ones only.

        Returns:
            The memories written ``[s, b, m, d]``, on ``memory_device``; the cache that each segment
            read, there too; and the outputs, if there are any.
        """
        memories = memory.new_empty(len(self.segments), *memory.shape, device=memory_device)
        caches: list[Cache] = []
        outputs: list[Tensor] = []
        first_kept = self._first_kept()
        for index in range(len(self.segments)):
            self._remember_random_state(memory)
            caches.append(tuple(tensor.to(memory_device) for tensor in cache))
            if first_kept is None:
                (_, wrote), first_kept = self._measured(memory, cache)
            elif index < first_kept:
                wrote = self.step(self.segments[index], memory, cache)
            else:
                self.kept[index] = self._with_graph(index, memory, cache)
                wrote = self.kept[index][1]
            memory, cache = wrote.memory.detach(), without_gradient(wrote.cache)
            memories[index] = memory
            if wrote.output is not None:
                outputs.append(wrote.output.detach())
        self.last_cache = cache
        return memories, caches, outputs

    def again(self, index: int, memory: Tensor, cache: Cache) -> tuple[Tensor, Written]:
        """Return the memory that a segment reads and what it writes, joined by a graph."""
        if index in self.kept:
            return self.kept.pop(index)  # freed by its one use
        with random_state_kept(memory.device), in_modes(self.modes):
            self.random_states[index].restore()
            return self._with_graph(
                index, memory, tuple(tensor.to(memory.device) for tensor in cache)
            )

    def _with_graph(self, index: int, memory: Tensor, cache: Cache) -> tuple[Tensor, Written]:
        """Run one segment and record its graph, from a memory that starts a new one."""
        read = memory.detach().requires_grad_()
        with torch.enable_grad(), self.autocast.again():
            # A view, not the leaf itself: PyTorch's module hooks (FlopCounterMode) refuse leaves.
            return read, self.step(self.segments[index], read.view_as(read), cache)

    def _first_kept(self) -> int | None:
        """Return the index of the first segment whose graph is kept; None = to be measured."""
        if self.keep_segments == "auto":
            return None
        return max(0, len(self.segments) - self.keep_segments)

    def _measured(self, memory: Tensor, cache: Cache) -> tuple[tuple[Tensor, Written], int]:
        """Run the first segment with its graph; see by its size which graphs can be kept."""
        free = free_bytes(memory.device)
        first, one = with_saved_bytes(lambda: self._with_graph(0, memory, cache))
        fitting = int(SHARE_OF_FREE_MEMORY * free / max(1, one))
        first_kept = max(0, len(self.segments) - max(1, fitting))
        if first_kept == 0:
            self.kept[0] = first
        return first, first_kept

    def _remember_random_state(self, memory: Tensor) -> None:
        state = RandomState.now(memory.device)
        self.random_states.append(
            state.same_or(self.random_states[-1]) if self.random_states else state
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
