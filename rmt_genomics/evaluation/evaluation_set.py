"""Examples with their true labels and what a model says of them: what all of an evaluation shares.

Dimensions: n examples, c classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rmt_genomics.datasets.examples import Example, LabelScheme, Targets
from rmt_genomics.datasets.sequence_store import EncodedStore
from rmt_genomics.errors import DataError
from rmt_genomics.evaluation.bootstrap import Truth
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.batching import batches_of_similar_length
from rmt_genomics.model.metrics import measure, per_class_metrics

_LONG = ("classes", "confusion")


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationSet:
    """Examples with their targets and what the model says."""

    model: RMTClassifier
    store: EncodedStore
    examples: Sequence[Example]
    targets: Targets
    probabilities: np.ndarray
    """``(n, c)``; for regression the values ``(n, 1)``."""

    @classmethod
    def of(
        cls, model: RMTClassifier, store: EncodedStore, examples: Sequence[Example], *, where: str
    ) -> "EvaluationSet":
        """Predict, once the labels are known to fit the model; ``where`` is the labels file."""
        targets = targets_of(LabelScheme(model.classes_, model.config.task), examples, where)
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
        """The targets, for comparisons."""
        groups = [example.group for example in self.examples]
        return Truth(self.targets, self.task, len(self.classes), groups)

    def some(self, places: np.ndarray) -> "EvaluationSet":
        """Return only the examples at these places, in this order."""
        return replace(
            self,
            examples=[self.examples[place] for place in places],
            targets=self.targets[places],
            probabilities=self.probabilities[places],
        )

    def metrics(self, probabilities: np.ndarray | None = None) -> dict[str, Any]:
        """Compare probabilities with the truth; by default the model's own."""
        given = self.probabilities if probabilities is None else probabilities
        return measure(self.targets, given, classes=self.classes, task=self.task)

    def brief(self, probabilities: np.ndarray | None = None) -> dict[str, Any]:
        """Do as ``metrics``, numbers only."""
        return {
            name: value for name, value in self.metrics(probabilities).items() if name not in _LONG
        }

    def per_class(self) -> list[dict[str, Any]]:
        """Judge each class against the rest; empty for regression."""
        if self.task == "regression":
            return []
        return per_class_metrics(
            self.targets, self.probabilities, classes=self.classes, task=self.task
        )


def predict_examples(
    model: RMTClassifier, store: EncodedStore, examples: Sequence[Example]
) -> np.ndarray:
    """Return the probability of each class ``(n, c)``, rows in the order of the examples."""
    rows = np.empty((len(examples), len(model.classes_)))
    for batch in batches_of_similar_length([len(example.interval) for example in examples]):
        rows[batch] = model.predict_codes([store.codes(examples[i].interval) for i in batch])
    return rows


def targets_of(scheme: LabelScheme, examples: Sequence[Example], where: str) -> Targets:
    """Turn labels into numbers, or say in which file one does not fit."""
    try:
        return scheme.targets(examples)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
