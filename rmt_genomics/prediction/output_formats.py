"""How predictions are written: as a table, or as a track of a genome browser (BED, bedGraph).

Lines are in the order of the input; so those of one record are together, and windows are sorted by
start. Coordinates are 0-based and half-open, as the formats have it.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rmt_genomics.dna import Interval
from rmt_genomics.errors import ConfigError, counted, three_digits
from rmt_genomics.model import ClassifierConfig
from rmt_genomics.prediction.predictor import NOT_AVAILABLE, Prediction

_MAX_LABELS = 10  # named in the sentence


@dataclass(frozen=True, slots=True)
class PredictionTable:
    """A tab-separated table.

    Columns: record, ``interval_columns`` (such as start and end), length (bp), label, score
    (probability of the label; empty if a multi-label model names none), labels (only if sets of
    labels were requested; joined by ``;``), one probability per class, and a note (mostly empty).
    Of a regression: record, ``interval_columns``, length, prediction, note. A record without a
    known base has ``NA`` for what is predicted.
    """

    classes: Sequence[str]
    interval_columns: Sequence[str] = ()
    task: str = "multiclass"
    has_sets: bool = False

    def header(self) -> list[str]:
        """Return the names of the columns."""
        columns = ["record", *self.interval_columns, "length"]
        if self.task == "regression":
            return ["\t".join([*columns, "prediction", "note"])]
        sets = ["labels"] if self.has_sets else []
        columns += ["label", "score", *sets, *probability_columns(self.classes), "note"]
        return ["\t".join(columns)]

    def line(self, prediction: Prediction) -> str:
        """Return the row of a prediction."""
        where = (str(getattr(prediction.interval, name)) for name in self.interval_columns)
        cells = [prediction.record, *where, str(prediction.length)]
        if self.task == "regression":
            return "\t".join([*cells, number(prediction.probabilities[0]), prediction.note])
        score, *probabilities = score_and_probabilities(prediction)
        sets = [] if prediction.labels is None else [";".join(prediction.labels)]
        cells += [prediction.label, score, *sets, *probabilities, prediction.note]
        return "\t".join(cells)


def probability_columns(classes: Sequence[str]) -> list[str]:
    """Return the names of the columns of probabilities."""
    return [f"prob_{name}" for name in classes]


def score_and_probabilities(prediction: Prediction) -> list[str]:
    """Return the cells of the score and of the probabilities."""
    score = "" if prediction.score is None else number(prediction.score)
    return [score, *map(number, prediction.probabilities)]


def number(value: float) -> str:
    """Return the cell of a number; ``NA`` for NaN."""
    return NOT_AVAILABLE if math.isnan(value) else f"{value:.6g}"


@dataclass(frozen=True, slots=True)
class Bed:
    """BED with six columns: record, start, end, label, score of 0 to 1000, strand.

    The score is the label's probability in thousandths, 0 if there is no label; without a known
    base the label is ``NA``. The strand is that
    of an interval of ``--intervals``, else ``.``: both strands are read.
    """

    title: str
    has_strand: bool = False  # intervals on strands were predicted

    def header(self) -> list[str]:
        """Return the track line."""
        return [f"track name={_quoted(self.title)} useScore=1"]

    def line(self, prediction: Prediction) -> str:
        """Return the line of a window, an interval or a whole record."""
        if not prediction.length:  # no interval has this length
            return "\t".join((prediction.record, "0", "0", prediction.label, "0", "."))
        interval = _interval_of(prediction)
        score = prediction.score or 0.0
        thousandths = 0 if math.isnan(score) else round(1000 * score)
        label, strand = prediction.label or ".", interval.strand if self.has_strand else "."
        columns = (interval.record, interval.start, interval.end, label, thousandths, strand)
        return "\t".join(map(str, columns))


@dataclass(frozen=True, slots=True)
class BedGraph:
    """bedGraph: record, start, end, and the probability of one class (or the value).

    Its lines must not overlap, but windows may: a window is then drawn at the ``step`` bases in its
    middle. The last window of a record, flush with its end, begins where the one before it stops;
    the ends of a record that are in no middle have no line. The value is NaN without a known base.
    """

    title: str
    column: int  # of the class
    window: int | None = None
    step: int | None = None

    def header(self) -> list[str]:
        """Return the track line."""
        return [f"track type=bedGraph name={_quoted(self.title)}"]

    def line(self, prediction: Prediction) -> str:
        """Return the line of a window or a whole record."""
        if not prediction.length:  # no interval has this length
            return "\t".join((prediction.record, "0", "0", "nan"))
        interval = _interval_of(prediction)
        start, end = interval.start, interval.end
        if self.window is not None and self.step is not None:
            start, end = middle(interval, self.window, self.step)
        value = f"{prediction.probabilities[self.column]:.6g}"
        return "\t".join([interval.record, str(start), str(end), value])


OutputFormat = PredictionTable | Bed | BedGraph


def output_lines(predictions: Iterable[Prediction], output_format: OutputFormat) -> Iterator[str]:
    """Yield a header and one line per prediction, without line ends.

    The header waits for the first prediction, so that input that is wrong from the start prints
    nothing.
    """
    for index, prediction in enumerate(predictions):
        if index == 0:
            yield from output_format.header()
        yield output_format.line(prediction)


def middle(interval: Interval, window: int, step: int) -> tuple[int, int]:
    """Return the start and end of the bases at which a window is drawn if windows overlap.

    The interval is one of ``windows(record, length, window, step)``; a record may be shorter.

    Examples:
        >>> from rmt_genomics.dna import windows
        >>> [middle(interval, 4, 2) for interval in windows("chr1", 9, window=4, step=2)]
        [(1, 3), (3, 5), (5, 7), (7, 8)]
        >>> middle(windows("short", 3, window=4, step=2)[0], 4, 2)
        (0, 3)
    """
    if len(interval) < window:
        return interval.start, interval.end
    margin = (window - step) // 2
    start = -(-interval.start // step) * step  # not a multiple only where it is the last window
    return start + margin, interval.start + margin + step


def class_column(config: ClassifierConfig, name: str | None) -> int:
    """Return the index of the class whose probability is drawn.

    Without a name it is the second of two, or the one number of a regression.

    Raises:
        ConfigError: If there is no such class, or several to choose from.
    """
    if name is None and len(config.classes) <= 2:
        return len(config.classes) - 1
    if name not in config.classes:
        problem = "no class was named" if name is None else f"the model has no class {name!r}"
        raise ConfigError(
            f"{problem}, but bedGraph shows one of {', '.join(config.classes)}. "
            "Choose it with --class."
        )
    return config.classes.index(name)


def _interval_of(prediction: Prediction) -> Interval:
    return prediction.interval or Interval(prediction.record, 0, prediction.length)


def _quoted(title: str) -> str:
    return '"' + title.replace('"', "'") + '"'  # a double quote would end the name


class OutputSummary:
    """Counts the lines of an output as they come: rows by label, and those with a note.

    It reads lines, so that rows of an interrupted run and of other processes count, too.

    Args:
        output: tsv, bed or bedgraph.
    """

    def __init__(self, output: str) -> None:
        self.num_rows = self.num_notes = 0
        self.labels: Counter[str] = Counter()
        self._low, self._high = math.inf, -math.inf  # of a regression
        self._output = output
        self._columns: list[str] | None = None

    def add(self, line: str) -> None:
        """Count a line; the first is the header."""
        cells = line.rstrip("\n").split("\t")
        if self._columns is None:
            self._columns = {"tsv": cells, "bed": ["record", "start", "end", "label"]}.get(
                self._output, []
            )
            return
        self.num_rows += 1
        row = dict(zip(self._columns, cells, strict=False))
        self.num_notes += bool(row.get("note"))
        if "label" in row:
            # a point is how BED writes that there is no label
            self.labels.update(name or "no label" for name in row["label"].strip(".").split(";"))
        elif row.get("prediction", "NA") != "NA":
            value = float(row["prediction"])
            self._low, self._high = min(self._low, value), max(self._high, value)

    def sentence(self) -> str:
        """Return the rows by label, the most common first; of a regression the range of values."""
        text = counted(self.num_rows, "row")
        if self.labels:
            common = self.labels.most_common(_MAX_LABELS)
            text += f": {', '.join(f'{name} {count:,}' for name, count in common)}"
            if others := len(self.labels) - len(common):
                text += f", and {counted(others, 'more label')}"
        elif self._low <= self._high:
            low, high = three_digits(self._low), three_digits(self._high)
            text += f", predictions of {low} to {high}"
        if self.num_notes:
            text += f"; {self.num_notes:,} with a note"
        return f"{text}."
