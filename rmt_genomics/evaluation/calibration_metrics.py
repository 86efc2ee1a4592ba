"""How well probabilities are calibrated: reliability, calibration error, Brier score, log loss.

Dimensions: n examples, c classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rmt_genomics.evaluation.bootstrap import RESAMPLES, Intervals, Truth, draw, quantiles
from rmt_genomics.model.metrics import logits_of, one_hot
from rmt_genomics.prediction.calibration import Calibration

_BINS = 10
_SMALLEST = np.finfo(float).eps  # of a probability, in the log loss of scikit-learn


def calibration_metrics(
    calibration: Calibration,
    before: np.ndarray,
    targets: np.ndarray,
    *,
    after: np.ndarray | None = None,
) -> dict[str, Any]:
    """Measure probabilities ``(n, c)`` of the model before and after calibration.

    ``after`` is given if they are not those of ``calibration`` (see ``cross_fitted``).

    Returns:
        temperature, fitted_on, n (examples it was fitted on), ece, brier and log_loss, each of
        them also ``_before``, and the reliability after.
    """
    metrics: dict[str, Any] = {
        key: getattr(calibration, key) for key in ("temperature", "fitted_on", "n")
    }
    after = calibration.apply(before) if after is None else after
    for suffix, probabilities in (("_before", before), ("", after)):
        scored = probabilities, targets, calibration.task
        metrics["reliability"] = reliability(*scored)
        metrics[f"ece{suffix}"] = expected_calibration_error(metrics["reliability"])
        metrics[f"brier{suffix}"] = brier_score(*scored)
        metrics[f"log_loss{suffix}"] = log_loss(*scored)
    return metrics


def calibration_intervals(
    truth: Truth, before: np.ndarray, after: np.ndarray, *, resamples: int = RESAMPLES
) -> Intervals:
    """Return the bootstrap interval of each error of ``calibration_metrics``, by its name."""
    sums: dict[str, np.ndarray] = {}  # of an example (n, columns); the ECE has one for each bin
    for suffix, probabilities in (("_before", before), ("", after)):
        confidence, is_correct = _confidence(probabilities, truth.targets, truth.task)
        count, per_example = len(probabilities), len(confidence) // len(probabilities)
        bins = _BINS * np.repeat(np.arange(count), per_example) + _bin_of(confidence)
        gaps = np.bincount(bins, (confidence - is_correct) / per_example, count * _BINS)
        sums[f"ece{suffix}"] = gaps.reshape(count, _BINS)
        actual = one_hot(truth.targets, truth.num_classes)
        squares = (probabilities - actual) ** 2
        is_summed = truth.task == "multiclass"
        sums[f"brier{suffix}"] = (squares.sum if is_summed else squares.mean)(axis=1)[:, None]
        logs = np.log(np.clip(np.where(actual, probabilities, 1 - probabilities), _SMALLEST, 1))
        of_true = logs if truth.task == "multilabel" else np.where(actual, logs, np.nan)
        sums[f"log_loss{suffix}"] = -np.nanmean(of_true, axis=1)[:, None]

    def errors(weights: np.ndarray) -> np.ndarray:
        size = weights.sum(axis=1)
        return np.stack([np.abs(weights @ each).sum(axis=1) / size for each in sums.values()])

    drawn = draw(truth.units(), errors, resamples, columns=truth.num_classes)
    found = {key: quantiles(values) for key, values in zip(sums, drawn, strict=True)}
    return {key: None if interval is None else list(interval) for key, interval in found.items()}


def cross_fitted(
    probabilities: np.ndarray, targets: np.ndarray, task: str, classes: Sequence[str]
) -> np.ndarray:
    """Calibrate each half of the examples by a fit on the other half."""
    order = np.random.default_rng(0).permutation(len(targets))
    halves = order[::2], order[1::2]
    calibrated = probabilities.copy()
    for fitted, applied in (halves, halves[::-1]):
        if len(fitted):
            logits = logits_of(probabilities[fitted], task)
            calibration = Calibration.fit(logits, targets[fitted], task, classes)
            calibrated[applied] = calibration.apply(probabilities[applied])
    return calibrated


def reliability(
    probabilities: np.ndarray, targets: np.ndarray, task: str, *, num_bins: int = _BINS
) -> list[dict[str, Any]]:
    """Compare confidence with accuracy in bins of equal width (scikit-learn's calibration curve).

    Confidence is the probability of the predicted label; for multi-label that of each class,
    which is correct where the example has it.

    Returns:
        One dictionary for each bin that is not empty: low, high, n, confidence, accuracy.
    """
    from sklearn.calibration import calibration_curve

    confidence, is_correct = _confidence(probabilities, targets, task)
    fractions, means = calibration_curve(is_correct, confidence, pos_label=1, n_bins=num_bins)
    counts = np.bincount(_bin_of(confidence, num_bins))
    return [
        {
            "low": index / num_bins,
            "high": (index + 1) / num_bins,
            "n": int(counts[index]),
            "confidence": float(mean),
            "accuracy": float(fraction),
        }
        for index, mean, fraction in zip(
            np.flatnonzero(counts).tolist(), means, fractions, strict=True
        )
    ]


def _confidence(
    probabilities: np.ndarray, targets: np.ndarray, task: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the confidence of each prediction, and 1 where it is correct; see ``reliability``."""
    if task == "multilabel":
        return probabilities.ravel(), targets.ravel().astype(int)
    is_correct = probabilities.argmax(axis=1) == targets
    return probabilities.max(axis=1), is_correct.astype(int)


def _bin_of(confidence: np.ndarray, num_bins: int = _BINS) -> np.ndarray:
    """Return the index of the bin; as for scikit-learn, an edge is in the lower one."""
    return np.searchsorted(np.linspace(0, 1, num_bins + 1)[1:-1], confidence)


def expected_calibration_error(bins: Sequence[dict[str, Any]]) -> float:
    """Return the mean gap between confidence and accuracy, by size of bin (Guo et al., eq. 3)."""
    total = sum(row["n"] for row in bins)
    return float(sum(row["n"] * abs(row["confidence"] - row["accuracy"]) for row in bins) / total)


def brier_score(probabilities: np.ndarray, targets: np.ndarray, task: str) -> float:
    """Return the mean squared error of probabilities (scikit-learn's Brier score).

    binary: of the second class; multiclass: summed over classes; multilabel: mean over classes.
    """
    from sklearn.metrics import brier_score_loss

    truth, rows, labels = _as_scikit_learn_reads(probabilities, targets, task)
    return float(brier_score_loss(truth, rows, labels=labels, pos_label=labels[-1]))


def log_loss(probabilities: np.ndarray, targets: np.ndarray, task: str) -> float:
    """Return scikit-learn's mean log loss in nats per example; multi-label: and per class.

    A probability of 0 for what is true counts as 2.2e-16, so 36 nats.
    """
    from sklearn import metrics

    truth, rows, labels = _as_scikit_learn_reads(probabilities, targets, task)
    return float(metrics.log_loss(truth, rows, labels=labels))


def _as_scikit_learn_reads(
    probabilities: np.ndarray, targets: np.ndarray, task: str
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return truth, probabilities and labels; of two classes the probability of the second."""
    if task == "multiclass":
        total = probabilities.sum(axis=1, keepdims=True)  # scikit-learn warns of 1 + 1e-7 (float32)
        return targets, probabilities / total, list(range(probabilities.shape[1]))
    if task == "multilabel":
        return targets.ravel().astype(int), probabilities.ravel(), [0, 1]
    return targets, probabilities[:, 1], [0, 1]
