"""How much memory a computation needs at its peak, beyond what is in use before it."""

import os
from collections.abc import Callable
from typing import Any

import torch


def peak_bytes(compute: Callable[[], object], device: torch.device) -> int:
    """Run a computation; return the most bytes of tensors that it had at one time.

    Tensors that were there before do not count. On a CPU every allocation is written down by
    PyTorch's profiler; on a GPU the allocator knows. Elsewhere (mps) nobody does: 0.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        compute()
        return torch.cuda.max_memory_allocated(device) - before
    if device.type == "cpu":
        return _peak_on_cpu(compute)
    compute()
    return 0


def _peak_on_cpu(compute: Callable[[], object]) -> int:
    from torch.profiler import ProfilerActivity, profile

    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or it tells stderr of each start and stop
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        compute()
    found: Any = profiler.profiler
    changes = [
        (event.start_ns(), event.nbytes())
        for event in found.kineto_results.events()
        if event.name() == "[memory]"
    ]
    peak = total = 0
    for _, change in sorted(changes, key=lambda each: each[0]):  # stable: equal times keep order
        total += change
        peak = max(peak, total)
    return peak
