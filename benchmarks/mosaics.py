"""Does memory cost learning on real DNA (law 9), and does it answer what only memory can?

    python benchmarks/mosaics.py plasmids.fasta.gz --labels labels.tsv --out runs.jsonl

Three classes: intact, insertion, join (``rmt-genomics simulate --task mosaic``). ``labels.tsv`` has
the columns ``record``, ``family`` (or another: ``--group``) and ``split`` (train, val). Each run
trains on fresh mosaics of the training records for ``--seconds`` of processor time, one thread, and
answers for the same ``--number`` mosaics of the validation records: AUROC of "intact or not" and of
"insertion or join". Runs that are in ``--out`` already are not repeated. ``scan`` is the baseline
that people use today: the best split of the k-mer counts of the sequence in two or in three.

``--test-lengths`` asks the same of longer mosaics, or with ``--test-fasta`` of mosaics of other
genomes (all of its records; ``--test-labels`` has the same columns but ``split``).

The table gives mean and standard deviation over seeds; law 9 is checked on each pair of ``memory``
and ``reset``: the 95 % interval of the difference, paired by example.
"""

import argparse
import csv
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from rmt_genomics.datasets import EncodedStore
from rmt_genomics.datasets.mosaics import LABELS, MosaicSource
from rmt_genomics.datasets.source_records import SourceRecords
from rmt_genomics.dna.kmers import count_canonical_kmers
from rmt_genomics.model import ClassifierConfig, RMTClassifier

RUNS: dict[str, dict[str, Any]] = {
    "memory": {},
    "reset": {"memory_reset": "segment"},
    "carried": {"readout": "carried"},
    "no gate": {"memory_gate": False},
    "carried, no gate": {"readout": "carried", "memory_gate": False},
    "hard gate": {"memory_gate": "hard"},
    "linear head": {"head_layers": 1},
    "linear head, reset": {"head_layers": 1, "memory_reset": "segment"},
    "first version": {"readout": "carried", "memory_gate": False, "head_layers": 1},
}
"""Changes of each run to the settings of ``_config``."""

PARTS = {"train": "train", "val": "validation", "validation": "validation"}
Scores = tuple[np.ndarray, np.ndarray]
SCAN_BLOCK_BP, TEST_SEED, BOOTSTRAPS = 256, 2, 1000


def main() -> None:
    """Train what is missing, and print the table."""
    options = _options()
    torch.set_num_threads(1)
    sources = _sources(options.fasta, options.labels, options.group)
    others = sources
    if options.test_fasta:
        others = _sources(options.test_fasta, options.test_labels, options.test_group)
    folder = options.out.with_suffix("")  # probabilities of each run, for the paired comparison
    folder.mkdir(parents=True, exist_ok=True)
    done = {tuple(row["key"]) for row in _rows(options.out)}
    for seed in options.seeds:
        for name in options.runs:
            key = (name, options.length, options.start_length, options.seconds, seed)
            if name == "scan":  # no training: the same for every seed
                key = (name, options.length, None, 0, 0)
            if key in done:
                continue
            if name == "scan":
                found = _scan(sources, options.length, options.number)
            else:
                found, probabilities = _train(name, sources, others, options, seed)
                np.save(folder / f"{'_'.join(map(str, key))}.npy", probabilities)
            row = {"key": key, **found}
            print(json.dumps(row), flush=True)
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            done.add(key)
    print("\n" + table(_rows(options.out), folder))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("fasta", type=Path)
    add("--labels", type=Path, required=True)
    add("--group", default="family", help="column: the two sources are of two groups")
    add("--runs", nargs="+", choices=[*RUNS, "scan"], default=["memory", "reset", "scan"])
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--length", type=int, default=8192, help="bp")
    add("--start-length", type=int, help="bp; doubled until --length after 60 %% of the time")
    add(
        "--test-lengths",
        type=int,
        nargs="*",
        default=[],
        help="bp; tested as well, a tenth as many",
    )
    add("--test-fasta", type=Path, help="whose mosaics of --test-lengths are tested")
    add("--test-labels", type=Path, help="the groups of its records")
    add("--test-group", default="species", help="column of --test-labels")
    add("--seconds", type=float, default=300.0, help="processor time of a training")
    add("--number", type=int, default=6000, help="test mosaics")
    add("--gc-difference", type=float, default=0.15, help="of sources, at first; 0 at half time")
    add("--learning-rate", type=float, default=3e-3)
    add("--batch", type=int, default=32, help="of mosaics of 8,192 bp; fewer of longer ones")
    add("--dim", type=int, default=64)
    add("--depth", type=int, default=1)
    add("--out", type=Path, required=True, help="JSON lines, appended to")
    options = parser.parse_args()
    if (options.test_fasta is None) != (options.test_labels is None):
        parser.error("--test-fasta and --test-labels belong together")
    if options.test_fasta and not options.test_lengths:
        parser.error("--test-fasta has no effect without --test-lengths")
    return options


def _sources(fasta: Path, labels: Path, column: str) -> SourceRecords:
    """Return the records with a group and a part; validation where there is no column of parts."""
    store = EncodedStore.open(fasta)
    with labels.open() as file:
        rows = [{"split": "val", **row} for row in csv.DictReader(file, delimiter="\t")]
    rows = [row for row in rows if row["split"] in PARTS and row[column].strip() not in ("", "nan")]
    group_of = {row["record"]: f"{row['split']}:{row[column]}" for row in rows}
    part_of = {group: PARTS[group.partition(":")[0]] for group in group_of.values()}
    return SourceRecords(store, group_of, part_of)


def _config(options: argparse.Namespace, **changes: Any) -> ClassifierConfig:
    return ClassifierConfig(
        classes=LABELS, task="multiclass", dim=options.dim, depth=options.depth, heads=4,
        segment_length=64, stem_pool=8, num_memory_tokens=8, pooling="mean",
        strand_head="symmetric", **changes,
    )  # fmt: skip


def _train(
    name: str,
    sources: SourceRecords,
    others: SourceRecords,
    options: argparse.Namespace,
    seed: int,
) -> tuple[dict[str, Any], np.ndarray]:
    """Train one run; return what is known of it and its probabilities."""
    torch.manual_seed(seed)
    model = RMTClassifier(_config(options, **RUNS[name]))
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=0.01)
    lengths = _stages(options.start_length or options.length, options.length)
    batches = [_batches(sources, length, options, seed) for length in lengths]
    step, begin, losses = 0, time.process_time(), []
    while (used := (time.process_time() - begin) / options.seconds) < 1:
        stage = min(len(lengths) - 1, int(used / 0.6 * len(lengths)))
        fall = 0.1 + 0.45 * (1 + math.cos(math.pi * used))
        optimiser.param_groups[0]["lr"] = options.learning_rate * min(1, (step + 1) / 50) * fall
        difference = options.gc_difference * max(0.0, 1 - 2 * used)
        codes, targets = batches[stage](difference)
        loss = F.cross_entropy(model(codes, [codes.shape[1]] * len(codes)), targets)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        losses.append(loss.item())
    model.eval()
    found: dict[str, Any] = {"steps": step, "loss": round(float(np.mean(losses[-50:])), 3)}
    found["train_cpu_seconds"] = round(time.process_time() - begin)
    for length in options.test_lengths:
        number = max(300, options.number // 10)
        at_length = scores_of(_test(model, others, length, number))
        found[f"at_{length}"] = aurocs(np.arange(number) % 3, at_length)
    probabilities = _test(model, sources, options.length, options.number)
    targets = np.arange(options.number) % 3
    return {**found, **aurocs(targets, scores_of(probabilities))}, probabilities


def _stages(first: int, last: int) -> list[int]:
    lengths = [first]
    while lengths[-1] < last:
        lengths.append(min(last, 2 * lengths[-1]))
    return lengths


def _batches(
    sources: SourceRecords, length: int, options: argparse.Namespace, seed: int
) -> Callable[[float], tuple[Tensor, Tensor]]:
    """Return a function that makes a batch whose sources differ in GC content at least so much."""
    source, random = MosaicSource(sources, "train", length), np.random.default_rng((seed, length))
    rows = max(6, options.batch * 8192 // length)

    def batch(gc_difference: float) -> tuple[Tensor, Tensor]:
        targets = (np.arange(rows) + random.integers(3)) % 3
        codes = [
            source.draw(LABELS[target], length, random, gc_difference=gc_difference).codes
            for target in targets
        ]
        return torch.from_numpy(np.stack(codes)), torch.from_numpy(targets)

    return batch


def _examples(sources: SourceRecords, length: int, number: int) -> Iterator[np.ndarray]:
    source, random = MosaicSource(sources, "validation", length), np.random.default_rng(TEST_SEED)
    for index in range(number):
        yield source.draw(LABELS[index % 3], length, random).codes


def _test(model: RMTClassifier, sources: SourceRecords, length: int, number: int) -> np.ndarray:
    """Return the probabilities of each class for the test mosaics."""
    rows, waiting, found = max(1, 262_144 // length), [], []
    for codes in _examples(sources, length, number):
        waiting.append(codes)
        if len(waiting) == rows:
            found.append(model.predict_codes(waiting))
            waiting = []
    found += [model.predict_codes(waiting)] if waiting else []
    return np.concatenate(found)


def scores_of(probabilities: np.ndarray) -> Scores:
    """Return how foreign each mosaic is, and how much more a join than an insertion."""
    log = np.log(np.clip(probabilities, 1e-12, 1))
    return -log[:, 0], log[:, 2] - log[:, 1]


def aurocs(targets: np.ndarray, scores: Scores) -> dict[str, float]:
    """Return the AUROC of both questions; ``targets`` are indices of ``LABELS``."""
    is_foreign, (foreign, join) = targets > 0, scores
    return {
        "intact or not": float(roc_auc_score(is_foreign, foreign)),
        "insertion or join": float(roc_auc_score(targets[is_foreign] == 2, join[is_foreign])),
    }


def paired_intervals(
    targets: np.ndarray, first: np.ndarray, second: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Return the 95 % bootstrap intervals of AUROC(first) - AUROC(second), paired by example."""
    random, differences = np.random.default_rng(0), []
    pair = [scores_of(first), scores_of(second)]
    for _ in range(BOOTSTRAPS):
        rows = random.integers(len(targets), size=len(targets))
        found = [aurocs(targets[rows], (each[0][rows], each[1][rows])) for each in pair]
        differences.append({name: found[0][name] - found[1][name] for name in found[0]})
    intervals = {}
    for name in differences[0]:
        low, high = np.quantile([each[name] for each in differences], [0.025, 0.975])
        intervals[name] = (float(low), float(high))
    return intervals


def _scan(sources: SourceRecords, length: int, number: int) -> dict[str, Any]:
    """Split the k-mer counts of each mosaic at the best places, k of 2 to 4; return the best k."""
    targets, codes = np.arange(number) % 3, list(_examples(sources, length, number))
    begin, tried = time.process_time(), []
    for k in (2, 3, 4):
        join, insertion = np.array([_best_splits(_block_counts(each, k)) for each in codes]).T
        tried.append({**aurocs(targets, (np.maximum(join, insertion), join - insertion)), "k": k})
    best = max(tried, key=lambda found: found["intact or not"] + found["insertion or join"])
    return {**best, "cpu_seconds": round(time.process_time() - begin)}


def _block_counts(codes: np.ndarray, k: int) -> np.ndarray:
    """Count the canonical k-mers of each block, ``(blocks, k-mers)``; at most 64 blocks."""
    block = max(SCAN_BLOCK_BP, len(codes) // 64)
    starts = range(0, len(codes) - block + 1, block)
    return np.array([count_canonical_kmers(codes[at : at + block], k) for at in starts], float)


def _best_splits(counts: np.ndarray) -> tuple[float, float]:
    """Return the log-likelihood ratio of the best split in two, and of the best in three."""
    sums = np.vstack([np.zeros(counts.shape[1]), counts.cumsum(0)])
    n, total = len(counts), sums[-1]
    ends = range(n // 5, n - n // 5)
    join = max(_log_likelihood_ratio(sums[i], total) for i in ends)
    insides = (
        (i, j) for i in range(2, n - 6) for j in range(i + n // 5, min(i + n * 9 // 16, n - 1))
    )
    insertion = max(_log_likelihood_ratio(sums[j] - sums[i], total) for i, j in insides)
    return join, insertion


def _log_likelihood_ratio(part: np.ndarray, total: np.ndarray) -> float:
    """Return how much better two compositions explain the counts than one."""
    seen = total > 0
    mean = total[seen] / total.sum()
    return float(
        sum(
            (each[seen] * np.log((each[seen] / each.sum() + 1e-9) / mean)).sum()
            for each in (part, total - part)
        )
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def table(rows: list[dict[str, Any]], folder: Path) -> str:
    """Return the scores of each run, and law 9 for each pair of memory and reset."""
    lines = ["| run | length | seconds | seeds | intact or not | insertion or join |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row["key"][:4]), []).append(row)
    for (name, length, _, seconds), of_run in groups.items():
        cells = []
        for score in ("intact or not", "insertion or join"):
            values = [row[score] for row in of_run]
            spread = f" ({np.std(values, ddof=1):.3f})" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{spread}")
        lines.append(
            f"| {name} | {length:,} | {seconds:.0f} | {len(of_run)} | {' | '.join(cells)} |"
        )
    lines.append("")
    for row in rows:
        name, *rest = row["key"]
        if name != "memory":
            continue
        files = [folder / f"{'_'.join(map(str, [run, *rest]))}.npy" for run in ("memory", "reset")]
        if not all(file.exists() for file in files):
            continue
        first, second = map(np.load, files)
        intervals = paired_intervals(np.arange(len(first)) % 3, first, second)
        for score, (low, high) in intervals.items():
            lines.append(
                f"{rest[0]:,} bp, seed {rest[-1]}, {score}: "
                f"memory - reset {low:+.3f} to {high:+.3f}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
