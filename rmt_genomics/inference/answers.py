"""From a model's numbers to an answer: a label, none at all, or a set that may be true.

Dimensions: n rows, c classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rmt_genomics.dna import Interval
from rmt_genomics.errors import CheckpointError, ConfigError
from rmt_genomics.inference.calibration import FILE_NAME, Calibration, check_same_classes
from rmt_genomics.model import ClassifierConfig, RMTClassifier, saving

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
class Answers:
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
