"""The task of a model decides how the labels of an evaluation are read."""

from pathlib import Path

import pytest

from rmt_genomics.evaluation.evaluate import evaluate
from rmt_genomics.model import RMTClassifier
from tests.model.toys import toy
from tests.prediction.toys import write_fasta, write_table

RECORDS = {f"r{index}": "ACGTTGCA" * (3 + index) for index in range(4)}


def saved(model: RMTClassifier, folder: Path) -> Path:
    model.float().save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore::rmt_genomics.errors.RMTGenomicsWarning")
def test_a_multilabel_model_takes_empty_labels_though_no_line_has_several(tmp_path: Path) -> None:
    model = saved(toy(task="multilabel"), tmp_path / "model")
    fasta = write_fasta(tmp_path / "toy.fa", RECORDS)
    labels = tmp_path / "labels.tsv"
    labels.write_text("record\tlabel\nr0\ta\nr1\t\nr2\tc\nr3\t\n")

    metrics = evaluate(model, fasta, labels, tmp_path / "out", device="cpu")

    counts = [row["n"] for row in metrics["per_class"]]
    assert (metrics["n"], counts) == (4, [1, 0, 1])


@pytest.mark.filterwarnings("ignore::rmt_genomics.errors.RMTGenomicsWarning")
def test_a_regression_is_evaluated_on_a_few_whole_numbers(tmp_path: Path) -> None:
    scale = {"target_mean": 2.0, "target_std": 1.0}
    model = saved(toy(task="regression", classes=("label",), **scale), tmp_path / "model")
    fasta = write_fasta(tmp_path / "toy.fa", RECORDS)
    labels = write_table(tmp_path / "l.tsv", "record label", "r0 1", "r1 2", "r2 3", "r3 4")

    metrics = evaluate(model, fasta, labels, tmp_path / "out", device="cpu")

    assert metrics["task"] == "regression"
    assert metrics["mae"] > 0
