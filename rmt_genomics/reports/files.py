"""From the files of an evaluation or a run to pictures beside them."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rmt_genomics.inference.output import whole_file
from rmt_genomics.reports.plots import (
    confusion_matrix,
    precision_recall_curves,
    roc_curves,
    training_curve,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("svg", "png")
_DPI = 150


def write_plots(folder: Path) -> list[Path]:
    """Draw what ``evaluate`` wrote into a folder, and put the pictures beside it.

    Args:
        folder: Holds ``metrics.json`` and ``predictions.tsv``.

    Returns:
        The files: confusion matrix, ROC and precision-recall curves, each as SVG and PNG.
    """
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    classes = metrics["classes"]
    truth, probabilities = _read_predictions(folder / "predictions.tsv", classes)
    figures = {
        "confusion": confusion_matrix(metrics["confusion"], classes),
        "roc": roc_curves(truth, probabilities, classes),
        "precision_recall": precision_recall_curves(truth, probabilities, classes),
    }
    return [path for name, figure in figures.items() for path in _save_all(figure, folder / name)]


def write_training_plot(run: Path) -> list[Path]:
    """Draw a run's ``metrics.jsonl`` as ``training.svg`` and ``training.png`` in its folder."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    figure = training_curve([json.loads(line) for line in lines if line])
    return _save_all(figure, run / "training")


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure, whole or not at all; the ending of ``path`` says as what.

    The same figure gives the same bytes: no date, no random names.
    """
    import matplotlib

    kind = path.suffix.removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else {}
    with whole_file(path) as making, matplotlib.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(making, format=kind, dpi=_DPI, metadata=metadata)


def _save_all(figure: "Figure", stem: Path) -> list[Path]:
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in FORMATS]
    for path in paths:
        save_figure(figure, path)
    return paths


def _read_predictions(path: Path, classes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return 0/1 a class, and probabilities, both ``(n, c)``."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    truth = [[name in row["truth"].split(";") for name in classes] for row in rows]
    probabilities = [[float(row[f"prob_{name}"]) for name in classes] for row in rows]
    return np.array(truth, dtype=int), np.array(probabilities)
