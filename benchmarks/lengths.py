"""One training step against what a user would pick instead, as sequences get longer.

    python benchmarks/lengths.py [--plot lengths.svg]

Same width, depth and embedding for all: full attention over the whole sequence, segments read
each by itself and averaged (no recurrence), and a bidirectional GRU. Batch 1, one strand.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from contest import hold, take_part
from torch import Tensor, nn

DIM, DEPTH, SEGMENT, MEMORY = 64, 3, 512, 8
KINDS = {
    "rmt": "RMT with replay",
    "full": "full attention",
    "chunks": "chunk-and-average",
    "gru": "bidirectional GRU",
}
STYLES = {"rmt": "o-", "full": "s-", "chunks": "x:", "gru": "^-"}
COLOURS = dict(zip(KINDS, ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=True))


def main() -> None:
    """Print the table, or be one of its contestants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=[1024, 4096, 16384, 65536, 131072]
    )
    parser.add_argument("--longest-full", type=int, default=16384, help="it grows with the square")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--contestant", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        torch.set_num_threads(2)
        torch.manual_seed(0)
        take_part(_job(options.contestant[0], int(options.contestant[1])))
        return
    found: dict[str, list[tuple[int, float, float]]] = {kind: [] for kind in KINDS}
    for length in options.lengths:
        kinds = [kind for kind in KINDS if kind != "full" or length <= options.longest_full]
        jobs = [["--contestant", kind, str(length)] for kind in kinds]
        for kind, result in zip(kinds, hold(__file__, jobs, rounds=options.rounds), strict=True):
            if result is not None:
                found[kind].append((length, result.seconds, result.peak_mib))
    _print_table(options.lengths, found)
    if options.plot:
        _plot(options.plot, found)


def _job(kind: str, length: int) -> Callable[[], None]:
    """Return a training step: encode, classify, backward."""
    model = {"rmt": _rmt, "full": _full, "chunks": _chunks, "gru": Gru}[kind](length)
    head = nn.Linear(DIM, 2)
    tokens = torch.randint(0, 5, (1, length))

    def step() -> None:
        nn.functional.cross_entropy(head(model(tokens)), torch.tensor([1])).backward()
        model.zero_grad()

    return step


class Recurrent(nn.Module):
    """The transformer of this package over segments."""

    def __init__(self, segment: int, *, reset: bool = False) -> None:
        super().__init__()
        from rmt_genomics.rmt import RMTConfig, SegmentTransformer

        self.step = SegmentTransformer(RMTConfig(
            num_tokens=5, num_memory_tokens=MEMORY, dim=DIM, depth=DEPTH, heads=2, dim_head=32,
            seq_len=segment, causal=False, stem_width=11,
            memory_reset="segment" if reset else "never",
        ))  # fmt: skip

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the mean memory: the gradient reaches every segment."""
        from rmt_genomics.rmt import Segments, replay

        config = self.step.config
        segments = Segments(tokens, [tokens.shape[1]], config.seq_len, config.halo)
        memories = replay(self.step, segments, self.step.memory.initial(1))
        return memories.mean(dim=(0, 2))


def _rmt(length: int) -> nn.Module:
    return Recurrent(min(SEGMENT, length))


def _full(length: int) -> nn.Module:
    return Recurrent(length)


def _chunks(length: int) -> nn.Module:
    return Recurrent(min(SEGMENT, length), reset=True)


class Gru(nn.Module):
    """A bidirectional GRU of the same width and depth."""

    def __init__(self, _: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, DIM)
        self.gru = nn.GRU(DIM, DIM // 2, DEPTH, batch_first=True, bidirectional=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the mean state."""
        return self.gru(self.embedding(tokens))[0].mean(dim=1)


def _print_table(lengths: list[int], found: dict[str, list[tuple[int, float, float]]]) -> None:
    print(
        f"dim {DIM}, depth {DEPTH}, segments of {SEGMENT}, batch 1, fp32, 2 threads; "
        "median seconds and peak memory of a training step\n"
    )
    print("| tokens | " + " | ".join(KINDS.values()) + " |")
    print("| --- " * (len(KINDS) + 1) + "|")
    for length in lengths:
        cells = []
        for results in found.values():
            here = [result for result in results if result[0] == length]
            cells.append(f"{here[0][1]:.2f} s, {here[0][2]:,.0f} MiB" if here else "-")
        print(f"| {length:,} | " + " | ".join(cells) + " |")


def _plot(path: Path, found: dict[str, list[tuple[int, float, float]]]) -> None:
    """Draw time and memory against length."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, column, name in zip(
        figure.subplots(1, 2), (1, 2), ("seconds a training step", "peak memory (MiB)"), strict=True
    ):
        for kind, results in found.items():
            x, y = [each[0] for each in results], [each[column] for each in results]
            axes.loglog(x, y, STYLES[kind], label=KINDS[kind], color=COLOURS[kind])
        axes.set_xlabel("tokens")
        axes.set_ylabel(name)
    axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    main()
