"""How much metrics could differ by chance, and whether a model is better than a baseline.

Percentile bootstrap (``scipy.stats.bootstrap``; Efron & Tibshirani 1993, An Introduction to the
Bootstrap, chapter 13): examples are drawn with replacement, and the metrics of many draws make the
interval. For a difference, both sets of predictions are evaluated on the same draw. Examples of one
group are drawn together, since they are similar and so count for less than as many independent
ones. (The BCa method would evaluate each set once without each example: time that grows as n
squared.)

Where all draws agree, they say nothing of what was not seen. The interval of an accuracy is
therefore an exact binomial one (Clopper & Pearson 1934; ``scipy.stats.binomtest``), and that of
another metric that is 1 in all draws begins where the exact interval begins for the rarest class,
all of it being right: p for k of k. For MCC that is 2 p - 1, as of two classes of equal size.

Dimensions: n examples, c classes, u units that are drawn, r draws.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmt_genomics.errors import counted, three_digits
from rmt_genomics.evaluation.weighted_metrics import decision_metrics, ranking_metrics
from rmt_genomics.model.metrics import (
    METRICS,
    main_metric,
    metric_keys,
    metric_name,
    one_hot,
    predicted_classes,
)

Intervals = dict[str, list[float] | None]
"""Low and high of each metric; None if it has none."""

CLASS_METRICS = ("precision", "recall", "f1", "auroc", "auprc")
LEVEL = 0.95
RESAMPLES = 2000
_FEWEST_RESAMPLES = 200
_MAX_VALUES = 1 << 29  # drawn, over all draws and classes: beyond, there are fewer draws
_WEIGHTS_AT_ONCE = 1 << 21
_MIN_DEFINED = 0.5  # fraction of the draws in which a metric must be defined


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The true targets, and which examples belong together."""

    targets: np.ndarray
    """Class indices ``(n,)``; multi-label: 0/1 ``(n, c)``; regression: numbers ``(n,)``."""

    task: str
    num_classes: int
    groups: Sequence[str | None] = ()
    """The group of each example; None is a group of its own. Empty = there are no groups."""

    @property
    def metric(self) -> str:
        """The metric that is compared."""
        return main_metric(self.task)

    @property
    def has_groups(self) -> bool:
        """Whether examples are drawn together."""
        return any(group is not None for group in self.groups)

    def units(self) -> np.ndarray:
        """Return the index of what each example is drawn with, itself or its group ``(n,)``."""
        index_of: dict[int | str, int] = {}
        names = self.groups or [None] * len(self.targets)
        keys = (index if name is None else name for index, name in enumerate(names))
        return np.array([index_of.setdefault(key, len(index_of)) for key in keys])


def intervals(
    truth: Truth,
    outputs: np.ndarray,
    *,
    called: np.ndarray | None = None,
    resamples: int = RESAMPLES,
) -> Intervals:
    """Return the interval of each metric of a model: low and high, by the name of the metric.

    It is None if a metric is not defined in at least half of the draws, or the same in all of
    them but not 1. So there is none if all examples are of one group, unless all are right. The
    outputs are probabilities (regression: values) of the model ``(n, c)``, and ``called`` the
    ``predicted_classes`` if they are not those without thresholds. For very many examples and
    classes there are fewer draws, but at least 200.
    """
    overall, _ = intervals_by_class(truth, outputs, called=called, resamples=resamples)
    return overall


def intervals_by_class(
    truth: Truth,
    outputs: np.ndarray,
    *,
    called: np.ndarray | None = None,
    resamples: int = RESAMPLES,
) -> tuple[Intervals, list[Intervals]]:
    """Return ``intervals``, and those of ``CLASS_METRICS`` of each class (none of a regression).

    All come from the same draws.
    """
    options: dict[str, Any] = {
        "task": truth.task,
        "num_classes": truth.num_classes,
        "by_class": True,
    }
    parts = [
        decision_metrics(truth.targets, outputs, called=called, **options),
        ranking_metrics(truth.targets, outputs, **options),
    ]
    keys = metric_keys(truth.task)
    class_keys = () if truth.task == "regression" else CLASS_METRICS

    def all_metrics(weights: np.ndarray) -> np.ndarray:
        values = {key: value for part in parts for key, value in part(weights).items()}
        of_classes = [values[f"class_{key}"] for key in class_keys]
        return np.vstack([*(values[key] for key in keys), *of_classes])

    units = truth.units()
    drawn = draw(units, all_metrics, resamples, columns=truth.num_classes)
    overall = {key: quantiles(values) for key, values in zip(keys, drawn, strict=False)}
    if "accuracy" in overall:
        accuracy = all_metrics(np.ones((1, len(units))))[keys.index("accuracy"), 0]
        if not truth.has_groups or accuracy in (0.0, 1.0):
            overall["accuracy"] = _binomial(accuracy, int(units.max()) + 1)
    if truth.task == "regression":
        return _varying(overall), []
    for key, interval in overall.items():
        if interval == (1.0, 1.0):
            overall[key] = _lowest_of_perfect(key, truth, units), 1.0
    called = predicted_classes(outputs, truth.task) if called is None else called
    by_class = drawn[len(keys) :].reshape(len(class_keys), truth.num_classes, -1)
    actual = one_hot(truth.targets, truth.num_classes) == 1
    return _varying(overall), [
        _of_class(by_class[:, index], actual[:, index], called[:, index], units)
        for index in range(truth.num_classes)
    ]


def _of_class(
    drawn: np.ndarray, actual: np.ndarray, called: np.ndarray, units: np.ndarray
) -> Intervals:
    """Return the intervals of one class, from its metrics in all draws ``(metrics, r)``.

    ``actual`` and ``called`` say which examples are and are predicted to be of it ``(n,)``.
    """
    found = {key: quantiles(values) for key, values in zip(CLASS_METRICS, drawn, strict=True)}
    for key, interval in found.items():
        if interval == (1.0, 1.0):
            sides = {"precision": [called], "recall": [actual], "f1": [actual]}
            sizes = [len(np.unique(units[side])) for side in sides.get(key, [actual, ~actual])]
            found[key] = _binomial(1.0, min(sizes))[0], 1.0
    return _varying(found)


def _varying(found: Mapping[str, tuple[float, float] | None]) -> Intervals:
    """Return intervals as lists; None for one of no width, which says nothing."""
    return {
        key: list(interval) if interval is not None and interval[0] < interval[1] else None
        for key, interval in found.items()
    }


def difference(
    truth: Truth,
    outputs: np.ndarray,
    baseline_outputs: np.ndarray,
    *,
    name: str,
    called: np.ndarray | None = None,
    baseline_called: np.ndarray | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Any] | None:
    """Compare the model with a baseline on the same examples.

    The other arguments are those of ``intervals``; ``name`` is the baseline in the sentence, such
    as "the 6-mer baseline". Each has
    its own ``called``.

    Returns:
        metric, difference (model minus baseline), low, high, level and a sentence; None if the
        metric is not defined here (all examples of one class, say), or all are of one group.
    """
    options: dict[str, Any] = {"task": truth.task, "num_classes": truth.num_classes}
    both = [
        decision_metrics(truth.targets, outputs, called=called, **options),
        decision_metrics(truth.targets, baseline_outputs, called=baseline_called, **options),
    ]

    def both_metrics(weights: np.ndarray) -> np.ndarray:
        return np.stack([compute(weights)[truth.metric] for compute in both])

    units = truth.units()
    observed = both_metrics(np.ones((1, len(units))))[:, 0]
    columns = truth.num_classes if truth.task == "multilabel" else 1
    drawn = draw(units, both_metrics, resamples, columns=columns)
    interval = quantiles(drawn[0] - drawn[1])
    if interval is None or not np.isfinite(observed).all():
        return None
    low, high = interval
    if low == high and truth.task != "regression":  # what the draws cannot show, if one is perfect
        margin = 1 - _lowest_of_perfect(truth.metric, truth, units)
        low, high = low - margin * (observed[0] == 1), high + margin * (observed[1] == 1)
    size = counted(len(units), "example")
    if truth.has_groups:
        size += f" in {counted(int(units.max()) + 1, 'group')}"
    values = {"difference": observed[0] - observed[1], "low": low, "high": high, "level": LEVEL}
    numbers = {"metric": truth.metric, **{key: float(value) for key, value in values.items()}}
    return {**numbers, "sentence": difference_sentence(numbers, name, size)}


def outcome(compared: Mapping[str, Any]) -> str:
    """Return ``good`` if the model is ahead of a baseline, ``bad`` if behind, else ``unsure``.

    Args:
        compared: metric, low and high, as ``difference`` returns them.
    """
    if compared["low"] <= 0 <= compared["high"]:
        return "unsure"
    is_ahead = (compared["low"] > 0) != METRICS[compared["metric"]].lower_is_better
    return "good" if is_ahead else "bad"


def difference_sentence(numbers: Mapping[str, Any], name: str, size: str) -> str:
    """Return the result of a comparison, as ``difference`` returns it, in one sentence.

    ``size`` is the number of examples, such as "600 examples in 30 groups".
    """
    ends = f"{three_digits(numbers['low'])} to {three_digits(numbers['high'])}"
    interval = f"{metric_name(numbers['metric'])} ({numbers['level']:.0%} interval {ends}, {size})."
    rating, observed = outcome(numbers), numbers["difference"]
    if rating == "unsure":
        shown = f"{three_digits(observed)} {interval}"
        return f"The model and {name} show no significant difference: {shown}"
    is_ahead = "is ahead of" if rating == "good" else "is behind"
    return f"The model {is_ahead} {name} by {three_digits(abs(observed))} {interval}"


def draw(
    units: np.ndarray, metrics: Callable[[np.ndarray], np.ndarray], resamples: int, *, columns: int
) -> np.ndarray:
    """Return the metrics of the draws ``(metrics, r)``, all NaN if there is only one unit.

    ``columns`` is the number of classes that each draw is evaluated for.
    """
    from scipy.stats import DegenerateDataWarning, bootstrap

    num_units = int(units.max()) + 1
    if num_units == 1:
        return np.full_like(metrics(np.ones((1, len(units)))), np.nan)

    def of_units(drawn: np.ndarray, axis: int) -> np.ndarray:  # (r, u)
        assert axis == -1
        number = np.arange(len(drawn))[:, None]
        counts = np.bincount((num_units * number + drawn).ravel(), minlength=drawn.size)
        return metrics(counts.reshape(drawn.shape)[:, units].astype(float))

    affordable = max(_FEWEST_RESAMPLES, _MAX_VALUES // (len(units) * columns))
    with warnings.catch_warnings():
        # Of draws in which a metric is not defined: ``quantiles`` counts them.
        warnings.simplefilter("ignore", DegenerateDataWarning)
        result = bootstrap(
            (np.arange(num_units),),
            of_units,
            n_resamples=min(resamples, affordable),
            batch=max(1, _WEIGHTS_AT_ONCE // len(units)),
            vectorized=True,
            method="percentile",
            rng=np.random.default_rng(0),
        )
    return np.asarray(result.bootstrap_distribution)


def quantiles(drawn: np.ndarray) -> tuple[float, float] | None:
    """Return the interval of a metric, or None if it is not defined in enough draws."""
    defined = drawn[np.isfinite(drawn)]
    if len(defined) < _MIN_DEFINED * len(drawn):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return low, high


def _binomial(fraction: float, count: int) -> tuple[float, float]:
    """Return the exact interval of a fraction of ``count`` independent trials."""
    from scipy.stats import binomtest

    low, high = binomtest(round(fraction * count), count).proportion_ci(LEVEL, method="exact")
    return float(low), float(high)


def _lowest_of_perfect(metric: str, truth: Truth, units: np.ndarray) -> float:
    """Return the low end of a metric that is 1 in all draws: see the module docstring."""
    classes = one_hot(truth.targets, truth.num_classes)
    if truth.task == "multilabel":
        classes = np.hstack([classes, 1 - classes])
    rarest = min(len(np.unique(units[column == 1])) for column in classes.T if column.any())
    low, _ = _binomial(1.0, rarest)
    return 2 * low - 1 if metric == "mcc" else low
