"""The probability from which on a class is predicted, chosen on examples that were not trained on.

With rare classes, 0.5 is often not the threshold with the best labels. Ties are frequent with few
examples: all thresholds between two scores give the same labels, so the middle is taken.

Dimensions: n examples, c classes.
"""

import numpy as np

from rmt_genomics.model.metrics import one_hot


def best_thresholds(
    targets: np.ndarray, probabilities: np.ndarray, task: str
) -> tuple[tuple[float, ...] | None, list[int]]:
    """Choose the thresholds with the highest Matthews correlation (MCC).

    Args:
        targets: Class indices ``(n,)``, or 0/1 per class ``(n, c)`` for multi-label.
        probabilities: ``(n, c)``.
        task: binary or multilabel.

    Returns:
        One threshold for the second of two classes, or one per class for multi-label; and the
        classes, by index, for which none is better than chance, so that theirs is 0.5. The
        thresholds are None if that is so for all.
    """
    truth = one_hot(targets, probabilities.shape[1])
    columns = [1] if task == "binary" else range(probabilities.shape[1])
    found = [best_threshold(truth[:, index], probabilities[:, index]) for index in columns]
    without = [index for index, each in zip(columns, found, strict=True) if each is None]
    if len(without) == len(found):
        return None, without
    return tuple(0.5 if each is None else each for each in found), without


def best_threshold(is_true: np.ndarray, scores: np.ndarray) -> float | None:
    """Return the threshold of one class with the highest MCC; None if none is above 0.

    It is the middle of the widest range of thresholds with this MCC.

    Examples:
        >>> best_threshold(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.6]))
        0.25
    """
    values, which = np.unique(scores, return_inverse=True)
    num_true, num_all = float(is_true.sum()), float(len(is_true))
    # Called from each value on, but for the lowest: then all are called.
    hits = num_true - np.bincount(which, is_true).cumsum()[:-1]
    called = num_all - np.bincount(which).cumsum()[:-1]
    if not len(called) or not 0 < num_true < num_all:
        return None
    variances = num_true * (num_all - num_true) * called * (num_all - called)
    mcc = (num_all * hits - num_true * called) / np.sqrt(variances)
    if not mcc.max() > 0:
        return None
    is_best = np.concatenate([[False], mcc >= mcc.max() - 1e-12, [False]])
    edges = np.flatnonzero(np.diff(is_best.astype(int)))
    lows, highs = values[edges[::2]], values[edges[1::2]]
    widest = int((highs - lows).argmax())
    middle = float((lows[widest] + highs[widest]) / 2)
    return middle if middle > lows[widest] else float(highs[widest])
