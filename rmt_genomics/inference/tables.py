"""Predictions and confusion as tab-separated text, a header first."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from rmt_genomics.inference.predict import Prediction

METRICS = ("accuracy", "balanced_accuracy", "mcc", "macro_f1", "auroc", "auprc")
METRICS_OF_NUMBERS = ("pearson", "spearman", "r2", "mae", "rmse")
_NOT_SHOWN = re.compile(r"kmer\d")  # each k by itself: the better one is shown


@runtime_checkable
class Layout(Protocol):
    """How predictions stand in a file of text."""

    @property
    def label_column(self) -> int | None:
        """Place of the label in a line, from 0; None if there is none."""

    def header(self) -> list[str]:
        """Return the lines before the first prediction, without line ends."""

    def line(self, prediction: Prediction) -> str:
        """Return the one line of a prediction, without its end."""


@dataclass(frozen=True, slots=True)
class PredictionTable:
    """How predictions stand in a table.

    Columns: record, ``places`` (such as start and end, of predictions that have an interval),
    length (bp), label, score (probability of the label; empty if a multi-label model names none),
    labels (only where sets of labels were asked for, joined by ``;``) and one probability a class.
    Of a regression: record, places, length, prediction.
    """

    classes: Sequence[str]
    places: Sequence[str] = ()
    task: str = "multiclass"
    has_sets: bool = False

    @property
    def label_column(self) -> int | None:
        """Place of the label in a line; None if there is none."""
        return None if self.task == "regression" else len(self.places) + 2

    def header(self) -> list[str]:
        """Return the names of the columns, as one line."""
        where = ["record", *self.places, "length"]
        if self.task == "regression":
            return ["\t".join([*where, "prediction"])]
        sets = ["labels"] if self.has_sets else []
        return ["\t".join([*where, "label", "score", *sets, *_names(self.classes)])]

    def line(self, prediction: Prediction) -> str:
        """Return one line, without its end."""
        places = (str(getattr(prediction.interval, each)) for each in self.places)
        where = [prediction.record, *places, str(prediction.length)]
        if self.task == "regression":
            return "\t".join([*where, f"{prediction.probabilities[0]:.6g}"])
        score, *probabilities = _numbers(prediction)
        sets = [] if prediction.labels is None else [";".join(prediction.labels)]
        return "\t".join([*where, prediction.label, score, *sets, *probabilities])


def prediction_lines(
    predictions: Iterable[Prediction], classes: Sequence[str], places: Sequence[str] = ()
) -> Iterator[str]:
    """Yield the lines of a ``PredictionTable``, its header first.

    The header waits for the first prediction, so that input that is wrong from the start prints
    nothing.
    """
    return lines(predictions, PredictionTable(classes, places))


def lines(predictions: Iterable[Prediction], layout: Layout) -> Iterator[str]:
    """Yield a header and one line a prediction, without line ends; the header waits likewise."""
    for place, prediction in enumerate(predictions):
        if place == 0:
            yield from layout.header()
        yield layout.line(prediction)


def judged_lines(
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
    baselines = metrics["baselines"].items()
    shown = {name: each for name, each in baselines if not _NOT_SHOWN.match(name)}
    columns = {"model": metrics, **shown}
    yield "\t".join(["metric", *columns])
    for name in metric_names(metrics):
        values = (each[name] for each in columns.values())
        yield "\t".join([name, *("" if each is None else f"{each:.4f}" for each in values)])


def verdict_lines(metrics: dict[str, Any]) -> Iterator[str]:
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


def _names(classes: Sequence[str]) -> list[str]:
    return [f"prob_{name}" for name in classes]


def _numbers(prediction: Prediction) -> list[str]:
    score = "" if prediction.score is None else f"{prediction.score:.6g}"
    return [score, *(f"{each:.6g}" for each in prediction.probabilities)]
