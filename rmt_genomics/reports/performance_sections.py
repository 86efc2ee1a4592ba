"""Sections of a report on how good a model is: scores, classes, curves, lengths."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rmt_genomics.reports import plots
from rmt_genomics.reports import plots as judgement_plots
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
from rmt_genomics.reports.metric_names import (
    BASELINE_MEANINGS,
    MEANINGS,
    METRICS,
    baseline_name,
    baselines_of,
    metric_name,
)
from rmt_genomics.reports.run_results import Findings

_MOST_IN_TABLE = 20  # classes; a wider confusion table is not read by anyone
_MOST_DRAWN = 60  # classes in the picture of a confusion matrix
_MOST_CURVES = 10
_MOST_MISTAKES = 10


def scores(found: Findings) -> Html | None:
    """Put the metrics of the model beside those of the baselines."""
    metrics = found.metrics
    baselines = baselines_of(metrics)
    columns = {"model": metrics, **{baseline_name(k, v): v for k, v in baselines.items()}}
    if metrics.get("validation"):
        columns["model, on validation"] = metrics["validation"]
    keys = [key for key in METRICS if key in metrics]
    if not keys:
        return None
    rows = [[metric_name(key), *(each.get(key) for each in columns.values())] for key in keys]
    counts = ["examples", *(each.get("n") for each in columns.values())]
    meanings = [f"{metric_name(key)}: {MEANINGS[key]}" for key in keys]
    others = [
        f"{baseline_name(key, baselines[key])}: {BASELINE_MEANINGS[key]}"
        for key in baselines
        if key in BASELINE_MEANINGS
    ]
    return join(
        [
            paragraph(f"Judged on {found.judged}."),
            table(["metric", *columns], [*rows, counts]),
            None if baselines else paragraph("There is no baseline to compare with.", "warn"),
            _differences(metrics.get("differences") or {}, baselines),
            _explained([*meanings, *others]),
        ]
    )


def classes(found: Findings) -> Html | None:
    """Show how well each class is told, and which are taken for which."""
    metrics, names = found.metrics, found.classes
    each = metrics.get("per_class", ())
    confusion = metrics.get("confusion")
    if not each and not confusion:
        return None
    keys = ("class", "n", "precision", "recall", "f1", "auroc", "auprc")
    header = ["class", "examples", "precision", "recall", "F1", "AUROC", "AUPRC"]
    return join(
        [
            table(header, [[row.get(key) for key in keys] for row in each]) if each else None,
            subheading("Confusion") if confusion else None,
            _confusion(confusion, names) if confusion else None,
        ]
    )


def curves(found: Findings) -> Html | None:
    """Draw ROC and precision-recall curves."""
    if found.answers is None or not len(found.answers[0]):
        return None
    truth, probabilities = found.answers
    names, left_out = found.classes, None
    if len(names) > _MOST_CURVES:
        chosen = np.sort(np.argsort(-truth.sum(axis=0), kind="stable")[:_MOST_CURVES])
        left_out = paragraph(f"Of {len(names)} classes the {_MOST_CURVES} most common are drawn.")
        truth, probabilities = truth[:, chosen], probabilities[:, chosen]
        names = [names[place] for place in chosen]
    roc = plots.roc_curves(truth, probabilities, names)
    precision = plots.precision_recall_curves(truth, probabilities, names)
    return join(
        [
            left_out,
            side_by_side(
                plot(
                    roc,
                    "roc",
                    "ROC curves: at each threshold, what is found of a class, "
                    "against what is wrongly taken for it.",
                ),
                plot(
                    precision,
                    "precision-recall",
                    "Precision-recall curves: of what is called "
                    "a class, how much is; against how much of it is found.",
                ),
            ),
        ]
    )


def lengths(found: Findings) -> Html | None:
    """Show the metrics of short and of long sequences."""
    bins: Sequence[Mapping[str, Any]] = found.metrics.get("length_bins", ())
    if not bins:
        return None
    keys = [key for key in METRICS if any(key in row for row in bins)]
    rows = [[row.get(key) for key in ("low_bp", "high_bp", "n", *keys)] for row in bins]
    return table(["from (bp)", "to (bp)", "examples", *map(metric_name, keys)], rows)


def errors(found: Findings) -> Html | None:
    """Draw what a regression says against the truth."""
    if found.values is None:
        return None
    name = found.classes[0] if found.classes else "value"
    drawn = judgement_plots.predicted_against_true(*found.values, name)
    return plot(drawn, "errors", "A dot an example; on the grey line, prediction and truth agree.")


def _differences(differences: Mapping[str, Any], baselines: Mapping[str, Any]) -> Html | None:
    if not differences:
        return None
    rows: list[list[Cell]] = [
        [
            baseline_name(key, baselines.get(key)),
            metric_name(each.get("metric", "")),
            *(each.get(name) for name in ("difference", "low", "high", "level")),
        ]
        for key, each in differences.items()
    ]
    header = ["model minus", "metric", "difference", "low", "high", "level"]
    sentences = [each["sentence"] for each in differences.values() if each.get("sentence")]
    return join(
        [
            subheading("Is the difference real?"),
            paragraph(
                "Both were judged on the same examples, drawn anew many times (paired bootstrap): "
                "so much would the difference vary. An interval that holds 0 proves nothing.",
                "faint",
            ),
            table(header, rows),
            bullets(sentences),
        ]
    )


def _explained(lines: Sequence[str]) -> Html:
    items = bullets(lines, "faint")
    return Html(f"<details><summary>What these words mean</summary>{items}</details>")


def _confusion(confusion: Sequence[Any], names: Sequence[str]) -> Html:
    is_one = isinstance(confusion[0][0], int)
    drawn = None
    if len(names) <= _MOST_DRAWN:
        figure = plots.confusion_matrix(confusion, names)
        caption = "Rows are the truth, columns what was predicted; shade is the share of the row."
        drawn = plot(figure, "confusion", caption)
    if not is_one:
        rows = [
            [name, tn, fp, fn, tp]
            for name, ((tn, fp), (fn, tp)) in zip(names, confusion, strict=True)
        ]
        header = ["class", "rightly not", "wrongly", "missed", "rightly"]
        return join([drawn, table(header, rows)])
    counts = None
    if len(names) <= _MOST_IN_TABLE:
        counts = table(
            ["truth \\ predicted", *names],
            [[name, *row] for name, row in zip(names, confusion, strict=True)],
        )
    return join([drawn, counts, _mistakes(np.array(confusion), names)])


def _mistakes(counts: np.ndarray, names: Sequence[str]) -> Html | None:
    """List the most common mistakes, where there are more classes than two."""
    wrong = counts - np.diag(np.diag(counts))
    if len(names) <= 2 or not wrong.any():
        return None
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_MISTAKES]
    places = [divmod(int(place), len(names)) for place in order]
    rows = [
        [names[true], names[said], int(wrong[true, said]), wrong[true, said] / counts[true].sum()]
        for true, said in places
        if wrong[true, said]
    ]
    header = ["truth", "predicted", "examples", "share of the true class"]
    return join([subheading("Most common mistakes"), table(header, rows)])
