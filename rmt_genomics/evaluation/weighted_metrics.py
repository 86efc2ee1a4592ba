"""The metrics of many bootstrap draws at once.

A draw is a row of weights: how often each example was drawn. Values are those of
``model.metrics.compute_metrics`` on the drawn examples, NaN where a metric is not defined, but a
class that a draw lacks is left out of its macro F1.

Dimensions: n examples, c classes, r draws.
"""

from collections.abc import Callable

import numpy as np
from scipy import sparse

from rmt_genomics.model.metrics import one_hot, predicted_classes

WeightedMetrics = Callable[[np.ndarray], dict[str, np.ndarray]]
"""From weights ``(r, n)`` to the value of each metric ``(r,)``; of each class ``(c, r)``."""

_NO_VARIANCE = 1e-12  # of the mean square: what rounding leaves where all numbers are equal


def decision_metrics(
    targets: np.ndarray,
    outputs: np.ndarray,
    *,
    task: str,
    num_classes: int,
    called: np.ndarray | None = None,
    by_class: bool = False,
) -> WeightedMetrics:
    """Return how to compute the metrics of predicted labels, or R2 and errors of a regression.

    The targets are those of ``bootstrap.Truth``; the outputs are probabilities ``(n, c)``, or for
    regression values ``(n, 1)``. ``called`` is ``predicted_classes``, if not by the default rule.
    ``by_class`` adds precision, recall and F1 of each class, such as class_recall.
    """
    if task == "regression":
        return _errors(np.ravel(targets).astype(float), np.ravel(outputs).astype(float))
    actual = one_hot(targets, num_classes)
    is_multilabel = task == "multilabel"
    called = (predicted_classes(outputs, task) if called is None else called).astype(int)
    columns = [sparse.csr_array(part, dtype=float) for part in (actual, called)]
    sums = sparse.hstack([*columns, columns[0] * columns[1]], format="csr")
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
                covariance = size * hits - actual * called
                variances = actual * (size - actual), called * (size - called)
                mcc = _mean(_correlation(covariance, *variances).T)
            else:  # MCC of several classes (Gorodkin 2004)
                balanced, size = _mean(recall.T), size[:, 0]
                covariance = size * hits.sum(axis=1) - (actual * called).sum(axis=1)
                variances = size**2 - (actual**2).sum(axis=1), size**2 - (called**2).sum(axis=1)
                mcc = _correlation(covariance, *variances)
            of_class = {"class_precision": hits / called, "class_recall": recall, "class_f1": f1}
        return {
            "accuracy": weights @ is_right / size.ravel(),
            "balanced_accuracy": balanced,
            "mcc": mcc,
            "macro_f1": _mean(f1.T),
            **({key: values.T for key, values in of_class.items()} if by_class else {}),
        }

    return compute


def ranking_metrics(
    targets: np.ndarray,
    outputs: np.ndarray,
    *,
    task: str,
    num_classes: int,
    by_class: bool = False,
) -> WeightedMetrics:
    """Return how to compute AUROC and AUPRC, or the correlations of a regression.

    The arguments are those of ``decision_metrics``; ``by_class`` adds the areas of each class.
    """
    if task == "regression":
        return _correlations(np.ravel(targets).astype(float), np.ravel(outputs).astype(float))
    actual = one_hot(targets, num_classes)
    curves = {
        column: _curve_areas(actual[:, column], outputs[:, column])
        for column in ([1] if task == "binary" and not by_class else range(num_classes))
        if 0 < actual[:, column].sum() < len(actual)
    }

    def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
        areas = np.full((num_classes, 2, len(weights)), np.nan)
        of_examples = np.ascontiguousarray(weights.T)
        for column, of_class in curves.items():
            areas[column] = of_class(of_examples)
        auroc, auprc = _mean(areas[1:] if task == "binary" else areas)
        by_name = {"class_auroc": areas[:, 0], "class_auprc": areas[:, 1]} if by_class else {}
        return {"auroc": auroc, "auprc": auprc, **by_name}

    return compute


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
    """Return how to compute AUROC and AUPRC of one class: weights ``(n, r)`` to ``(2, r)``.

    Both areas are sums over the scores of examples of the class, so all other examples between
    two of these scores are counted at once.
    """
    cuts = np.unique(-scores[actual == 1])  # the best first
    # The bin of an example: 2 i + 1 if its score is that of cut i, 2 i if it is just above.
    bins = np.searchsorted(cuts, -scores, side="left") + np.searchsorted(
        cuts, -scores, side="right"
    )
    count, is_hit = len(scores), np.flatnonzero(actual)
    shape = 2 * len(cuts) + 1, count
    in_bin = sparse.csr_array((np.ones(count, np.float32), (bins, np.arange(count))), shape=shape)
    hit_cuts = np.ones(len(is_hit)), (bins[is_hit] // 2, is_hit)
    of_cut = sparse.csr_array(hit_cuts, shape=(len(cuts), count))

    def compute(weights: np.ndarray) -> np.ndarray:
        hits = of_cut @ weights
        called, found = (in_bin @ weights).cumsum(axis=0), hits.cumsum(axis=0)
        num_hits, num_others = found[-1], called[-1] - found[-1]
        before, called = called[:-1:2], called[1::2]  # above each cut, and down to it
        others_above = (before - (found - hits) + called - found) / 2  # ties count half
        with np.errstate(divide="ignore", invalid="ignore"):
            auroc = 1 - (hits * others_above).sum(axis=0) / (num_hits * num_others)
            precision = found / np.maximum(called, 1)
            auprc = (hits * precision).sum(axis=0) / np.where(num_others > 0, num_hits, np.nan)
        return np.stack([auroc, auprc])

    return compute


def _errors(truth: np.ndarray, predicted: np.ndarray) -> WeightedMetrics:
    """Return how to compute R2 and the mean errors of a regression."""
    errors, centred = truth - predicted, truth - truth.mean()

    def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
        squared_error = _averages(weights, errors**2)
        return {
            "r2": 1 - squared_error / _covariances(weights, centred, centred),
            "mae": _averages(weights, np.abs(errors)),
            "rmse": np.sqrt(squared_error),
        }

    return compute


def _correlations(truth: np.ndarray, predicted: np.ndarray) -> WeightedMetrics:
    """Return how to compute both correlations of a regression."""
    both = [values - values.mean() for values in (truth, predicted)]
    runs = [_runs(values) for values in both]

    def compute(weights: np.ndarray) -> dict[str, np.ndarray]:
        ranks = (_ranks(weights, *of_values) for of_values in runs)
        return {"pearson": _pearson(weights, *both), "spearman": _pearson(weights, *ranks)}

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
    pairs = (first, second), (first, first), (second, second)
    covariance, *variances = (_covariances(weights, *pair) for pair in pairs)
    correlation: np.ndarray = np.clip(covariance / np.sqrt(np.prod(variances, axis=0)), -1, 1)
    return correlation


def _covariances(weights: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the covariance in each draw; NaN for the variance of equal numbers."""
    product = _averages(weights, first * second)
    covariance = product - _averages(weights, first) * _averages(weights, second)
    is_constant = (first is second) & (covariance <= _NO_VARIANCE * product)
    return np.where(is_constant, np.nan, covariance)


def _averages(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the mean in each draw of values ``(n,)`` or ``(r, n)``."""
    average: np.ndarray = (weights * values).sum(axis=1) / weights.sum(axis=1)
    return average
