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
_ROOT = Path("/")


def free_bytes(device: torch.device) -> int:
    """Return the bytes that can still be allocated on a device; 0 where that is unknown.

    On a CPU under Linux the least of what the machine has, what the control groups of this process
    (of a container, or a batch job) leave, and what its address space may grow (``ulimit -v``).
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    meminfo = _numbers(_ROOT / "proc/meminfo")
    if device.type != "cpu" or "MemAvailable:" not in meminfo:
        return 0
    import resource  # of Unix only

    left = [1024 * meminfo["MemAvailable:"], *_left_in_control_groups()]
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if address_space != resource.RLIM_INFINITY:
        used = 1024 * _numbers(_ROOT / "proc/self/status").get("VmSize:", 0)
        left.append(address_space - used)
    return max(1, min(left))


def _left_in_control_groups() -> Iterator[int]:
    """Yield the limit less the use of each control group with this process, versions 1 and 2."""
    for line in _lines(_ROOT / "proc/self/cgroup"):
        _, controllers, name = line.split(":", 2)
        if controllers == "memory":
            top, most, used = "sys/fs/cgroup/memory", "limit_in_bytes", "usage_in_bytes"
        elif not controllers:
            top, most, used = "sys/fs/cgroup", "max", "current"
        else:
            continue
        group = _ROOT / top / name.lstrip("/")
        for folder in (group, *group.parents[: len(Path(name).parts) - 1]):
            limit, use = (_lines(folder / f"memory.{kind}") for kind in (most, used))
            if limit and use and limit[0].isdecimal():
                stat = _numbers(folder / "memory.stat")
                cached = sum(stat.get(f"{kind}_file", 0) for kind in ("active", "inactive"))
                yield int(limit[0]) - int(use[0]) + cached  # cached files give way


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # not Linux, or not mounted in this container
        return []


def _numbers(path: Path) -> dict[str, int]:
    """Return the first number after each word that begins a line."""
    cells = [line.split() for line in _lines(path)]
    return {row[0]: int(row[1]) for row in cells if len(row) > 1 and row[1].isdecimal()}


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
