"""What the report shows on performance: metrics, classes, curves, lengths, regression."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rmt_genomics.errors import counted
from rmt_genomics.evaluation.tables import baseline_meaning, baseline_name, shown_baselines
from rmt_genomics.model.metrics import METRICS, metric_name
from rmt_genomics.reports import plots
from rmt_genomics.reports.formatting import Cell, Estimate, Table, estimate
from rmt_genomics.reports.plot_files import plot
from rmt_genomics.reports.run_results import RunResults

_MAX_TABLE_CLASSES = 20  # a wider confusion table is not readable
_MAX_PLOT_CLASSES = 60  # in the plot of a confusion matrix
_MAX_CURVES = 10
_MAX_MISTAKES = 10
_FEWEST_IN_BIN = 10  # metrics of fewer examples are mostly chance


def performance(results: RunResults) -> dict[str, Any] | None:
    """Compare the metrics of the model with those of the baselines."""
    metrics = results.metrics
    if not any(key in metrics for key in METRICS):
        return None
    baselines = shown_baselines(metrics)
    predictors = results.metric_columns
    if metrics.get("validation"):
        predictors["model, on validation"] = metrics["validation"]
    table = metrics_table(metrics, predictors)
    counts = [values.get("n") for values in predictors.values()]
    definitions = [
        f"{metric_name(key)}: {METRICS[key].meaning}" for key in METRICS if key in metrics
    ]
    definitions += [
        f"{baseline_name(key, baseline)}: {meaning}"
        for key, baseline in baselines.items()
        if (meaning := baseline_meaning(key))
    ]
    differences = metrics.get("differences") or {}
    return {
        "examples": results.examples,
        "table": Table(
            [*table.header, "examples"],
            [[*row, count] for row, count in zip(table.rows, counts, strict=True)],
        ),
        "has_baselines": bool(baselines),
        "differences": _differences(differences, baselines) if differences else None,
        "sentences": [row["sentence"] for row in differences.values()],
        "definitions": definitions,
    }


def folds(results: RunResults) -> dict[str, Any] | None:
    """Show the metrics of each fold of a cross-validation, and their spread."""
    metrics = results.metrics
    if not metrics.get("folds"):
        return None
    keys = [key for key in METRICS if key in metrics]
    predictors = {"model": metrics} | {
        baseline_name(key): values for key, values in shown_baselines(metrics).items()
    }
    rows = [
        [f"fold {row.get('fold')}", row.get("n"), *(row.get(key) for key in keys)]
        for row in metrics["folds"]
    ]
    spread = [
        [
            f"{baseline_name(name, None)}, {label}",
            *((values.get(part) or {}).get(key) for key in keys),
        ]
        for name, values in predictors.items()
        for part, label in (("mean", "mean"), ("sd", "standard deviation"))
    ]
    names = [metric_name(key) for key in keys]
    return {
        "table": Table(["the model on", "examples", *names], rows),
        "spread": Table(["over the folds", *names], spread),
    }


def metrics_table(metrics: Mapping[str, Any], predictors: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return one row per predictor, with its value of each metric of the model.

    There may be ten predictors, but at most six metrics: so the table fits a window of 1,280 px.
    """
    keys = [key for key in METRICS if key in metrics]
    rows = [[name, *(estimate(values, key) for key in keys)] for name, values in predictors.items()]
    return Table(["predictor", *map(metric_name, keys)], rows)


def _differences(differences: Mapping[str, Any], baselines: Mapping[str, Any]) -> Table:
    rows: list[list[Cell]] = [
        [
            baseline_name(key, baselines.get(key)),
            metric_name(row["metric"]),
            Estimate(*(float(row[key]) for key in ("difference", "low", "high"))),
            f"{row['level']:.0%}",
        ]
        for key, row in differences.items()
    ]
    return Table(["model minus", "metric", "difference (interval)", "level"], rows)


def classes(results: RunResults) -> dict[str, Any] | None:
    """Show the metrics of each class, and the confusion matrix."""
    confusion = results.metrics.get("confusion")
    if not confusion:
        return None
    keys = ("precision", "recall", "f1", "auroc", "auprc")
    header = ["class", "examples", "precision", "recall", "F1", "AUROC", "AUPRC"]
    rows = [
        [row.get("class"), row.get("n"), *(estimate(row, key) for key in keys)]
        for row in results.metrics.get("per_class", ())
    ]
    return {"table": Table(header, rows), **_confusion(confusion, results.classes)}


def _confusion(confusion: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    drawn, mistakes = None, None
    if len(names) <= _MAX_PLOT_CLASSES:
        caption = "Rows: truth; columns: prediction; shade: fraction of the row."
        drawn = plot(plots.confusion_matrix(confusion, names), "confusion", caption)
    pairs = list(zip(names, confusion, strict=True))
    if isinstance(confusion[0][0], int):
        shown = pairs if len(names) <= _MAX_TABLE_CLASSES else []
        counts = Table(["truth \\ predicted", *names], [[name, *row] for name, row in shown])
        mistakes = _mistakes(np.array(confusion), names)
    else:  # multi-label: one 2 x 2 matrix per class
        header = ["true negatives", "false positives", "false negatives", "true positives"]
        rows = [[name, tn, fp, fn, tp] for name, ((tn, fp), (fn, tp)) in pairs]
        counts = Table(["class", *header], rows)
    return {"plot": drawn, "confusion": counts, "mistakes": mistakes}


def _mistakes(counts: np.ndarray, names: Sequence[str]) -> Table | None:
    """List the most common mistakes if there are more than two classes."""
    wrong = counts - np.diag(np.diag(counts))
    if len(names) <= 2 or not wrong.any():
        return None
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MAX_MISTAKES]
    pairs = [divmod(index, len(names)) for index in order.tolist()]
    rows: list[list[Cell]] = [
        [names[true], names[predicted], count, count / int(counts[true].sum())]
        for true, predicted in pairs
        if (count := int(wrong[true, predicted]))
    ]
    return Table(["truth", "predicted", "examples", "fraction of the true class"], rows)


def curves(results: RunResults) -> dict[str, Any] | None:
    """Draw ROC and precision-recall curves, of the most common classes if there are many."""
    if results.probabilities is None or not len(results.probabilities[0]):
        return None
    truth, probabilities = results.probabilities
    names = results.classes
    chosen = np.sort(np.argsort(-truth.sum(axis=0), kind="stable")[:_MAX_CURVES])
    data = (truth[:, chosen], probabilities[:, chosen], [names[index] for index in chosen])
    roc = "ROC curves: true positive rate against false positive rate, over all thresholds."
    recall = "Precision-recall curves: precision against recall, over all thresholds."
    return {
        "shown": len(chosen),
        "hidden": len(names) - len(chosen),
        "roc": plot(plots.roc_curves(*data), "roc", roc),
        "precision_recall": plot(plots.precision_recall_curves(*data), "precision-recall", recall),
    }


def lengths(results: RunResults) -> dict[str, Any] | None:
    """Show the metrics by sequence length."""
    bins: Sequence[Mapping[str, Any]] = results.metrics.get("length_bins", ())
    shown = [row for row in bins if (row.get("n") or 0) >= _FEWEST_IN_BIN]
    if not shown:
        return None
    keys = [key for key in METRICS if key in shown[0]]
    rows = [[row.get(key) for key in ("low_bp", "high_bp", "n", *keys)] for row in shown]
    return {
        "hidden": counted(len(bins) - len(shown), "bin") if len(shown) < len(bins) else "",
        "fewest": _FEWEST_IN_BIN,
        "table": Table(["from (bp)", "to (bp)", "examples", *map(metric_name, keys)], rows),
    }


def errors(results: RunResults) -> dict[str, Any] | None:
    """Draw the predictions of a regression against the truth."""
    if results.regression_values is None:
        return None
    figure = plots.predicted_against_true(*results.regression_values, results.classes[0])
    caption = "One dot per example; on the grey line, prediction and truth are equal."
    return {"plot": plot(figure, "errors", caption)}
