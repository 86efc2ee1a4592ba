"""Run segments without a graph, and later any one of them again with one, just as before.

``Rerun`` is the half of replay that is about segments; ``gradients`` is the half about gradients.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from rmt_genomics.rmt.free_memory import free_bytes, with_saved_bytes
from rmt_genomics.rmt.modes import Modes, in_modes
from rmt_genomics.rmt.random_state import AutocastState, RandomState, random_state_kept
from rmt_genomics.rmt.unroll import Cache, RichStep, Written, without_gradient

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
