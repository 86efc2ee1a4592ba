"""Trained on 8 segments, asked about thousands: does what memory holds last?

    python benchmarks/extrapolation.py --models /tmp/models --plot extrapolation.svg

Four tasks of ``rmt-genomics simulate`` (memorise, detect, two_facts, order). Each model learns from
sequences of at most 8 segments of 128 bases, for at most ``--train-seconds`` of processor time, and
answers for fresh sequences of up to 16,384 segments (2 Mb). ``--control`` forgets its memory before
each segment: it must stay at chance. ``--strands forward`` reads one strand only, so that what
stands at the start is as far from the answer as can be.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from rmt_genomics.datasets.simulation import TASKS, Simulated, Simulation
from rmt_genomics.dna import Tokenizer
from rmt_genomics.model.bidirectional_encoder import BothStrands
from rmt_genomics.rmt import RMTConfig, Segments, iterate_steps

SEGMENT_BP, STAGES = 128, (1, 2, 3, 4, 6, 8)
TOKENS_A_STEP, MOST_ROWS = 16_384, 64
TRAIN_SEED, TEST_SEED, TEST_ROWS = 1, 7, 64
CHANCE = {task: 1 / len(labels) for task, labels in TASKS.items()}


def main() -> None:
    """Train or load a model a task, test it at each length, print the table."""
    options = _options()
    torch.set_num_threads(options.threads)
    rows = []
    for task in options.tasks:
        model, trained = _trained(task, options)
        for segments in options.segments:
            number = options.number if segments <= 512 else options.number_long
            rows.append({**trained, "segments": segments, **_test(model, task, segments, number)})
            print(json.dumps(rows[-1]), flush=True)
    print("\n" + table(rows))
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")
    if options.plot:
        plot(rows, options.plot)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    add("--strands", choices=["forward", "both"], default="forward")
    add("--control", action="store_true", help="forget the memory before each segment")
    add("--gate", choices=["hard", "sigmoid", "none"], default="hard")
    add("--readout", choices=["written", "carried"], default="written")
    add("--stem-width", type=int, default=25, help="wide enough to see a motif at once")
    add("--near-misses", type=float, help="a segment, in training; default: 1, for memorise 0")
    add("--train-seconds", type=float, default=100.0, help="processor time a task")
    add("--segments", type=int, nargs="+", default=[8, 512, 8192])
    add("--number", type=int, default=200, help="test sequences")
    add("--number-long", type=int, default=200, help="the same beyond 512 segments")
    add("--threads", type=int, default=2)
    add("--seed", type=int, default=0)
    add(
        "--models", type=Path, help="keep trained models here; those that are there are not trained"
    )
    add("--out", type=Path, help="results as JSON")
    add("--plot", type=Path)
    return parser.parse_args()


class Reader(nn.Module):
    """The encoder of the classifier on one strand or both, and a linear head."""

    def __init__(self, num_classes: int, options: argparse.Namespace) -> None:
        super().__init__()
        gate = {"hard": "hard", "sigmoid": True, "none": False}[options.gate]
        config = RMTConfig(
            num_tokens=5, num_memory_tokens=8, dim=64, depth=1, heads=4, dim_head=16,
            seq_len=SEGMENT_BP, causal=False, stem_width=options.stem_width, memory_gate=gate,
            add_write_to_next_write_mem=True, next_write_mem_stop_grad=False,
            memory_reset="segment" if options.control else "never",
        )  # fmt: skip
        self.is_forward = options.strands == "forward"
        self.encoder = BothStrands(Tokenizer(), config, "last", options.readout)
        self.head = nn.Linear(config.dim * (1 if self.is_forward else 2), num_classes)

    def forward(self, codes: Tensor) -> Tensor:
        """Return logits for rows of equal length."""
        if not self.is_forward:
            lengths = torch.full((len(codes),), codes.shape[1])
            return self.head(self.encoder(codes, lengths, replay=False, bptt_depth=None))
        step = self.encoder.step
        lengths = [codes.shape[1]] * len(codes)
        segments = Segments(codes, lengths, SEGMENT_BP, step.config.halo)
        for state in iterate_steps(step, segments, step.memory.initial(len(codes))):
            last = state.output if self.encoder.readout == "written" else state.memory
        return self.head(last.mean(dim=1))


def _trained(task: str, options: argparse.Namespace) -> tuple[Reader, dict[str, Any]]:
    """Return a trained model and what it was trained with."""
    torch.manual_seed(options.seed)
    model = Reader(len(TASKS[task]), options)
    asked = ("strands", "control", "gate", "readout", "stem_width", "near_misses", "seed")
    kind = {"task": task, **{name: getattr(options, name) for name in asked}}
    kind["near_misses"] = _near_misses(task, options)
    name = "_".join(str(each) for each in kind.values())
    path = options.models / f"{name}.safetensors" if options.models else None
    if path and path.exists():
        load_model(model, path)
        with safe_open(path, "pt") as saved:
            return model.eval(), json.loads(saved.metadata()["trained"])
    trained = {**kind, **_train(model, task, options)}
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_model(model, str(path), {"trained": json.dumps(trained)})
    return model.eval(), trained


def _train(model: Reader, task: str, options: argparse.Namespace) -> dict[str, Any]:
    """Go from 1 (or 2) segments to 8, a stage at a time; a third of the batches are shorter."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    random = np.random.default_rng((options.seed, 7))
    batches = [_batches(task, segments, options, random) for segments in STAGES]
    stage, step, read_bp, recent = 0, 0, 0, 0.0
    begin = time.process_time()
    while (used := (time.process_time() - begin) / options.train_seconds) < 1:
        optimiser.param_groups[0]["lr"] = 2e-3 * _share(step, used)
        chosen = stage if random.random() < 0.7 else int(random.integers(stage + 1))
        codes, targets = next(batches[chosen])
        logits = model(codes)
        optimiser.zero_grad()
        F.cross_entropy(logits, targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step, read_bp = step + 1, read_bp + codes.numel()
        if chosen == stage:
            recent = 0.9 * recent + 0.1 * float((logits.argmax(1) == targets).float().mean())
        if recent > 0.95 and stage < len(STAGES) - 1:
            stage, recent = stage + 1, 0.5
    return {
        "steps": step,
        "trained_segments": STAGES[stage],
        "trained_mb": round(read_bp / 1e6, 1),
        "train_cpu_seconds": round(time.process_time() - begin),
        "recent": round(recent, 3),
    }


def _near_misses(task: str, options: argparse.Namespace) -> float:
    """Return how many a segment; they did not help memorise, where only the start counts."""
    default = 0.0 if task == "memorise" else 1.0
    return default if options.near_misses is None else options.near_misses


def _share(step: int, used: float) -> float:
    """Return the learning rate: up for 50 steps, level for half of the time, then down."""
    fall = 1.0 if used < 0.5 else 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (used - 0.5) / 0.5))
    return min(1.0, (step + 1) / 50) * fall


def _batches(
    task: str, segments: int, options: argparse.Namespace, random: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of fresh sequences without end."""
    has_two = task in ("two_facts", "order")
    simulation = Simulation(
        task=task, length_bp=segments * SEGMENT_BP, distance_bp=0 if has_two else None,
        seed=TRAIN_SEED + 10 * options.seed,
    )  # fmt: skip
    motifs = np.stack(list(simulation.motifs().values()))
    near_misses = _near_misses(task, options)
    rows = max(16, min(MOST_ROWS, TOKENS_A_STEP // simulation.length_bp))
    examples = simulation.examples(10**9)
    while True:
        chosen = list(islice(examples, rows))
        for each in chosen:
            _add_near_misses(each, motifs, random.poisson(near_misses * segments), random)
        yield _as_batch(chosen, simulation)


def _add_near_misses(
    example: Simulated,
    motifs: np.ndarray,
    number: int,
    random: np.random.Generator,
) -> None:
    """Write motifs with 1 to 3 wrong bases into the background: what long noise is full of."""
    length = motifs.shape[1]
    for start in random.integers(len(example.codes) - length + 1, size=number):
        if any(abs(start - site) < length for site, _ in example.sites):
            continue
        motif = motifs[random.integers(len(motifs))].copy()
        wrong = random.choice(length, random.integers(1, 4), replace=False)
        motif[wrong] = (motif[wrong] + random.integers(1, 4, len(wrong))) % 4
        example.codes[start : start + length] = motif


def _as_batch(examples: list[Simulated], simulation: Simulation) -> tuple[Tensor, Tensor]:
    codes = torch.from_numpy(np.stack([each.codes for each in examples]))
    return codes, torch.tensor([simulation.labels.index(each.label) for each in examples])


def _test(model: Reader, task: str, segments: int, number: int) -> dict[str, Any]:
    """Return the accuracy on fresh sequences."""
    simulation = Simulation(task=task, length_bp=segments * SEGMENT_BP, seed=TEST_SEED)
    begin = time.process_time()
    examples, right = simulation.examples(number), 0
    while chosen := list(islice(examples, TEST_ROWS)):
        codes, targets = _as_batch(chosen, simulation)
        with torch.inference_mode():
            right += int((model(codes).argmax(1) == targets).sum())
    return {"n": number, "accuracy": round(right / number, 4),
            "test_cpu_seconds": round(time.process_time() - begin)}  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Write accuracies as Markdown, one line a model."""
    lengths = sorted({row["segments"] for row in rows})
    names = [f"{each:,} segments ({each * SEGMENT_BP:,} bp)" for each in lengths]
    lines = [f"| task | strands | memory | chance | {' | '.join(names)} |"]
    lines.append("| --- " * (4 + len(lengths)) + "|")
    for (task, strands, control), of_model in _by_model(rows).items():
        found = {row["segments"]: f"{row['accuracy']:.1%} (n {row['n']})" for row in of_model}
        memory = "reset" if control else "kept"
        cells = " | ".join(found.get(each, "-") for each in lengths)
        lines.append(f"| {task} | {strands} | {memory} | {CHANCE[task]:.0%} | {cells} |")
    return "\n".join(lines)


def _by_model(rows: list[dict[str, Any]]) -> dict[tuple[str, str, bool], list[dict[str, Any]]]:
    models: dict[tuple[str, str, bool], list[dict[str, Any]]] = {}
    for row in rows:
        models.setdefault((row["task"], row["strands"], row["control"]), []).append(row)
    return models


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy against length, on a logarithmic axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5.5), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip(TASKS, ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=True))
    for (task, strands, control), found in _by_model(rows).items():
        axes.plot(
            [row["segments"] * SEGMENT_BP for row in found],
            [row["accuracy"] for row in found],
            ":" if control else "-" if strands == "forward" else "--",
            marker="o",
            color=colours[task],
            label=f"{task}, {strands}{', memory reset' if control else ''}",
        )
    axes.axvspan(SEGMENT_BP, STAGES[-1] * SEGMENT_BP, alpha=0.1, color="black", label="trained on")
    axes.set(xscale="log", xlabel="sequence length (bp)", ylabel="accuracy", ylim=(0, 1.03))
    figure.legend(loc="outside lower center", fontsize="small", ncols=2)
    figure.savefig(path)


if __name__ == "__main__":
    main()
