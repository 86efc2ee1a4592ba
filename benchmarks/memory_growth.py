"""Peak memory of a training step against the number of segments, with replay and without.

    python benchmarks/memory_growth.py [--plot memory.svg]

Each length runs in a process of its own. The fit is of peak memory on segments; what replay must
keep is batch x memory tokens x width x 4 bytes a segment.
"""

import argparse
from pathlib import Path

import torch
from contest import hold, take_part

BATCH, MEMORY, DIM, SEGMENT = 2, 16, 64, 128


def main() -> None:
    """Print the table, or be one of its contestants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 256, 1024, 4096])
    parser.add_argument("--longest-unroll", type=int, default=256)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--contestant", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        kind, segments = options.contestant
        take_part(_job(kind, int(segments)))
        return
    replayed = [_peak("replay", length) for length in options.lengths]
    short = [length for length in options.lengths if length <= options.longest_unroll]
    unrolled = [_peak("unroll", length) for length in short]
    _print_table(options.lengths, replayed, unrolled)
    if options.plot:
        _plot(options.plot, options.lengths, replayed, unrolled)


def _peak(kind: str, segments: int) -> float:
    """Return the peak memory of one training step in MiB, above that of the idle process."""
    (result,) = hold(__file__, [["--contestant", kind, str(segments)]], rounds=2, warmup=0)
    return result.peak_mib


def _job(kind: str, num_segments: int):
    """Return a training step over so many segments."""
    from rmt_genomics.rmt import RMTConfig, Segments, SegmentTransformer, replay, unroll

    torch.set_num_threads(2)
    torch.manual_seed(0)
    config = RMTConfig(num_tokens=5, num_memory_tokens=MEMORY, dim=DIM, depth=3, heads=2,
                       dim_head=32, seq_len=SEGMENT, causal=False, stem_width=11)  # fmt: skip
    model, run = SegmentTransformer(config), {"replay": replay, "unroll": unroll}[kind]
    tokens = torch.randint(0, 5, (BATCH, num_segments * SEGMENT), dtype=torch.uint8)
    segments = Segments(tokens, [tokens.shape[1]] * BATCH, SEGMENT, config.halo)

    def step() -> None:
        run(model, segments, model.memory.initial(BATCH)).sum().backward()
        model.zero_grad()

    return step


def _print_table(lengths: list[int], replayed: list[float], unrolled: list[float]) -> None:
    print(
        f"batch {BATCH}, {MEMORY} memory tokens, dim {DIM}, depth 3, segments of {SEGMENT}, fp32\n"
    )
    print("| segments | tokens a row | peak with replay | peak with full BPTT |")
    print("| --- | --- | --- | --- |")
    for place, length in enumerate(lengths):
        full = f"{unrolled[place]:,.0f} MiB" if place < len(unrolled) else "-"
        print(f"| {length:,} | {length * SEGMENT:,} | {replayed[place]:,.1f} MiB | {full} |")
    count = torch.tensor(lengths, dtype=torch.float64)
    peak = torch.tensor(replayed, dtype=torch.float64) * 2**20
    slope = ((count - count.mean()) * (peak - peak.mean())).sum() / (
        count - count.mean()
    ).square().sum()
    expected = BATCH * MEMORY * DIM * 4
    print(f"\nFitted: {slope:,.0f} bytes a segment; batch x m x dim x 4 = {expected:,} bytes.")


def _plot(path: Path, lengths: list[int], replayed: list[float], unrolled: list[float]) -> None:
    """Draw both against the number of segments."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.loglog(lengths, replayed, "o-", label="replay", color="#0072B2")
    axes.loglog(lengths[: len(unrolled)], unrolled, "s--", label="full BPTT", color="#D55E00")
    axes.set_xlabel(f"segments of {SEGMENT} tokens")
    axes.set_ylabel("peak memory of a training step (MiB)")
    axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    main()
