"""Sections of a report on whether to believe a model: verdict, context, calibration, training."""

from collections.abc import Mapping, Sequence
from typing import Any

from rmt_genomics.reports import plots as judgement_plots
from rmt_genomics.reports import plots as training_plots
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
from rmt_genomics.reports.metric_names import (
    LOWER_IS_BETTER,
    METRICS,
    baseline_name,
    baselines_of,
    metric_name,
)
from rmt_genomics.reports.run_results import Findings

_EPOCH = {
    "epoch": "epoch",
    "train_loss": "training loss",
    "val_loss": "validation loss",
    "val_accuracy": "accuracy",
    "learning_rate": "learning rate",
    "bp_per_second": "bp/s",
    "seconds": "seconds",
}


def verdict(found: Findings) -> Html | None:
    """Say in one sentence what came out, and below it what makes one doubt it."""
    if not found.metrics:
        text = "This model has not been judged yet: there is no metrics.json beside it."
        return paragraph(text, "verdict")
    sentence, mood = headline(found)
    context = (found.metrics.get("context") or {}).get("sentence")
    doubts = [str(note) for note in found.metrics.get("notes", ())]
    if found.leakage.get("warnings"):
        doubts.append("The leakage audit warns: the scores may be too good. See Leakage below.")
    return join(
        [
            paragraph(sentence, f"verdict {mood}"),
            paragraph(context) if context else None,
            bullets(doubts, "warn"),
        ]
    )


def headline(found: Findings) -> tuple[str, str]:
    """Return the verdict, and its mood: good, unsure or bad.

    The baseline that counts is the one that comes closest to the model.
    """
    differences: Mapping[str, Any] = found.metrics.get("differences") or {}
    known = {key: each for key, each in differences.items() if each.get("difference") is not None}
    if not known:
        return _without_comparison(found), "unsure"
    hardest = min(known, key=lambda key: _lead(known[key], "difference") or 0.0)
    compared, baselines = known[hardest], baselines_of(found.metrics)
    name, metric = baseline_name(hardest, baselines.get(hardest)), compared.get("metric", "mcc")
    ends = [each for each in (_lead(compared, "low"), _lead(compared, "high")) if each is not None]
    if len(ends) < 2:
        said, mood = "is not shown to beat", "unsure"
    elif min(ends) > 0:
        said, mood = "is better than", "good"
    elif max(ends) < 0:
        said, mood = "is worse than", "bad"
    else:
        said, mood = "is not shown to beat", "unsure"
    return (
        f"On {found.judged}, the model ({metric_name(metric)} "
        f"{number(found.metrics.get(metric))}) {said} the best baseline, {name} "
        f"({number((baselines.get(hardest) or {}).get(metric))}): the difference is "
        f"{number(compared['difference'])}, {compared.get('level', 0.95):.0%} interval "
        f"{number(compared.get('low'))} to {number(compared.get('high'))}."
    ), mood


def context(found: Findings) -> Html | None:
    """Show what is lost when the model sees less of a sequence, or forgets."""
    told = found.metrics.get("context")
    if not told:
        return None
    metric, visible, reset = (
        told.get("metric", "mcc"),
        told.get("visible", ()),
        told.get("memory_reset"),
    )
    keys = [key for key in METRICS if any(key in row for row in visible)]
    rows: list[list[Cell]] = [
        [
            "everything" if row.get("bp") is None else f"{row['bp']} bp",
            row.get("share_shortened"),
            *(row.get(key) for key in keys),
        ]
        for row in visible
    ]
    if reset:
        row = ["everything, memory emptied", None]
        rows.append([*row, *(reset.get(key) for key in keys)])
    drawn = judgement_plots.score_over_visible(
        visible, (reset or {}).get(metric), metric, metric_name(metric)
    )
    caption = f"{metric_name(metric)} against how much of each sequence the model was shown."
    return join(
        [
            paragraph(told["sentence"]) if told.get("sentence") else None,
            plot(drawn, "context", caption) if visible else None,
            table(["in view", "share of examples cut", *map(metric_name, keys)], rows),
        ]
    )


def calibration(found: Findings) -> Html | None:
    """Show whether a probability of 0.8 is right eight times of ten."""
    told = found.metrics.get("calibration")
    if not told:
        return None
    names = {"ece": "expected calibration error", "brier": "Brier score", "log_loss": "log loss"}
    rows: list[list[Cell]] = [
        [name, told.get(f"{key}_before"), told.get(key)] for key, name in names.items()
    ]
    bins: Sequence[Mapping[str, Any]] = told.get("reliability", ())
    keys = ("low", "high", "n", "confidence", "accuracy")
    header = ["from", "to", "examples", "mean confidence", "share that is right"]
    fitted = (
        f"fitted on the {told.get('fitted_on', 'validation')} part ({told.get('n', '-')} examples)"
    )
    caption = "Where the curve is below the line, the model is too sure of itself."
    return join(
        [
            paragraph(f"Temperature {number(told.get('temperature'))}, {fitted}. Lower is better."),
            table(["metric", "as trained", "with the temperature"], rows),
            plot(judgement_plots.reliability(bins), "reliability", caption) if bins else None,
            table(header, [[row.get(key) for key in keys] for row in bins]) if bins else None,
        ]
    )


def training(found: Findings) -> Html | None:
    """Draw how training went."""
    epochs = found.epochs
    if not epochs:
        return None
    names = {**_EPOCH, training_plots.score_of(epochs): "score"}
    keys = [key for key in epochs[0] if key in names or key in training_plots.SCORES]
    header = [
        f"validation {metric_name(key.removeprefix('val_'))}"
        if key in training_plots.SCORES or key == "val_accuracy"
        else names[key]
        for key in keys
    ]
    return join(
        [
            side_by_side(
                plot(training_plots.loss_curve(epochs), "loss", "Loss over epochs."),
                plot(training_plots.score_curve(epochs), "score", "Validation score over epochs."),
            ),
            subheading("Each epoch"),
            table(header, [[row.get(key) for key in keys] for row in epochs]),
        ]
    )


def _lead(compared: Mapping[str, Any], key: str) -> int | float | None:
    """Return a number of a difference so that above 0 the model is better."""
    value: int | float | None = compared.get(key)
    lower_is_better = compared.get("metric") in LOWER_IS_BETTER
    return -value if value is not None and lower_is_better else value


def _without_comparison(found: Findings) -> str:
    key = next((key for key in METRICS if found.metrics.get(key) is not None), None)
    keys = ("mcc", "auroc", "pearson", "r2")
    key = next((each for each in keys if found.metrics.get(each) is not None), key)
    score = f"{metric_name(key)} {number(found.metrics[key])}" if key else "no defined score"
    return (
        f"On {found.judged}, the model has {score}; it was compared with no baseline, "
        "so nothing is known of what that is worth."
    )
