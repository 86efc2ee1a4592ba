"""Figures are written into the folder of the results they show."""

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from rmt_genomics.reports import save_figure, write_plots, write_training_plot
from tests.reports.toys import write_regression, write_run


def written(folder: Path) -> set[str]:
    """Draw the results in a folder: each figure is written as SVG and PNG, and nothing else."""
    before = set(folder.iterdir())
    paths = write_plots(folder)
    assert set(folder.iterdir()) - before == set(paths)
    assert all("<svg" in path.read_text() for path in paths if path.suffix == ".svg")
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths if path.suffix == ".png")
    names = {path.stem for path in paths}
    assert len(paths) == 2 * len(names)
    return names


def test_an_evaluation_gets_its_figures(tmp_path: Path) -> None:
    names = {"confusion", "roc", "precision_recall", "reliability", "context"}

    assert written(write_run(tmp_path / "run", classes=("a", "b"))) == names


def test_a_multilabel_evaluation_is_drawn_class_by_class(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", classes=("a", "b", "c"))
    metrics = json.loads((folder / "metrics.json").read_text())
    few = {"confusion": [[[5, 1], [2, 4]]] * 3, "task": "multilabel", "classes": ["a", "b", "c"]}
    (folder / "metrics.json").write_text(json.dumps({**few, "n": metrics["n"]}))

    assert written(folder) == {"confusion", "roc", "precision_recall"}


def test_a_regression_gets_a_figure_of_its_errors(tmp_path: Path) -> None:
    assert written(write_regression(tmp_path / "run")) == {"errors"}


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


def test_without_a_confusion_matrix_the_other_figures_are_drawn(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    metrics = json.loads((folder / "metrics.json").read_text())
    del metrics["confusion"]
    (folder / "metrics.json").write_text(json.dumps(metrics))

    names = {path.stem for path in write_plots(folder)}

    assert "confusion" not in names
    assert {"roc", "precision_recall"} <= names
