"""Run a recurrent step over segments while keeping one segment's activations at a time.

``unroll`` keeps the activations of every segment until backward. ``replay`` keeps only the
memories that passed between segments (memory replay back-propagation, Wu et al. 2020,
arXiv:2010.06891, algorithm 1). Value and gradients are those of ``unroll``; the price is one more
forward pass of all segments but the last ones, whose graphs are saved.

The algorithm, in the order of this file:

1. ``_Replay.forward`` runs all segments (``_SegmentRunner.run``) and saves what each one read.
2. ``_Replay.backward`` goes through the segments from last to first. Each one that a gradient
   reaches is run again with a graph (``_SegmentRunner.recompute``).
3. ``_GradientSums.backward_through`` takes the gradients back over that segment, to the memory it
   read, and adds up the gradients of the parameters.

Segments may hold *inputs* whose gradient is wanted (``InputGradients``): each is handed out as soon
as backward has gone over its segment, so that no more than one is held.

Four things make the second run repeat the first: the same memory read, random state (dropout
masks), autocast setting and modules (``_ModuleState``). Parameters are inputs of one autograd
function, so DDP, hooks, gradient scaling and accumulation see ordinary gradients; a step that uses
any other trained tensor is refused. docs/explanation/replay.md lists what may be around a step.

Dimensions: s segments, b batch, m memory tokens, d model width.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import Node, get_gradient_edge
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_leaves, tree_map_only

from rmt_genomics.rmt.config import as_declared
from rmt_genomics.rmt.memory import Cache, detached
from rmt_genomics.rmt.runtime import (
    RandomState,
    capture_autocast,
    free_bytes,
    measure_saved_bytes,
)
from rmt_genomics.rmt.unroll import (
    RunOutput,
    Step,
    StepOutput,
    StepWithCache,
    check_run,
    gradients_of,
    unroll_with_outputs,
    with_empty_cache,
)

FRACTION_FOR_GRAPHS = 0.25
"""Of the free memory: what the saved graphs may take with ``keep_segments="auto"``."""

KeepSegments = int | Literal["auto"]


class InputGradients(NamedTuple):
    """How replay gets at what a segment holds, and who receives its gradient.

    Attributes:
        attach: Maps a segment to the same segment around a new leaf of the autograd graph, and that
            leaf: a tensor that requires a gradient.
        receive: Called in backward with the index of a segment and the gradient of its leaf, from
            the last segment to the first; not for one that no gradient reaches.
    """

    attach: Callable[[Any], tuple[Any, Tensor]]
    receive: Callable[[int, Tensor], None]


_MODULE_ATTRIBUTES = frozenset(vars(nn.Module()))


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
        step: Maps (segment, memory read) to the memory written. Must compute the same when called
            again; gradients reach ``parameters`` and ``memory``, and nothing else may need one.
        segments: What the step reads, in reading order; at least one.
        memory: What the first segment reads.
        bptt_depth: How many segments the gradient of each written memory crosses, its own
            included; None = all. The gradient beyond is exactly zero.
        keep_segments: How many of the last segments keep their graph and are not run again;
            "auto" = as many as a quarter of the free memory holds.
        memory_device: Where written memories are kept and returned; None = where they are.
        parameters: The trained tensors of the step; None = those of ``step``, an ``nn.Module``.

    Returns:
        The memory written by every segment; ``[-1]`` is the last.

    Raises:
        ValueError: If there is no segment, ``bptt_depth`` or ``keep_segments`` is below 1,
            ``step`` is no module and no parameters are given, or a gradient would be wrong.
        RuntimeError: Inside ``torch.func``.
    """
    return replay_with_outputs(
        with_empty_cache(step),
        segments,
        memory,
        bptt_depth=bptt_depth,
        keep_segments=keep_segments,
        memory_device=memory_device,
        parameters=parameters,
        module=step if isinstance(step, nn.Module) else None,
    ).memories


def replay_with_outputs(  # noqa: PLR0913  # replay's arguments, the cache and the module
    step: StepWithCache,
    segments: Sequence[Any],
    memory: Float[Tensor, "b m d"],
    cache: Cache = (),
    *,
    bptt_depth: int | None = None,
    keep_segments: KeepSegments = 1,
    memory_device: torch.device | None = None,
    parameters: Iterable[Tensor] | None = None,
    module: nn.Module | None = None,
    inputs: InputGradients | None = None,
    known: RunOutput | None = None,
) -> RunOutput:
    """Do as ``replay`` for a step with cache; the first segment reads ``cache``.

    The cache that each segment read is kept too: with XL memories that is what grows. ``module``
    (None = the step) holds the parameters, and is as it was when a segment is run again. With
    ``inputs``, backward also hands out the gradient of what each segment holds. ``known`` is the
    result of the same run, of a step without a cache: then forward computes nothing.
    """
    check_run(segments, bptt_depth)
    if keep_segments != "auto" and as_declared("keep_segments", int, keep_segments) < 1:
        raise ValueError(f"keep_segments is {keep_segments}, but must be at least 1, or 'auto'")
    if module is None and isinstance(step, nn.Module):
        module = step
    if parameters is None:
        if module is None:
            raise ValueError(
                "parameters is None, but step is no nn.Module. Pass the tensors that are trained, "
                "or they would get no gradient."
            )
        parameters = module.parameters()
    trained = [tensor for tensor in dict.fromkeys(parameters) if tensor.requires_grad]
    if inputs is not None and torch.is_grad_enabled() and not (trained or memory.requires_grad):
        memory = memory.detach().requires_grad_()  # else backward would not be called
    if not (torch.is_grad_enabled() and (trained or memory.requires_grad)):
        output = unroll_with_outputs(step, segments, memory, cache, bptt_depth=bptt_depth)
        return output._replace(memories=output.memories.to(memory_device or memory.device))
    autocast = capture_autocast(memory.device)
    state = _ModuleState(module, trained)
    runner = _SegmentRunner(step, segments, keep_segments, autocast, state, inputs, known)
    depth = bptt_depth if bptt_depth and bptt_depth < len(segments) else None
    run: Callable[..., tuple[Tensor, ...]] = _Replay.apply
    if torch.compiler.is_compiling():  # the caller is compiled; the step may be, this must not
        run = torch.compiler.disable(run)  # type: ignore[no-untyped-call]
    memories, *outputs = run(runner, depth, memory_device or memory.device, memory, cache, *trained)
    return RunOutput(memories, tuple(outputs), runner.last_cache)


class _Replay(torch.autograd.Function):
    """All segments as one operation whose inputs are the first memory and the parameters."""

    @staticmethod
    def forward(
        ctx: Any,
        runner: "_SegmentRunner",
        bptt_depth: int | None,
        memory_device: torch.device,
        memory: Tensor,
        cache: Cache,
        *parameters: Tensor,
    ) -> tuple[Tensor, ...]:
        runner.modules.check_own_leaves()
        with runner.modules.as_in_forward():
            memories, caches, outputs = runner.run(memory, cache, memory_device)
        flat_caches = [tensor for cache in caches for tensor in cache]
        # Parameters and buffers are saved so that autograd raises if they change before backward.
        module = runner.modules.module
        constants = dict.fromkeys([*parameters, *module.parameters(), *module.buffers()])
        ctx.save_for_backward(memory, memories, *flat_caches, *constants)
        ctx.runner, ctx.bptt_depth = runner, bptt_depth
        ctx.cache_sizes = [len(cache) for cache in caches]
        ctx.output_indices = list(outputs)
        ctx.set_materialize_grads(False)  # no zeros where a loss reads no memory
        return memories, *outputs.values()

    @staticmethod
    @once_differentiable  # otherwise a second derivative would be wrong without a message
    def backward(
        ctx: Any, grad_memories: Tensor | None, *grads_present: Tensor | None
    ) -> tuple[Any, ...]:
        ctx.runner.modules.check_own_leaves()
        memory, memories, *rest = ctx.saved_tensors
        caches = [tuple(rest.pop(0) for _ in range(size)) for size in ctx.cache_sizes]
        memories_read = [memory, *memories[:-1]]
        grad_outputs = dict(zip(ctx.output_indices, grads_present, strict=True))
        sums = _GradientSums(list(ctx.runner.modules.leaves.values()), ctx.bptt_depth)
        has_loss = [False] * len(memories_read)
        if grad_memories is not None:  # one transfer from the device for all segments
            has_loss = grad_memories.ne(0).flatten(1).any(dim=1).tolist()
        for index in reversed(range(len(memories_read))):
            sums.add_losses(
                grad_memories[index].to(memory.device)
                if grad_memories is not None and has_loss[index]
                else None,
                grad_outputs.get(index),
            )
            if sums.has_gradient:  # otherwise the segment is not run again
                graph = ctx.runner.recompute(
                    index, memories_read[index].to(memory.device), caches[index]
                )
                grad_input = sums.backward_through(graph, is_first=index == 0)
                if grad_input is not None:
                    ctx.runner.inputs.receive(index, grad_input)
        grad_memory = sums.grad_memory if memory.requires_grad else None
        if grad_memory is None and sums.underflowed and memory.requires_grad:
            grad_memory = torch.zeros_like(memory)
        return None, None, None, grad_memory, None, *sums.grad_parameters


class _Graph(NamedTuple):
    """What a segment wrote, joined by a graph to the memory it read, and to its input if wanted."""

    read: Tensor
    written: StepOutput
    leaf: Tensor | None = None


@dataclass(eq=False)
class _SegmentRunner:
    """Runs segments, and runs each of them again in backward as it ran the first time."""

    step: StepWithCache
    segments: Sequence[Any]
    keep_segments: KeepSegments
    autocast: Callable[[], torch.autocast]  # makes contexts with the caller's autocast setting
    modules: "_ModuleState"
    inputs: InputGradients | None = None
    known: RunOutput | None = None
    random_states: list[RandomState] = field(default_factory=list)
    saved_graphs: dict[int, _Graph] = field(default_factory=dict)
    last_cache: Cache = ()

    def run(
        self, memory: Tensor, cache: Cache, memory_device: torch.device
    ) -> tuple[Tensor, list[Cache], dict[int, Tensor]]:
        """Run all segments; save the graphs of the last ones only.

        Returns:
            The memories written ``[s, b, m, d]``, on ``memory_device``; the cache that each segment
            read, there too; and the outputs of the segments that have one, by index.
        """
        if self.known is not None:
            self.random_states = [RandomState.current(memory.device)] * len(self.segments)
            found = dict(enumerate(each.detach().clone() for each in self.known.outputs))
            known_memories = self.known.memories.detach().to(memory_device).clone()
            return known_memories, [()] * len(self.segments), found
        memories = memory  # allocated when the first segment has shown its type
        caches: list[Cache] = []
        outputs: dict[int, Tensor] = {}
        keep = self.keep_segments
        first_saved = None if keep == "auto" else max(0, len(self.segments) - keep)
        for index, segment in enumerate(self.segments):
            self.modules.check_sources(segment)
            state = RandomState.current(memory.device)
            if self.random_states and state.equals(self.random_states[-1]):
                state = self.random_states[-1]  # without dropout one copy serves all segments
            self.random_states.append(state)
            caches.append(tuple(tensor.to(memory_device) for tensor in cache))
            if first_saved is None:
                written, first_saved = self._run_measured(memory, cache)
            elif index < first_saved:
                written = self.step(segment, memory, cache)
            else:
                self.saved_graphs[index] = self._run_with_graph(index, memory, cache)
                written = self.saved_graphs[index].written
            memory, cache = written.memory.detach(), detached(written.cache)
            if index == 0:
                memories = memory.new_empty(len(self.segments), *memory.shape, device=memory_device)
            memories[index] = memory
            if written.output is not None:
                outputs[index] = written.output.detach()
        self.last_cache = cache
        return memories, caches, outputs

    def recompute(self, index: int, memory: Tensor, cache: Cache) -> _Graph:
        """Return the memory that a segment reads and what it writes, joined by a graph."""
        if index in self.saved_graphs:
            return self.saved_graphs.pop(index)  # backward frees it
        cache = tuple(tensor.to(memory.device) for tensor in cache)
        before = RandomState.current(memory.device)
        try:
            self.random_states[index].restore()
            with self.modules.as_in_forward():
                return self._run_with_graph(index, memory, cache)
        finally:
            before.restore()

    def _run_with_graph(self, index: int, memory: Tensor, cache: Cache) -> _Graph:
        """Run one segment with a graph that begins at the memory it reads, and at its input."""
        read = memory.detach().requires_grad_()
        segment, leaf = self.segments[index], None
        # Backward may be called in inference mode, where no graph is recorded.
        with torch.inference_mode(mode=False), torch.enable_grad(), self.autocast():
            if self.inputs is not None:
                segment, leaf = self.inputs.attach(segment)
            # A view, not the leaf itself: PyTorch's module hooks (FlopCounterMode) refuse leaves.
            written = self.step(segment, read.view_as(read), cache)
            if index in (0, len(self.segments) - 1):  # in each it would take a tenth of the time
                sources = [read] if leaf is None else [read, leaf]
                self.modules.check_sources([written.memory, written.output], *sources)
        return _Graph(read, written, leaf)

    def _run_measured(self, memory: Tensor, cache: Cache) -> tuple[StepOutput, int]:
        """Run the first segment, and choose by its size the first one whose graph is saved."""
        free = free_bytes(memory.device)
        graph, size = measure_saved_bytes(lambda: self._run_with_graph(0, memory, cache))
        fitting = int(FRACTION_FOR_GRAPHS * free / max(1, size))
        first_saved = max(0, len(self.segments) - max(1, fitting))
        if first_saved == 0:
            self.saved_graphs[0] = graph
        return graph.written, first_saved


class _ModuleState:
    """The modules of a step as they were in forward, with *leaves* in place of trained parameters.

    A leaf shares a parameter's storage, but has no hooks and no history. Gradients are computed for
    leaves and returned for parameters: so hooks, and what a parameter was computed from, see the
    sum over all segments, once. A trained tensor that no module holds is its own leaf.
    """

    def __init__(self, module: nn.Module | None, trained: Sequence[Tensor]) -> None:
        self.module = nn.Module() if module is None else module
        held = dict.fromkeys(self.module.parameters())
        self.leaves = {
            tensor: nn.Parameter(tensor.detach()) if tensor in held else tensor
            for tensor in trained
        }
        self.nodes = {get_gradient_edge(leaf).node for leaf in self.leaves.values()}
        self.attributes = {
            part: {name: self._with_leaves(name, value) for name, value in vars(part).items()}
            for part in self.module.modules()
        }
        kinds = {kind.__name__ for part in self.attributes for kind in type(part).__mro__}
        for kind in kinds & {"DistributedDataParallel", "FullyShardedDataParallel", "FSDPModule"}:
            raise ValueError(
                f"the step holds a {kind}, which gathers parameters or sums gradients in its own "
                "forward and backward only. Wrap the module whose forward calls replay, and none "
                "in it (FSDP2: call fully_shard once)."
            )

    def _with_leaves(self, name: str, value: Any) -> Any:
        """Copy an attribute of nn.Module (parameters, hooks), or one that holds a parameter."""
        if name in _MODULE_ATTRIBUTES or not self.leaves.keys().isdisjoint(_tensors(value)):
            return tree_map_only(Tensor, lambda tensor: self.leaves.get(tensor, tensor), value)
        return value

    @contextmanager
    def as_in_forward(self) -> Iterator[None]:
        """Give the modules what they held in forward; at the end, what they hold now or wrote."""
        now = {part: vars(part) for part in self.attributes}
        # Parametrizations are computed in each segment: parametrize.cached() would share one graph.
        cache_level, parametrize._cache_enabled = parametrize._cache_enabled, 0
        try:
            for part, attributes in self.attributes.items():
                object.__setattr__(part, "__dict__", dict(attributes))
            before = self._buffer_versions()
            yield
            if before != self._buffer_versions():
                raise ValueError(
                    "the step changes a buffer whenever it runs (as batch norm and spectral norm "
                    "do in training mode), so replay cannot repeat it. Call eval() on that part, "
                    "or use unroll."
                )
        finally:
            parametrize._cache_enabled = cache_level
            for part, attributes in now.items():
                noted, held = self.attributes[part], vars(part)
                written = {key: held[key] for key in held if held[key] is not noted.get(key)}
                object.__setattr__(part, "__dict__", attributes)
                attributes.update(written)

    def _buffer_versions(self) -> list[tuple[int, int]]:
        """Return what differs after a buffer was changed or replaced."""
        buffers = [buffer for part in self.attributes for buffer in part._buffers.values()]
        return [(id(buffer), buffer._version) for buffer in buffers if buffer is not None]

    def check_own_leaves(self) -> None:
        """Raise ValueError if a tensor that no module holds would get a wrong gradient."""
        own = [tensor for tensor, leaf in self.leaves.items() if tensor is leaf]
        before = [edge for one in own if one.grad_fn for edge in one.grad_fn.next_functions]
        if any(tensor._backward_hooks for tensor in own) or self.nodes & {*_graph_nodes(before)}:
            raise ValueError(
                "a trained tensor has a hook (Tensor.register_hook) or was computed from another "
                "one, but no module of the step holds it: replay would call the hook once per "
                "segment or count the gradient twice. Pass an nn.Module that holds it."
            )

    def check_sources(self, values: Any, *read: Tensor) -> None:
        """Raise ValueError if a tensor in ``values`` leads to one whose gradient would be lost."""
        tensors = [tensor for tensor in _tensors(values) if tensor.requires_grad]
        stop = self.nodes | {get_gradient_edge(tensor).node for tensor in read}
        for node in _graph_nodes(map(get_gradient_edge, tensors), stop):
            if node.name() == "torch::autograd::AccumulateGrad":
                raise ValueError(
                    f"the step uses a tensor of shape {tuple(node.variable.shape)} that requires a "
                    "gradient, or one computed from it, but it is not in parameters, so its "
                    "gradient would be lost. Add it there, detach it, or use unroll."
                )


def _tensors(values: Any) -> list[Tensor]:
    """Return the tensors in nested lists, tuples and dictionaries."""
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _graph_nodes(edges: Iterable[Any], stop: Iterable[Node] = ()) -> Iterator[Any]:
    """Yield the nodes of a graph from these edges back, without ``stop`` and what is before."""
    waiting, seen = list(edges), {None, *stop}
    while waiting:
        node = waiting.pop()[0]
        if node not in seen:
            seen.add(node)
            yield node
            waiting.extend(node.next_functions)


class _GradientSums:
    """Sums of the gradients of all losses, while backward goes from the last segment to the first.

    ``grad_by_distance[k]`` is the gradient, for the memory reached, of the losses that are k
    segments later. With a ``bptt_depth`` they are kept apart, since each may cross that many
    segments; without one, entry 1 holds all later losses.
    """

    def __init__(self, parameters: Sequence[Tensor], bptt_depth: int | None) -> None:
        self.parameters = parameters
        self.bptt_depth = bptt_depth
        self.grad_parameters: list[Tensor | None] = [None] * len(parameters)
        self.grad_by_distance: list[Tensor | None] = []
        self.grad_output: Tensor | None = None
        self.grad_input: Tensor | None = None  # of the present segment
        self.underflowed = False  # a gradient became too small and was dropped

    @property
    def has_gradient(self) -> bool:
        """Whether any loss reaches the present segment."""
        gradients = [self.grad_output, *self.grad_by_distance]
        return any(gradient is not None for gradient in gradients)

    @property
    def grad_memory(self) -> Tensor | None:
        """The gradient of the memory reached; None if no loss reaches it."""
        present = [gradient for gradient in self.grad_by_distance if gradient is not None]
        if len(present) > 1:
            return torch.stack(present).sum(dim=0)
        return present[0] if present else None

    def add_losses(self, grad_memory: Tensor | None, grad_output: Tensor | None) -> None:
        """Move on to an earlier segment and add the gradients of what it wrote."""
        self.grad_by_distance.insert(0, grad_memory)
        self.grad_output = grad_output

    def backward_through(self, graph: _Graph, *, is_first: bool) -> Tensor | None:
        """Take the gradients back over one segment, whose graph is freed.

        Returns:
            The gradient of the segment's input, if it is wanted and not zero.
        """
        read, written, leaf = graph
        targets = [written.memory, written.output]
        gradients = [self.grad_memory, self.grad_output]
        self.grad_input = None
        if self.bptt_depth is None or is_first:  # nothing has to be kept apart
            self.grad_by_distance = [self._to_all(targets, gradients, read, leaf)]
            return self.grad_input
        # Losses that have crossed bptt_depth - 1 segments end here: they reach the parameters only.
        going_on = self.grad_by_distance[: self.bptt_depth - 1]
        has_loss = [gradient is not None for gradient in self.grad_by_distance]
        has_loss[0] = has_loss[0] or self.grad_output is not None
        crossed: list[Tensor | None] = [None] * len(going_on)
        if sum(has_loss) == 1 and has_loss.index(True) < len(going_on):
            distance = has_loss.index(True)
            crossed[distance] = self._to_all(targets, gradients, read, leaf)
        else:  # one pass per distance, and one for the parameters
            for distance, gradient in enumerate(going_on):
                own = [gradient, self.grad_output if distance == 0 else None]
                (grad_read,) = gradients_of(targets, own, [read], retain_graph=True)
                crossed[distance] = self._flush_subnormals(grad_read)
            inputs = [*self.parameters, *([] if leaf is None else [leaf])]
            self._add_up(gradients_of(targets, gradients, inputs))
        self.grad_by_distance = crossed
        return self.grad_input

    def _to_all(
        self,
        targets: list[Tensor | None],
        gradients: list[Tensor | None],
        read: Tensor,
        leaf: Tensor | None,
    ) -> Tensor | None:
        """Go through the graph once, for the memory read, for the parameters and for the input."""
        inputs = [read, *self.parameters, *([] if leaf is None else [leaf])]
        grad_read, *others = gradients_of(targets, gradients, inputs)
        self._add_up(others)
        return self._flush_subnormals(grad_read)

    def _add_up(self, gradients: Sequence[Tensor | None]) -> None:
        """Add one segment's gradients of the parameters to their sums; keep that of the input."""
        grad_parameters = gradients[: len(self.parameters)]
        if len(gradients) > len(self.parameters):
            self.grad_input = gradients[-1]
        for index, gradient in enumerate(grad_parameters):
            if gradient is not None:
                total = self.grad_parameters[index]
                # a clone, since autograd may return one tensor for two parameters
                self.grad_parameters[index] = (
                    gradient.clone() if total is None else total.add_(gradient)
                )

    def _flush_subnormals(self, gradient: Tensor | None) -> Tensor | None:
        """Set to zero what would become subnormal when multiplied; None if nothing is left.

        Subnormal numbers make a CPU up to ten times slower and are lost in any sum with an
        ordinary gradient. A GPU is not slowed down, and the check would wait for it. The range of
        float16 is too narrow for this.
        """
        if gradient is None or gradient.device.type != "cpu" or gradient.dtype == torch.float16:
            return gradient
        limits = torch.finfo(gradient.dtype)
        flushed = gradient.masked_fill(gradient.abs() < limits.tiny / limits.eps, 0)
        if flushed.any():
            return flushed
        self.underflowed = True
        return None
