"""Run a recurrent step over segments while keeping one segment's activations at a time.

``unroll`` keeps the activations of every segment until backward. ``replay`` keeps only the
memories that passed between segments; in backward it runs the segments again, last to first, and
hands the gradient of each memory to the segment that wrote it (memory replay back-propagation,
Wu et al. 2020, arXiv:2010.06891, algorithm 1). Value and gradients are those of ``unroll``; the
price is one more forward pass of all segments but the last, whose graph is kept.

Three things make the second run repeat the first: the same memory read, the same random state
(dropout masks), the same autocast setting. ``tests/equivalence/test_replay.py`` checks each.
Parameters are inputs of one autograd function, so DDP, gradient scaling and accumulation see
ordinary gradients.

Dimensions: s segments, b batch, m memory tokens, d model width.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rmt_genomics.rmt.random_state import AutocastState, RandomState, random_state_kept
from rmt_genomics.rmt.unroll import Step, check_run, unroll


def replay(
    step: Step,
    segments: Sequence[Any],
    memory: Float[Tensor, "b m d"],
    *,
    bptt_depth: int | None = None,
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
        parameters: What the step is trained by; None = those of ``step``, an ``nn.Module``.

    Returns:
        The memory written by every segment; ``[-1]`` is the last.

    Raises:
        ValueError: If there is no segment, ``bptt_depth`` is below 1, or ``step`` is no module
            and no parameters are given.
    """
    check_run(segments, bptt_depth)
    if parameters is None:
        if not isinstance(step, nn.Module):
            raise ValueError(
                f"parameters is None, but step is a {type(step).__name__} and no nn.Module: "
                "name the tensors it is trained by, or they would get no gradient"
            )
        parameters = step.parameters()
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not (torch.is_grad_enabled() and (trained or memory.requires_grad)):
        return unroll(step, segments, memory)  # nothing to replay: no graph is recorded
    run = _Run(step, segments, bptt_depth, AutocastState.now(memory.device))
    return cast(Tensor, _Replay.apply(run, memory, *trained))  # type: ignore[no-untyped-call]


class _Run:
    """One run over segments: what backward needs that is not a tensor."""

    def __init__(
        self,
        step: Step,
        segments: Sequence[Any],
        bptt_depth: int | None,
        autocast: AutocastState,
    ) -> None:
        self.step = step
        self.segments = segments
        self.bptt_depth = bptt_depth if bptt_depth and bptt_depth < len(segments) else None
        self.autocast = autocast
        self.random_states: list[RandomState] = []
        self.kept: tuple[Tensor, Tensor] | None = None

    def forward(self, memory: Tensor) -> list[Tensor]:
        """Run all segments; record a graph for the last one only."""
        written: list[Tensor] = []
        last = len(self.segments) - 1
        for index in range(last):
            self._remember_random_state(memory)
            memory = self.step(self.segments[index], memory)
            written.append(memory)
        self._remember_random_state(memory)
        self.kept = self._with_graph(last, memory)
        return [*written, self.kept[1].detach()]

    def again(self, index: int, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return segment ``index``'s memories, read and written, joined by a graph."""
        if index == len(self.segments) - 1 and self.kept is not None:
            kept, self.kept = self.kept, None  # freed by its one use
            return kept
        with random_state_kept(memory.device):
            self.random_states[index].restore()
            return self._with_graph(index, memory)

    def _with_graph(self, index: int, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Run one segment and record its graph, from a memory that starts a new one."""
        read = memory.detach().requires_grad_()
        with torch.enable_grad(), self.autocast.again():
            # A view, not the leaf itself: PyTorch's module hooks (FlopCounterMode) refuse leaves.
            return read, self.step(self.segments[index], read.view_as(read))

    def _remember_random_state(self, memory: Tensor) -> None:
        state = RandomState.now(memory.device)
        self.random_states.append(
            state.same_or(self.random_states[-1]) if self.random_states else state
        )


class _Replay(torch.autograd.Function):
    """Parameters are inputs, so autograd and DDP see their gradients in the usual way."""

    @staticmethod
    def forward(ctx: Any, run: _Run, memory: Tensor, *parameters: Tensor) -> Tensor:
        written = torch.stack(run.forward(memory))
        ctx.save_for_backward(memory, written, *parameters)
        ctx.run = run
        return written

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        memory, written, *parameters = ctx.saved_tensors
        (grad_written,) = grad_outputs
        gradients = _Gradients(parameters, ctx.run.bptt_depth)
        has_loss = grad_written.ne(0).flatten(1).any(dim=1).tolist()  # waits for the device once
        for index in reversed(range(len(written))):
            gradients.start(grad_written[index] if has_loss[index] else None)
            if gradients.are_present:
                read, wrote = ctx.run.again(index, written[index - 1] if index else memory)
                gradients.cross(read, wrote, is_first=index == 0)
        return None, gradients.of_memory if memory.requires_grad else None, *gradients.of_parameters


class _Gradients:
    """What has been gathered on the way from the last segment to the first.

    ``by_age[a]`` is the gradient, at the memory reached, of the losses that stand ``a`` segments
    later. Ages are kept apart so that each loss stops exactly ``bptt_depth`` segments back;
    without a depth all losses are one.
    """

    def __init__(self, parameters: list[Tensor], bptt_depth: int | None) -> None:
        self.parameters = parameters
        self.bptt_depth = bptt_depth
        self.of_parameters: list[Tensor | None] = [None] * len(parameters)
        self.by_age: list[Tensor | None] = []

    @property
    def are_present(self) -> bool:
        """Whether any loss reaches the present memory."""
        return any(gradient is not None for gradient in self.by_age)

    @property
    def of_memory(self) -> Tensor | None:
        """The gradient of the memory reached."""
        return _total(self.by_age)

    def start(self, gradient: Tensor | None) -> None:
        """Move on to an earlier memory and add the gradient of the losses read from it."""
        self.by_age.insert(0, gradient)

    def cross(self, read: Tensor, wrote: Tensor, *, is_first: bool) -> None:
        """Take the gradients over one segment, from the memory it wrote to the one it read."""
        total = _total(self.by_age)
        if self.bptt_depth is None or is_first:
            self.by_age = [self._cross_together(read, wrote, total)]
            return
        going_on = self.by_age[: self.bptt_depth - 1]
        if all(gradient is None for gradient in self.by_age[len(going_on) :]) and (
            sum(gradient is not None for gradient in going_on) == 1
        ):
            crossed = self._cross_together(read, wrote, total)
            self.by_age = [None if gradient is None else crossed for gradient in going_on]
            return
        self.by_age = [
            None
            if gradient is None
            else torch.autograd.grad(wrote, read, gradient, retain_graph=True)[0]
            for gradient in going_on
        ]
        self._add(torch.autograd.grad(wrote, self.parameters, total, allow_unused=True))

    def _cross_together(
        self, read: Tensor, wrote: Tensor, gradient: Tensor | None
    ) -> Tensor | None:
        """Take one gradient to the read memory and the parameters in one walk of the graph."""
        crossed, *of_parameters = torch.autograd.grad(
            wrote, [read, *self.parameters], gradient, allow_unused=True
        )
        self._add(of_parameters)
        return crossed

    def _add(self, gradients: Sequence[Tensor | None]) -> None:
        for index, gradient in enumerate(gradients):
            if gradient is not None:
                total = self.of_parameters[index]
                # a clone, since autograd may hand one tensor to two parameters
                self.of_parameters[index] = (
                    gradient.clone() if total is None else total.add_(gradient)
                )


def _total(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """Add what is present; None if nothing is."""
    present = [gradient for gradient in gradients if gradient is not None]
    if len(present) > 1:
        return torch.stack(present).sum(dim=0)
    return present[0] if present else None
