"""The main result of an evaluation in one sentence, and how good it is.

The model is compared with the independent baseline that is best on the validation part: that choice
owes nothing to chance in the evaluated examples. Predictions of the model itself with less context
(``ABLATIONS``) are no independent baselines. Neither is the same network trained without memory
(``CONTROL``): it tells whether memory helps, with a sentence of its own. So have the same network
trained from random weights (``RANDOM_TWIN``), which tells whether the pretrained ones help, and the
regression on the features of the model alone (``FEATURES``): what the network adds to them.
"""

from collections.abc import Mapping
from typing import Any

from rmt_genomics.errors import counted, three_digits
from rmt_genomics.evaluation.bootstrap import outcome
from rmt_genomics.model.metrics import METRICS, main_metric, metric_name

ABLATIONS = ("chunk_average", "window_average")
CONTROL = "memory_reset_trained"
RANDOM_TWIN = "random_weights_trained"
FEATURES = "features_alone"
_CONSTANTS = ("majority", "mean")
_EFFECTS = {
    "good": "Memory helps.",
    "unsure": "It is not shown that memory helps.",
    "bad": "Memory does harm.",
}
_STARTS = {
    "good": "The pretrained weights help.",
    "unsure": "It is not shown that the pretrained weights help.",
    "bad": "The pretrained weights do harm.",
}
_ADDS = {
    "good": "The network adds to its features.",
    "unsure": "It is not shown that the network adds to its features.",
    "bad": "The network takes from its features.",
}


def summary_of(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry ``summary`` of ``metrics.json``, made from the others if it is not there.

    Returns:
        sentence; rating (``good`` if the model is ahead of the best independent baseline, ``bad``
        if it is behind, ``unsure`` if the interval of the difference includes 0); baseline, its key
        (None if there is none); and chosen_on, where it is the best: ``validation``, or
        ``evaluated`` if metrics on a validation part of its own are not known. If there is a
        trained control, also memory, the rating of the model against it; where that is ``bad``,
        the rating is, too. If there is one from random weights, also pretraining. If there are
        feature regressions, also network, the rating of the model against them alone.
    """
    if "summary" in metrics:
        return dict(metrics["summary"])
    summary = _against_baselines(metrics)
    compared = (metrics.get("differences") or {}).get(CONTROL)
    if compared is not None:
        effect = outcome(compared)
        summary["sentence"] += f" {_EFFECTS[effect]} {compared['sentence']}"
        summary["rating"] = "bad" if effect == "bad" else summary["rating"]
        summary["memory"] = effect
    compared = (metrics.get("differences") or {}).get(RANDOM_TWIN)
    if compared is not None:
        effect = outcome(compared)
        summary["sentence"] += f" {_STARTS[effect]} {compared['sentence']}"
        summary["pretraining"] = effect
    compared = (metrics.get("differences") or {}).get(FEATURES)
    if compared is not None:
        effect = outcome(compared)
        summary["sentence"] += f" {_ADDS[effect]} {compared['sentence']}"
        summary["network"] = effect
    return summary


def _against_baselines(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary without what the control tells."""
    key, chosen_on, count = best_baseline(metrics)
    result = f"On {evaluated_examples(metrics)}, the model has {_score(metrics)}"
    if key is None:
        main = main_metric(metrics.get("task", ""))
        reason = "it was compared with no baseline"
        if metrics.get(main) is None:
            reason = f"{metric_name(main)}, by which it would be compared, is not defined on them"
        sentence = f"{result}; {reason}, so it is not known how good that is."
        return {"sentence": sentence, "rating": "unsure", "baseline": None, "chosen_on": None}
    compared = metrics["differences"][key]
    sentence, rating = f"{result}. {compared['sentence']}", outcome(compared)
    if count > 1:
        part = "the validation part" if chosen_on == "validation" else "these examples themselves"
        sentence += f" That is the best of {count} independent baselines on {part}."
    elif key in _CONSTANTS:
        sentence += " It was compared with no baseline that reads the sequences."
        rating = "bad" if rating == "bad" else "unsure"
    return {"sentence": sentence, "rating": rating, "baseline": key, "chosen_on": chosen_on}


def best_baseline(metrics: Mapping[str, Any]) -> tuple[str | None, str | None, int]:
    """Return the key of the best independent baseline, where it is the best, and of how many.

    On validation a constant prediction counts as 0: its MCC is 0, and its R2 at most that.
    """
    of_model = (*ABLATIONS, CONTROL, RANDOM_TWIN, FEATURES)
    keys = [key for key in metrics.get("differences") or {} if key not in of_model]
    if not keys:
        return None, None, 0
    metric, baselines = metrics["differences"][keys[0]]["metric"], metrics.get("baselines") or {}
    rows = {key: baselines.get(key) or {} for key in keys}
    scores = {
        key: 0.0 if key in _CONSTANTS else row.get(f"validation_{metric}")
        for key, row in rows.items()
    }
    chosen_on = "validation"
    if None in scores.values() or scores.keys() <= set(_CONSTANTS):
        scores, chosen_on = {key: row.get(metric) for key, row in rows.items()}, "evaluated"
    sign = -1 if METRICS[metric].lower_is_better else 1
    defined = {key: sign * score for key, score in scores.items() if score is not None}
    return max(defined or keys, key=lambda key: defined.get(key, 0.0)), chosen_on, len(keys)


def headline_metric(metrics: Mapping[str, Any]) -> str | None:
    """Return the metric on which the baselines were compared, or else the best known one."""
    compared = [row["metric"] for row in (metrics.get("differences") or {}).values()]
    keys = (*compared, main_metric(metrics.get("task", "")), "auroc", "pearson", *METRICS)
    return next((key for key in keys if metrics.get(key) is not None), None)


def evaluated_examples(metrics: Mapping[str, Any]) -> str:
    """Return which examples were evaluated, such as "34 examples of the test part"."""
    count, part = counted(int(metrics.get("n") or 0), "example"), metrics.get("split", "all")
    return count if part == "all" else f"{count} of the {part} part"


def _score(metrics: Mapping[str, Any]) -> str:
    key = headline_metric(metrics)
    if key is None:
        return "no defined metric"
    low, high = (metrics.get("intervals") or {}).get(key) or (None, None)
    interval = ""
    if low is not None and high is not None:
        interval = f" ({three_digits(low)} to {three_digits(high)})"
    return f"{metric_name(key)} {three_digits(metrics[key])}{interval}"
