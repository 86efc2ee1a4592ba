"""State outside a step that its second run in replay must find unchanged, and free memory.

The state is the random state (dropout masks) and the autocast setting.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

Result = TypeVar("Result")


def free_bytes(device: torch.device) -> int:
    """Return the bytes that can still be allocated on a device; 0 where that is unknown."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    meminfo = Path("/proc/meminfo")  # Linux
    if device.type == "cpu" and meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    return 0


def measure_saved_bytes(compute: Callable[[], Result]) -> tuple[Result, int]:
    """Run a computation; return its result and the bytes its graph saves, without parameters."""
    sizes: dict[int, int] = {}

    def record(tensor: Tensor) -> Tensor:
        if not (tensor.is_leaf and tensor.requires_grad):
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        result = compute()
    return result, sum(sizes.values())


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Set a module and all its parts to evaluation mode; restore their modes at the end."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, is_training in modes.items():
            part.training = is_training


@dataclass(frozen=True, slots=True, eq=False)
class RandomState:
    """State of the CPU generator, and of the GPU's where the work is on one."""

    device: torch.device
    states: list[Tensor]  # of the CPU, then of the GPU

    @classmethod
    def current(cls, device: torch.device) -> "RandomState":
        """Return the present state; ``device`` is where the step runs."""
        states = [torch.get_rng_state()]
        if device.type == "cuda":
            states.append(torch.cuda.get_rng_state(device))
        elif device.type == "mps":
            states.append(torch.mps.get_rng_state())
        return cls(device, states)

    def restore(self) -> None:
        """Make this the present state."""
        torch.set_rng_state(self.states[0])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(self.states[1], self.device)
        elif self.device.type == "mps":
            torch.mps.set_rng_state(self.states[1])

    def equals(self, other: "RandomState") -> bool:
        """Whether no random number was drawn between the two."""
        return all(map(torch.equal, self.states, other.states))


def capture_autocast(device: torch.device) -> Callable[[], torch.autocast]:
    """Return a function that makes contexts with the present autocast setting for ``device``."""
    kind = device.type
    is_enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)

    def make_context() -> torch.autocast:
        # Weights cast without a graph must not be used where one is recorded: they would get no
        # gradient, and no message would say so.
        torch.clear_autocast_cache()
        return torch.autocast(kind, dtype=dtype, enabled=is_enabled)

    return make_context
