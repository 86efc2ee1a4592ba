"""How much of the machine's arithmetic a training step uses.

    python benchmarks/share_of_limit.py [--dim 256]

The limit is what a large fp32 matrix product reaches in the same run. FLOPs are counted by
``torch.utils.flop_counter`` on the twin with explicit attention, which computes the same.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from rmt_genomics.rmt import RMTConfig, Segments, SegmentTransformer, replay

ROUNDS = 5


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[64, 256, 512])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    square = torch.randn(2, 2048, 2048)
    product = 2 * 2048**3
    print(
        "batch 2 x 4,096 tokens, depth 6, heads of 64, 16 memory tokens, segments of 512, fp32, "
        f"{options.threads} threads, torch {torch.__version__}; medians of {ROUNDS}\n"
    )
    print("| dim | training step | large matrix product | share |")
    print("| --- | --- | --- | --- |")
    for dim in options.dims:
        step, flops = _step(dim)
        steps, products = [], []
        for _ in range(ROUNDS + 1):  # in turns, since the machine's speed drifts
            steps.append(flops / _seconds(step) / 1e9)
            products.append(product / _seconds(lambda: square[0] @ square[1]) / 1e9)
        here, limit = median(steps[1:]), median(products[1:])
        print(f"| {dim} | {here:.0f} GFLOP/s | {limit:.0f} GFLOP/s | {here / limit:.0%} |")


def _step(dim: int) -> tuple[Callable[[], None], int]:
    """Return a training step with replay, and the FLOPs it takes."""
    flops = []
    for use_flash in (False, True):
        torch.manual_seed(0)
        config = RMTConfig(
            num_tokens=5,
            num_memory_tokens=16,
            dim=dim,
            depth=6,
            heads=dim // 64,
            seq_len=512,
            causal=False,
            stem_width=11,
            use_flash_attn=use_flash,
        )
        model = SegmentTransformer(config)
        segments = Segments(torch.randint(0, 5, (2, 4096)), [4096, 4096], 512, config.halo)

        def step(model: SegmentTransformer = model, segments: Segments = segments) -> None:
            replay(model, segments, model.memory.initial(2))[-1].sum().backward()
            model.zero_grad()

        if not use_flash:
            with FlopCounterMode(display=False) as counter:
                step()
            flops.append(counter.get_total_flops())
    return step, flops[0]


def _seconds(job: Callable[[], object]) -> float:
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
