"""Draw the results of an evaluation, a run or an inspection into image files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rmt_genomics.atomic_io import atomic_file
from rmt_genomics.reports import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from rmt_genomics.datasets.examples import Example
    from rmt_genomics.reports.data_summary import DataSummary

_DPI = 150


def write_plots(folder: str | Path) -> list[Path]:
    """Draw what ``evaluate`` wrote into a folder, there, each figure as SVG and PNG.

    For a classifier these are confusion matrix, ROC and precision-recall curves, and reliability if
    it was calibrated; for a regression predicted against true values; for both the use of context,
    if it was measured.
    """
    folder = Path(folder)
    from rmt_genomics.reports.run_results import read_run_results  # loads torch

    results, figures = read_run_results(folder), {}
    if results.regression_values is not None:
        values, name = results.regression_values, results.classes[0]
        figures["errors"] = plots.predicted_against_true(*values, name)
    if results.probabilities is not None:
        classes = results.classes
        if confusion := results.metrics.get("confusion"):
            figures["confusion"] = plots.confusion_matrix(confusion, classes)
        figures["roc"] = plots.roc_curves(*results.probabilities, classes)
        curves = plots.precision_recall_curves(*results.probabilities, classes)
        figures["precision_recall"] = curves
    if bins := (results.metrics.get("calibration") or {}).get("reliability"):
        figures["reliability"] = plots.reliability(bins)
    if context := results.metrics.get("context"):
        figures["context"] = plots.score_over_visible(context)
    return [path for name, figure in figures.items() for path in _save_all(figure, folder / name)]


def write_composition_plot(
    summary: "DataSummary", examples: "Sequence[Example]", path: Path
) -> None:
    """Draw lengths, GC and unknown bases of records; by label where whole records have labels."""
    save_figure(plots.composition(summary.compositions_by_label(examples)), path)


def write_training_plot(run: str | Path) -> list[Path]:
    """Draw a run's ``metrics.jsonl`` as ``training.svg`` and ``training.png`` in its folder."""
    from rmt_genomics.evaluation.result_files import read_epochs  # loads torch

    run = Path(run)
    figure = plots.training_curve(read_epochs(run / "metrics.jsonl"))
    return _save_all(figure, run / "training")


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Write a figure atomically, in the format of the suffix of ``path``.

    The same figure gives the same bytes: no date, no random ids.
    """
    path = Path(path)
    import matplotlib

    kind = path.suffix.removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else {}
    with atomic_file(path) as temporary, matplotlib.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(temporary, format=kind, dpi=_DPI, metadata=metadata)


def _save_all(figure: "Figure", stem: Path) -> list[Path]:
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png")]
    for path in paths:
        save_figure(figure, path)
    return paths
