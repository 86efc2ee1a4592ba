"""How good predictions are: scikit-learn's metrics, once, on the full set.

Never averaged over batches; None where a metric is not defined (one class only, say).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

_SMALLEST = 1e-300


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

    truth = one_hot(targets, len(classes))
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


def regression_metrics(
    targets: np.ndarray, values: np.ndarray, *, classes: Sequence[str]
) -> dict[str, Any]:
    """Compare predicted numbers with the true ones.

    Args:
        targets: Numbers ``(n,)`` or ``(n, 1)``.
        values: Predicted, of the same size.
        classes: The name of what is predicted.

    Returns:
        A dictionary ready for JSON: n, classes, pearson and spearman (None where one side is
        constant), r2 (the share of the variance explained; None where there is none), mae, rmse.
    """
    from scipy import stats
    from sklearn import metrics

    truth, guess = np.ravel(targets).astype(float), np.ravel(values).astype(float)
    varies = len(truth) > 1 and np.ptp(truth) > 0
    both_vary = varies and np.ptp(guess) > 0
    return {
        "n": len(truth),
        "classes": list(classes),
        "pearson": float(stats.pearsonr(truth, guess).statistic) if both_vary else None,
        "spearman": float(stats.spearmanr(truth, guess).statistic) if both_vary else None,
        "r2": float(metrics.r2_score(truth, guess)) if varies else None,
        "mae": float(metrics.mean_absolute_error(truth, guess)),
        "rmse": float(metrics.root_mean_squared_error(truth, guess)),
    }


def measure(
    targets: np.ndarray, outputs: np.ndarray, *, classes: Sequence[str], task: str
) -> dict[str, Any]:
    """Return the metrics of any task; arguments as for ``classification_metrics``.

    For regression, outputs are the values ``(n, 1)``.
    """
    if task == "regression":
        return regression_metrics(targets, outputs, classes=classes)
    return classification_metrics(targets, outputs, classes=classes, task=task)


def per_class_metrics(
    targets: np.ndarray, probabilities: np.ndarray, *, classes: Sequence[str], task: str
) -> list[dict[str, Any]]:
    """Compare probabilities with the truth, class by class, each against the rest.

    Args:
        targets: As for ``classification_metrics``, and so are the others.
        probabilities: ``(n, c)``.
        classes: Label names.
        task: binary, multiclass or multilabel.

    Returns:
        A dictionary a class, in their order: class, n (examples that have it), precision and
        recall (None where nothing was called so, or nothing is so), f1, auroc and auprc.
    """
    truth = one_hot(targets, len(classes))
    if task == "multilabel":
        called = probabilities >= 0.5
    else:
        called = one_hot(probabilities.argmax(axis=1), len(classes)).astype(bool)
    columns = zip(classes, truth.T.astype(bool), called.T, probabilities.T, strict=True)
    return [_one_class(name, *column) for name, *column in columns]


def _one_class(
    name: str, truth: np.ndarray, called: np.ndarray, scores: np.ndarray
) -> dict[str, Any]:
    """Judge one class against the rest."""
    from sklearn import metrics

    hits, has_both = int((truth & called).sum()), 0 < truth.sum() < len(truth)
    either = int(truth.sum() + called.sum())
    return {
        "class": name,
        "n": int(truth.sum()),
        "precision": hits / int(called.sum()) if called.any() else None,
        "recall": hits / int(truth.sum()) if truth.any() else None,
        "f1": 2 * hits / either if either else None,
        "auroc": float(metrics.roc_auc_score(truth, scores)) if has_both else None,
        "auprc": float(metrics.average_precision_score(truth, scores)) if has_both else None,
    }


def one_hot(targets: np.ndarray, num_classes: int) -> np.ndarray:
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


def logits_of(probabilities: np.ndarray, task: str) -> np.ndarray:
    """Return logits that give these probabilities (single-label: up to a constant a row)."""
    logits: np.ndarray = np.log(np.maximum(probabilities, _SMALLEST))
    if task == "multilabel":
        logits -= np.log(np.maximum(1 - probabilities, np.finfo(float).eps / 2))
    return logits


def probabilities_of(logits: np.ndarray, task: str) -> np.ndarray:
    """Return the softmax of each row, or for multi-label the sigmoid of each number."""
    from scipy.special import expit, softmax

    found: np.ndarray = expit(logits) if task == "multilabel" else softmax(logits, axis=1)
    return found
