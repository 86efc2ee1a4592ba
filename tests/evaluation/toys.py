"""Evaluation sets, run folders and metrics for the tests of evaluation."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from rmt_genomics.datasets import EncodedStore, Example, read_labels
from rmt_genomics.dna import Interval
from rmt_genomics.evaluation.evaluation_set import EvaluationSet
from tests.model.toys import toy
from tests.prediction.toys import TWO, dna, saved_model, two_kinds, write_fasta, write_table


def make_eval_set(folder: Path, lengths: list[int], **changes: Any) -> EvaluationSet:
    """Predict records of these lengths, labelled in turn, with a seeded float64 model."""
    model = toy(**{**TWO, **changes})
    sequences = {f"r{index}": dna(length, seed=index) for index, length in enumerate(lengths)}
    store = EncodedStore.open(write_fasta(folder / "toy.fa", sequences))
    numbers = tuple(f"{index}.5" for index in range(9))
    labels = numbers if model.config.task == "regression" else model.classes_
    examples = [
        Example(Interval(f"r{index}", 0, length), whole=True, labels=(labels[index % len(labels)],))
        for index, length in enumerate(lengths)
    ]
    return EvaluationSet.from_model(model, store, examples, where="toy")


def codes_of(eval_set: EvaluationSet) -> list[np.ndarray]:
    """Base codes of the examples."""
    return [eval_set.store.codes(example.interval) for example in eval_set.examples]


def write_run(folder: Path, splits: str) -> tuple[Path, Path]:
    """Write what a training leaves: a model, and how the examples of ``two_kinds`` were used."""
    fasta, labels = two_kinds(folder, splits=splits)
    run = saved_model(folder / "run")
    lengths = EncodedStore.open(fasta).lengths
    rows = [
        f"{example.interval.record} 0 {len(example.interval)} + {example.labels[0]} {example.split}"
        for example in read_labels(labels, lengths)
    ]
    write_table(run / "split.tsv", "record start end strand label split", *rows)
    return run, fasta


def read_table(path: Path) -> list[dict[str, str]]:
    """Read a table with tabs, one dictionary per row."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def toy_metrics(mcc: float | None, **changes: Any) -> dict[str, Any]:
    """What ``metrics.json`` holds at least."""
    numbers = dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1", "auroc", "auprc"), 0.5)
    about = {"n": 9, "classes": ["a", "b"], "task": "binary", "split": "test"}
    return {**about, **numbers, "mcc": mcc, **changes}


def write_metrics(folder: Path, metrics: dict[str, Any]) -> Path:
    """Write ``metrics.json`` into a new folder."""
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder
