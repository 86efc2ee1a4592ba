"""How well probabilities are calibrated: reliability, calibration error, Brier score, log loss.

Dimensions: n examples, c classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rmt_genomics.model.metrics import logits_of
from rmt_genomics.prediction.calibration import Calibration

_BINS = 10


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

    if task == "multilabel":
        confidence, is_correct = probabilities.ravel(), targets.ravel().astype(int)
    else:
        confidence = probabilities.max(axis=1)
        is_correct = (probabilities.argmax(axis=1) == targets).astype(int)
    fractions, means = calibration_curve(is_correct, confidence, pos_label=1, n_bins=num_bins)
    edges = np.linspace(0, 1, num_bins + 1)[1:-1]
    counts = np.bincount(np.searchsorted(edges, confidence))  # as there: an edge is in the lower
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
