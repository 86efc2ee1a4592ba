"""Metrics of predictions: their names, their order in tables, and how they are computed.

Values are scikit-learn's, computed once on the full set and never averaged over batches (the mean
AUROC is equal, but computed by ranks); None where a metric is not defined (only one class occurs,
say).

Dimensions: n examples, c classes.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_SMALLEST = 1e-300


@dataclass(frozen=True, slots=True)
class Metric:
    """How a metric is presented."""

    name: str  # in tables and sentences
    meaning: str
    is_regression: bool = False
    lower_is_better: bool = False


METRICS = {
    "accuracy": Metric(
        "accuracy", "fraction of correct predictions (multi-label: with all labels correct)"
    ),
    "balanced_accuracy": Metric(
        "balanced accuracy", "mean recall over classes, so that rare classes count as much"
    ),
    "mcc": Metric("MCC", "Matthews correlation coefficient: 1 all correct, 0 as by chance"),
    "macro_f1": Metric(
        "macro F1", "mean over classes of F1, the harmonic mean of precision and recall"
    ),
    "auroc": Metric(
        "AUROC",
        "probability that an example of a class scores above one that is not; 0.5 is uninformative",
    ),
    "auprc": Metric(
        "AUPRC", "mean precision over all recalls; a random score gets the fraction of the class"
    ),
    "pearson": Metric(
        "Pearson r", "linear correlation of prediction and truth; 1 is perfect", is_regression=True
    ),
    "spearman": Metric(
        "Spearman r", "rank correlation of prediction and truth; 1 is perfect", is_regression=True
    ),
    "r2": Metric(
        "R2", "fraction of the variance explained; 0 is as good as the mean", is_regression=True
    ),
    "mae": Metric(
        "mean absolute error",
        "mean distance of prediction and truth, in the unit of the label",
        is_regression=True,
        lower_is_better=True,
    ),
    "rmse": Metric(
        "root mean square error",
        "root of the mean squared error; large errors count more",
        is_regression=True,
        lower_is_better=True,
    ),
}
"""Every metric by its key in ``metrics.json``, in the order of tables."""


def metric_keys(task: str | None) -> tuple[str, ...]:
    """Return the keys of the metrics of a task, in the order of tables."""
    is_regression = task == "regression"
    return tuple(key for key, metric in METRICS.items() if metric.is_regression == is_regression)


def validation_metric_keys(task: str) -> tuple[str, ...]:
    """Return the keys of the metrics that are logged after each training epoch."""
    if task == "pretraining":
        return ("bits_per_base",)
    return ("r2", "pearson") if task == "regression" else ("mcc", "accuracy", "auroc")


def main_metric(task: str) -> str:
    """Return the key of the metric by which models are compared."""
    return "r2" if task == "regression" else "mcc"


def metric_name(key: str) -> str:
    """Return the display name of a metric, also of a key that is not in ``METRICS``."""
    return METRICS[key].name if key in METRICS else key.replace("_", " ")


def predicted_classes(
    outputs: np.ndarray, task: str, thresholds: Sequence[float] | None = None
) -> np.ndarray:
    """Return which classes are predicted, of probabilities ``(n, c)``, as booleans ``(n, c)``.

    With thresholds it is the second of two classes from its threshold on, or each class of a
    multi-label task from its own on. Without, it is the most probable class, or for multi-label
    each class of at least 0.5.
    """
    if task == "multilabel":
        found: np.ndarray = outputs >= (0.5 if thresholds is None else np.asarray(thresholds))
        return found
    if thresholds is None:
        most_probable: np.ndarray = outputs.argmax(axis=1)[:, None] == np.arange(outputs.shape[1])
        return most_probable
    is_second = outputs[:, 1] >= thresholds[0]
    return np.column_stack([~is_second, is_second])


def compute_metrics(
    targets: np.ndarray,
    outputs: np.ndarray,
    *,
    classes: Sequence[str],
    task: str,
    called: np.ndarray | None = None,
    only: Collection[str] | None = None,
) -> dict[str, Any]:
    """Return the metrics of any task; arguments as for ``classification_metrics``.

    For regression, outputs are the values ``(n, 1)``, and there are always all metrics.
    """
    if task == "regression":
        return regression_metrics(targets, outputs, classes=classes)
    return classification_metrics(
        targets, outputs, classes=classes, task=task, called=called, only=only
    )


def classification_metrics(
    targets: np.ndarray,
    probabilities: np.ndarray,
    *,
    classes: Sequence[str],
    task: str,
    called: np.ndarray | None = None,
    only: Collection[str] | None = None,
) -> dict[str, Any]:
    """Compare probabilities with the truth.

    Args:
        targets: Class indices ``(n,)``, or 0/1 per class ``(n, c)`` for multi-label.
        probabilities: ``(n, c)``.
        classes: Label names, in the order of the columns.
        task: binary, multiclass or multilabel.
        called: The ``predicted_classes``, if not those without thresholds.
        only: Names of what is computed; None = all. With very many classes some take long.

    Returns:
        A dictionary ready for JSON: n, classes, accuracy (multi-label: all labels correct),
        balanced_accuracy, mcc, macro_f1, auroc, auprc and the confusion matrix (rows are the
        truth; multi-label: one 2 x 2 matrix per class). With more than two classes, auroc and
        auprc are means over the classes that occur, each against the rest; multi-label mcc and
        balanced accuracy are means over classes.
    """
    from sklearn import metrics

    truth = one_hot(targets, len(classes))
    called = predicted_classes(probabilities, task) if called is None else called
    if task == "multilabel":
        targets, predicted = truth, called.astype(int)
        per_class = list(zip(truth.T, predicted.T, strict=True))
    else:
        predicted = called.argmax(axis=1)
        per_class = [(targets, predicted)]

    def confusion() -> list[Any]:
        if task == "multilabel":
            of_classes: list[Any] = metrics.multilabel_confusion_matrix(truth, predicted).tolist()
            return of_classes
        labels = np.arange(len(classes))
        matrix: list[Any] = metrics.confusion_matrix(targets, predicted, labels=labels).tolist()
        return matrix

    def macro_f1() -> float:
        labels = np.arange(len(classes))
        return float(
            metrics.f1_score(targets, predicted, labels=labels, average="macro", zero_division=0.0)
        )

    computed: dict[str, Callable[[], Any]] = {
        "n": lambda: len(targets),
        "classes": lambda: list(classes),
        "accuracy": lambda: float(metrics.accuracy_score(targets, predicted)),
        "balanced_accuracy": lambda: _mean(_balanced_accuracy(*columns) for columns in per_class),
        "mcc": lambda: _mean(_mcc(*columns) for columns in per_class),
        "macro_f1": macro_f1,
        "confusion": confusion,
        "auroc": lambda: _auroc(truth, probabilities, task),
        "auprc": lambda: _over_classes(metrics.average_precision_score, truth, probabilities, task),
    }
    return {name: compute() for name, compute in computed.items() if only is None or name in only}


def regression_metrics(
    targets: np.ndarray, values: np.ndarray, *, classes: Sequence[str]
) -> dict[str, Any]:
    """Compare predicted numbers ``(n,)`` or ``(n, 1)`` with the true ones.

    The result is ready for JSON: n, classes, pearson and spearman (None where one side is
    constant), r2 (fraction of the variance explained; None without variance), mae, rmse.
    """
    from scipy import stats
    from sklearn import metrics

    truth, predicted = np.ravel(targets).astype(float), np.ravel(values).astype(float)
    varies = len(truth) > 1 and np.ptp(truth) > 0
    both_vary = varies and np.ptp(predicted) > 0
    return {
        "n": len(truth),
        "classes": list(classes),
        "pearson": float(stats.pearsonr(truth, predicted).statistic) if both_vary else None,
        "spearman": float(stats.spearmanr(truth, predicted).statistic) if both_vary else None,
        "r2": float(metrics.r2_score(truth, predicted)) if varies else None,
        "mae": float(metrics.mean_absolute_error(truth, predicted)),
        "rmse": float(metrics.root_mean_squared_error(truth, predicted)),
    }


def per_class_metrics(
    targets: np.ndarray,
    probabilities: np.ndarray,
    *,
    classes: Sequence[str],
    task: str,
    called: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Compare probabilities with the truth for each class against the rest.

    The arguments are those of ``classification_metrics``. For each class: class, n (examples that
    have it), precision (None if the class was never predicted), recall (None if it does not occur),
    f1, auroc and auprc.
    """
    from sklearn import metrics

    truth = one_hot(targets, len(classes))
    called = predicted_classes(probabilities, task) if called is None else called
    precision, recall, f1, counts = metrics.precision_recall_fscore_support(
        truth, called.astype(int), zero_division=np.nan
    )
    return [
        {
            "class": name,
            "n": int(counts[index]),
            "precision": _none_if_nan(precision[index]),
            "recall": _none_if_nan(recall[index]),
            "f1": _none_if_nan(f1[index]),
            "auroc": _of_class(metrics.roc_auc_score, truth, probabilities, index),
            "auprc": _of_class(metrics.average_precision_score, truth, probabilities, index),
        }
        for index, name in enumerate(classes)
    ]


def one_hot(targets: np.ndarray, num_classes: int) -> np.ndarray:
    """Return 0/1 per class ``(n, c)``."""
    return targets.astype(int) if targets.ndim == 2 else np.eye(num_classes, dtype=int)[targets]


def _balanced_accuracy(targets: np.ndarray, predicted: np.ndarray) -> float | None:
    # scikit-learn's own warns of predicted classes that do not occur; here they are left out.
    from sklearn.metrics import recall_score

    classes = np.unique(targets)
    if not len(classes):
        return None
    return float(recall_score(targets, predicted, labels=classes, average="macro"))


def _mcc(targets: np.ndarray, predicted: np.ndarray) -> float | None:
    """Return Matthews correlation; 0 for constant predictions, None if only one class occurs."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(targets, predicted)) if len(np.unique(targets)) > 1 else None


def _over_classes(
    metric: Callable[..., float], truth: np.ndarray, scores: np.ndarray, task: str
) -> float | None:
    """Return the metric of the second of two classes, or its mean over classes that vary."""
    columns = [1] if task == "binary" else range(truth.shape[1])
    return _mean(_of_class(metric, truth, scores, column) for column in columns)


def _auroc(truth: np.ndarray, scores: np.ndarray, task: str) -> float | None:
    """Return the AUROC of the second of two classes, or the mean over classes that vary.

    By the ranks of the scores (Mann and Whitney 1947), which is fast for very many classes.
    """
    from scipy.stats import rankdata

    if task == "binary":
        truth, scores = truth[:, 1:], scores[:, 1:]
    num = truth.sum(axis=0)
    varies = (num > 0) & (num < len(truth))
    truth, num = truth[:, varies], num[varies]
    if not len(num):
        return None
    ranks = (rankdata(scores[:, varies], axis=0) * truth).sum(axis=0)
    above = ranks - num * (num + 1) / 2  # pairs in which the example of the class is higher
    return float((above / (num * (len(truth) - num))).mean())


def _of_class(
    metric: Callable[..., float], truth: np.ndarray, scores: np.ndarray, column: int
) -> float | None:
    """Return the metric of one class; None if all or no examples have it."""
    varies = 0 < truth[:, column].sum() < len(truth)
    return float(metric(truth[:, column], scores[:, column])) if varies else None


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _mean(values: Iterable[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None


def logits_of(probabilities: np.ndarray, task: str) -> np.ndarray:
    """Return logits that give these probabilities (single-label: up to a constant per row)."""
    logits: np.ndarray = np.log(np.maximum(probabilities, _SMALLEST))
    if task == "multilabel":
        logits -= np.log(np.maximum(1 - probabilities, np.finfo(float).eps / 2))
    return logits


def probabilities_of(logits: np.ndarray, task: str) -> np.ndarray:
    """Return the softmax of each row, or for multi-label the sigmoid of each value."""
    from scipy.special import expit, softmax

    probabilities: np.ndarray = expit(logits) if task == "multilabel" else softmax(logits, axis=1)
    return probabilities


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
