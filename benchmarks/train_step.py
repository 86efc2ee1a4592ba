"""One training step with replay, against the published PyTorch RMT.

    pip install recurrent-memory-transformer-pytorch==0.7.0
    python benchmarks/train_step.py
    python benchmarks/train_step.py --work tokens

Both read the same tokens with the same sizes, segments and memory. Theirs runs with its four
residual streams, and with one. There are two kinds of work:

- ``classifier``: what users of each run. Ours classifies from the mean of all memories, so that its
  last layer computes memory positions only; theirs predicts tokens with so small a vocabulary that
  its logits cost nothing, and with its default attention, which is not fused.
- ``tokens``: the same work. Both predict the next token at each position without a causal mask, and
  both with fused attention. Ours is the class of the same name.
"""

import argparse
import platform
import resource
from typing import Any

import torch
from contest import hold, take_part
from torch import Tensor

VOCABULARY = 8
CONTESTANTS = {
    "rmt_genomics, one graph kept": "ours-1",
    "rmt_genomics, auto": "ours-auto",
    "rmt_genomics, auto, compiled layers": "ours-compiled",
    "recurrent-memory-transformer-pytorch, four streams": "theirs-4",
    "recurrent-memory-transformer-pytorch, one stream": "theirs-1",
}


def main() -> None:
    """Print the table, or be one of its contestants."""
    options = _options()
    torch.set_num_threads(options.threads)
    if options.contestant:
        limit = options.limit_gib << 30
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        take_part(_job(options))
        return
    given = {name.replace("_", "-"): value for name, value in vars(options).items()}
    sizes = [
        f"--{name}={value}" for name, value in given.items() if name not in ("contestant", "runs")
    ]
    contestants = {name: run for name, run in CONTESTANTS.items() if run in options.runs}
    results = hold(
        __file__,
        [[f"--contestant={run}", *sizes] for run in contestants.values()],
        rounds=options.rounds,
        warmup=options.warmup,
        alone=bool(options.alone),
    )
    first = results[0]
    if first is None:
        raise SystemExit(f"{next(iter(contestants))} stopped early")
    print(
        f"dim {options.dim}, depth {options.depth}, segments of {options.segment}, batch "
        f"{options.batch} x {options.tokens} tokens, {options.memory} memory tokens, fp32, "
        f"{options.threads} threads, {platform.machine()}, torch {torch.__version__}; median of "
        f"{options.rounds} (fastest - slowest)\n"
    )
    what = "prediction" if options.predict else "training step with replay"
    print(f"| {what}, {options.work} | seconds | of the first | peak memory | of the first |")
    print("| --- | --- | --- | --- | --- |")
    for name, result in zip(contestants, results, strict=True):
        if result is None:
            print(f"| {name} | stopped, as said above; it may use {options.limit_gib} GiB | | | |")
            continue
        print(
            f"| {name} | {result.seconds:.2f} ({result.fastest:.2f} - {result.slowest:.2f}) "
            f"| {result.seconds / first.seconds:.2f} x | {result.peak_mib:.0f} MiB "
            f"| {result.peak_mib / first.peak_mib:.2f} x |"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (
        ("dim", 256),
        ("depth", 6),
        ("heads", 4),
        ("memory", 16),
        ("segment", 512),
        ("batch", 2),
        ("tokens", 8192),
        ("threads", 2),
        ("rounds", 5),
        ("warmup", 1),
        ("limit-gib", 16),
        ("predict", 0),
        ("alone", 0),  # 1 = one contestant after the other
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--work", choices=["classifier", "tokens"], default="classifier")
    runs = list(CONTESTANTS.values())
    parser.add_argument("--runs", nargs="+", choices=runs, default=runs, help="rows of the table")
    parser.add_argument("--contestant", choices=CONTESTANTS.values(), help=argparse.SUPPRESS)
    return parser.parse_args()


def _job(options: argparse.Namespace):
    """Return a function that runs one training step of the contestant."""
    torch.manual_seed(0)
    tokens = torch.randint(0, VOCABULARY, (options.batch, options.tokens))
    if options.contestant.startswith("ours"):
        return _ours(options, tokens) if options.work == "classifier" else _wrapper(options, tokens)
    return _theirs(options, tokens, streams=int(options.contestant[-1]))


def _sizes(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments that are the same for all; ours has the names of the published."""
    return {
        "num_tokens": VOCABULARY,
        "num_memory_tokens": options.memory,
        "dim": options.dim,
        "depth": options.depth,
        "heads": options.heads,
        "dim_head": options.dim // options.heads,
        "seq_len": options.segment,
        "causal": False,
    }


def _ours(options: argparse.Namespace, tokens: Tensor):
    from rmt_genomics.rmt import RMTConfig, Segments, SegmentTransformer, replay

    config = RMTConfig(**_sizes(options), stem_width=11)
    model, head = SegmentTransformer(config), torch.nn.Linear(options.dim, 2)
    _compile(model, options)
    segments = Segments(tokens, [options.tokens] * options.batch, options.segment, config.halo)
    labels = torch.arange(options.batch) % 2

    keep = 1 if options.contestant == "ours-1" else "auto"

    def step() -> None:
        first = model.memory.initial(options.batch)
        memories = replay(model, segments, first, keep_segments=keep)
        logits = head(memories.mean(dim=(0, 2)))  # a gradient reaches every segment, as in theirs
        torch.nn.functional.cross_entropy(logits, labels).backward()
        model.zero_grad()

    @torch.inference_mode()
    def predict() -> None:
        memory = model.memory.initial(options.batch)
        for segment in segments:
            memory = model(segment, memory)
        head(memory.mean(dim=1))

    return predict if options.predict else step


def _compile(model, options: argparse.Namespace) -> None:
    if options.contestant == "ours-compiled":
        model.layers.compile()


def _wrapper(options: argparse.Namespace, tokens: Tensor):
    from rmt_genomics.rmt import RecurrentMemoryTransformer, RecurrentMemoryTransformerWrapper

    transformer = RecurrentMemoryTransformer(**_sizes(options))
    _compile(transformer.transformer, options)
    model, (x, labels) = RecurrentMemoryTransformerWrapper(transformer), _next_tokens(tokens)
    keep = 1 if options.contestant == "ours-1" else "auto"

    def step() -> None:
        model(x, labels=labels, memory_replay_backprop=True, keep_segments=keep).backward()
        model.zero_grad()

    @torch.inference_mode()
    def predict() -> None:
        model.eval()(x)

    return predict if options.predict else step


def _next_tokens(tokens: Tensor) -> tuple[Tensor, Tensor]:
    return tokens[:, :-1], tokens[:, 1:]


def _theirs(options: argparse.Namespace, tokens: Tensor, streams: int):
    from recurrent_memory_transformer_pytorch import (
        RecurrentMemoryTransformer,
        RecurrentMemoryTransformerWrapper,
    )

    model = RecurrentMemoryTransformerWrapper(
        RecurrentMemoryTransformer(
            **_sizes(options),
            num_residual_streams=streams,
            use_flash_attn=options.work == "tokens",
        )
    )

    def step() -> None:
        model(tokens, memory_replay_backprop=True)
        model.zero_grad()

    @torch.inference_mode()
    def predict() -> None:
        model.eval()(tokens)

    return predict if options.predict else step


if __name__ == "__main__":
    main()
