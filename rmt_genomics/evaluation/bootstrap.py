"""How much better one set of predictions is than another, and whether chance could explain it.

Paired bootstrap: examples are drawn with replacement, both sets of predictions are evaluated on the
same draw, and the differences of many draws make the interval (percentile method: Efron &
Tibshirani 1993, An Introduction to the Bootstrap, chapter 13). Examples of one group are drawn
together, since they are similar and so count for less than as many independent ones.

The metric is MCC, or R2 for regression. Each is a function of sums over examples (counts of a
confusion matrix; squares), so a draw is a row of weights, and all draws are one matrix product.

Dimensions: n examples, c classes, u units that are drawn, r draws, f sums.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmt_genomics.model.metrics import main_metric, metric_name, one_hot

RESAMPLES = 2000
_WEIGHTS_AT_ONCE = 1 << 22
_MULTINOMIAL_COST = 8  # of drawing the count of one unit, in draws of single examples
_MIN_DEFINED = 0.5  # fraction of the draws in which a metric must be defined

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The true targets, and which examples belong together."""

    targets: np.ndarray
    """Class indices ``(n,)``; multi-label: 0/1 ``(n, c)``; regression: numbers ``(n,)``."""

    task: str
    """binary, multiclass, multilabel or regression."""

    num_classes: int
    """c."""

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


def difference(
    truth: Truth,
    outputs: np.ndarray,
    baseline_outputs: np.ndarray,
    *,
    name: str,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Compare the model with a baseline on the same examples.

    Args:
        truth: The targets.
        outputs: Probabilities (regression: values) of the model ``(n, c)``.
        baseline_outputs: Those of the baseline.
        name: The baseline in the sentence, such as "the 6-mer baseline".
        level: Confidence level of the interval.
        resamples: Number of draws.
        seed: Of the draws.

    Returns:
        metric, difference (model minus baseline), low, high, level and a sentence; None if the
        metric is not defined here (all examples of one class, say).
    """
    sums, baseline_sums, statistic = _sums(truth, outputs, baseline_outputs)
    units, counts = _units(truth, np.hstack([sums, baseline_sums]))
    width = sums.shape[1]

    def differences(weights: np.ndarray) -> np.ndarray:
        """Return the difference of each draw; a draw is a row of weights ``(r, u)``."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return statistic(weights @ units[:, :width]) - statistic(weights @ units[:, width:])

    observed = float(differences(counts[None].astype(float))[0])
    drawn = np.concatenate([differences(draw) for draw in _draws(counts, resamples, seed)])
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(observed) or len(drawn) < _MIN_DEFINED * resamples:
        return None
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]).tolist()
    size = _counted(len(truth.targets), "example")
    if truth.has_groups:
        size += f" in {_counted(int(counts.sum()), 'group')}"
    numbers = {
        "metric": truth.metric,
        "difference": observed,
        "low": low,
        "high": high,
        "level": level,
    }
    return {**numbers, "sentence": difference_sentence(numbers, name, size)}


def difference_sentence(numbers: Mapping[str, Any], name: str, size: str) -> str:
    """Return the result of a comparison in one sentence.

    Args:
        numbers: metric, difference, low, high and level, as ``difference`` returns them.
        name: The baseline.
        size: Number of examples, such as "600 examples in 30 groups".
    """
    metric, observed = metric_name(numbers["metric"]), numbers["difference"]
    low, high = numbers["low"], numbers["high"]
    interval = f"({100 * numbers['level']:.0f}% interval {low:.2f} to {high:.2f}, {size})"
    if low > 0:
        return f"The model is ahead of {name} by {observed:.2f} {metric} {interval}."
    if high < 0:
        return f"The model is behind {name} by {-observed:.2f} {metric} {interval}."
    return (
        f"The model and {name} show no significant difference: {observed:.2f} {metric} {interval}."
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _sums(
    truth: Truth, outputs: np.ndarray, baseline_outputs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Statistic]:
    """Return what each example adds to the sums ``(n, f)``, for both, and the metric of a total."""
    both = (outputs, baseline_outputs)
    if truth.task == "regression":
        values = truth.targets.ravel()
        centred = values - truth.targets.mean()
        of_truth = np.stack([np.ones_like(centred), centred, centred**2], axis=1)
        first, second = (
            np.hstack([of_truth, (values - each.ravel())[:, None] ** 2]) for each in both
        )
        return first, second, _r2
    if truth.task == "multilabel":
        first, second = (_multilabel_counts(truth.targets, each >= 0.5) for each in both)
        return first, second, lambda total: _mean_mcc(total, truth.num_classes)
    actual = one_hot(truth.targets, truth.num_classes).astype(float)
    first, second = (_counts(actual, each.argmax(axis=1)) for each in both)
    return first, second, lambda total: _mcc(total, truth.num_classes)


def _counts(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return what MCC needs of each example: 1, is correct, its class, its predicted class."""
    hot = np.eye(actual.shape[1])[predicted]
    is_correct = (actual * hot).sum(axis=1, keepdims=True)
    return np.hstack([np.ones_like(is_correct), is_correct, actual, hot])


def _mcc(total: np.ndarray, num_classes: int) -> np.ndarray:
    """Return MCC of several classes (Gorodkin 2004).

    0 for constant predictions, NaN if only one class occurs.
    """
    size, correct = total[:, 0], total[:, 1]
    actual, predicted = total[:, 2 : 2 + num_classes], total[:, 2 + num_classes :]
    covariance = correct * size - (actual * predicted).sum(axis=1)
    variance = size**2 - (actual**2).sum(axis=1)
    variance_predicted = size**2 - (predicted**2).sum(axis=1)
    varies = variance_predicted > 0
    mcc = covariance / np.sqrt(variance * np.where(varies, variance_predicted, 1))
    return np.where(variance > 0, np.where(varies, mcc, 0.0), np.nan)


def _multilabel_counts(actual: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return ``_counts`` of each class against the rest, side by side ``(n, c * 6)``."""
    truth, called = actual.astype(bool), predicted.astype(bool)
    columns = [np.ones_like(truth), truth == called, ~truth, truth, ~called, called]
    return np.stack(columns, axis=2).reshape(len(actual), -1).astype(float)


def _mean_mcc(total: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the mean MCC over the classes for which it is defined."""
    mccs = np.stack([_mcc(part, 2) for part in np.split(total, num_classes, axis=1)])
    is_defined = np.isfinite(mccs)
    mean: np.ndarray = np.where(is_defined, mccs, 0).sum(axis=0) / is_defined.sum(axis=0)
    return mean


def _r2(total: np.ndarray) -> np.ndarray:
    size, sums, squares, errors = total.T
    variance = squares - sums**2 / size
    return np.where(variance > 0, 1 - errors / variance, np.nan)


def _units(truth: Truth, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of each unit that is drawn as a whole ``(u, f)``, and its multiplicity."""
    if truth.has_groups:
        names = [
            f"example {index}" if group is None else f"group {group}"
            for index, group in enumerate(truth.groups)
        ]
        unit = np.unique(names, return_inverse=True)[1]
        units = np.zeros((unit.max() + 1, sums.shape[1]))
        np.add.at(units, unit, sums)
        return units, np.ones(len(units), dtype=np.int64)
    if truth.task == "regression":
        return sums, np.ones(len(sums), dtype=np.int64)
    # All sums are 0 or 1, so few rows differ; equal ones make one unit, which makes draws cheap.
    packed = np.packbits(sums.astype(bool), axis=1)
    _, first, counts = np.unique(packed, axis=0, return_index=True, return_counts=True)
    return sums[first], counts


def _draws(counts: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield weights ``(r, u)`` that each add up to the size of the set, some draws at a time."""
    random = np.random.default_rng(seed)
    size, units = int(counts.sum()), len(counts)
    at_once = max(1, _WEIGHTS_AT_ONCE // units)
    unit_of = np.repeat(np.arange(units), counts)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        if units * _MULTINOMIAL_COST < size:
            yield random.multinomial(size, counts / size, size=rows).astype(float)
        else:
            drawn = (unit_of[random.integers(0, size, size)] for _ in range(rows))
            yield np.array([np.bincount(draw, minlength=units) for draw in drawn], dtype=float)
