"""Predict records while they are read, in the memory of one batch (see ``encoding``).

Dimensions: c classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rmt_genomics.dna import EncodedRecord, Interval
from rmt_genomics.errors import CheckpointError, ConfigError
from rmt_genomics.model import ClassifierConfig, RMTClassifier
from rmt_genomics.model import pretrained as saving
from rmt_genomics.model.bidirectional_encoder import LONG_BP
from rmt_genomics.prediction.calibration import FILE_NAME, Calibration, check_same_classes
from rmt_genomics.prediction.progress import ProgressCallback

ABSTAIN = "abstain"


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the model says about one record, or a part of it."""

    record: str
    """Name of the record."""

    length: int
    """Length in bp of what was read."""

    label: str
    """The most probable class; multi-label: all at 0.5 and above, joined by ``;``, or none.
    ``abstain`` where the score is below what was asked for. Empty for a regression."""

    score: float | None
    """Probability of the label; multi-label: the smallest of those named, None if none is.
    None for a regression."""

    probabilities: np.ndarray
    """One a class ``(c,)``, in the order of the model's ``classes_``; a regression: the value."""

    interval: Interval | None = None
    """What was read of the record, if not all of it."""

    labels: tuple[str, ...] | None = None
    """Classes that may be true, where a coverage was asked for."""

    row: int = 0
    """Its place among all that was read, from 0."""


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """How probabilities are turned into answers.

    Raises:
        ConfigError: If ``abstain_below`` or ``coverage`` is out of range.
    """

    calibrated: bool = False
    """Take the temperature-scaled probabilities instead of the model's own."""

    abstain_below: float | None = None
    """Name no label with a lower score."""

    coverage: float | None = None
    """Also name a set of labels that holds the true one this often (split conformal)."""

    calibration: Calibration | None = field(default=None, repr=False)
    """Found beside the model, if it is needed."""

    def __post_init__(self) -> None:
        for name, value in (("abstain-below", self.abstain_below), ("coverage", self.coverage)):
            if value is not None and not 0 < value < 1:
                raise ConfigError(f"{name} is {value}, but must be above 0 and below 1.")

    @property
    def needs_calibration(self) -> bool:
        """Whether there is no answer without ``calibration.json``."""
        return self.calibrated or self.coverage is not None

    def check(self, config: ClassifierConfig) -> None:
        """Raise ConfigError if a model cannot answer like this."""
        asked = self.needs_calibration or self.abstain_below is not None
        if config.task == "regression" and asked:
            raise ConfigError(
                "the model's task is regression, but only classes have probabilities: leave "
                "--calibrated, --coverage and --abstain-below out."
            )
        if self.abstain_below is not None and ABSTAIN in config.classes:
            raise ConfigError(
                f"the model has a class named {ABSTAIN!r}, but --abstain-below writes that where "
                "no label is named. Leave it out, and look at the score."
            )

    def answer(
        self, model: RMTClassifier, probabilities: np.ndarray
    ) -> list[tuple[str, float | None, np.ndarray, tuple[str, ...] | None]]:
        """Return label, score, probabilities and set of labels for each row ``(n, c)``."""
        sets: Sequence[tuple[str, ...] | None] = [None] * len(probabilities)
        if self.calibration is not None and self.coverage is not None:
            sets = self.calibration.label_sets(probabilities, self.coverage)
        if self.calibration is not None and self.calibrated:
            probabilities = self.calibration.apply(probabilities)
        return [
            (*self._label(model, row), row, labels)
            for row, labels in zip(probabilities, sets, strict=True)
        ]

    def _label(self, model: RMTClassifier, row: np.ndarray) -> tuple[str, float | None]:
        label, score = label_and_score(model, row)
        if self.abstain_below is not None and score is not None and score < self.abstain_below:
            return ABSTAIN, score
        return label, score


def label_and_score(model: RMTClassifier, row: np.ndarray) -> tuple[str, float | None]:
    """Name the label of one row of probabilities ``(c,)``, and its score."""
    if model.config.task == "regression":
        return "", None
    label = model.label_of(row)
    if model.config.task != "multilabel":
        return label, float(row.max())
    named = row[row >= 0.5]
    return label, float(named.min()) if len(named) else None


def find_calibration(model_dir: str | Path, config: ClassifierConfig) -> Calibration:
    """Read the calibration beside a model: in its folder, or from the hub.

    Raises:
        CheckpointError: If there is none, or it is of another model.
    """
    try:
        folder = saving.find(model_dir, FILE_NAME).parent
    except CheckpointError as error:
        raise CheckpointError(
            f"{model_dir}: has no {FILE_NAME}, but --calibrated and --coverage need one. "
            "A training writes it when it is judged on examples held out; train again, or leave "
            "both out."
        ) from error
    found = Calibration.load(folder)
    assert found is not None, "the file has just been found"
    check_same_classes(folder / FILE_NAME, found, config)
    return found


MAX_ROWS = 64
MAX_BP = LONG_BP


@dataclass(frozen=True, slots=True)
class Shard:
    """Which batches are computed; by default all. All records are read nevertheless.

    Raises:
        ConfigError: If the share is not one of 1 to ``of``.
    """

    number: int = 1
    """Which of the shares, from 1."""

    of: int = 1
    """Into how many shares the batches are dealt, in turn."""

    after: int = 0
    """The first row that is still wanted."""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise ConfigError(
                f"the shard is {self.number}/{self.of}, but must be one of 1/{self.of} to "
                f"{self.of}/{self.of}."
            )

    def wants(self, batch: "Batch") -> bool:
        """Tell whether any row of a batch is to be computed."""
        is_ours = batch.number % self.of == self.number - 1
        return is_ours and batch.first + len(batch.records) > self.after


class Batch(NamedTuple):
    """Consecutive records that are computed together."""

    number: int
    """Counted from 0."""

    first: int
    """Place of its first record among all, from 0."""

    records: list[EncodedRecord]


def encode_records(
    model: RMTClassifier,
    records: Iterable[EncodedRecord],
    share: Shard,
    watch: ProgressCallback,
) -> Iterator[tuple[Batch, Float[Tensor, "b e"]]]:
    """Yield the both-strand encodings of those batches that are wanted, in reading order.

    Args:
        model: A trained model, on the device it is to run on.
        records: Base codes; read no further ahead than one batch and one record.
        share: Which batches are wanted.
        watch: Is told how far it is.
    """
    for batch in batches(records):
        if share.wants(batch):
            read = [record.codes for record in batch.records]
            yield batch, model.encode_codes(read, on_read=watch.read)
            del read
        else:
            watch.skipped(sum(record.length for record in batch.records))
        del batch  # before the next is read


def batches(records: Iterable[EncodedRecord]) -> Iterator[Batch]:
    """Group consecutive records so that a padded batch stays small; a long one is alone."""
    number = first = widest = 0
    held: list[EncodedRecord] = []
    for record in records:
        if held and not _fits(len(held) + 1, max(widest, record.length)):
            yield Batch(number, first, held)
            number, first, held, widest = number + 1, first + len(held), [], 0
        held.append(record)
        widest = max(widest, record.length)
        del record
        if not _fits(len(held) + 1, widest):  # no other could join: nothing is read ahead
            yield Batch(number, first, held)
            number, first, held, widest = number + 1, first + len(held), [], 0
    if held:
        yield Batch(number, first, held)


def _fits(rows: int, widest: int) -> bool:
    return rows <= MAX_ROWS and rows * widest <= MAX_BP


def predict_records(
    model: RMTClassifier,
    records: Iterable[EncodedRecord],
    *,
    answers: DecisionRule = DecisionRule(),
    share: Shard = Shard(),
    watch: ProgressCallback | None = None,
) -> Iterator[Prediction]:
    """Predict records as they come.

    Args:
        model: A trained model, on the device it is to run on.
        records: Base codes; read no further ahead than one batch and one record.
        answers: How probabilities are turned into answers.
        share: Which of the records are predicted; by default all.
        watch: Is told how far it is, if given.

    Yields:
        One prediction a record, in the order of the records.
    """
    for batch, encoding in encode_records(model, records, share, watch or ProgressCallback()):
        found = answers.answer(model, _rows(model, encoding))
        for place, (record, (label, score, row, labels)) in enumerate(
            zip(batch.records, found, strict=True), start=batch.first
        ):
            if place >= share.after:
                yield Prediction(
                    record.name, record.length, label, score, row, record.interval, labels, place
                )
        del batch, record  # before the next is read


def make_prediction(
    model: RMTClassifier, name: str, length: int, probabilities: np.ndarray
) -> Prediction:
    """Name the label of one row of probabilities, and its score."""
    return Prediction(name, length, *label_and_score(model, probabilities), probabilities)


def _rows(model: RMTClassifier, encoding: torch.Tensor) -> np.ndarray:
    """Return one probability a class for each row ``(n, c)``; a regression: the value."""
    with torch.inference_mode():
        found: np.ndarray = model.answers(model.head(encoding)).cpu().double().numpy()
    return found
