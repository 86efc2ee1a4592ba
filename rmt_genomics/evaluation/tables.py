"""Predictions and confusion as tab-separated text, a header first."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rmt_genomics.prediction.output_formats import probability_columns, score_and_probabilities
from rmt_genomics.prediction.predictor import Prediction

METRICS = ("accuracy", "balanced_accuracy", "mcc", "macro_f1", "auroc", "auprc")
METRICS_OF_NUMBERS = ("pearson", "spearman", "r2", "mae", "rmse")
_NOT_SHOWN = re.compile(r"kmer\d")  # each k by itself: the better one is shown


def evaluation_lines(
    predictions: Iterable[Prediction],
    truths: Iterable[str],
    classes: Sequence[str],
    task: str = "multiclass",
) -> Iterator[str]:
    """Yield the same lines with the true label before the predicted one.

    Of a regression: record, length, truth, prediction.
    """
    if task == "regression":
        yield "\t".join(["record", "length", "truth", "prediction"])
        for each, truth in zip(predictions, truths, strict=True):
            value = f"{each.probabilities[0]:.6g}"
            yield "\t".join([each.record, str(each.length), truth, value])
        return
    yield "\t".join(["record", "length", "truth", "label", "score", *probability_columns(classes)])
    for each, truth in zip(predictions, truths, strict=True):
        yield "\t".join(
            [each.record, str(each.length), truth, each.label, *score_and_probabilities(each)]
        )


def confusion_lines(metrics: dict[str, Any]) -> Iterator[str]:
    """Yield the confusion matrix: a row a true class, a column a predicted one.

    A multi-label model has no such matrix; a row a class then counts its right and wrong answers.
    """
    classes, confusion = metrics["classes"], metrics["confusion"]
    if _is_one_matrix(confusion):
        yield "\t".join(["truth", *classes])
        for name, counts in zip(classes, confusion, strict=True):
            yield "\t".join([name, *map(str, counts)])
        return
    yield "class\ttrue_negative\tfalse_positive\tfalse_negative\ttrue_positive"
    for name, ((tn, fp), (fn, tp)) in zip(classes, confusion, strict=True):
        yield f"{name}\t{tn}\t{fp}\t{fn}\t{tp}"


def metric_lines(metrics: dict[str, Any]) -> Iterator[str]:
    """Yield one line a metric: its value for the model, and for each baseline."""
    baselines = metrics["baselines"].items()
    shown = {name: each for name, each in baselines if not _NOT_SHOWN.match(name)}
    columns = {"model": metrics, **shown}
    yield "\t".join(["metric", *columns])
    for name in metric_names(metrics):
        values = (each[name] for each in columns.values())
        yield "\t".join([name, *("" if each is None else f"{each:.4f}" for each in values)])


def summary_lines(metrics: dict[str, Any]) -> Iterator[str]:
    """Yield in sentences whether the model is ahead of its baselines, and what context is worth."""
    yield from (each["sentence"] for each in metrics.get("differences", {}).values())
    if "context" in metrics:
        yield metrics["context"]["sentence"]


def metric_names(metrics: dict[str, Any]) -> tuple[str, ...]:
    """Return the metrics that are shown first, of a task of labels or of numbers."""
    return METRICS_OF_NUMBERS if metrics.get("task") == "regression" else METRICS


def _is_one_matrix(confusion: list[Any]) -> bool:
    """False for a 2 x 2 matrix a class."""
    return isinstance(confusion[0][0], int)
