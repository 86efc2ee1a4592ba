"""What the report shows as summary, use of context, calibration and training."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rmt_genomics.evaluation.tables import strongest_baseline
from rmt_genomics.model.metrics import METRICS, metric_name
from rmt_genomics.reports import plots
from rmt_genomics.reports.formatting import Estimate, Table, estimate, number
from rmt_genomics.reports.inline_svg import plot
from rmt_genomics.reports.run_results import RunResults

_MAX_SCORES = 4
_SCORES = ("mcc", "auroc", "auprc", "accuracy", "pearson", "r2", "rmse")
_EPOCH_COLUMNS = {
    "epoch": "epoch",
    "train_loss": "training loss",
    "val_loss": "validation loss",
    "val_accuracy": "validation accuracy",
    "learning_rate": "learning rate",
    "bp_per_second": "bp/s",
    "seconds": "seconds",
}


def summary(results: RunResults) -> dict[str, Any]:
    """State the main result in one sentence, with the main metrics and the reservations."""
    metrics = results.metrics
    sentence = "This model has not been evaluated yet: there is no metrics.json in its folder."
    rating = "unrated"
    if metrics:
        sentence, rating = headline(results)
    reservations = [str(note) for note in metrics.get("notes", ())]
    if metrics and results.leakage.get("warnings"):
        reservations.append(
            "The leakage audit has warnings: the metrics may be too good. See section Leakage."
        )
    keys = dict.fromkeys([_headline_metric(metrics), *_SCORES])
    keys_with_value = [key for key in keys if key and metrics.get(key) is not None]
    return {
        "sentence": sentence,
        "rating": rating,
        "scores": [
            (metric_name(key), estimate(metrics, key)) for key in keys_with_value[:_MAX_SCORES]
        ],
        "has_intervals": has_intervals([metrics]),
        "context": (metrics.get("context") or {}).get("sentence"),
        "reservations": reservations,
    }


def has_intervals(columns: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a metric of these columns is shown with an interval."""
    return any(
        isinstance(estimate(metrics, key), Estimate) for metrics in columns for key in METRICS
    )


def _headline_metric(metrics: Mapping[str, Any]) -> str | None:
    """Return the metric on which the baselines were compared, or else the best known one."""
    strongest = strongest_baseline(metrics)
    compared = "mcc" if strongest is None else metrics["differences"][strongest].get("metric")
    keys = (compared, "mcc", "auroc", "pearson", "r2", *METRICS)
    return next((key for key in keys if metrics.get(key) is not None), None)


def headline(results: RunResults) -> tuple[str, str]:
    """Return the main result and its rating: good, unsure or bad.

    The rating compares the model with its strongest baseline.
    """
    metrics = results.metrics
    strongest = strongest_baseline(metrics)
    key = _headline_metric(metrics)
    score = f"{metric_name(key)} {number(estimate(metrics, key))}" if key else "no defined metric"
    sentence = f"On {results.examples}, the model has {score}"
    if strongest is None:
        reservation = "it was compared with no baseline, so it is not known how good that is."
        return f"{sentence}; {reservation}", "unsure"
    difference = metrics["differences"][strongest]
    sign = -1 if METRICS[difference["metric"]].lower_is_better else 1
    ends = [sign * difference[end] for end in ("low", "high")]
    rating = "good" if min(ends) > 0 else "bad" if max(ends) < 0 else "unsure"
    return f"{sentence}. {difference['sentence']}", rating


def context(results: RunResults) -> dict[str, Any] | None:
    """Show the metrics with less of each sequence visible, and with the memory reset."""
    ablation = results.metrics.get("context")
    if not ablation:
        return None
    keys = [key for key in METRICS if key in ablation["memory_reset"]]
    table = [
        ("whole sequence" if row["bp"] is None else f"{number(row['bp'])} bp", row)
        for row in ablation["visible"]
    ]
    table.append(("whole sequence, memory reset", ablation["memory_reset"]))
    name = metric_name(ablation["metric"])
    caption = f"{name} against the length of the visible part of each sequence."
    return {
        "sentence": ablation["sentence"],
        "plot": plot(plots.score_over_visible(ablation), "context", caption),
        "table": Table(
            ["visible", "fraction of examples shortened", *map(metric_name, keys)],
            [
                [visible, row.get("share_shortened"), *(row[key] for key in keys)]
                for visible, row in table
            ],
        ),
    }


def calibration(results: RunResults) -> dict[str, Any] | None:
    """Show whether predictions with a probability of 0.8 are right in 80% of cases."""
    values = results.metrics.get("calibration")
    if not values:
        return None
    names = {"ece": "expected calibration error", "brier": "Brier score", "log_loss": "log loss"}
    bins: Sequence[Mapping[str, Any]] = values["reliability"]
    keys = ("low", "high", "n", "confidence", "accuracy")
    caption = "Where the curve is below the line, the model is overconfident."
    scores = [[name, values[f"{key}_before"], values[key]] for key, name in names.items()]
    return {
        **{key: values[key] for key in ("temperature", "fitted_on", "n")},
        "table": Table(["metric", "uncalibrated", "with temperature"], scores),
        "plot": plot(plots.reliability(bins), "reliability", caption),
        "bins": Table(
            ["from", "to", "examples", "mean confidence", "accuracy"],
            [[row[key] for key in keys] for row in bins],
        ),
    }


def training(results: RunResults) -> dict[str, Any] | None:
    """Show loss and validation score over epochs."""
    epochs = results.epochs
    if not epochs:
        return None
    names = {key: f"validation {metric_name(key.removeprefix('val_'))}" for key in plots.SCORES}
    names |= _EPOCH_COLUMNS
    header = {key: names[key] for key in epochs[0] if key in names}
    return {
        "loss": plot(plots.loss_curve(epochs), "loss", "Loss over epochs."),
        "score": plot(plots.score_curve(epochs), "score", "Validation score over epochs."),
        "epochs": Table([*header.values()], [[row.get(key) for key in header] for row in epochs]),
    }
