"""Training on an NVIDIA GPU: bp/s, share of the bf16 matrix rate and peak memory, by length.

    python benchmarks/gpu.py [--compile] [--presets base] [--batches 1 16]

Both strands of ``--batches`` sequences at once, bf16, segment replay; and full attention over the
whole sequence until it no longer fits, or beyond ``--longest-full``. Needs a CUDA device. In a
clone that is not installed: ``PYTHONPATH=. python benchmarks/gpu.py``.
"""

import argparse
from collections.abc import Callable
from itertools import product
from statistics import median

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from rmt_genomics.rmt import RMTConfig, Segments, SegmentTransformer, replay
from rmt_genomics.rmt.positions import cached_rotation

# Width, layers, heads, memory tokens, tokens of a segment, bp of a token. The first has the sizes
# that `train` chooses for long examples if it is given none.
PRESETS = {
    "automatic": (64, 1, 4, 8, 128, 16),
    "small": (128, 4, 4, 16, 512, 1),
    "base": (256, 6, 4, 16, 512, 1),
}
ROUNDS = 3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=[1024, 16_384, 131_072, 1_048_576, 4_194_304]
    )
    parser.add_argument("--longest-full", type=int, default=131_072, help="bp at once")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--compile", action="store_true", help="torch.compile the layers")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("This benchmark needs a CUDA device, and torch sees none on this machine.")
    limit = _matrix_rate()
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, both strands, bf16; "
        f"a large matrix product reaches {limit / 1e12:.0f} TFLOP/s; "
        f"compiled: {options.compile}; medians of {ROUNDS}\n"
    )
    print("| model | bp | batch | bp/s | fraction of matrix rate | peak memory |")
    print("| --- | --- | --- | --- | --- | --- |")
    full = [length for length in options.lengths if length <= options.longest_full]
    for name, batch, (length, is_full) in product(
        options.presets,
        options.batches,
        [*((length, False) for length in options.lengths), *((length, True) for length in full)],
    ):
        label = f"{name}, full attention" if is_full else name
        start = f"| {label} | {length:,} | {batch}"
        *sizes, segment, pool = PRESETS[name]
        sizes = [*sizes, -(-length // pool) if is_full else segment, pool]
        try:
            figures = _figures(sizes, length, batch, limit, compiled=options.compile)
        except torch.cuda.OutOfMemoryError:
            figures = "- | - | does not fit"
        print(f"{start} | {figures} |", flush=True)


def _figures(
    sizes: list[int],
    length: int,
    batch: int,
    limit: float,
    *,
    compiled: bool,
) -> str:
    """Measure one model at one length and batch size."""
    cached_rotation.cache_clear()  # tables of earlier rows, on the device
    torch.cuda.empty_cache()
    dim, depth, heads, memory, segment, pool = sizes
    config = RMTConfig(
        num_tokens=5,
        num_memory_tokens=memory,
        dim=dim,
        depth=depth,
        heads=heads,
        dim_head=dim // heads,
        seq_len=segment,
        causal=False,
        stem_width=11,
        stem_pool=pool,
    )
    model = SegmentTransformer(config).cuda()
    rows = 2 * batch
    tokens = torch.randint(0, 5, (rows, length), dtype=torch.uint8, device="cuda")
    segments = Segments(tokens, [length] * rows, segment * pool, config.halo)

    def step() -> None:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            memories = replay(model, segments, model.memory.initial(rows))
        memories[-1].sum().backward()
        model.zero_grad()

    flops = _flops(model, segments, rows)
    if compiled:
        model.layers.compile()  # as training.compile does
    step()
    torch.cuda.reset_peak_memory_stats()
    seconds = median(_seconds(step) for _ in range(ROUNDS))
    peak = torch.cuda.max_memory_allocated() / 2**30
    return f"{batch * length / seconds:,.0f} | {flops / seconds / limit:.1%} | {peak:.2f} GiB"


def _flops(model: SegmentTransformer, segments: Segments, rows: int) -> float:
    """Return the FLOPs of a training step, from those of one full segment."""
    memory: Tensor = model.memory.initial(rows)
    counter, bf16 = FlopCounterMode(display=False), torch.autocast("cuda", dtype=torch.bfloat16)
    with torch.no_grad(), bf16, counter:
        model(segments[0], memory)
    forwards = 4 * len(segments) - 1  # two and a backward of two; the last keeps its graph
    return forwards * counter.get_total_flops()


def _matrix_rate() -> float:
    """Return the FLOP/s of a large bf16 matrix product."""
    left, right = torch.randn(2, 8192, 8192, dtype=torch.bfloat16, device="cuda")
    _seconds(lambda: left @ right)
    return 2 * 8192**3 / median(_seconds(lambda: left @ right) for _ in range(10))


def _seconds(job: Callable[[], object]) -> float:
    """Time one job with events on the device."""
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    job()
    ended.record()
    torch.cuda.synchronize()
    return began.elapsed_time(ended) / 1000


if __name__ == "__main__":
    main()
