"""Folders as a training or an evaluation writes them, with names that HTML must escape."""

import json
import random
from pathlib import Path
from typing import Any

from rmt_genomics.evaluation.bootstrap import difference_sentence

NASTY = "<b>&\"'</b>"
THREE = ("mobile", NASTY, "_x $y$")


def write_run(folder: Path, *, classes: tuple[str, ...] = THREE, per_class: int = 12) -> Path:
    """Write every file that a report reads, of a classifier that is better than its baselines."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = _predictions(classes, per_class)
    (folder / "metrics.json").write_text(json.dumps(classifier_metrics(classes, rows)))
    header = "\t".join(["record", "length", "truth", "label", "score", *_columns(classes)])
    (folder / "predictions.tsv").write_text("\n".join([header, *map(_as_line, rows)]) + "\n")
    (folder / "split.tsv").write_text(_split(classes))
    (folder / "leakage.json").write_text(json.dumps(LEAKAGE))
    (folder / "evidence.json").write_text(json.dumps(EVIDENCE))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in EPOCHS))
    (folder / "config.toml").write_text(f'[model]\npreset = "tiny"\ndim = 64\n# {NASTY}\n')
    (folder / "environment.txt").write_text(ENVIRONMENT)
    return folder


def write_regression(folder: Path) -> Path:
    """Write an evaluated regression, with its predictions."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    truths = [rng.gauss(10, 4) for _ in range(60)]
    rows = [
        f"r{index}\t{500 + 10 * index}\t{truth:.3f}\t{truth + rng.gauss(0, 1):.3f}"
        for index, truth in enumerate(truths)
    ]
    (folder / "predictions.tsv").write_text(
        "\n".join(["record\tlength\ttruth\tprediction", *rows]) + "\n"
    )
    scores = {"n": 60, "pearson": 0.94, "spearman": 0.93, "r2": 0.9, "mae": 0.81, "rmse": 1.02}
    ridge = {"n": 60, "pearson": 0.4, "spearman": 0.41, "r2": 0.15, "mae": 2.9, "rmse": 3.6, "k": 6}
    mean = {"n": 60, "pearson": None, "spearman": None, "r2": 0.0, "mae": 3.3, "rmse": 4.0}
    metrics = {
        **scores,
        "intervals": {"pearson": [0.9012, 0.9641], "r2": [None, None]},
        "classes": ["copies"],
        "task": "regression",
        "split": "test",
        "baselines": {"mean": mean, "kmer_ridge": ridge},
        "differences": {"kmer_ridge": difference("pearson", 0.54, 0.31, 0.72)},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def classifier_metrics(classes: tuple[str, ...], rows: list[list[Any]]) -> dict[str, Any]:
    """Return the contents of ``metrics.json``, with invented numbers."""
    n = len(rows)
    confusion = [
        [sum(row[2] == true and row[3] == predicted for row in rows) for predicted in classes]
        for true in classes
    ]
    return {
        **_scores(n, 0.8),
        "intervals": {"mcc": [0.6912, 0.8871], "auroc": [0.8123, 0.96], "auprc": None},
        "classes": list(classes),
        "task": "binary" if len(classes) == 2 else "multiclass",
        "split": "test",
        "confusion": confusion,
        "per_class": [
            {
                "class": name,
                "n": n // len(classes),
                "precision": 0.9,
                "recall": 0.8123456,
                "f1": 0.85,
                "auroc": 0.97,
                "auprc": None,
            }
            for name in classes
        ],
        "validation": _scores(n, 0.85),
        "baselines": {
            "majority": _scores(n, 0.0) | {"auroc": 0.5},
            "kmer_logistic": _scores(n, 0.6) | {"k": 6},
            "kmer4_logistic": _scores(n, 0.55) | {"k": 4},
            "kmer6_logistic": _scores(n, 0.6) | {"k": 6},
            "chunk_average": _scores(n, 0.7),
        },
        "differences": {
            "kmer_logistic": difference("mcc", 0.2, 0.05, 0.35),
            "chunk_average": difference("mcc", 0.1, 0.02, 0.18),
        },
        "context": {
            "metric": "mcc",
            "visible": [
                {"bp": bp, "share_shortened": 1.0, **_scores(n, score)}
                for bp, score in ((1024, 0.1), (4096, 0.35), (16384, 0.7))
            ]
            + [{"bp": None, "share_shortened": 0.0, **_scores(n, 0.8)}],
            "memory_reset": _scores(n, 0.3),
            "sentence": "The model needs more than 16,384 bp: with less its MCC falls.",
        },
        "calibration": {
            "temperature": 1.7,
            "fitted_on": "validation",
            "n": 40,
            "ece_before": 0.12,
            "ece": 0.04,
            "brier_before": 0.2,
            "brier": 0.17,
            "log_loss_before": 0.5,
            "log_loss": 0.41,
            "reliability": [
                {"low": 0.0, "high": 0.5, "n": 0, "confidence": None, "accuracy": None},
                {"low": 0.5, "high": 0.75, "n": 10, "confidence": 0.62, "accuracy": 0.6},
                {"low": 0.75, "high": 1.0, "n": 26, "confidence": 0.93, "accuracy": 0.885},
            ],
        },
        "length_bins": [
            {"low_bp": 1000, "high_bp": 5000, "n": n // 2, **_scores(n // 2, 0.7)},
            {"low_bp": 5000, "high_bp": 60000, "n": n - n // 2, **_scores(n - n // 2, 0.9)},
        ],
        "notes": [f"Of the class {NASTY} there are few examples."],
    }


EPOCHS = [
    {
        "epoch": epoch,
        "step": 10 * epoch,
        "train_loss": 1.1 / epoch,
        "val_loss": 1.0 / epoch + 0.1,
        "val_mcc": 1 - 1 / epoch,
        "val_accuracy": None,
        "learning_rate": 5e-4 / epoch,
        "bp_per_second": 143210,
        "seconds": 12.345,
    }
    for epoch in range(1, 7)
]

LEAKAGE = {
    "examples": {"train": 40, "validation": 10, "test": 36},
    "k": 21,
    "not_compared": 0,
    "near_duplicate_pairs": 4,
    "near_duplicates": [
        {
            "first": "r1",
            "first_part": "train",
            "second": NASTY,
            "second_part": "test",
            "similarity": 0.91234,
        }
    ],
    "touched": {"validation": 0.0, "test": 0.1111},
    "overlapping": 0,
    "overlaps": [],
    "probes": {"length": 0.5123, "gc": 0.91, "n": None, "all": 0.93},
    "warnings": [f"11.1% of test are near-duplicates (such as {NASTY})."],
}

EVIDENCE = {
    "examples": [
        {
            "record": f"contig_with_a_long_name_{number}",
            "class": NASTY,
            "probability": 0.98765,
            "pieces": "4 segments",
            "starts": [0, 512, 1024, 1536],
            "ends": [512, 1024, 1536, 2000],
            "effects": [0.5, 3.25, -0.25, 0.0],
            "through_memory": [0.25, -1.5, 0.0, 0.0],
        }
        for number in range(2)
    ],
    "notes": [f"No evaluated example of {NASTY} was predicted as {NASTY}."],
}

ENVIRONMENT = (
    "command: rmt-genomics train reads.fasta --labels labels.tsv --out runs/first\nseed: 0\n"
    f"fasta_sha256: {'0123456789abcdef' * 4}\npython: 3.11.2\ntorch: 2.13.0\ndevice: cpu\n"
)


def _scores(n: int, mcc: float) -> dict[str, Any]:
    high = 0.5 + mcc / 2
    return {
        "n": n,
        "accuracy": high,
        "balanced_accuracy": high,
        "mcc": mcc,
        "macro_f1": high,
        "auroc": high,
        "auprc": high,
    }


def difference(metric: str, value: float, low: float, high: float) -> dict[str, Any]:
    numbers = {"metric": metric, "difference": value, "low": low, "high": high, "level": 0.95}
    return {**numbers, "sentence": difference_sentence(numbers, "the baseline", "36 examples")}


def _predictions(classes: tuple[str, ...], per_class: int) -> list[list[Any]]:
    rng = random.Random(0)
    rows = []
    for index, name in enumerate(classes):
        for number in range(per_class):
            weights = [rng.random() + 0.4 * (other == index) for other in range(len(classes))]
            probabilities = [weight / sum(weights) for weight in weights]
            predicted = classes[max(range(len(classes)), key=probabilities.__getitem__)]
            length = int(10 ** rng.uniform(3, 4.8))
            score = max(probabilities)
            rows.append([f"r{index}_{number}", length, name, predicted, score, *probabilities])
    return rows


def _split(classes: tuple[str, ...]) -> str:
    rng = random.Random(2)
    lines = ["record\tstart\tend\tstrand\tlabel\tsplit"]
    for number in range(86):
        part = "train" if number < 40 else "validation" if number < 50 else "test"
        end = int(10 ** rng.uniform(3, 4.8))
        lines.append(f"r{number}\t0\t{end}\t+\t{classes[number % len(classes)]}\t{part}")
    return "\n".join(lines) + "\n"


def _columns(classes: tuple[str, ...]) -> list[str]:
    return [f"prob_{name}" for name in classes]


def _as_line(row: list[Any]) -> str:
    return "\t".join(f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in row)
