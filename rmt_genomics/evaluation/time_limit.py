"""An evaluation that ends in time: of large parts a sample is evaluated, by all predictors alike.

The speed of the model is measured on a few examples, that of the k-mer baselines on a few rows of
the train part. What was left out is in the notes of ``metrics.json``, with counts.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from rmt_genomics.datasets.examples import Example, LabelScheme
from rmt_genomics.datasets.sampling import stratified_sample

PREDICTED_FRACTION = 0.5  # most of the time that the predictions of the model may take
REPORT_FRACTION, MOST_REPORT_SECONDS = 0.25, 5.0
READINGS = 4.3  # how often an evaluated example is predicted: whole, in segments, shortened
FEWEST = 10  # examples, and rows of a fit, that are used in any case
_TRIED, _TRIED_FRACTION = 4, 0.02  # examples, and most of the time, of the first measurement
_FITTED_BP = 200_000  # of the rows of the first fit

_Fitted = TypeVar("_Fitted")


def _num_bp(examples: Sequence[Example]) -> int:
    return sum(len(example.interval) for example in examples)


@dataclass(slots=True)
class TimeLimit:
    """The time that an evaluation and its report may take; None = as long as it takes."""

    seconds: float | None
    began_at: float = field(default_factory=time.monotonic)
    notes: list[str] = field(default_factory=list)
    """What was left out."""

    predicting_seconds: float = 0.0
    """Expected time of the predictions that follow the fits."""

    @property
    def left(self) -> float:
        """Seconds that are left, without those for the report."""
        assert self.seconds is not None
        report = min(REPORT_FRACTION * self.seconds, MOST_REPORT_SECONDS)
        return self.seconds - report - (time.monotonic() - self.began_at)

    def evaluated(
        self,
        predict: Callable[[Sequence[Example]], object],
        part: Sequence[Example],
        validation: Sequence[Example],
        scheme: LabelScheme,
    ) -> tuple[list[Example], list[Example]]:
        """Return the examples of the evaluated and of the validation part that can be predicted.

        The validation part may be the evaluated one. ``predict`` is what takes the time.
        """
        if self.seconds is None:
            return list(part), list(validation)
        per_bp = self._seconds_per_bp(predict, part, scheme)
        of_validation = 0 if validation is part else _num_bp(validation)
        needed = per_bp * (READINGS * _num_bp(part) + of_validation)
        fraction = min(1.0, PREDICTED_FRACTION * self.left / max(needed, 1e-9))
        sampled = self._sample(part, fraction, scheme, "evaluated")
        self.predicting_seconds = (READINGS - 1) * per_bp * _num_bp(sampled)
        if validation is part:
            return sampled, sampled
        return sampled, self._sample(
            validation, fraction, scheme, "used to fit the calibration and to choose the baselines"
        )

    def _seconds_per_bp(
        self,
        predict: Callable[[Sequence[Example]], object],
        part: Sequence[Example],
        scheme: LabelScheme,
    ) -> float:
        """Measure predictions of more and more examples."""
        assert self.seconds is not None
        count = _TRIED
        while True:
            tried = stratified_sample(part, count, scheme, seed=0)
            start = time.monotonic()
            predict(tried)
            taken = time.monotonic() - start
            if taken > _TRIED_FRACTION * self.seconds or len(tried) == len(part):
                return taken / _num_bp(tried)
            count *= 4

    def fit(
        self,
        fit: Callable[[Sequence[Example]], _Fitted],
        train: Sequence[Example],
        scheme: LabelScheme,
    ) -> _Fitted:
        """Fit on as many of the train rows as can be within the time that is left.

        The time of a fit is measured on a few rows, and taken to grow with their number.
        """
        count = max(FEWEST, int(_FITTED_BP * len(train) / _num_bp(train)))
        if self.seconds is None or len(train) <= 2 * count:
            return fit(train)
        start = time.monotonic()
        first = stratified_sample(train, count, scheme, seed=0)
        fitted = fit(first)
        taken = time.monotonic() - start
        seconds = self.left - self.predicting_seconds
        affordable = int(count * seconds / max(taken, 1e-9))
        if affordable >= len(train):
            return fit(train)
        rows = first
        if affordable > count:
            rows = stratified_sample(train, affordable, scheme, seed=0)
            fitted = fit(rows)
        self.notes.append(
            f"The k-mer baselines were fitted on {len(rows):,} of {len(train):,} train rows, drawn "
            "at random (seed 0), to end within the time budget."
        )
        return fitted

    def _sample(
        self, part: Sequence[Example], fraction: float, scheme: LabelScheme, use: str
    ) -> list[Example]:
        count = max(FEWEST, int(fraction * len(part)))
        sample = stratified_sample(part, count, scheme, seed=0)
        if len(sample) < len(part):
            self.notes.append(
                f"Of the {part[0].split} part, {len(sample):,} of {len(part):,} examples were "
                f"{use}, drawn at random within the classes (seed 0), to end within the time "
                "budget."
            )
        return sample
