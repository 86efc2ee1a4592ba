"""Predict records while they are read, in the memory of one batch.

Dimensions: n records of a batch, c classes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from rmt_genomics.dna import EncodedRecord, Interval
from rmt_genomics.errors import ConfigError
from rmt_genomics.model import ClassifierConfig, RMTClassifier
from rmt_genomics.model.bidirectional_encoder import LONG_BP
from rmt_genomics.prediction.calibration import Calibration
from rmt_genomics.prediction.progress import ProgressCallback

ABSTAIN = "abstain"
MAX_ROWS = 64
MAX_BP = LONG_BP


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The prediction for one record, or for a part of it."""

    record: str
    """Name of the record."""

    length: int
    """Length in bp of what was read."""

    label: str
    """The most probable class; multi-label: all at 0.5 and above, joined by ``;``, or none.
    ``abstain`` where the score is below ``abstain_below``. Empty for a regression."""

    score: float | None
    """Probability of the label; multi-label: the smallest of those named, None if none is.
    None for a regression."""

    probabilities: np.ndarray
    """One per class ``(c,)``, in the order of the model's ``classes_``; a regression: the value."""

    interval: Interval | None = None
    """The part of the record that was read, if not all of it."""

    labels: tuple[str, ...] | None = None
    """Classes that may be true, if a coverage was set."""

    row: int = 0
    """Index of the record, window or interval in the input."""


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """How probabilities are turned into labels.

    Raises:
        ConfigError: If ``abstain_below`` or ``coverage`` is out of range.
    """

    calibrated: bool = False
    """Use the temperature-scaled probabilities instead of the model's own."""

    abstain_below: float | None = None
    """Give no label if its score is lower."""

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
        self, model: RMTClassifier, probabilities: np.ndarray
    ) -> list[tuple[str, float | None, np.ndarray, tuple[str, ...] | None]]:
        """Return label, score, probabilities and set of labels for each row ``(n, c)``."""
        label_sets: Sequence[tuple[str, ...] | None] = [None] * len(probabilities)
        if self.calibration is not None and self.coverage is not None:
            label_sets = self.calibration.label_sets(probabilities, self.coverage)
        if self.calibration is not None and self.calibrated:
            probabilities = self.calibration.apply(probabilities)
        decisions = []
        for row, labels in zip(probabilities, label_sets, strict=True):
            label, score = label_and_score(model, row)
            if self.abstain_below is not None and score is not None and score < self.abstain_below:
                label = ABSTAIN
            decisions.append((label, score, row, labels))
        return decisions


def label_and_score(model: RMTClassifier, row: np.ndarray) -> tuple[str, float | None]:
    """Return the label of one row of probabilities ``(c,)``, and its score."""
    if model.config.task == "regression":
        return "", None
    label = model.label_of(row)
    if model.config.task != "multilabel":
        return label, float(row.max())
    above = row[row >= 0.5]
    return label, float(above.min()) if len(above) else None


def make_prediction(
    model: RMTClassifier, name: str, length: int, probabilities: np.ndarray
) -> Prediction:
    """Return the prediction for a whole record, given its row of probabilities ``(c,)``."""
    return Prediction(name, length, *label_and_score(model, probabilities), probabilities)


class RecordBatch(NamedTuple):
    """Consecutive records that are computed together."""

    number: int
    """Index of the batch."""

    first_row: int
    """Index of its first record among all."""

    records: list[EncodedRecord]


@dataclass(frozen=True, slots=True)
class Shard:
    """Which batches are computed; by default all. All records are read nevertheless.

    Raises:
        ConfigError: If the number is not from 1 to ``of``.
    """

    number: int = 1
    """Which of the shards, from 1."""

    of: int = 1
    """How many shards the batches are dealt to, in turn."""

    first_row: int = 0
    """The first row to compute: earlier ones are already written."""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ConfigError(
                f"the shard is {self.number}/{self.of}, but must be one of 1/{self.of} to "
                f"{self.of}/{self.of}."
            )

    def includes(self, batch: RecordBatch) -> bool:
        """Tell whether any row of a batch is to be computed."""
        is_ours = batch.number % self.of == self.number - 1
        return is_ours and batch.first_row + len(batch.records) > self.first_row


def predict_records(
    model: RMTClassifier,
    records: Iterable[EncodedRecord],
    *,
    decision_rule: DecisionRule = DecisionRule(),
    shard: Shard = Shard(),
    progress: ProgressCallback | None = None,
) -> Iterator[Prediction]:
    """Predict records as they come.

    Args:
        model: A trained model, on the device it is to run on.
        records: Base codes; read no further ahead than one batch and one record.
        decision_rule: How probabilities are turned into labels.
        shard: Which of the records are predicted; by default all.
        progress: Receives the bp that were computed or skipped.

    Yields:
        One prediction per record, in the order of the records.
    """
    for batch, probabilities in compute_batches(
        records, model.predict_codes, shard=shard, progress=progress
    ):
        decisions = decision_rule.apply(model, probabilities)
        for row, (record, (label, score, values, labels)) in enumerate(
            zip(batch.records, decisions, strict=True), start=batch.first_row
        ):
            if row >= shard.first_row:
                yield Prediction(
                    record.name, record.length, label, score, values, record.interval, labels, row
                )
        del batch, record  # frees the memory before the next batch is read


def compute_batches(
    records: Iterable[EncodedRecord],
    compute: Callable[..., np.ndarray],
    *,
    shard: Shard = Shard(),
    progress: ProgressCallback | None = None,
) -> Iterator[tuple[RecordBatch, np.ndarray]]:
    """Yield the batches of a shard in reading order, with one computed row for each record.

    Args:
        records: Base codes; read no further ahead than one batch and one record.
        compute: ``predict_codes`` or ``embed_codes`` of a model.
        shard: Which batches are computed.
        progress: Receives the bp that were computed or skipped.
    """
    progress = progress or ProgressCallback()
    for batch in record_batches(records):
        if shard.includes(batch):
            codes = [record.codes for record in batch.records]
            yield batch, compute(codes, on_read=progress.update)
            del codes
        else:
            progress.skip(sum(record.length for record in batch.records))
        del batch  # frees the memory before the next batch is read


def record_batches(records: Iterable[EncodedRecord]) -> Iterator[RecordBatch]:
    """Group consecutive records so that a padded batch stays small; a long one is alone."""
    number = first_row = longest = 0
    held: list[EncodedRecord] = []
    for record in records:
        if held and not _fits(len(held) + 1, max(longest, record.length)):
            yield RecordBatch(number, first_row, held)
            number, first_row, held, longest = number + 1, first_row + len(held), [], 0
        held.append(record)
        longest = max(longest, record.length)
        del record
        if not _fits(len(held) + 1, longest):  # no other could join: nothing is read ahead
            yield RecordBatch(number, first_row, held)
            number, first_row, held, longest = number + 1, first_row + len(held), [], 0
    if held:
        yield RecordBatch(number, first_row, held)


def _fits(num_rows: int, longest: int) -> bool:
    return num_rows <= MAX_ROWS and num_rows * longest <= MAX_BP
