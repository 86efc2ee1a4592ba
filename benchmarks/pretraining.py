"""A step of ``pretrain`` against one of ``train``: speed, and peak memory against length.

    python benchmarks/pretraining.py

Speed: the same encoder, sequences, segments and replay. The classifier leaves out the tokens of its
last layer; so that both do the same work, it computes them too in one of the rows. Memory: a step
of pretraining for each length, in a process of its own.
"""

import argparse

import torch
from contest import hold, take_part
from torch import Tensor, nn

CONTESTANTS = {
    "pretrain": "pretrain",
    "train, all tokens in the last layer": "train-all",
    "train": "train-memory",
}


def main() -> None:
    """Print both tables, or be one of the contestants."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--dim", type=int, default=64)
    add("--depth", type=int, default=2)
    add("--stem-pool", type=int, default=8)
    add("--segment", type=int, default=128, help="pooled tokens")
    add("--batch", type=int, default=4)
    add("--segments", type=int, default=16, help="of each sequence, for speed")
    add("--lengths", type=int, nargs="*", default=[64, 1024], help="segments, for memory")
    add("--rounds", type=int, default=7)
    add("--threads", type=int, default=1)
    add("--contestant", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        torch.set_num_threads(options.threads)
        take_part(_job(options.contestant[0], int(options.contestant[1]), options))
        return
    _print_speed(options)
    _print_memory(options)


def _hold(options: argparse.Namespace, runs: list[tuple[str, int]], rounds: int, warmup: int):
    sizes = ["dim", "depth", "stem_pool", "segment", "batch", "threads"]
    given = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in sizes]
    jobs = [[*given, "--contestant", run, str(segments)] for run, segments in runs]
    return hold(__file__, jobs, rounds=rounds, warmup=warmup)


def _print_speed(options: argparse.Namespace) -> None:
    runs = [(run, options.segments) for run in CONTESTANTS.values()]
    results = _hold(options, runs, options.rounds, 1)
    bp = options.batch * options.segments * options.segment * options.stem_pool
    print(
        f"dim {options.dim}, depth {options.depth}, {options.segments} segments of "
        f"{options.segment} tokens of {options.stem_pool} bp, batch {options.batch}, fp32, "
        f"{options.threads} threads, torch {torch.__version__}; median of {options.rounds}\n"
    )
    print("| step | kb/s | speed of pretrain relative to it |\n| --- | --- | --- |")
    for name, result in zip(CONTESTANTS, results, strict=True):
        relative = result.seconds / results[0].seconds
        print(f"| {name} | {bp / result.seconds / 1000:,.0f} | {relative:.2f} |")


def _print_memory(options: argparse.Namespace) -> None:
    print("\n| segments | bp | peak memory of a step of pretrain |\n| --- | --- | --- |")
    for segments in options.lengths:
        (result,) = _hold(options, [("pretrain", segments)], 2, 0)
        bp = segments * options.segment * options.stem_pool
        print(f"| {segments:,} | {bp:,} | {result.peak_mib:,.0f} MiB |")


def _job(run: str, segments: int, options: argparse.Namespace):
    """Return a training step over so many segments."""
    from rmt_genomics.model import ClassifierConfig, RMTClassifier
    from rmt_genomics.model.masked_bases import BaseHead, masked_base_loss

    torch.manual_seed(0)
    config = ClassifierConfig(
        classes=("a", "b"), task="binary", dim=options.dim, depth=options.depth, heads=4,
        segment_length=options.segment, stem_pool=options.stem_pool, stem_width=11,
    )  # fmt: skip
    encoder = RMTClassifier(config).encoder
    head = BaseHead(options.dim, options.stem_pool)
    length = segments * config.segment_bp
    codes = torch.randint(0, 4, (options.batch, length), dtype=torch.uint8)
    is_masked = torch.rand(codes.shape) < 0.15
    masked, targets = codes.masked_fill(is_masked, 4), codes.masked_fill(~is_masked, 4)
    lengths = torch.full((options.batch,), length)
    read = None if run == "pretrain" else _classify(encoder, all_tokens=run == "train-all")

    def step() -> None:
        if read is None:
            loss = masked_base_loss(encoder, head, masked, targets, lengths, replay=True)
        else:
            loss = read(codes)
        loss.backward()
        encoder.zero_grad()
        head.zero_grad()

    return step


class _AllTokens(nn.Module):
    """The step of a classifier, which computes and drops the tokens of the last layer."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, segment, memory: Tensor) -> Tensor:
        return self.transformer.read(segment, memory, return_tokens=True).memory


def _classify(encoder: nn.Module, *, all_tokens: bool):
    from rmt_genomics.model.tokenization import reverse_complement
    from rmt_genomics.rmt import Segments, replay

    transformer = encoder.transformer
    step = _AllTokens(transformer) if all_tokens else transformer
    size, halo = encoder.config.tokens_per_segment, encoder.config.halo

    def loss(codes: Tensor) -> Tensor:
        lengths = torch.full((len(codes),), codes.shape[1])
        strands = torch.cat([codes, reverse_complement(codes, lengths)])
        segments = Segments(strands, lengths.repeat(2).tolist(), size, halo)
        memories = replay(step, segments, transformer.memory.initial(len(strands)))
        return memories.mean(dim=0).square().mean()

    return loss


if __name__ == "__main__":
    main()
