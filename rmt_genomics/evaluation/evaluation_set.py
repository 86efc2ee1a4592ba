"""Examples with their true labels and a model's predictions: what every part of an evaluation uses.

Dimensions: n examples, c classes.
"""

import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rmt_genomics.datasets.examples import Example, LabelScheme, Targets
from rmt_genomics.datasets.label_checks import in_file
from rmt_genomics.datasets.sequence_store import SequenceStore
from rmt_genomics.evaluation.bootstrap import Truth
from rmt_genomics.model.batching import compute_in_batches
from rmt_genomics.model.fold_ensemble import AnyModel
from rmt_genomics.model.metrics import compute_metrics, per_class_metrics, predicted_classes

logger = logging.getLogger(__name__)

Thresholds = tuple[float, ...] | None
_LONG_BP = 2_000_000  # reading more than this takes a while
_NOT_SCALAR = ("classes", "confusion")


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationSet:
    """Examples with their targets and the predictions of a model."""

    model: AnyModel
    store: SequenceStore
    examples: Sequence[Example]
    targets: Targets
    probabilities: np.ndarray  # ``(n, c)``; for regression the values ``(n, 1)``

    @classmethod
    def from_model(
        cls,
        model: AnyModel,
        store: SequenceStore,
        examples: Sequence[Example],
        *,
        where: str,
    ) -> "EvaluationSet":
        """Predict examples (at least one), after checking that their labels fit the model.

        ``where`` is the labels file, for errors.

        Raises:
            DataError: If an example has a label that the model does not have.
        """
        targets = targets_of(LabelScheme(model.classes_, model.config.task), examples, where)
        parts = {example.split for example in examples}
        on = f" on the {parts.pop()} part" if len(parts) == 1 and None not in parts else ""
        log_stage(f"predictions of the model{on}", examples)
        return cls(model, store, examples, targets, predict_examples(model, store, examples))

    @property
    def task(self) -> str:
        """The task of the model."""
        return self.model.config.task

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the model."""
        return self.model.classes_

    @property
    def lengths(self) -> np.ndarray:
        """Base pairs of each example ``(n,)``."""
        return np.array([len(example.interval) for example in self.examples])

    @property
    def truth(self) -> Truth:
        """The targets with the groups of the examples, for comparisons."""
        groups = [example.group for example in self.examples]
        return Truth(self.targets, self.task, len(self.classes), groups)

    def codes(self, indices: Iterable[int], length: int | None = None) -> list[np.ndarray]:
        """Return the base codes of some examples, or only their first ``length``."""
        return [self.store.codes(self.examples[index].interval)[:length] for index in indices]

    def subset(self, indices: np.ndarray) -> "EvaluationSet":
        """Return the examples at these indices, in this order."""
        return replace(
            self,
            examples=[self.examples[index] for index in indices],
            targets=self.targets[indices],
            probabilities=self.probabilities[indices],
        )

    @property
    def thresholds(self) -> Thresholds:
        """Those of the model, if it has any."""
        return self.model.config.thresholds

    @property
    def called(self) -> np.ndarray | None:
        """Which classes the model predicts ``(n, c)``; None for a regression."""
        return self.called_by(self.probabilities, self.thresholds)

    def called_by(self, probabilities: np.ndarray, thresholds: Thresholds) -> np.ndarray | None:
        """Return which classes are predicted ``(n, c)``; None for a regression."""
        if self.task == "regression":
            return None
        return predicted_classes(probabilities, self.task, thresholds)

    def metrics(
        self, probabilities: np.ndarray | None = None, thresholds: Thresholds = None
    ) -> dict[str, Any]:
        """Return the metrics of probabilities with thresholds; by default those of the model."""
        if probabilities is None:
            probabilities, thresholds = self.probabilities, self.thresholds
        return compute_metrics(
            self.targets,
            probabilities,
            classes=self.classes,
            task=self.task,
            called=self.called_by(probabilities, thresholds),
        )

    def scalar_metrics(
        self, probabilities: np.ndarray | None = None, thresholds: Thresholds = None
    ) -> dict[str, Any]:
        """Return ``metrics`` without class names and confusion matrix."""
        metrics = self.metrics(probabilities, thresholds)
        return {name: value for name, value in metrics.items() if name not in _NOT_SCALAR}

    def per_class(self) -> list[dict[str, Any]]:
        """Return the metrics of each class against the rest; empty for regression."""
        if self.task == "regression":
            return []
        return per_class_metrics(
            self.targets,
            self.probabilities,
            classes=self.classes,
            task=self.task,
            called=self.called,
        )


def predict_examples(
    model: AnyModel, store: SequenceStore, examples: Sequence[Example]
) -> np.ndarray:
    """Return the probability of each class ``(n, c)``, rows in the order of the examples."""
    return compute_in_batches(
        [len(example.interval) for example in examples],
        lambda batch: model.predict_codes([store.codes(examples[i].interval) for i in batch]),
        (len(model.classes_),),
    )


def targets_of(scheme: LabelScheme, examples: Sequence[Example], where: str) -> Targets:
    """Return ``scheme.targets``; an error names the labels file ``where``."""
    with in_file(where):
        return scheme.targets(examples)


def log_stage(stage: str, examples: Sequence[Example]) -> None:
    """Log which stage of an evaluation begins: for a small set only where somebody may watch."""
    total_bp = sum(len(example.interval) for example in examples)
    is_shown = total_bp > _LONG_BP or sys.stderr.isatty()
    size = f"{len(examples):,} examples, {total_bp / 1e6:,.1f} Mb"
    logger.log(logging.INFO if is_shown else logging.DEBUG, "evaluating: %s (%s)", stage, size)
