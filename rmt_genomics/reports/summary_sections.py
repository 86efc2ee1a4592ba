"""What the report shows as summary, use of context, calibration and training."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rmt_genomics.evaluation.summary import CONTROL, headline_metric, summary_of
from rmt_genomics.model.metrics import METRICS, metric_name
from rmt_genomics.reports import plots
from rmt_genomics.reports.formatting import Estimate, Table, estimate, number
from rmt_genomics.reports.plot_files import plot
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
    result = {
        "sentence": "This model has not been evaluated yet: its folder has no metrics.json.",
        "rating": "unrated",
    }
    if metrics:
        result = summary_of(metrics)
    reservations = [str(note) for note in metrics.get("notes", ())]
    if metrics and results.leakage.get("warnings"):
        reservations.append(
            "The leakage audit has warnings: the metrics may be too good. See section Leakage."
        )
    keys = dict.fromkeys([headline_metric(metrics), *_SCORES])
    keys_with_value = [key for key in keys if key and metrics.get(key) is not None]
    return {
        "sentence": result["sentence"],
        "rating": result["rating"],
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


def context(results: RunResults) -> dict[str, Any] | None:
    """Show the metrics with less of each sequence visible, and without memory."""
    ablation = results.metrics.get("context")
    if not ablation:
        return None
    keys = [key for key in METRICS if key in ablation["memory_reset"]]
    table = [
        ("whole sequence" if row.get("bp") is None else f"{number(row['bp'])} bp", row)
        for row in ablation["visible"]
    ]
    table.append(("whole sequence, memory reset at prediction", ablation["memory_reset"]))
    name = metric_name(ablation["metric"])
    caption = f"{name} against the length of the visible part of each sequence."
    return {
        "sentence": ablation["sentence"],
        "control": ((results.metrics.get("differences") or {}).get(CONTROL) or {}).get("sentence"),
        "plot": plot(plots.score_over_visible(ablation), "context", caption),
        "table": Table(
            ["visible", "fraction of examples shortened", *map(metric_name, keys)],
            [
                [visible, row.get("share_shortened"), *(row.get(key) for key in keys)]
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
    scores = [
        [name, estimate(values, f"{key}_before"), estimate(values, key)]
        for key, name in names.items()
    ]
    return {
        **{key: values.get(key) for key in ("temperature", "fitted_on", "n")},
        "table": Table(["metric", "uncalibrated", "with temperature"], scores),
        "plot": plot(plots.reliability(bins), "reliability", caption),
        "bins": Table(
            ["from", "to", "examples", "mean confidence", "accuracy"],
            [[row.get(key) for key in keys] for row in bins],
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
