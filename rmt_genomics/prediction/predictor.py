"""Predict records while they are read, in the memory of one window of records.

Records of a window are sorted by length for the computation, since a batch costs as much as its
longest sequence, and are put back in reading order.

Dimensions: n records of a batch, c classes.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from rmt_genomics.dna import EncodedRecord, Interval
from rmt_genomics.errors import ConfigError
from rmt_genomics.model import ClassifierConfig
from rmt_genomics.model.batching import MAX_ROWS, batches_of_similar_length
from rmt_genomics.model.bidirectional_encoder import LONG_BP
from rmt_genomics.model.fold_ensemble import AnyModel
from rmt_genomics.model.metrics import predicted_classes
from rmt_genomics.prediction.calibration import Calibration
from rmt_genomics.prediction.notes import NO_BASE, Notes
from rmt_genomics.prediction.progress import ProgressCallback

ABSTAIN, NOT_AVAILABLE = "abstain", "NA"
MAX_BP = LONG_BP  # of a batch
WINDOW_RECORDS, WINDOW_BP = 16 * MAX_ROWS, 4 * LONG_BP  # read before the first is computed


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The prediction for one record, or for a part of it."""

    record: str
    """Name of the record."""

    length: int
    """Length in bp of what was read."""

    label: str
    """The most probable class; multi-label: all at 0.5 and above, joined by ``;``, or none. If the
    model has thresholds, they decide (by the probabilities before calibration). ``abstain`` where
    the score is below ``abstain_below``. Empty for a regression. ``NA`` if no base is known."""

    score: float | None
    """Probability of the label; multi-label: the smallest of those named, None if none is.
    None for a regression."""

    probabilities: np.ndarray
    """One per class ``(c,)``, in the order of the model's ``classes_``; a regression: the value.
    NaN if no base is known."""

    interval: Interval | None = None
    """The part of the record that was read, if not all of it."""

    labels: tuple[str, ...] | None = None
    """Classes that may be true, if a coverage was set."""

    row: int = 0
    """Index of the record, window or interval in the input."""

    note: str = ""
    """Why it may mean nothing: see ``notes``."""


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """How probabilities are turned into labels.

    Raises:
        ConfigError: If ``abstain_below`` or ``coverage`` is out of range.
    """

    calibrated: bool = False  # use the temperature-scaled probabilities instead of the model's own
    abstain_below: float | None = None  # give no label if its score is lower
    coverage: float | None = None
    """Also give a set of labels that holds the true one this often (split conformal)."""

    calibration: Calibration | None = field(default=None, repr=False)
    """The calibration of the model, if it is needed."""

    def __post_init__(self) -> None:
        for name, value in (("abstain-below", self.abstain_below), ("coverage", self.coverage)):
            if value is not None and not 0 < value < 1:
                raise ConfigError(f"{name} is {value}, but must be above 0 and below 1.")

    @property
    def needs_calibration(self) -> bool:
        """Whether the model must have a ``calibration.json``."""
        return self.calibrated or self.coverage is not None

    def check(self, config: ClassifierConfig) -> None:
        """Raise ConfigError if the rule cannot be applied to a model."""
        needs_probabilities = self.needs_calibration or self.abstain_below is not None
        if config.task == "regression" and needs_probabilities:
            raise ConfigError(
                "the model's task is regression, but only classes have probabilities: leave "
                "--calibrated, --coverage and --abstain-below out."
            )
        if self.abstain_below is not None and ABSTAIN in config.classes:
            raise ConfigError(
                f"the model has a class named {ABSTAIN!r}, but --abstain-below writes that where "
                "no label is given. Leave it out, and look at the score."
            )

    def apply(
        self, model: AnyModel, row: np.ndarray
    ) -> tuple[str, float | None, np.ndarray, tuple[str, ...] | None]:
        """Return label, score, probabilities and set of labels for a model's probabilities."""
        label, labels, shown = model.label_of(row), None, row
        if self.calibration is not None and self.coverage is not None:
            (labels,) = self.calibration.label_sets(row[None], self.coverage)
            if model.config.task == "binary" and label not in labels:  # by a threshold
                labels = model.classes_
        if self.calibration is not None and self.calibrated:
            (shown,) = self.calibration.apply(row[None])
        score = score_of(model, row, shown)
        if model.config.task == "regression":
            label = ""
        if self.abstain_below is not None and score is not None and score < self.abstain_below:
            label = ABSTAIN
        return label, score, shown, labels


def score_of(model: AnyModel, row: np.ndarray, shown: np.ndarray) -> float | None:
    """Return the score of the label that a row of the model's probabilities ``(c,)`` gives.

    It is taken from the probabilities that are shown. Calibration keeps their order, and
    thresholds are those of the model's own.
    """
    config = model.config
    if config.task == "regression":
        return None
    (called,) = predicted_classes(row[None], config.task, config.thresholds)
    return float(shown[called].min()) if called.any() else None


def label_and_score(model: AnyModel, row: np.ndarray) -> tuple[str, float | None]:
    """Return the label of one row of probabilities ``(c,)``, and its score."""
    is_regression = model.config.task == "regression"
    return "" if is_regression else model.label_of(row), score_of(model, row, row)


def make_prediction(
    model: AnyModel, name: str, length: int, probabilities: np.ndarray
) -> Prediction:
    """Return the prediction for a whole record, given its row of probabilities ``(c,)``."""
    return Prediction(name, length, *label_and_score(model, probabilities), probabilities)


@dataclass(frozen=True, slots=True)
class Shard:
    """Which batches are computed; by default all. All records are read nevertheless.

    Raises:
        ConfigError: If the number is not from 1 to ``of``.
    """

    number: int = 1  # which of the shards, from 1
    of: int = 1  # how many shards the batches are dealt to, in turn
    first_row: int = 0  # the first row to compute: earlier ones are already written

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ConfigError(
                f"the shard is {self.number}/{self.of}, but must be one of 1/{self.of} to "
                f"{self.of}/{self.of}."
            )


def predict_records(
    model: AnyModel,
    records: Iterable[EncodedRecord],
    *,
    decision_rule: DecisionRule = DecisionRule(),
    shard: Shard = Shard(),
    progress: ProgressCallback | None = None,
    notes: Notes | None = None,
    max_rows: int | None = None,
) -> Iterator[Prediction]:
    """Predict records as they come.

    Args:
        model: A trained model, on the device it is to run on.
        records: Base codes; read no further ahead than one window.
        decision_rule: How probabilities are turned into labels.
        shard: Which of the records are predicted; by default all.
        progress: Receives the bp that were computed or skipped.
        notes: Finds the notes on the records, and counts them for the caller; by default those on
            lengths and on records without a known base.
        max_rows: Most records in a batch; None = 64.

    Yields:
        One prediction per record, in the order of the records.

    Warns:
        RMTGenomicsWarning: Once, at the end, with the number of predicted records that have a
            note, unless the caller counts them.
    """
    counted = notes or Notes(model.config)
    for row, record, probabilities in compute_rows(
        records, model.predict_codes, shard=shard, progress=progress, max_rows=max_rows
    ):
        found = counted.of(record)
        label, score, values, labels = decision_rule.apply(model, probabilities)
        if NO_BASE in found:
            label, score, values = NOT_AVAILABLE, math.nan, np.full_like(values, math.nan)
            labels = None if labels is None else (NOT_AVAILABLE,)
        where, note = record.interval, "; ".join(found)
        yield Prediction(record.name, record.length, label, score, values, where, labels, row, note)
        del record  # frees the memory before the next is read
    if notes is None:
        counted.warn()


def compute_rows(
    records: Iterable[EncodedRecord],
    compute: Callable[..., np.ndarray],
    *,
    shard: Shard = Shard(),
    progress: ProgressCallback | None = None,
    max_rows: int | None = None,
) -> Iterator[tuple[int, EncodedRecord, np.ndarray]]:
    """Yield the index of each record of a shard, the record and its result, in reading order.

    ``compute`` is ``predict_codes`` or ``embed_codes`` of a model; for the other arguments see
    ``predict_records``.
    """
    progress = progress or ProgressCallback()
    first_row = num_batches = 0
    for window in _windows(records):
        results: dict[int, np.ndarray] = {}
        lengths = [record.length for record in window]
        for batch in batches_of_similar_length(
            lengths, max_rows=max_rows or MAX_ROWS, max_bp=MAX_BP
        ):
            if (
                num_batches % shard.of == shard.number - 1
                and first_row + max(batch) >= shard.first_row
            ):
                codes = [window[index].codes for index in batch]
                results.update(zip(batch, compute(codes, on_read=progress.update), strict=True))
                del codes
            else:
                progress.skip(sum(lengths[index] for index in batch))
            num_batches += 1
        for index in sorted(results):
            if first_row + index >= shard.first_row:
                yield first_row + index, window[index], results[index]
        first_row += len(window)
        del window  # frees the memory before the next is read


def _windows(records: Iterable[EncodedRecord]) -> Iterator[list[EncodedRecord]]:
    """Group consecutive records; nothing is read ahead of one that fills a window alone."""
    window: list[EncodedRecord] = []
    window_bp = 0
    for record in records:
        window.append(record)
        window_bp += record.length
        del record
        if len(window) == WINDOW_RECORDS or window_bp >= WINDOW_BP:
            yield window
            window, window_bp = [], 0
    if window:
        yield window
