"""What is learned from: an interval with its labels, and what labels there are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets.names import did_you_mean
from rmt_genomics.dna.interval import Interval
from rmt_genomics.errors import DataError

SPLITS = ("train", "validation", "test")
TASKS = ("binary", "multiclass", "multilabel")

Targets = npt.NDArray[np.int64] | npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Example:
    """An interval and its labels, before its sequence is read. Checks itself."""

    interval: Interval

    whole: bool
    """Whether the interval is the whole record, so that the record's name says it all."""

    labels: tuple[str, ...]
    """One label, or for multi-label tasks any number of them."""

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
        classes: Label names in the order of the model's outputs.
        task: ``binary`` (one of two), ``multiclass`` (one of several) or ``multilabel`` (any).

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
        if self.task == "multilabel":
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
    def of(cls, examples: Sequence[Example]) -> "LabelScheme":
        """Find the classes (sorted) and the task of some examples.

        Raises:
            DataError: If there is no label, or one class only.
        """
        classes = tuple(sorted({label for example in examples for label in example.labels}))
        if not classes:
            raise DataError(f"{len(examples)} examples have no label at all, but some must.")
        if any(len(example.labels) != 1 for example in examples):
            return cls(classes, "multilabel")
        return cls(classes, "binary" if len(classes) == 2 else "multiclass")

    def targets(self, examples: Sequence[Example]) -> Targets:
        """Turn labels into numbers.

        Returns:
            The class index of every example, int64 ``(n,)``; for multi-label tasks 1 for each
            label an example has and 0 elsewhere, float32 ``(n, c)``.

        Raises:
            DataError: If an example has a label that is not a class, or not exactly one label
                where the task asks for it.
        """
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
        """Return 1 for each label an example has and 0 elsewhere, ``(n, c)``, for any task."""
        place = {label: index for index, label in enumerate(self.classes)}
        hot = np.zeros((len(examples), len(self.classes)), dtype=np.float32)
        for row, example in enumerate(examples):
            for label in example.labels:
                if label not in place:
                    raise self._unknown(example, label)
                hot[row, place[label]] = 1
        return hot

    def _unknown(self, example: Example, label: str) -> DataError:
        return DataError(
            f"{example.name}: the label {label!r} is unknown, but must be one of "
            f"{', '.join(self.classes)}.{did_you_mean(label, self.classes)}"
        )
