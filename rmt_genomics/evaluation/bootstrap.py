"""How much better one set of answers is than another, and whether chance could make it so.

Paired bootstrap: examples are drawn with replacement, both sets of answers are judged on the same
draw, and the differences of many draws make the interval (percentile method: Efron & Tibshirani
1993, An Introduction to the Bootstrap, chapter 13). Examples of one group are drawn together,
since they are alike and so count for less than as many others.

The metric is MCC, or R2 where the answers are numbers. Each is a function of sums over examples
(cells of a confusion matrix; squares), so a draw is a row of weights, and all draws are one
product of matrices.

Dimensions: n examples, c classes, u units that are drawn, r draws, f sums.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmt_genomics.model.metrics import one_hot

RESAMPLES = 2000
_CELLS_AT_ONCE = 1 << 22
_MULTINOMIAL_COST = 8  # of one of its units, in single draws
_FEWEST_DEFINED = 0.5  # share of the draws in which a metric must exist

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What the answers are compared with, and which examples belong together."""

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
        """What is compared."""
        return "r2" if self.task == "regression" else "mcc"

    @property
    def has_groups(self) -> bool:
        """Whether examples are drawn together."""
        return any(group is not None for group in self.groups)


def difference(
    truth: Truth,
    ours: np.ndarray,
    theirs: np.ndarray,
    *,
    name: str,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Compare the model with something else on the same examples.

    Args:
        truth: The right answers.
        ours: Probabilities (regression: values) of the model ``(n, c)``.
        theirs: Those of the other.
        name: What the other is called in the sentence, such as "the 6-mer baseline".
        level: Probability that the interval is to hold.
        resamples: Draws.
        seed: Of the draws.

    Returns:
        metric, difference (model minus other), low, high, level and a sentence; None if the
        metric is not defined here (all examples of one class, say).
    """
    first, second, statistic = _sums(truth, ours, theirs)
    units, counts = _units(truth, np.hstack([first, second]))
    width = first.shape[1]

    def between(weights: np.ndarray) -> np.ndarray:
        """Return the difference of each draw, a row of weights."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return statistic(weights @ units[:, :width]) - statistic(weights @ units[:, width:])

    found = float(between(counts[None].astype(float))[0])
    drawn = np.concatenate([between(draw) for draw in _draws(counts, resamples, seed)])
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(found) or len(drawn) < _FEWEST_DEFINED * resamples:
        return None
    low, high = (float(each) for each in np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]))
    size = f"{len(truth.targets)} examples"
    if truth.has_groups:
        size += f" in {int(counts.sum())} groups"
    sentence = _sentence(name, _METRIC_NAMES[truth.metric], found, (low, high), level, size)
    return {
        "metric": truth.metric,
        "difference": found,
        "low": low,
        "high": high,
        "level": level,
        "sentence": sentence,
    }


_METRIC_NAMES = {"mcc": "MCC", "r2": "R2"}


def _sentence(
    name: str, metric: str, found: float, ends: tuple[float, float], level: float, size: str
) -> str:
    """Say it in words, with the interval."""
    low, high = ends
    interval = f"({100 * level:.0f} % interval {low:.2f} to {high:.2f}, {size})"
    if low > 0:
        return f"The model is ahead of {name} by {found:.2f} {metric} {interval}."
    if high < 0:
        return f"The model is behind {name} by {-found:.2f} {metric} {interval}."
    return (
        f"The model and {name} are not told apart: the difference is {found:.2f} {metric} "
        f"{interval}."
    )


def _sums(
    truth: Truth, ours: np.ndarray, theirs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Statistic]:
    """Return the sums that each example adds ``(n, f)``, twice, and what is made of the total."""
    if truth.task == "regression":
        centred = truth.targets.ravel() - truth.targets.mean()
        of_truth = np.stack([np.ones_like(centred), centred, centred**2], axis=1)
        errors = [(truth.targets.ravel() - each.ravel())[:, None] ** 2 for each in (ours, theirs)]
        return np.hstack([of_truth, errors[0]]), np.hstack([of_truth, errors[1]]), _r2
    if truth.task == "multilabel":
        counts = [_cells_of_each_class(truth.targets, each >= 0.5) for each in (ours, theirs)]
        return counts[0], counts[1], lambda total: _mean_mcc(total, truth.num_classes)
    actual = one_hot(truth.targets, truth.num_classes).astype(float)
    moments = [_moments(actual, each.argmax(axis=1)) for each in (ours, theirs)]
    return moments[0], moments[1], lambda total: _mcc(total, truth.num_classes)


def _moments(actual: np.ndarray, called: np.ndarray) -> np.ndarray:
    """Return what MCC needs of each example: 1, is right, its class, the class it was called."""
    hot = np.eye(actual.shape[1])[called]
    is_right = (actual * hot).sum(axis=1, keepdims=True)
    return np.hstack([np.ones_like(is_right), is_right, actual, hot])


def _mcc(total: np.ndarray, num_classes: int) -> np.ndarray:
    """MCC of several classes (Gorodkin 2004); 0 for a constant answer, NaN for a constant truth."""
    size, right = total[:, 0], total[:, 1]
    actual, called = total[:, 2 : 2 + num_classes], total[:, 2 + num_classes :]
    together = right * size - (actual * called).sum(axis=1)
    spread = size**2 - (actual**2).sum(axis=1)
    spread_called = size**2 - (called**2).sum(axis=1)
    found = together / np.sqrt(spread * np.where(spread_called > 0, spread_called, 1))
    return np.where(spread > 0, np.where(spread_called > 0, found, 0.0), np.nan)


def _cells_of_each_class(actual: np.ndarray, called: np.ndarray) -> np.ndarray:
    """Return for each class 1, is right, has it not, has it, called not, called: ``(n, c * 6)``."""
    yes, said = actual.astype(bool), called.astype(bool)
    cells = [np.ones_like(yes), yes == said, ~yes, yes, ~said, said]
    return np.stack(cells, axis=2).reshape(len(actual), -1).astype(float)


def _mean_mcc(total: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the mean of the MCC of each class that some have and some have not."""
    each = [_mcc(part, 2) for part in np.split(total, num_classes, axis=1)]
    stacked = np.stack(each)
    defined = np.isfinite(stacked)
    mean: np.ndarray = np.where(defined, stacked, 0).sum(axis=0) / defined.sum(axis=0)
    return mean


def _r2(total: np.ndarray) -> np.ndarray:
    """Return the share of the variance that is explained, from sums of a draw."""
    size, sums, squares, errors = total.T
    spread = squares - sums**2 / size
    return np.where(spread > 0, 1 - errors / spread, np.nan)


def _units(truth: Truth, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what is drawn as a whole ``(u, f)``, and how often each stands in the set."""
    if truth.has_groups:
        names = [
            f"example {place}" if group is None else f"group {group}"
            for place, group in enumerate(truth.groups)
        ]
        place = np.unique(names, return_inverse=True)[1]
        units = np.zeros((place.max() + 1, sums.shape[1]))
        np.add.at(units, place, sums)
        return units, np.ones(len(units), dtype=np.int64)
    if truth.task == "regression":
        return sums, np.ones(len(sums), dtype=np.int64)
    packed = np.packbits(sums.astype(bool), axis=1)  # they are all 0 or 1
    _, first, counts = np.unique(packed, axis=0, return_index=True, return_counts=True)
    return sums[first], counts  # few units: draws cost next to nothing


def _draws(counts: np.ndarray, resamples: int, seed: int) -> Any:
    """Yield weights ``(r, u)`` that each add up to the size of the set, some draws at a time."""
    random = np.random.default_rng(seed)
    size, units = int(counts.sum()), len(counts)
    at_once = max(1, _CELLS_AT_ONCE // units)
    unit_of = np.repeat(np.arange(units), counts)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        if units * _MULTINOMIAL_COST < size:
            yield random.multinomial(size, counts / size, size=rows).astype(float)
        else:
            drawn = (unit_of[random.integers(0, size, size)] for _ in range(rows))
            yield np.array([np.bincount(each, minlength=units) for each in drawn], dtype=float)
