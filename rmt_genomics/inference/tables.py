"""Predictions and confusion as tab-separated text, a header first."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rmt_genomics.inference.predict import Prediction

METRICS = ("accuracy", "balanced_accuracy", "mcc", "macro_f1", "auroc", "auprc")


def prediction_lines(
    predictions: Iterable[Prediction], classes: Sequence[str], places: Sequence[str] = ()
) -> Iterator[str]:
    """Yield a header and one line a prediction, without line ends.

    Columns: record, ``places`` (such as start and end, of predictions that have an interval),
    length (bp), label, score (probability of the label; empty if a multi-label model names none),
    and one probability a class. The header waits for the first prediction,
    so that input that is wrong from the start prints nothing.
    """
    for place, prediction in enumerate(predictions):
        if place == 0:
            yield "\t".join(["record", *places, "length", "label", "score", *_names(classes)])
        where = [prediction.record, *(str(getattr(prediction.interval, each)) for each in places)]
        yield "\t".join([*where, str(prediction.length), prediction.label, *_numbers(prediction)])


def judged_lines(
    predictions: Iterable[Prediction], truths: Iterable[str], classes: Sequence[str]
) -> Iterator[str]:
    """Yield the same lines with the true label before the predicted one."""
    yield "\t".join(["record", "length", "truth", "label", "score", *_names(classes)])
    for each, truth in zip(predictions, truths, strict=True):
        yield "\t".join([each.record, str(each.length), truth, each.label, *_numbers(each)])


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
    columns = {"model": metrics, **metrics["baselines"]}
    yield "\t".join(["metric", *columns])
    for name in METRICS:
        values = (each[name] for each in columns.values())
        yield "\t".join([name, *("" if each is None else f"{each:.4f}" for each in values)])


def _is_one_matrix(confusion: list[Any]) -> bool:
    """False for a 2 x 2 matrix a class."""
    return isinstance(confusion[0][0], int)


def _names(classes: Sequence[str]) -> list[str]:
    return [f"prob_{name}" for name in classes]


def _numbers(prediction: Prediction) -> list[str]:
    score = "" if prediction.score is None else f"{prediction.score:.6g}"
    return [score, *(f"{each:.6g}" for each in prediction.probabilities)]
