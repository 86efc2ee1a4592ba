"""How much memory is free, and how much a computation would keep for backward."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

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
