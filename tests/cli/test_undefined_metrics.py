"""A metric that is not defined is null, with a sentence; no command fails because of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from rmt_genomics.reports import write_training_plot
from tests.cli.toys import run
from tests.prediction.toys import dna, saved_model, write_fasta, write_table
from tests.training.toys import TINY, no_log_handlers

SETTINGS = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]


def records(folder: Path, truths: list[str], parts: list[str]) -> tuple[Path, Path]:
    """Write one record of 60 bp per true label, and its part."""
    names = [f"r{index}" for index in range(len(truths))]
    fasta = write_fasta(folder / "toy.fa", {name: dna(60, seed=i) for i, name in enumerate(names)})
    rows = map(" ".join, zip(names, truths, parts, strict=True))
    return fasta, write_table(folder / "labels.tsv", "record label split", *rows)


def undefined_of(metrics: dict[str, Any]) -> set[str]:
    return {key for key, value in metrics.items() if value is None}


@pytest.mark.filterwarnings("ignore::rmt_genomics.errors.RMTGenomicsWarning")
@pytest.mark.parametrize(
    ("task", "truths", "undefined", "words"),
    [
        ("binary", "at", {"mcc", "auroc", "auprc"}, "MCC, AUROC, AUPRC (each class has all of"),
        ("multiclass", "at", {"mcc", "auroc", "auprc"}, "MCC, AUROC, AUPRC (each class has all of"),
        ("multilabel", "at", {"mcc", "auroc", "auprc"}, "MCC, AUROC, AUPRC (each class has all of"),
        ("regression", "1.5", {"pearson", "spearman", "r2"}, "R2 (the true values are all equal)"),
    ],
)
def test_equal_labels_are_evaluated_reported_and_compared(
    tmp_path: Path, task: str, truths: str, undefined: set[str], words: str
) -> None:
    classes = {"regression": ("label",), "multiclass": ("at", "gc", "x")}.get(task, ("at", "gc"))
    model = saved_model(tmp_path / "model", task=task, classes=classes)
    fasta, labels = records(tmp_path, [truths] * 8, ["test"] * 8)

    result = run("evaluate", model, fasta, "--labels", labels, "--out", tmp_path / "out")
    table = run("compare", tmp_path / "out", tmp_path / "out/metrics.json")

    assert (result.exit_code, table.exit_code) == (0, 0), result.output + table.output
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert undefined_of(metrics) == undefined
    assert undefined_of(metrics["baselines"]["chunk_average"]) == undefined
    assert any(note.startswith("Not defined on") and words in note for note in metrics["notes"])
    sentence = metrics["summary"]["sentence"]
    assert "by which it would be compared, is not defined on them" in sentence
    assert sentence in (tmp_path / "out/report.html").read_text()
    assert sentence in " ".join(result.stderr.splitlines())
    for key in undefined:
        assert f"\n{key}\t\t" in result.stdout
        assert f"\n{key}\t\t\t\t" in table.stdout


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("held_out", [["validation"], ["validation", "test"]])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_training_whose_held_out_labels_are_equal_finishes(
    tmp_path: Path, task: str, held_out: list[str]
) -> None:
    values = ["at", "gc"] if task == "classification" else ["0.5", "1.5"]
    truths = [*values * 6, *values[:1] * 4 * len(held_out)]
    fasta, labels = records(tmp_path, truths, ["train"] * 12 + held_out * 4)
    options = [*SETTINGS, "--set", f"data.task={task}", "--device", "cpu"]

    with no_log_handlers():
        result = run("train", fasta, "--labels", labels, "--out", tmp_path / "run", *options)

    assert result.exit_code == 0, result.output
    main = "mcc" if task == "classification" else "r2"
    epochs = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").open()]
    assert {row[f"val_{main}"] for row in epochs} == {None}
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics[main] is None
    is_calibrated = any("calibration was fitted on the evaluated" in n for n in metrics["notes"])
    assert is_calibrated == (task == "classification" and held_out == ["validation"])
    sentence = metrics["summary"]["sentence"]
    for file in ("report.html", "README.md"):
        assert sentence in (tmp_path / "run" / file).read_text()
    assert len(write_training_plot(tmp_path / "run")) == 2
