"""How good predictions are: scikit-learn's metrics, once, on the full set.

Never averaged over batches; None where a metric is not defined (one class only, say).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np


def classification_metrics(
    targets: np.ndarray, probabilities: np.ndarray, *, classes: Sequence[str], task: str
) -> dict[str, Any]:
    """Compare probabilities with the truth.

    Args:
        targets: Class indices ``(n,)``, or 0/1 a class ``(n, c)`` for multi-label.
        probabilities: ``(n, c)``.
        classes: Label names, in the order of the columns.
        task: binary, multiclass or multilabel.

    Returns:
        A dictionary ready for JSON: n, classes, accuracy (multi-label: all labels right),
        balanced_accuracy, mcc, macro_f1, auroc, auprc and the confusion matrix (rows are the
        truth; multi-label: one 2 x 2 matrix a class). Where there are more than two classes,
        auroc and auprc are means over the classes seen, each against the rest; multi-label mcc
        and balanced accuracy are means over classes.
    """
    from sklearn import metrics

    truth = _one_hot(targets, len(classes))
    result: dict[str, Any] = {"n": len(targets), "classes": list(classes)}
    if task == "multilabel":
        called = (probabilities >= 0.5).astype(int)
        each = list(zip(truth.T, called.T, strict=True))
        result["accuracy"] = float(metrics.accuracy_score(truth, called))
        result["balanced_accuracy"] = _mean(_balanced(t, p) for t, p in each)
        result["mcc"] = _mean(_mcc(t, p) for t, p in each)
        result["macro_f1"] = float(
            metrics.f1_score(truth, called, average="macro", zero_division=0.0)
        )
        result["confusion"] = metrics.multilabel_confusion_matrix(truth, called).tolist()
    else:
        called = probabilities.argmax(axis=1)
        labels = np.arange(len(classes))
        result["accuracy"] = float(metrics.accuracy_score(targets, called))
        result["balanced_accuracy"] = _balanced(targets, called)
        result["mcc"] = _mcc(targets, called)
        result["macro_f1"] = float(
            metrics.f1_score(targets, called, labels=labels, average="macro", zero_division=0.0)
        )
        result["confusion"] = metrics.confusion_matrix(targets, called, labels=labels).tolist()
    result["auroc"] = _over_classes(metrics.roc_auc_score, truth, probabilities, task)
    result["auprc"] = _over_classes(metrics.average_precision_score, truth, probabilities, task)
    return result


def _one_hot(targets: np.ndarray, num_classes: int) -> np.ndarray:
    """Return 0/1 a class."""
    return targets.astype(int) if targets.ndim == 2 else np.eye(num_classes, dtype=int)[targets]


def _balanced(targets: np.ndarray, called: np.ndarray) -> float | None:
    """Mean recall over the classes that occur (a class nobody has is no evidence)."""
    recalls = [float((called[targets == one] == one).mean()) for one in np.unique(targets)]
    return float(np.mean(recalls)) if recalls else None


def _mcc(targets: np.ndarray, called: np.ndarray) -> float | None:
    """Matthews correlation; 0 for a constant answer, None if there was nothing to tell apart."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(targets, called)) if len(np.unique(targets)) > 1 else None


def _over_classes(metric: Any, truth: np.ndarray, scores: np.ndarray, task: str) -> float | None:
    """Score the second of two classes, or the mean over classes with both answers present."""
    columns = [1] if task == "binary" else range(truth.shape[1])
    return _mean(
        metric(truth[:, one], scores[:, one])
        for one in columns
        if 0 < truth[:, one].sum() < len(truth)
    )


def _mean(values: Any) -> float | None:
    """Mean of what is there; None if nothing is."""
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None
