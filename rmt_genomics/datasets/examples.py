"""What is learned from: an interval with its labels, and what labels there are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets.label_kinds import KINDS, are_measured, number_of
from rmt_genomics.datasets.names import did_you_mean
from rmt_genomics.dna.interval import Interval
from rmt_genomics.errors import DataError

SPLITS = ("train", "validation", "test")
TASKS = ("binary", "multiclass", "multilabel", "regression")
LABEL = "label"
"""What the one output of a regression is called: the column that holds its numbers."""

Numbers = npt.NDArray[np.float64]
Targets = npt.NDArray[np.int64] | npt.NDArray[np.float32] | Numbers


@dataclass(frozen=True, slots=True)
class Example:
    """An interval and its labels, before its sequence is read. Checks itself."""

    interval: Interval

    whole: bool
    """Whether the interval is the whole record, so that the record's name says it all."""

    labels: tuple[str, ...]
    """One label, or for multi-label tasks any number of them. A number is kept as it was written.
    """

    group: str | None = None
    """Examples of one group stay in one part of a split, since they are alike."""

    split: str | None = None
    """The part this example is meant for, if the labels file says so: one of ``SPLITS``."""

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels) or "" in self.labels:
            raise DataError(
                f"{self.name}: the labels are {self.labels}, but each must be a name of its own."
            )
        if self.split is not None and self.split not in SPLITS:
            raise DataError(
                f"{self.name}: the split is {self.split!r}, but must be one of {', '.join(SPLITS)}."
            )

    @property
    def name(self) -> str:
        """What this example is called in results: its record, or its interval as text."""
        return self.interval.record if self.whole else str(self.interval)


@dataclass(frozen=True, slots=True)
class LabelScheme:
    """The classes there are, and whether an example has one of them or any number.

    Args:
        classes: Label names in the order of the model's outputs; one name for a regression.
        task: ``binary`` (one of two), ``multiclass`` (one of several), ``multilabel`` (any), or
            ``regression`` (labels are numbers).

    Raises:
        DataError: If the two do not go together.
    """

    classes: tuple[str, ...]
    task: str

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise DataError(f"the task is {self.task!r}, but must be one of {', '.join(TASKS)}.")
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise DataError(f"the classes are {self.classes}, but must be different names.")
        if self.task == "regression" and len(self.classes) != 1:
            raise DataError(
                f"the classes are {self.classes}, but a regression has one name, its number's."
            )
        if self.task in ("multilabel", "regression"):
            return
        if len(self.classes) == 1:
            raise DataError(
                f"all examples have the label {self.classes[0]!r}, but there must be two classes "
                "at least: one class leaves nothing to learn. Add examples of another one."
            )
        if (self.task == "binary") != (len(self.classes) == 2):
            raise DataError(
                f"the task is {self.task!r} with {len(self.classes)} classes, "
                "but two classes are 'binary' and more are 'multiclass'."
            )

    @classmethod
    def of(cls, examples: Sequence[Example], task: str = "auto") -> "LabelScheme":
        """Find the classes (sorted) and the task of some examples.

        Args:
            examples: All there are.
            task: ``classification`` or ``regression``; ``auto`` is what the labels look like (see
                ``label_kinds``).

        Raises:
            DataError: If there is no label, one class only, or for a regression a label that is no
                number, or the same number everywhere.
        """
        if task not in KINDS:
            raise DataError(f"the task is {task!r}, but must be one of {', '.join(KINDS)}.")
        labels = [example.labels for example in examples]
        if task == "regression" or (task == "auto" and are_measured(labels)):
            return cls._of_numbers(examples)
        classes = tuple(sorted({label for example in examples for label in example.labels}))
        if not classes:
            raise DataError(f"{len(examples)} examples have no label at all, but some must.")
        if any(len(example.labels) != 1 for example in examples):
            return cls(classes, "multilabel")
        return cls(classes, "binary" if len(classes) == 2 else "multiclass")

    @classmethod
    def _of_numbers(cls, examples: Sequence[Example]) -> "LabelScheme":
        scheme = cls((LABEL,), "regression")
        values = np.unique(scheme.numbers(examples))
        if len(values) < 2:
            raise DataError(
                f"all {len(examples)} examples have the label {values[0]:g}, but there must be two "
                "different numbers at least: one leaves nothing to learn."
                if len(values)
                else "there are no examples, but a regression needs some."
            )
        return scheme

    def targets(self, examples: Sequence[Example]) -> Targets:
        """Turn labels into numbers.

        Returns:
            The class index of every example, int64 ``(n,)``; for multi-label tasks 1 for each
            label an example has and 0 elsewhere, float32 ``(n, c)``; for a regression the numbers
            that the labels are, float64 ``(n,)``.

        Raises:
            DataError: If an example has a label that is not a class (or no number), or not
                exactly one label where the task asks for it.
        """
        if self.task == "regression":
            return self.numbers(examples)
        hot = self.multi_hot(examples)
        if self.task == "multilabel":
            return hot
        for example in examples:
            if len(example.labels) != 1:
                raise DataError(
                    f"{example.name}: has {len(example.labels)} labels, "
                    f"but must have one: the task is {self.task}."
                )
        indices: npt.NDArray[np.int64] = hot.argmax(axis=1).astype(np.int64)
        return indices

    def multi_hot(self, examples: Sequence[Example]) -> npt.NDArray[np.float32]:
        """Return 1 for each label an example has and 0 elsewhere, ``(n, c)``, for any classes."""
        place = {label: index for index, label in enumerate(self.classes)}
        hot = np.zeros((len(examples), len(self.classes)), dtype=np.float32)
        for row, example in enumerate(examples):
            for label in example.labels:
                if label not in place:
                    raise self._unknown(example, label)
                hot[row, place[label]] = 1
        return hot

    def numbers(self, examples: Sequence[Example]) -> Numbers:
        """Return the number that each label is, float64 ``(n,)``."""
        values = np.empty(len(examples))
        for row, example in enumerate(examples):
            number = number_of(example.labels[0]) if len(example.labels) == 1 else None
            if number is None:
                raise DataError(
                    f"{example.name}: the label is {';'.join(example.labels)!r}, but for "
                    "regression it must be a number. Leave the example out, or fill it in."
                )
            values[row] = number
        return values

    def _unknown(self, example: Example, label: str) -> DataError:
        return DataError(
            f"{example.name}: the label {label!r} is unknown, but must be one of "
            f"{', '.join(self.classes)}.{did_you_mean(label, self.classes)}"
        )
