"""Examples (an interval with its labels), the classes they have, and targets for training."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets.label_checks import are_continuous, did_you_mean, first_few
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsWarning, counted
from rmt_genomics.parsing import read_number, shown, unprintable

TASK_CHOICES = ("auto", "classification", "regression")  # what a user may say that labels are
SPLITS = ("train", "validation", "test")
TASKS = ("binary", "multiclass", "multilabel", "regression")
LABEL = "label"  # name of the single output of a regression: the column that holds its numbers
Numbers = npt.NDArray[np.float64]
Targets = npt.NDArray[np.int64] | npt.NDArray[np.float32] | Numbers


@dataclass(frozen=True, slots=True)
class Example:
    """An interval and its labels; the sequence is read later.

    Raises:
        DataError: If labels are empty or repeated, or the split is unknown.
    """

    interval: Interval

    whole: bool  # whether the interval is the whole record, so that the record's name is enough
    labels: tuple[str, ...]
    """One label, or any number of them for multi-label tasks. A number is kept as written."""

    group: str | None = None
    """Examples of one group (such as similar sequences) stay in one part of a split."""

    split: str | None = None
    """The part of the split given in the labels file: one of ``SPLITS``, or None."""

    def __post_init__(self) -> None:
        if any(";" in label for label in self.labels):
            raise DataError(
                f"{self.name}: the labels are {shown(self.labels)}, but must be without ';', which "
                "joins several labels in a table. Rename the label."
            )
        for text in self.labels if self.group is None else (*self.labels, self.group):
            if not text.isprintable() and (character := unprintable(text)) is not None:
                raise DataError(
                    f"{self.name}: the label or group {shown(text)} has the character "
                    f"'{character}', but must be printable text. Remove the character."
                )
        if len(set(self.labels)) != len(self.labels) or "" in self.labels:
            raise DataError(
                f"{self.name}: the labels are {shown(self.labels)}, but must be different names. "
                "Remove what is empty or repeated."
            )
        if self.split is not None and self.split not in SPLITS:
            raise DataError(
                f"{self.name}: the split is {shown(self.split)}, but must be one of "
                f"{', '.join(SPLITS)}."
            )

    @property
    def name(self) -> str:
        """Name in results: the record, or the interval as text."""
        return self.interval.record if self.whole else str(self.interval)


def without_small_classes(
    where: str, examples: list[Example], min_class_size: int, task: str = "auto"
) -> list[Example]:
    """Leave out the examples of classes that have fewer than a number of them, with a warning.

    An example with several labels is left out if one of them is such a class. ``where`` names the
    labels, and ``task`` is as for ``LabelScheme.of``.

    Raises:
        ConfigError: If the labels are numbers, which have no classes.
        DataError: If no example would be left.
    """
    if min_class_size <= 1:
        return examples
    if task == "regression" or (
        task == "auto" and are_continuous([example.labels for example in examples])
    ):
        raise ConfigError(
            f"--min-class-size is {min_class_size}, but the labels of {where} are numbers "
            "(regression), which have no classes. Leave it out."
        )
    counts = Counter(label for example in examples for label in example.labels)
    small = {label: count for label, count in counts.items() if count < min_class_size}
    left = [example for example in examples if small.keys().isdisjoint(example.labels)]
    if not left:
        label, count = counts.most_common(1)[0] if counts else ("", 0)
        raise DataError(
            f"{where}: --min-class-size {min_class_size} leaves no example: the largest class is "
            f"{shown(label)} with {count:,}. Lower it."
        )
    if small:
        named = [f"{shown(label)} ({count:,})" for label, count in sorted(small.items())]
        classes = "1 class" if len(small) == 1 else f"{len(small):,} classes"
        warnings.warn(
            f"{where}: {classes} of fewer than {counted(min_class_size, 'example')} left out "
            f"(--min-class-size), with {counted(len(examples) - len(left), 'example')}: "
            f"{first_few(named)}.",
            RMTGenomicsWarning,
            stacklevel=3,
        )
    return left


@dataclass(frozen=True, slots=True)
class LabelScheme:
    """The classes and the task: whether an example has one of them or any number.

    Classes are in the order of the model's outputs; a regression has one. The task is ``binary``
    (one of two), ``multiclass`` (one of several), ``multilabel`` (any), or ``regression`` (labels
    are numbers).

    Raises:
        DataError: If classes and task do not fit together.
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
                f"the classes are {self.classes}, but a regression must have one, its output."
            )
        if self.task in ("multilabel", "regression"):
            return
        if len(self.classes) == 1:
            raise DataError(
                f"all examples have the label {self.classes[0]!r}, but there must be at least "
                "two classes: with one there is nothing to learn. Add examples of another one."
            )
        if (self.task == "binary") != (len(self.classes) == 2):
            raise DataError(
                f"the task is {self.task!r} with {len(self.classes)} classes, "
                "but two classes are 'binary' and more are 'multiclass'."
            )

    @classmethod
    def of(cls, examples: Sequence[Example], task: str = "auto") -> "LabelScheme":
        """Derive the classes (sorted) and the task from all examples.

        ``auto`` is a regression if the labels look like measured values (see ``are_continuous``).

        Raises:
            DataError: If there is no label, or one class only; for a regression, if a label is not
                a number, or all are the same number.
        """
        if task not in TASK_CHOICES:
            raise DataError(f"the task is {task!r}, but must be one of {', '.join(TASK_CHOICES)}.")
        labels = [example.labels for example in examples]
        if task == "regression" or (task == "auto" and are_continuous(labels)):
            scheme = cls((LABEL,), "regression")
            if not examples:
                raise DataError("there are no examples, but a regression needs some.")
            values = np.unique(scheme.numbers(examples))
            if len(values) < 2:
                raise DataError(
                    f"all {len(examples)} examples have the label {values[0]:g}, but there must be "
                    "at least two different numbers: with one there is nothing to learn."
                )
            return scheme
        classes = tuple(sorted({label for example in examples for label in example.labels}))
        if not classes:
            raise DataError(
                f"no label in {counted(len(examples), 'example')}, but some must have one."
            )
        if any(len(example.labels) != 1 for example in examples):
            return cls(classes, "multilabel")
        return cls(classes, "binary" if len(classes) == 2 else "multiclass")

    def targets(self, examples: Sequence[Example]) -> Targets:
        """Return training targets.

        Returns:
            The class index of every example, int64 ``(n,)``; for multi-label tasks 1 for each
            label an example has and 0 elsewhere, float32 ``(n, c)``; for a regression the labels
            as numbers, float64 ``(n,)``.

        Raises:
            DataError: If an example has a label that is not a class (or not a number), or not
                exactly one label where the task needs it.
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
        """Return 1 for each label an example has and 0 elsewhere, ``(n, c)``, for any task."""
        columns = {label: column for column, label in enumerate(self.classes)}
        hot = np.zeros((len(examples), len(self.classes)), dtype=np.float32)
        for row, example in enumerate(examples):
            for label in example.labels:
                if label not in columns:
                    raise DataError(
                        f"{example.name}: the label {shown(label)} is unknown, but must be one of "
                        f"{', '.join(self.classes)}.{did_you_mean(label, self.classes)}"
                    )
                hot[row, columns[label]] = 1
        return hot

    def numbers(self, examples: Sequence[Example]) -> Numbers:
        """Return the labels as numbers, float64 ``(n,)``."""
        values = np.empty(len(examples))
        for row, example in enumerate(examples):
            number = read_number(example.labels[0]) if len(example.labels) == 1 else None
            if number is None:
                raise DataError(
                    f"{example.name}: the label is {shown(';'.join(example.labels))}, but for "
                    "regression it must be a number. Remove the example, or fill it in."
                )
            values[row] = number
        return values
