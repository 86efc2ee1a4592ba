"""From the files of an evaluation or a run to pictures beside them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rmt_genomics.atomic_io import atomic_file
from rmt_genomics.reports.metric_names import metric_name
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
from rmt_genomics.reports.run_results import Findings, read_findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rmt_genomics.datasets.examples import Example
    from rmt_genomics.reports.data_summary import Inspection


FORMATS = ("svg", "png")
_DPI = 150


def write_plots(folder: Path) -> list[Path]:
    """Draw what ``evaluate`` wrote into a folder, and put the pictures beside it.

    Args:
        folder: Holds ``metrics.json`` and ``predictions.tsv``.

    Returns:
        The files, each picture as SVG and PNG: of a classifier confusion matrix, ROC and
        precision-recall curves, and its reliability if it was calibrated; of a regression the
        errors; of both the use of context, if it was measured.
    """
    figures = _figures(read_findings(folder))
    return [path for name, figure in figures.items() for path in _save_all(figure, folder / name)]


def _figures(found: Findings) -> "dict[str, Figure]":
    figures: dict[str, Figure] = {}
    if found.values is not None:
        figures["errors"] = predicted_against_true(*found.values, found.classes[0])
    if found.answers is not None:
        figures["confusion"] = confusion_matrix(found.metrics["confusion"], found.classes)
        figures["roc"] = roc_curves(*found.answers, found.classes)
        figures["precision_recall"] = precision_recall_curves(*found.answers, found.classes)
    if bins := (found.metrics.get("calibration") or {}).get("reliability"):
        figures["reliability"] = reliability(bins)
    if context := found.metrics.get("context"):
        metric = context["metric"]
        reset = (context.get("memory_reset") or {}).get(metric)
        drawn = score_over_visible(context["visible"], reset, metric, metric_name(metric))
        figures["context"] = drawn
    return figures


def write_composition_plot(found: "Inspection", examples: "Sequence[Example]", path: Path) -> None:
    """Draw lengths, GC and unknown bases of records; by label where whole records have labels."""
    kinds = found.by_label(examples)
    lengths = {name: [each.length for each in every] for name, every in kinds.items()}
    gc = {name: [each.gc for each in every if each.gc is not None] for name, every in kinds.items()}
    unknown = {
        name: [each.n + each.ambiguous / each.length for each in every]
        for name, every in kinds.items()
    }
    save_figure(composition(lengths, gc, unknown), path)


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
    with atomic_file(path) as making, matplotlib.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(making, format=kind, dpi=_DPI, metadata=metadata)


def _save_all(figure: "Figure", stem: Path) -> list[Path]:
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in FORMATS]
    for path in paths:
        save_figure(figure, path)
    return paths
