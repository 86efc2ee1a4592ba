"""Do attributions find what was planted, and what do they cost?

    python benchmarks/explain.py --out explain.json

Motifs: a model of each task (detect, two_facts, order of ``rmt-genomics simulate``) learns from
sequences of at most 16 segments of 512 bases, for ``--train-seconds`` of processor time. It
explains fresh sequences of ``--length`` (64 kb) that it predicts rightly: AUROC of the size of the
attribution against the bases of the motifs, mean over sequences.

Breakpoints: ``--mosaic-model`` is a model of the mosaics in ``--mosaics``. True breakpoints are
compared with those of ``find_breakpoints``, and with the borders of segments at which the effect of
occlusion changes most: found within one segment.

Cost: time of each method relative to one prediction, and the peak of memory of one record of
``--cost-length`` (1 Mb), in a process of its own.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from rmt_genomics.datasets.simulation import TASKS, Simulated, Simulation
from rmt_genomics.dna import read_encoded
from rmt_genomics.dna.alphabet import Codes
from rmt_genomics.interpretation import RecordExplainer
from rmt_genomics.interpretation.breakpoints import breakpoints_of
from rmt_genomics.interpretation.occlusion import PrefixMemory, occlude, segment_pieces
from rmt_genomics.model import ClassifierConfig, RMTClassifier

SEGMENT_BP, STAGES = 512, (1, 2, 4, 8, 16)
BP_A_STEP, TEST_SEED = 32_768, 7
METHODS = ("gradient", "integrated_gradients", "occlusion", "occlusion_shuffle")
SETTINGS: dict[str, Any] = {
    "dim": 64, "depth": 1, "heads": 4, "segment_length": 64, "stem_pool": 8, "stem_width": 25,
    "num_memory_tokens": 8, "memory_gate": "hard", "pooling": "last",
}  # fmt: skip


def main() -> None:
    """Run the parts that are asked for, and print the tables."""
    options = _options()
    torch.set_num_threads(options.threads)
    if options.cost_of:
        print(json.dumps(_cost(options.cost_of, options)))
        return
    found: dict[str, Any] = {"motifs": [_motifs(task, options) for task in options.tasks]}
    if options.mosaic_model:
        found["breakpoints"] = _breakpoints(options)
    if options.cost_length:
        found["cost"] = [_in_process(name) for name in ("prediction", *options.methods)]
    for rows in found.values():
        print(table(rows if isinstance(rows, list) else [rows]), end="\n\n")
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--tasks", nargs="*", choices=list(TASKS), default=["detect", "two_facts", "order"])
    add("--train-seconds", type=float, default=300.0, help="processor time a task")
    add("--length", type=int, default=65_536, help="of explained sequences")
    add("--number", type=int, default=10, help="explained sequences a task")
    add("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    add("--models", type=Path, help="keep trained models here; those there are not trained")
    add("--mosaic-model", type=Path)
    add("--mosaics", type=Path, help="a folder of rmt-genomics simulate --task mosaic")
    add("--cost-length", type=int, default=1_000_000)
    add("--cost-of", choices=["prediction", *METHODS], help="measure one method, in this process")
    add("--threads", type=int, default=1)
    add("--out", type=Path, help="results as JSON")
    return parser.parse_args()


def _motifs(task: str, options: argparse.Namespace) -> dict[str, Any]:
    model, trained = _trained(task, options)
    simulation = Simulation(task=task, length_bp=options.length, seed=TEST_SEED)
    scores: dict[str, list[float]] = {method: [] for method in options.methods}
    number = right = 0
    for example in simulation.examples(20 * options.number):
        if not _evidence(example) or right == options.number:
            continue
        number += 1
        if model.label_of(model.predict_codes([example.codes])[0]) != example.label:
            continue
        right += 1
        explainer = RecordExplainer(model, example.codes, class_name=example.label)
        planted = _planted(example, simulation)
        for method in options.methods:
            track = explainer.attribute(method)
            sizes = np.repeat(np.abs(track.values), track.ends - track.starts)
            scores[method].append(float(roc_auc_score(planted, sizes)))
    means = {
        f"auroc_{method}": round(float(np.mean(each)), 4) for method, each in scores.items() if each
    }
    return {"task": task, **trained, "length": options.length, "n": right,
            "accuracy": round(right / max(1, number), 3), **means}  # fmt: skip


def _evidence(example: Simulated) -> list[int]:
    """Return where the motifs are that decide: a model need not read the decoys C and D."""
    return [start for start, motif in example.sites if motif in "AB"]


def _planted(example: Simulated, simulation: Simulation) -> np.ndarray:
    planted = np.zeros(len(example.codes), bool)
    for start in _evidence(example):
        planted[start : start + simulation.motif_length_bp] = True
    return planted


def _trained(task: str, options: argparse.Namespace) -> tuple[RMTClassifier, dict[str, Any]]:
    """Return a model of a task and how it was trained."""
    folder = options.models / task if options.models else None
    if folder and (folder / "trained.json").exists():
        trained = json.loads((folder / "trained.json").read_text())
        return RMTClassifier.from_pretrained(folder), trained
    torch.manual_seed(0)
    labels = tuple(TASKS[task])
    kind = "binary" if len(labels) == 2 else "multiclass"
    model = RMTClassifier(ClassifierConfig(classes=labels, task=kind, **SETTINGS))
    trained = _train(model, task, options.train_seconds)
    if folder:
        model.save_pretrained(folder)
        (folder / "trained.json").write_text(json.dumps(trained))
    return model.eval(), trained


def _train(model: RMTClassifier, task: str, seconds: float) -> dict[str, Any]:
    """Go from 1 segment to 16; a third of the batches are of an earlier stage."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    random = np.random.default_rng(7)
    examples = [_examples(task, segments) for segments in STAGES]
    stage, step, recent = 0, 0, 0.0
    begin = time.process_time()
    while (used := (time.process_time() - begin) / seconds) < 1:
        fall = 1.0 if used < 0.5 else 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (2 * used - 1)))
        optimiser.param_groups[0]["lr"] = 2e-3 * min(1.0, (step + 1) / 50) * fall
        chosen = stage if random.random() < 0.7 else int(random.integers(stage + 1))
        rows = max(8, BP_A_STEP // (STAGES[chosen] * SEGMENT_BP))
        codes, targets = _batch(list(islice(examples[chosen], rows)), tuple(TASKS[task]))
        logits = model(codes, [codes.shape[1]] * len(codes))
        optimiser.zero_grad()
        F.cross_entropy(logits, targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        if chosen == stage:
            recent = 0.9 * recent + 0.1 * float((logits.argmax(1) == targets).float().mean())
        if recent > 0.95 and stage < len(STAGES) - 1:
            stage, recent = stage + 1, 0.5
    return {"train_seconds": seconds, "steps": step, "segments": STAGES[stage],
            "recent": round(recent, 3)}  # fmt: skip


def _examples(task: str, segments: int) -> Any:
    has_two = task in ("two_facts", "order")
    length, distance = segments * SEGMENT_BP, 0 if has_two else None
    return Simulation(task=task, length_bp=length, distance_bp=distance, seed=1).examples(10**9)


def _batch(examples: list[Simulated], labels: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    codes = torch.from_numpy(np.stack([each.codes for each in examples]))
    return codes, torch.tensor([labels.index(each.label) for each in examples])


def _breakpoints(options: argparse.Namespace) -> dict[str, Any]:
    """Compare breakpoints found, and where the effect of occlusion changes most, with true ones."""
    model = RMTClassifier.from_pretrained(options.mosaic_model)
    rows = (options.mosaics / "breakpoints.bed").read_text().splitlines()
    ends: dict[str, list[int]] = {}
    for name, _, end, *_ in (row.split("\t") for row in rows):
        ends.setdefault(name, []).append(int(end))
    near: dict[str, list[bool]] = {}
    for record in islice(read_encoded(options.mosaics / "sequences.fasta"), options.number):
        true = ends[record.name][:-1]
        if not true:
            continue
        ways = {
            "joins" if len(true) == 1 else "insertions": breakpoints_of(
                model, record.codes, "intact", len(true)
            ).positions,
            "all_by_occlusion": _changes(model, record.codes, len(true)),
        }
        for way, found in ways.items():
            near.setdefault(way, []).extend(
                min(abs(each - edge) for each in found) <= model.config.segment_bp for edge in true
            )
    return {
        name: value
        for way, each in near.items()
        for name, value in ((f"n_{way}", len(each)), (way, round(float(np.mean(each)), 3)))
    }


def _changes(model: RMTClassifier, codes: Codes, number: int) -> list[int]:
    """Return the borders of segments at which the effect of occlusion changes most."""
    found = occlude(PrefixMemory(model, codes), segment_pieces(model, len(codes)))
    best = np.abs(found.effects).sum(axis=0).argmax()
    jumps = np.abs(np.diff(found.effects[:, best]))
    return [int(found.ends[index]) for index in np.argsort(-jumps)[:number]]


def _in_process(name: str) -> dict[str, Any]:
    """Measure in a new process, which has a peak of memory of its own."""
    arguments = [sys.executable, *sys.argv, "--cost-of", name]
    finished = subprocess.run(arguments, capture_output=True, check=True, text=True)
    return dict(json.loads(finished.stdout.splitlines()[-1]))


def _cost(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the time of a method relative to one prediction, and the peak of memory."""
    torch.manual_seed(0)
    settings = {"classes": ("absent", "present"), "task": "binary", **SETTINGS}
    model = RMTClassifier(ClassifierConfig(**settings)).eval()
    codes = np.random.default_rng(0).integers(0, 4, options.cost_length).astype(np.uint8)
    begin = time.perf_counter()
    model.predict_codes([codes])
    prediction = time.perf_counter() - begin
    begin = time.perf_counter()
    if name != "prediction":
        RecordExplainer(model, codes).attribute(name)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"method": name, "length": options.cost_length, "segments": -(-len(codes) // SEGMENT_BP),
            "prediction_s": round(prediction, 2), "seconds": round(seconds, 2),
            "predictions": round(seconds / prediction, 2), "peak_mb": round(peak)}  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Write rows as Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"| {' | '.join(names)} |", "| --- " * len(names) + "|"]
    lines += [f"| {' | '.join(str(row.get(name, '-')) for name in names)} |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
