"""Sections of the report: summary, context, calibration and training."""

from collections.abc import Mapping, Sequence
from typing import Any

from rmt_genomics.evaluation.tables import strongest_baseline
from rmt_genomics.model.metrics import METRICS, metric_name
from rmt_genomics.reports import plots
from rmt_genomics.reports.html_page import (
    Cell,
    Html,
    bullets,
    join,
    number,
    paragraph,
    plot,
    side_by_side,
    subheading,
    table,
)
from rmt_genomics.reports.run_results import RunResults

_EPOCH_COLUMNS = {
    "epoch": "epoch",
    "train_loss": "training loss",
    "val_loss": "validation loss",
    "val_accuracy": "accuracy",
    "learning_rate": "learning rate",
    "bp_per_second": "bp/s",
    "seconds": "seconds",
}


def summary(results: RunResults) -> Html | None:
    """State the main result in one sentence, and list the reservations below it."""
    if not results.metrics:
        text = "This model has not been evaluated yet: there is no metrics.json in its folder."
        return paragraph(text, "summary")
    sentence, rating = headline(results)
    context_sentence = (results.metrics.get("context") or {}).get("sentence")
    reservations = [str(note) for note in results.metrics.get("notes", ())]
    if results.leakage.get("warnings"):
        reservations.append(
            "The leakage audit has warnings: the metrics may be too good. See section Leakage."
        )
    return join(
        [
            paragraph(sentence, f"summary {rating}"),
            paragraph(context_sentence) if context_sentence else None,
            bullets(reservations, "warn"),
        ]
    )


def headline(results: RunResults) -> tuple[str, str]:
    """Return the main result and its rating: good, unsure or bad.

    The rating compares the model with its strongest baseline.
    """
    metrics = results.metrics
    strongest = strongest_baseline(metrics)
    difference = {} if strongest is None else metrics["differences"][strongest]
    keys = (difference.get("metric", "mcc"), "mcc", "auroc", "pearson", "r2", *METRICS)
    key = next((key for key in keys if metrics.get(key) is not None), None)
    score = f"{metric_name(key)} {number(metrics[key])}" if key else "no defined metric"
    sentence = f"On {results.examples}, the model has {score}"
    if strongest is None:
        reservation = "it was compared with no baseline, so it is not known how good that is."
        return f"{sentence}; {reservation}", "unsure"
    ends = [end for end in (difference.get("low"), difference.get("high")) if end is not None]
    metric = METRICS.get(difference.get("metric", ""))
    if metric is not None and metric.lower_is_better:
        ends = [-end for end in ends]
    rating = "unsure"
    if len(ends) == 2 and min(ends) > 0:
        rating = "good"
    elif len(ends) == 2 and max(ends) < 0:
        rating = "bad"
    return f"{sentence}. {difference.get('sentence', '')}".strip(), rating


def context(results: RunResults) -> Html | None:
    """Show the metrics with less of each sequence visible, and with the memory reset."""
    ablation = results.metrics.get("context")
    if not ablation:
        return None
    metric, visible = ablation.get("metric", "mcc"), ablation.get("visible", ())
    reset = ablation.get("memory_reset")
    keys = [key for key in METRICS if any(key in row for row in visible)]
    rows: list[list[Cell]] = [
        [
            "whole sequence" if row.get("bp") is None else f"{row['bp']} bp",
            row.get("share_shortened"),
            *(row.get(key) for key in keys),
        ]
        for row in visible
    ]
    if reset:
        rows.append(["whole sequence, memory reset", None, *(reset.get(key) for key in keys)])
    name = metric_name(metric)
    figure = plots.score_over_visible(visible, (reset or {}).get(metric), metric, name)
    caption = f"{name} against the length of the visible part of each sequence."
    return join(
        [
            paragraph(ablation["sentence"]) if ablation.get("sentence") else None,
            plot(figure, "context", caption) if visible else None,
            table(["visible", "fraction of examples shortened", *map(metric_name, keys)], rows),
        ]
    )


def calibration(results: RunResults) -> Html | None:
    """Show whether predictions with a probability of 0.8 are right in 80% of cases."""
    values = results.metrics.get("calibration")
    if not values:
        return None
    names = {"ece": "expected calibration error", "brier": "Brier score", "log_loss": "log loss"}
    rows: list[list[Cell]] = [
        [name, values.get(f"{key}_before"), values.get(key)] for key, name in names.items()
    ]
    bins: Sequence[Mapping[str, Any]] = values.get("reliability", ())
    keys = ("low", "high", "n", "confidence", "accuracy")
    header = ["from", "to", "examples", "mean confidence", "accuracy"]
    fitted_on = (
        f"the {values.get('fitted_on', 'validation')} part ({values.get('n', '-')} examples)"
    )
    temperature = number(values.get("temperature"))
    caption = "Where the curve is below the line, the model is overconfident."
    return join(
        [
            paragraph(f"Temperature {temperature}, fitted on {fitted_on}. Lower is better."),
            table(["metric", "uncalibrated", "with temperature"], rows),
            plot(plots.reliability(bins), "reliability", caption) if bins else None,
            table(header, [[row.get(key) for key in keys] for row in bins]) if bins else None,
        ]
    )


def training(results: RunResults) -> Html | None:
    """Show loss and validation score over epochs."""
    epochs = results.epochs
    if not epochs:
        return None
    header = {
        key: f"validation {metric_name(key.removeprefix('val_'))}"
        if key in plots.SCORES or key == "val_accuracy"
        else _EPOCH_COLUMNS[key]
        for key in epochs[0]
        if key in _EPOCH_COLUMNS or key in plots.SCORES
    }
    return join(
        [
            side_by_side(
                plot(plots.loss_curve(epochs), "loss", "Loss over epochs."),
                plot(plots.score_curve(epochs), "score", "Validation score over epochs."),
            ),
            subheading("Epochs"),
            table([*header.values()], [[row.get(key) for key in header] for row in epochs]),
        ]
    )
