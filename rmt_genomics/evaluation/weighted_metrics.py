"""The metrics of many bootstrap draws at once.

A draw is a row of weights: how often each example was drawn. Values are those of
``model.metrics.compute_metrics`` on the drawn examples, NaN where a metric is not defined, but a
class that a draw lacks is left out of its macro F1.

Dimensions: n examples, c classes, r draws, t different scores.
"""

from collections.abc import Callable

import numpy as np
from scipy import sparse

from rmt_genomics.model.metrics import one_hot

WeightedMetrics = Callable[[np.ndarray], dict[str, np.ndarray]]
"""From weights ``(r, n)`` to the value of each metric ``(r,)``."""

_NO_VARIANCE = 1e-12  # of the mean square: what rounding leaves where all numbers are equal


def decision_metrics(
    targets: np.ndarray, outputs: np.ndarray, *, task: str, num_classes: int
) -> WeightedMetrics:
    """Return how to compute the metrics of predicted labels, or R2 and errors of a regression.

    Args:
        targets: Class indices ``(n,)``; multi-label: 0/1 ``(n, c)``; regression: numbers ``(n,)``.
        outputs: Probabilities ``(n, c)``; regression: values ``(n, 1)``.
        task: binary, multiclass, multilabel or regression.
        num_classes: c.
    """
    if task == "regression":
        return _errors(np.ravel(targets).astype(float), np.ravel(outputs).astype(float))
    actual = one_hot(targets, num_classes)
    is_multilabel = task == "multilabel"
    called = (
        (outputs >= 0.5).astype(int)
        if is_multilabel
        else one_hot(outputs.argmax(axis=1), num_classes)
    )
    sums = sparse.csr_array(np.hstack([actual, called, actual * called]), dtype=float)
    is_right = (actual == called).all(axis=1).astype(float)
    never_occurs = ~(actual | called).any(axis=0)

    def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
        size = weights.sum(axis=1, keepdims=True)
        actual, called, hits = np.split(weights @ sums, 3, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            recall = hits / actual
            f1 = np.where(never_occurs, 0.0, 2 * hits / (actual + called))
            if is_multilabel:
                specificity = (size - actual - called + hits) / (size - actual)
                balanced = _mean(np.stack([recall, specificity])).mean(axis=1)
                mcc = _mean(_mcc_of_each(size, actual, called, hits).T)
            else:
                balanced, mcc = _mean(recall.T), _mcc(size[:, 0], actual, called, hits)
        return {
            "accuracy": weights @ is_right / size[:, 0],
            "balanced_accuracy": balanced,
            "mcc": mcc,
            "macro_f1": _mean(f1.T),
        }

    return compute


def ranking_metrics(
    targets: np.ndarray, outputs: np.ndarray, *, task: str, num_classes: int
) -> WeightedMetrics:
    """Return how to compute AUROC and AUPRC, or the correlations of a regression.

    The arguments are those of ``decision_metrics``.
    """
    if task == "regression":
        return _correlations(np.ravel(targets).astype(float), np.ravel(outputs).astype(float))
    actual = one_hot(targets, num_classes)
    curves = [
        _curve_areas(actual[:, column], outputs[:, column])
        for column in ([1] if task == "binary" else range(num_classes))
        if 0 < actual[:, column].sum() < len(actual)
    ]

    def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
        areas = np.array([of_class(weights) for of_class in curves])
        areas = areas.reshape(len(curves), 2, len(weights))
        return {"auroc": _mean(areas[:, 0]), "auprc": _mean(areas[:, 1])}

    return compute


def _mcc(size: np.ndarray, actual: np.ndarray, called: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Return MCC of several classes (Gorodkin 2004)."""
    return _correlation(
        size * hits.sum(axis=1) - (actual * called).sum(axis=1),
        size**2 - (actual**2).sum(axis=1),
        size**2 - (called**2).sum(axis=1),
    )


def _mcc_of_each(
    size: np.ndarray, actual: np.ndarray, called: np.ndarray, hits: np.ndarray
) -> np.ndarray:
    """Return MCC of each class against the rest ``(r, c)``."""
    covariance = size * hits - actual * called
    return _correlation(covariance, actual * (size - actual), called * (size - called))


def _correlation(covariance: np.ndarray, of_truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Divide by both variances; 0 for constant predictions, NaN if only one class occurs."""
    value = covariance / np.sqrt(of_truth * np.where(predicted > 0, predicted, 1))
    return np.where(of_truth > 0, np.where(predicted > 0, value, 0.0), np.nan)


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean along the first axis over the values that are defined; NaN if none is."""
    is_defined = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        mean: np.ndarray = np.where(is_defined, values, 0).sum(axis=0) / is_defined.sum(axis=0)
    return mean


def _runs(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the order of ascending scores, and where in it each different score begins."""
    order = np.argsort(scores, kind="stable")
    return order, np.flatnonzero(np.diff(scores[order], prepend=-np.inf))


def _curve_areas(actual: np.ndarray, scores: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return how to compute AUROC and AUPRC ``(2, r)`` of one class against the rest."""
    order, starts = _runs(-scores)
    is_hit = np.flatnonzero(actual[order])
    # Only scores that an example of the class has add to the areas: g of them.
    score_of_hit = np.searchsorted(starts, is_hit, side="right") - 1
    distinct, first = np.unique(score_of_hit, return_index=True)
    begin, end = starts[distinct], np.append(starts, len(order))[distinct + 1]

    def compute(weights: np.ndarray) -> np.ndarray:
        called = np.zeros((len(weights), len(order) + 1))
        np.cumsum(weights[:, order], axis=1, out=called[:, 1:])
        hits = np.add.reduceat(weights[:, order[is_hit]], first, axis=1)  # (r, g)
        found = hits.cumsum(axis=1)
        num_hits, num_others = found[:, -1], called[:, -1] - found[:, -1]
        others_above = called[:, begin] - (found - hits)
        others_up_to = called[:, end] - found
        with np.errstate(divide="ignore", invalid="ignore"):
            below = num_others[:, None] - (others_above + others_up_to) / 2  # ties count half
            auroc = (hits * below).sum(axis=1) / (num_hits * num_others)
            precision = found / np.maximum(called[:, end], 1)
            auprc = (hits * precision).sum(axis=1) / np.where(num_others > 0, num_hits, np.nan)
        return np.stack([auroc, auprc])

    return compute


def _errors(truth: np.ndarray, predicted: np.ndarray) -> WeightedMetrics:
    """Return how to compute R2 and the mean errors of a regression."""
    errors, centred = truth - predicted, truth - truth.mean()

    def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
        size = weights.sum(axis=1)
        mean, square = weights @ centred / size, weights @ centred**2 / size
        squared_error = weights @ errors**2 / size
        variance = _variance(square, mean)
        return {
            "r2": 1 - squared_error / variance,
            "mae": weights @ np.abs(errors) / size,
            "rmse": np.sqrt(squared_error),
        }

    return compute


def _correlations(truth: np.ndarray, predicted: np.ndarray) -> WeightedMetrics:
    """Return how to compute both correlations of a regression."""
    both = [values - values.mean() for values in (truth, predicted)]
    runs = [_runs(values) for values in both]

    def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
        ranks = (_ranks(weights, *of_values) for of_values in runs)
        return {
            "pearson": _pearson(weights, *both),
            "spearman": _pearson(weights, *ranks),
        }

    return compute


def _ranks(weights: np.ndarray, order: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the rank of each example in each draw ``(r, n)``, from 0 at the median; ties share."""
    drawn = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks = drawn.cumsum(axis=1) - drawn / 2 - drawn.sum(axis=1, keepdims=True) / 2
    of_examples = np.empty(weights.shape)
    of_examples[:, order] = np.repeat(ranks, np.diff(starts, append=len(order)), axis=1)
    return of_examples


def _pearson(weights: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the correlation in each draw of numbers ``(n,)`` or ``(r, n)``."""

    def mean(values: np.ndarray) -> np.ndarray:
        total = weights @ values if values.ndim == 1 else np.einsum("rn,rn->r", weights, values)
        mean: np.ndarray = total / size
        return mean

    size = weights.sum(axis=1)
    of_first, of_second = mean(first), mean(second)
    covariance = mean(first * second) - of_first * of_second
    variances = _variance(mean(first**2), of_first) * _variance(mean(second**2), of_second)
    correlation: np.ndarray = np.clip(covariance / np.sqrt(variances), -1, 1)
    return correlation


def _variance(mean_square: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the variance; NaN if all numbers are equal."""
    variance = mean_square - mean**2
    return np.where(variance > _NO_VARIANCE * mean_square, variance, np.nan)
