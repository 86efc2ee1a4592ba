"""Whether probabilities mean what they say: reliability, calibration error, Brier score, log loss.

Dimensions: n examples, c classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rmt_genomics.model.metrics import logits_of, one_hot
from rmt_genomics.prediction.calibration import Calibration, log_loss

_BINS = 10


def calibration_figures(
    calibration: Calibration,
    before: np.ndarray,
    targets: np.ndarray,
    *,
    after: np.ndarray | None = None,
) -> dict[str, Any]:
    """Measure probabilities before and after calibration.

    Args:
        calibration: What was fitted.
        before: Probabilities of the judged examples ``(n, c)``, as the model gives them.
        targets: Their true classes.
        after: The same calibrated, if not by ``calibration`` (see ``cross_fitted``).

    Returns:
        temperature, fitted_on, n (examples it was fitted on), ece, brier and log_loss, each of
        them also ``_before``, and the reliability after.
    """
    task = calibration.task
    after = calibration.apply(before) if after is None else after
    bins = {"_before": reliability(before, targets, task), "": reliability(after, targets, task)}
    found: dict[str, Any] = {
        "temperature": calibration.temperature,
        "fitted_on": calibration.fitted_on,
        "n": calibration.n,
    }
    for when, probabilities in (("_before", before), ("", after)):
        found[f"ece{when}"] = expected_calibration_error(bins[when])
        found[f"brier{when}"] = brier_score(probabilities, targets, task)
        found[f"log_loss{when}"] = log_loss(logits_of(probabilities, task), targets, task)
    return {**found, "reliability": bins[""]}


def cross_fitted(
    probabilities: np.ndarray, targets: np.ndarray, task: str, classes: Sequence[str]
) -> np.ndarray:
    """Calibrate each half of the examples by the other, so that none is judged by its own fit."""
    places = np.random.default_rng(0).permutation(len(targets))
    halves = places[::2], places[1::2]
    calibrated = probabilities.copy()
    for fitted, applied in (halves, halves[::-1]):
        if len(fitted):
            logits = logits_of(probabilities[fitted], task)
            half = Calibration.fit(logits, targets[fitted], task, classes)
            calibrated[applied] = half.apply(probabilities[applied])
    return calibrated


def reliability(
    probabilities: np.ndarray, targets: np.ndarray, task: str, *, bins: int = _BINS
) -> list[dict[str, Any]]:
    """Compare confidence with how often it was right, in bins of equal width.

    Confidence is the probability of the label that was called; for multi-label that of each class,
    which is right where the example has it.

    Returns:
        One dictionary for each bin that is not empty: low, high, n, confidence, accuracy.
    """
    confidence, is_right = _decisions(probabilities, targets, task)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "low": each / bins,
            "high": (each + 1) / bins,
            "n": int((place == each).sum()),
            "confidence": float(confidence[place == each].mean()),
            "accuracy": float(is_right[place == each].mean()),
        }
        for each in np.unique(place).tolist()
    ]


def expected_calibration_error(bins: Sequence[dict[str, Any]]) -> float:
    """Return the mean gap between confidence and accuracy, by size of bin (Guo et al., eq. 3)."""
    total = sum(each["n"] for each in bins)
    gaps = (each["n"] * abs(each["confidence"] - each["accuracy"]) for each in bins)
    return float(sum(gaps) / total)


def brier_score(probabilities: np.ndarray, targets: np.ndarray, task: str) -> float:
    """Return the mean squared error of probabilities, as scikit-learn counts it.

    binary: of the second class; multiclass: summed over classes; multilabel: mean over classes.
    """
    errors = (probabilities - one_hot(targets, probabilities.shape[1])) ** 2
    if task == "multiclass":
        return float(errors.sum(axis=1).mean())
    return float(errors.mean())


def _decisions(
    probabilities: np.ndarray, targets: np.ndarray, task: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return a confidence for each decision, and whether it was right."""
    if task == "multilabel":
        return probabilities.ravel(), targets.ravel().astype(bool)
    called = probabilities.argmax(axis=1)
    return probabilities.max(axis=1), called == targets
