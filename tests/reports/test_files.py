"""Pictures appear beside the results they show."""

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from rmt_genomics.inference.evaluate import evaluate
from rmt_genomics.reports import save_figure, write_plots, write_training_plot
from tests.inference.toys import saved_model, two_kinds

NAMES = ["confusion.png", "confusion.svg", "precision_recall.png", "precision_recall.svg"]
NAMES += ["roc.png", "roc.svg"]


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_an_evaluation_gets_its_pictures(tmp_path: Path, task: str) -> None:
    fasta, labels = two_kinds(tmp_path, per_kind=3, splits="train test")
    out = tmp_path / "out"
    evaluate(saved_model(tmp_path / "model", task=task), fasta, labels, out)

    written = write_plots(out)

    assert sorted(path.name for path in written) == NAMES
    assert (out / "roc.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (out / "roc.svg").read_text()
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_run_gets_its_training_curve(tmp_path: Path) -> None:
    row = {"epoch": 1, "train_loss": 0.5, "val_loss": 0.4, "val_mcc": 0.1}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n")

    assert [path.name for path in write_training_plot(tmp_path)] == ["training.svg", "training.png"]


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_figure_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    contents = []
    for _ in range(2):
        figure = Figure()
        figure.subplots().plot([1, 2], label="a")
        save_figure(figure, tmp_path / f"a.{kind}")
        contents.append((tmp_path / f"a.{kind}").read_bytes())

    assert contents[0] == contents[1]
