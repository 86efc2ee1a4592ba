"""How many labels does a pretrained encoder spare? Trainings from scratch and from a model.

    python benchmarks/label_efficiency.py --model bacteria-small --out curves.jsonl --shared SHARED
    python benchmarks/label_efficiency.py --out curves.jsonl --table

Sets: ``rrna16s`` (phylum of a 16S gene, 5, 20 and 100 examples of each class), ``plasmids`` (a
relaxase gene or not, 50, 200 and 800 plasmids; SHARED has ``plasmids/``, whose ``val`` part is the
test part) and ``mosaics`` (the task of the demo in a quarter of its steps, and in all).

Predictors: ``pretrained`` starts from the model, ``frozen`` too, but its encoder stays;
``scratch`` has the same sizes and settings and random weights; ``automatic`` has the sizes that
``train`` chooses (of mosaics those of the demo); ``kmers`` is a logistic regression on the 4-mers
or 6-mers of both strands. Networks read no features, so that the encoder shows. As many validation
examples as training examples choose the epoch (and for k-mers length and strength); half of them at
most for plasmids. A training reads at most ``--train-bp``.

A line of JSON is appended for each run; runs that are in the file are not repeated.
"""

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import matthews_corrcoef
from sklearn.preprocessing import StandardScaler

from rmt_genomics.datasets import Example, SequenceStore
from rmt_genomics.dna import read_records
from rmt_genomics.dna.kmers import count_canonical_kmers
from rmt_genomics.model.batching import compute_in_batches
from rmt_genomics.model.initial_weights import InitialModel
from rmt_genomics.training import TrainingResult, read_config, train

CLONE = Path(__file__).resolve().parents[1]
SETS: dict[str, tuple[float, ...]] = {
    "rrna16s": (5, 20, 100),  # examples of each class
    "plasmids": (50, 200, 800),  # plasmids
    "mosaics": (0.25, 1),  # fraction of the steps of the demo
}
PREDICTORS = ("automatic", "scratch", "pretrained", "frozen", "kmers")
MOST_TEST = 300  # examples
MOST_EPOCHS, FEWEST_EPOCHS = 60, 8
KMER_LENGTHS, STRENGTHS = (4, 6), (0.001, 0.01, 0.1, 1.0, 10.0)
Row = dict[str, Any]


class Cell(NamedTuple):
    """One run; the key of a line."""

    name: str
    size: float
    seed: int
    predictor: str


def main() -> None:
    """Run what is missing, or print the table."""
    options = _options()
    rows = _read(options.out)
    if options.table:
        _print_table(rows)
        return
    done = {Cell(*(row[key] for key in ("set", "size", "seed", "predictor"))) for row in rows}
    for cell in _cells(options):
        if cell in done:
            continue
        row = _run(cell, options)
        with options.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a pretrained model, as for train --init-from")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines")
    parser.add_argument("--shared", type=Path, help="folder with plasmids/")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--sizes", nargs="+", type=float, help="only these")
    parser.add_argument("--predictors", nargs="+", choices=PREDICTORS, default=list(PREDICTORS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--train-bp", type=float, default=20e6, help="read by a training")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--table", action="store_true", help="print the table of --out")
    options = parser.parse_args()
    if not options.table and options.model is None:
        parser.error("--model is needed")
    return options


def _cells(options: argparse.Namespace) -> Iterator[Cell]:
    for seed in options.seeds:
        for name in options.sets:
            if name == "plasmids" and options.shared is None:
                continue
            for size in SETS[name]:
                if options.sizes is None or size in options.sizes:
                    for predictor in options.predictors:
                        yield Cell(name, size, seed, predictor)


def _run(cell: Cell, options: argparse.Namespace) -> Row:
    """Train and test once."""
    with tempfile.TemporaryDirectory() as folder:
        fasta, labels, settings = _inputs(cell, options, Path(folder))
        settings += ["model.features=none", *_start(cell, options.model)]
        if cell.predictor == "kmers":  # the network is not used: only the examples are read
            settings += ["model.dim=8", "model.heads=2", "training.max_epochs=1"]
        config = read_config(None, settings)
        start = time.process_time()
        out = Path(folder) / "run"
        result = train(fasta, labels, out, config, device=options.device, seed=cell.seed)
        row = {"set": cell.name, "size": cell.size, "seed": cell.seed, "predictor": cell.predictor}
        row |= _kmers(result) if cell.predictor == "kmers" else _network(result)
        seconds = time.process_time() - start
        return row | {"seconds": round(seconds, 1), "model": options.model}


def _start(cell: Cell, model: str) -> list[str]:
    """Return the settings of where a training starts from."""
    if cell.predictor in ("pretrained", "frozen"):
        freeze = "encoder" if cell.predictor == "frozen" else "none"
        return [f"training.init_from={json.dumps(model)}", f"training.freeze={freeze}"]
    if cell.predictor == "scratch":
        sizes = InitialModel.read(model).settings(keep_head=False)
        return [f"{key}={json.dumps(value)}" for key, value in sizes.items()]
    return []


def _inputs(
    cell: Cell, options: argparse.Namespace, folder: Path
) -> tuple[Path, Path | None, list[str]]:
    """Return sequences, labels and settings of a run."""
    if cell.name == "mosaics":
        data = CLONE / "data/mosaics"
        demo = read_config(data / "config.toml").given()
        if cell.predictor != "automatic":  # its sizes are those of the model
            demo = {key: value for key, value in demo.items() if key.partition(".")[0] != "model"}
            demo |= {"model.pooling": "mean", "model.dropout": 0.0}
        demo["simulation.examples_per_epoch"] = int(cell.size * 1920)
        demo["simulation.groups"] = str(data / "groups.tsv")
        demo.pop("model.features", None)
        return data / "genomes.fasta.gz", None, [f"{k}={json.dumps(v)}" for k, v in demo.items()]
    source = options.shared / cell.name if cell.name == "plasmids" else CLONE / "data" / cell.name
    fasta = source / ("plasmids.fasta.gz" if cell.name == "plasmids" else "rrna16s.fasta.gz")
    with (source / "labels.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    chosen = _choose(cell, rows)
    table = folder / "labels.tsv"
    lines = (f"{row['record']}\t{row['label']}\t{row['split']}\n" for row in chosen)
    table.write_text("record\tlabel\tsplit\n" + "".join(lines))
    train_rows = {row["record"] for row in chosen if row["split"] == "train"}
    lengths = [each.length for each in read_records(fasta) if each.name in train_rows]
    return fasta, table, ["data.unlabelled=skip", *_epochs(lengths, options.train_bp)]


def _choose(cell: Cell, rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Draw training, validation and test examples; groups of plasmids stay in one part."""
    random = np.random.default_rng([cell.seed, int(cell.size)])
    test_part = "val" if cell.name == "plasmids" else "test"
    tests = [row for row in rows if row["split"] == test_part]
    test_order = np.random.default_rng(0).permutation(len(tests))[:MOST_TEST].tolist()
    chosen = [{**tests[at], "split": "test"} for at in test_order]
    pool = [rows[at] for at in random.permutation(len(rows)).tolist()]
    if cell.name == "plasmids":
        groups = sorted({row["group"] for row in pool if row["split"] == "train"})
        held_out = set(random.choice(groups, len(groups) // 4, replace=False).tolist())
        for row in pool:
            if row["split"] == "train" and row["group"] in held_out:
                row["split"] = "validation"
    limits = {"train": int(cell.size), "validation": int(cell.size)}
    if cell.name == "plasmids":
        limits["validation"] = max(25, int(cell.size) // 2)
    counts: dict[tuple[str, str], int] = {}
    for row in pool:
        part = row["split"]
        key = (part, "" if cell.name == "plasmids" else row["label"])
        if part in limits and counts.get(key, 0) < limits[part]:
            counts[key] = counts.get(key, 0) + 1
            chosen.append(row)
    return chosen


def _epochs(lengths_bp: list[int], train_bp: float) -> list[str]:
    """Return settings with which a training reads about so many base pairs."""
    passes = train_bp / sum(lengths_bp)
    if passes >= FEWEST_EPOCHS:
        return [f"training.max_epochs={min(MOST_EPOCHS, int(passes))}"]
    size = max(1, int(passes * len(lengths_bp) / FEWEST_EPOCHS))
    return [f"training.max_epochs={FEWEST_EPOCHS}", f"training.examples_per_epoch={size}"]


def _network(result: TrainingResult) -> Row:
    """Test a network."""
    assert result.store is not None
    assert result.split is not None
    assert result.scheme is not None
    model, store, tests = result.model, result.store, result.split.test
    assert model is not None
    outputs = compute_in_batches(
        [len(each.interval) for each in tests],
        lambda batch: model.predict_codes([store.codes(tests[at].interval) for at in batch]),
        (len(model.classes_),),
    )
    return _metrics(result.scheme.targets(tests), outputs.argmax(axis=1))


def _kmers(result: TrainingResult) -> Row:
    """Fit and test logistic regressions; the best on the validation part."""
    assert result.store is not None
    assert result.split is not None
    assert result.scheme is not None
    parts = (result.split.train, result.split.validation, result.split.test)
    targets = [result.scheme.targets(part) for part in parts]
    fitted = []
    for k in KMER_LENGTHS:
        counts = [_frequencies(result.store, part, k) for part in parts]
        scaler = StandardScaler().fit(counts[0])
        train_x, validation_x, test_x = (scaler.transform(one) for one in counts)
        for strength in STRENGTHS:
            regression = LogisticRegression(C=strength, max_iter=1000, class_weight="balanced")
            regression.fit(train_x, targets[0])
            score = matthews_corrcoef(targets[1], regression.predict(validation_x))
            fitted.append((score, k, strength, regression.predict(test_x)))
    _, k, strength, predicted = max(fitted, key=lambda one: one[0])
    return _metrics(targets[2], predicted) | {"k": k, "strength": strength}


def _frequencies(store: SequenceStore, examples: Sequence[Example], k: int) -> np.ndarray:
    counts = np.stack([count_canonical_kmers(store.codes(each.interval), k) for each in examples])
    return counts / np.maximum(1.0, counts.sum(axis=1, keepdims=True))


def _metrics(targets: np.ndarray, predicted: np.ndarray) -> Row:
    return {
        "mcc": round(float(matthews_corrcoef(targets, predicted)), 4),
        "accuracy": round(float((targets == predicted).mean()), 4),
        "n_test": len(targets),
    }


def _read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _print_table(rows: list[Row]) -> None:
    """Print MCC, mean and standard deviation over seeds, a row per set and size."""
    found: dict[tuple[str, float], dict[str, list[float]]] = {}
    for row in rows:
        by_predictor = found.setdefault((row["set"], row["size"]), {})
        by_predictor.setdefault(row["predictor"], []).append(row["mcc"])
    print(f"| set | size | {' | '.join(PREDICTORS)} |\n| --- | --- |{' --- |' * len(PREDICTORS)}")
    for (name, size), values in sorted(found.items()):
        print(f"| {name} | {size:g} | {' | '.join(_spreads(values))} |")


def _spreads(values: Mapping[str, list[float]]) -> Iterator[str]:
    for predictor in PREDICTORS:
        numbers = values.get(predictor, [])
        spread = f" ({stdev(numbers):.3f})" if len(numbers) > 1 else ""
        yield f"{mean(numbers):.3f}{spread}" if numbers else ""


if __name__ == "__main__":
    main()
