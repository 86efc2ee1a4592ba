"""How well probabilities are calibrated: reliability, calibration error, Brier score, log loss.

Dimensions: n examples, c classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rmt_genomics.model.metrics import logits_of, one_hot
from rmt_genomics.prediction.calibration import Calibration, log_loss

_BINS = 10


def calibration_metrics(
    calibration: Calibration,
    before: np.ndarray,
    targets: np.ndarray,
    *,
    after: np.ndarray | None = None,
) -> dict[str, Any]:
    """Measure probabilities before and after calibration.

    Args:
        calibration: The fitted calibration.
        before: Probabilities of the model for the evaluated examples ``(n, c)``.
        targets: Their true classes.
        after: Calibrated probabilities, if not those of ``calibration`` (see ``cross_fitted``).

    Returns:
        temperature, fitted_on, n (examples it was fitted on), ece, brier and log_loss, each of
        them also ``_before``, and the reliability after.
    """
    task = calibration.task
    after = calibration.apply(before) if after is None else after
    bins = {"_before": reliability(before, targets, task), "": reliability(after, targets, task)}
    metrics: dict[str, Any] = {
        "temperature": calibration.temperature,
        "fitted_on": calibration.fitted_on,
        "n": calibration.n,
    }
    for suffix, probabilities in (("_before", before), ("", after)):
        metrics[f"ece{suffix}"] = expected_calibration_error(bins[suffix])
        metrics[f"brier{suffix}"] = brier_score(probabilities, targets, task)
        metrics[f"log_loss{suffix}"] = log_loss(logits_of(probabilities, task), targets, task)
    return {**metrics, "reliability": bins[""]}


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
    """Compare confidence with accuracy in bins of equal width.

    Confidence is the probability of the predicted label; for multi-label that of each class,
    which is correct where the example has it.

    Returns:
        One dictionary for each bin that is not empty: low, high, n, confidence, accuracy.
    """
    if task == "multilabel":
        confidence, is_correct = probabilities.ravel(), targets.ravel().astype(bool)
    else:
        confidence = probabilities.max(axis=1)
        is_correct = probabilities.argmax(axis=1) == targets
    bin_of = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    return [
        {
            "low": index / num_bins,
            "high": (index + 1) / num_bins,
            "n": int((bin_of == index).sum()),
            "confidence": float(confidence[bin_of == index].mean()),
            "accuracy": float(is_correct[bin_of == index].mean()),
        }
        for index in np.unique(bin_of).tolist()
    ]


def expected_calibration_error(bins: Sequence[dict[str, Any]]) -> float:
    """Return the mean gap between confidence and accuracy, by size of bin (Guo et al., eq. 3)."""
    total = sum(row["n"] for row in bins)
    return float(sum(row["n"] * abs(row["confidence"] - row["accuracy"]) for row in bins) / total)


def brier_score(probabilities: np.ndarray, targets: np.ndarray, task: str) -> float:
    """Return the mean squared error of probabilities, as scikit-learn defines it.

    binary: of the second class; multiclass: summed over classes; multilabel: mean over classes.
    """
    errors = (probabilities - one_hot(targets, probabilities.shape[1])) ** 2
    if task == "multiclass":
        return float(errors.sum(axis=1).mean())
    return float(errors.mean())
