"""Predictions as tracks of a genome browser: BED and bedGraph, a ``track`` line first.

Lines are in the order of what is read; so those of one record stand together, and windows are
sorted by start. Coordinates are 0-based and half-open, as the formats have it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rmt_genomics.dna import Interval
from rmt_genomics.errors import ConfigError
from rmt_genomics.model import ClassifierConfig
from rmt_genomics.prediction.predictor import Prediction

_NO_NAME = "."
_HIGHEST_SCORE = 1000


@dataclass(frozen=True, slots=True)
class Bed:
    """BED of six columns: record, start, end, label, score of 0 to 1000, strand.

    The score is the label's probability in thousandths, 0 if there is no label; the strand that of
    an interval that was asked for, and ``.`` where both strands were read alike.
    """

    title: str
    """The name of the track."""

    has_strand: bool = False
    """Intervals on strands were predicted."""

    label_column: int | None = 3

    def header(self) -> list[str]:
        """Return the track line."""
        return [f"track name={_quoted(self.title)} useScore=1"]

    def line(self, prediction: Prediction) -> str:
        """Return the line of a window, an interval or a whole record."""
        place = _place(prediction)
        score = 0.0 if prediction.score is None else prediction.score
        strand = place.strand if self.has_strand else "."
        columns = [
            *(place.record, place.start, place.end, prediction.label or _NO_NAME),
            *(round(_HIGHEST_SCORE * score), strand),
        ]
        return "\t".join(map(str, columns))


@dataclass(frozen=True, slots=True)
class BedGraph:
    """bedGraph: record, start, end, and the probability of one class (or the value).

    Its lines must not overlap, but windows may: a window then stands for the ``step`` bases in its
    middle. The last window of a record, flush with its end, begins where the one before it stops;
    the ends of a record that lie in no middle have no line.
    """

    title: str
    column: int
    """Place of the class."""

    window: int | None = None
    step: int | None = None
    label_column: int | None = None

    def header(self) -> list[str]:
        """Return the track line."""
        return [f"track type=bedGraph name={_quoted(self.title)}"]

    def line(self, prediction: Prediction) -> str:
        """Return the line of a window or a whole record."""
        place = _place(prediction)
        start, end = place.start, place.end
        if self.window is not None and self.step is not None:
            start, end = middle(place, self.window, self.step)
        value = f"{prediction.probabilities[self.column]:.6g}"
        return "\t".join([place.record, str(start), str(end), value])


def middle(place: Interval, window: int, step: int) -> tuple[int, int]:
    """Return the bases that a window stands for where windows overlap.

    Args:
        place: One of ``windows(record, length, window, step)``.
        window: Length of a window in bp; a record may be shorter.
        step: From one start to the next, in bp.

    Examples:
        >>> from rmt_genomics.dna import windows
        >>> [middle(each, 4, 2) for each in windows("chr1", 9, window=4, step=2)]
        [(1, 3), (3, 5), (5, 7), (7, 8)]
        >>> middle(windows("short", 3, window=4, step=2)[0], 4, 2)
        (0, 3)
    """
    if len(place) < window:
        return place.start, place.end
    margin = (window - step) // 2
    start = -(-place.start // step) * step  # off the grid only where it is the last window
    return start + margin, place.start + margin + step


def class_column(config: ClassifierConfig, name: str | None) -> int:
    """Return the place of the class whose probability is drawn.

    Args:
        config: Of the model.
        name: The class; None for the second of two, or for the one number of a regression.

    Raises:
        ConfigError: If there is no such class, or several to choose from.
    """
    if name is None and len(config.classes) <= 2:
        return len(config.classes) - 1
    if name not in config.classes:
        found = "no class was named" if name is None else f"the model has no class {name!r}"
        raise ConfigError(
            f"{found}, but bedGraph shows one of {', '.join(config.classes)}. "
            "Choose it with --class."
        )
    return config.classes.index(name)


def _place(prediction: Prediction) -> Interval:
    return prediction.interval or Interval(prediction.record, 0, prediction.length)


def _quoted(title: str) -> str:
    """A double quote would end the name."""
    return '"' + title.replace('"', "'") + '"'


@runtime_checkable
class OutputFormat(Protocol):
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
        return ["\t".join([*where, "label", "score", *sets, *probability_columns(self.classes)])]

    def line(self, prediction: Prediction) -> str:
        """Return one line, without its end."""
        places = (str(getattr(prediction.interval, each)) for each in self.places)
        where = [prediction.record, *places, str(prediction.length)]
        if self.task == "regression":
            return "\t".join([*where, f"{prediction.probabilities[0]:.6g}"])
        score, *probabilities = score_and_probabilities(prediction)
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


def lines(predictions: Iterable[Prediction], layout: OutputFormat) -> Iterator[str]:
    """Yield a header and one line a prediction, without line ends; the header waits likewise."""
    for place, prediction in enumerate(predictions):
        if place == 0:
            yield from layout.header()
        yield layout.line(prediction)


def probability_columns(classes: Sequence[str]) -> list[str]:
    return [f"prob_{name}" for name in classes]


def score_and_probabilities(prediction: Prediction) -> list[str]:
    score = "" if prediction.score is None else f"{prediction.score:.6g}"
    return [score, *(f"{each:.6g}" for each in prediction.probabilities)]
