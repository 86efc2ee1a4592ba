"""Remember the random state, so that a step run twice draws the same dropout masks.

Also what else a second run must find as the first left it: the autocast setting.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

_LINUX = Path("/proc/meminfo")

Result = TypeVar("Result")


def free_bytes(device: torch.device) -> int:
    """Return the bytes that can still be taken on a device; 0 where that cannot be known."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    if device.type == "cpu" and _LINUX.exists():
        lines = dict(line.split(":", 1) for line in _LINUX.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    return 0


def with_saved_bytes(compute: Callable[[], Result]) -> tuple[Result, int]:
    """Run a computation; return its result, and the bytes its graph keeps beside parameters."""
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if not (tensor.is_leaf and tensor.requires_grad):
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = compute()
    return result, sum(sizes.values())


Modes = dict[nn.Module, bool]


def modes_of(module: nn.Module) -> Modes:
    """Return which modules are in training mode."""
    return {each: each.training for each in module.modules()}


@contextmanager
def in_modes(modes: Modes) -> Iterator[None]:
    """Set modules to these modes for a while."""
    before = {module: module.training for module in modes}
    _set(modes)
    try:
        yield
    finally:
        _set(before)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Set a module and all its parts to evaluation mode for a while."""
    with in_modes(dict.fromkeys(module.modules(), False)):
        yield


def _set(modes: Modes) -> None:
    for module, is_training in modes.items():
        module.training = is_training


@dataclass(frozen=True, slots=True, eq=False)
class RandomState:
    """State of the CPU generator, and of the GPU's where the work is on one."""

    device: torch.device
    cpu: Tensor
    gpu: Tensor | None

    @classmethod
    def now(cls, device: torch.device) -> "RandomState":
        """Take the present state; ``device`` is where the step runs."""
        gpu = None
        if device.type == "cuda":
            gpu = torch.cuda.get_rng_state(device)
        elif device.type == "mps":
            gpu = torch.mps.get_rng_state()
        return cls(device, torch.get_rng_state(), gpu)

    def restore(self) -> None:
        """Make this the present state."""
        torch.set_rng_state(self.cpu)
        if self.gpu is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(self.gpu, self.device)
        elif self.gpu is not None:
            torch.mps.set_rng_state(self.gpu)

    def same_or(self, earlier: "RandomState") -> "RandomState":
        """Return ``earlier`` if nothing was drawn since, so that equal states are kept once."""
        if not torch.equal(self.cpu, earlier.cpu):
            return self
        if self.gpu is None or earlier.gpu is None:
            return earlier
        return earlier if torch.equal(self.gpu, earlier.gpu) else self


@contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """Put the random state back afterwards, whatever was drawn in between."""
    before = RandomState.now(device)
    try:
        yield
    finally:
        before.restore()


@dataclass(frozen=True, slots=True)
class AutocastState:
    """Whether, and to what, operations are cast (``torch.autocast``)."""

    device_type: str
    enabled: bool
    dtype: torch.dtype

    @classmethod
    def now(cls, device: torch.device) -> "AutocastState":
        """Take the present setting for ``device``."""
        kind = device.type
        return cls(kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))

    def again(self) -> torch.autocast:
        """Return a context with this setting, and an empty cache of cast weights.

        Weights cast while no graph was recorded must never serve where one is: their gradient
        would be lost without a word.
        """
        torch.clear_autocast_cache()
        return torch.autocast(self.device_type, dtype=self.dtype, enabled=self.enabled)
