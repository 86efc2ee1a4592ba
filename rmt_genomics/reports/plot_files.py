"""Draw the results of an evaluation, a run or an inspection into image files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rmt_genomics.atomic_io import atomic_file
from rmt_genomics.reports.plots import (
    composition,
    confusion_matrix,
    precision_recall_curves,
    predicted_against_true,
    reliability,
    roc_curves,
    score_over_visible,
    training_curve,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rmt_genomics.datasets.examples import Example
    from rmt_genomics.reports.data_summary import DataSummary
    from rmt_genomics.reports.run_results import RunResults

FORMATS = ("svg", "png")
_DPI = 150


def write_plots(folder: Path) -> list[Path]:
    """Draw the files that ``evaluate`` wrote, into the same folder.

    Args:
        folder: Holds ``metrics.json`` and ``predictions.tsv``.

    Returns:
        The files, each figure as SVG and PNG: for a classifier confusion matrix, ROC and
        precision-recall curves, and reliability if it was calibrated; for a regression predicted
        against true values; for both the use of context, if it was measured.
    """
    from rmt_genomics.reports.run_results import read_run_results  # loads torch

    figures = _figures(read_run_results(folder))
    return [path for name, figure in figures.items() for path in _save_all(figure, folder / name)]


def _figures(results: "RunResults") -> "dict[str, Figure]":
    from rmt_genomics.model.metrics import metric_name  # loads torch

    figures: dict[str, Figure] = {}
    if results.regression_values is not None:
        values, name = results.regression_values, results.classes[0]
        figures["errors"] = predicted_against_true(*values, name)
    if results.probabilities is not None:
        classes = results.classes
        figures["confusion"] = confusion_matrix(results.metrics["confusion"], classes)
        figures["roc"] = roc_curves(*results.probabilities, classes)
        figures["precision_recall"] = precision_recall_curves(*results.probabilities, classes)
    if bins := (results.metrics.get("calibration") or {}).get("reliability"):
        figures["reliability"] = reliability(bins)
    if context := results.metrics.get("context"):
        metric = context["metric"]
        reset = (context.get("memory_reset") or {}).get(metric)
        figures["context"] = score_over_visible(
            context["visible"], reset, metric, metric_name(metric)
        )
    return figures


def write_composition_plot(
    summary: "DataSummary", examples: "Sequence[Example]", path: Path
) -> None:
    """Draw lengths, GC and unknown bases of records; by label where whole records have labels."""
    lengths: dict[str, list[int]] = {}
    gc: dict[str, list[float]] = {}
    unknown: dict[str, list[float]] = {}
    for label, records in summary.compositions_by_label(examples).items():
        lengths[label] = [record.length for record in records]
        gc[label] = [record.gc for record in records if record.gc is not None]
        unknown[label] = [record.n + record.ambiguous / record.length for record in records]
    save_figure(composition(lengths, gc, unknown), path)


def write_training_plot(run: Path) -> list[Path]:
    """Draw a run's ``metrics.jsonl`` as ``training.svg`` and ``training.png`` in its folder."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    figure = training_curve([json.loads(line) for line in lines if line])
    return _save_all(figure, run / "training")


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure atomically, in the format of the suffix of ``path``.

    The same figure gives the same bytes: no date, no random ids.
    """
    import matplotlib

    kind = path.suffix.removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else {}
    with atomic_file(path) as temporary, matplotlib.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(temporary, format=kind, dpi=_DPI, metadata=metadata)


def _save_all(figure: "Figure", stem: Path) -> list[Path]:
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in FORMATS]
    for path in paths:
        save_figure(figure, path)
    return paths
