"""Sections of the report on performance: metrics, classes, curves, lengths, regression."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rmt_genomics.evaluation.tables import baseline_meaning, baseline_name, shown_baselines
from rmt_genomics.model.metrics import METRICS, metric_name
from rmt_genomics.reports import plots
from rmt_genomics.reports.html_page import (
    Cell,
    Html,
    bullets,
    join,
    paragraph,
    plot,
    side_by_side,
    subheading,
    table,
)
from rmt_genomics.reports.run_results import RunResults

_MAX_TABLE_CLASSES = 20  # a wider confusion table is not readable
_MAX_PLOT_CLASSES = 60  # in the plot of a confusion matrix
_MAX_CURVES = 10
_MAX_MISTAKES = 10


def performance(results: RunResults) -> Html | None:
    """Compare the metrics of the model with those of the baselines."""
    metrics = results.metrics
    baselines = shown_baselines(metrics)
    columns = results.metric_columns
    if metrics.get("validation"):
        columns["model, on validation"] = metrics["validation"]
    keys = [key for key in METRICS if key in metrics]
    if not keys:
        return None
    rows = [[metric_name(key), *(values.get(key) for values in columns.values())] for key in keys]
    counts = ["examples", *(values.get("n") for values in columns.values())]
    meanings = [f"{metric_name(key)}: {METRICS[key].meaning}" for key in keys]
    meanings += [
        f"{baseline_name(key, baseline)}: {meaning}"
        for key, baseline in baselines.items()
        if (meaning := baseline_meaning(key))
    ]
    explanations = bullets(meanings, "faint")
    return join(
        [
            paragraph(f"Evaluated on {results.examples}."),
            table(["metric", *columns], [*rows, counts]),
            None if baselines else paragraph("No baseline was evaluated.", "warn"),
            _differences(metrics.get("differences") or {}, baselines),
            Html(f"<details><summary>Definitions</summary>{explanations}</details>"),
        ]
    )


def classes(results: RunResults) -> Html | None:
    """Show the metrics of each class, and the confusion matrix."""
    per_class = results.metrics.get("per_class", ())
    confusion = results.metrics.get("confusion")
    if not per_class and not confusion:
        return None
    keys = ("class", "n", "precision", "recall", "f1", "auroc", "auprc")
    header = ["class", "examples", "precision", "recall", "F1", "AUROC", "AUPRC"]
    return join(
        [
            table(header, [[row.get(key) for key in keys] for row in per_class])
            if per_class
            else None,
            subheading("Confusion matrix") if confusion else None,
            _confusion(confusion, results.classes) if confusion else None,
        ]
    )


def curves(results: RunResults) -> Html | None:
    """Draw ROC and precision-recall curves."""
    if results.probabilities is None or not len(results.probabilities[0]):
        return None
    truth, probabilities = results.probabilities
    names, note = results.classes, None
    if len(names) > _MAX_CURVES:
        chosen = np.sort(np.argsort(-truth.sum(axis=0), kind="stable")[:_MAX_CURVES])
        note = paragraph(f"The {_MAX_CURVES} most common of {len(names)} classes are drawn.")
        truth, probabilities = truth[:, chosen], probabilities[:, chosen]
        names = [names[index] for index in chosen]
    roc = plots.roc_curves(truth, probabilities, names)
    precision = plots.precision_recall_curves(truth, probabilities, names)
    return join(
        [
            note,
            side_by_side(
                plot(
                    roc,
                    "roc",
                    "ROC curves: true positive rate against false positive rate, over all "
                    "thresholds.",
                ),
                plot(
                    precision,
                    "precision-recall",
                    "Precision-recall curves: precision against recall, over all thresholds.",
                ),
            ),
        ]
    )


def lengths(results: RunResults) -> Html | None:
    """Show the metrics by sequence length."""
    bins: Sequence[Mapping[str, Any]] = results.metrics.get("length_bins", ())
    if not bins:
        return None
    keys = [key for key in METRICS if any(key in row for row in bins)]
    rows = [[row.get(key) for key in ("low_bp", "high_bp", "n", *keys)] for row in bins]
    return table(["from (bp)", "to (bp)", "examples", *map(metric_name, keys)], rows)


def errors(results: RunResults) -> Html | None:
    """Draw the predictions of a regression against the truth."""
    if results.regression_values is None:
        return None
    name = results.classes[0] if results.classes else "value"
    figure = plots.predicted_against_true(*results.regression_values, name)
    caption = "One dot per example; on the grey line, prediction and truth are equal."
    return plot(figure, "errors", caption)


def _differences(differences: Mapping[str, Any], baselines: Mapping[str, Any]) -> Html | None:
    if not differences:
        return None
    rows: list[list[Cell]] = [
        [
            baseline_name(key, baselines.get(key)),
            metric_name(difference.get("metric", "")),
            *(difference.get(name) for name in ("difference", "low", "high", "level")),
        ]
        for key, difference in differences.items()
    ]
    header = ["model minus", "metric", "difference", "low", "high", "level"]
    sentences = [row["sentence"] for row in differences.values() if row.get("sentence")]
    return join(
        [
            subheading("Differences to the baselines"),
            paragraph(
                "Confidence intervals of a paired bootstrap over the examples. If an interval "
                "contains 0, the difference is not significant.",
                "faint",
            ),
            table(header, rows),
            bullets(sentences),
        ]
    )


def _confusion(confusion: Sequence[Any], names: Sequence[str]) -> Html:
    drawn = None
    if len(names) <= _MAX_PLOT_CLASSES:
        figure = plots.confusion_matrix(confusion, names)
        caption = "Rows: truth; columns: prediction; shade: fraction of the row."
        drawn = plot(figure, "confusion", caption)
    is_multilabel = not isinstance(confusion[0][0], int)  # one 2 x 2 matrix per class
    if is_multilabel:
        rows = [
            [name, tn, fp, fn, tp]
            for name, ((tn, fp), (fn, tp)) in zip(names, confusion, strict=True)
        ]
        header = ["class"]
        header += ["true negatives", "false positives", "false negatives", "true positives"]
        return join([drawn, table(header, rows)])
    counts = None
    if len(names) <= _MAX_TABLE_CLASSES:
        counts = table(
            ["truth \\ predicted", *names],
            [[name, *row] for name, row in zip(names, confusion, strict=True)],
        )
    return join([drawn, counts, _mistakes(np.array(confusion), names)])


def _mistakes(counts: np.ndarray, names: Sequence[str]) -> Html | None:
    """List the most common mistakes if there are more than two classes."""
    wrong = counts - np.diag(np.diag(counts))
    if len(names) <= 2 or not wrong.any():
        return None
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MAX_MISTAKES]
    rows = []
    for index in order:
        true, predicted = divmod(int(index), len(names))
        if count := int(wrong[true, predicted]):
            rows.append([names[true], names[predicted], count, count / counts[true].sum()])
    header = ["truth", "predicted", "examples", "fraction of the true class"]
    return join([subheading("Most common mistakes"), table(header, rows)])
