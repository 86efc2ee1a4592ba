"""What is learned from: an interval with its labels, and what labels there are."""

import re
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets.label_checks import did_you_mean
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError, RMTGenomicsWarning

KINDS = ("auto", "classification", "regression")
"""What a user may ask for."""

FEWEST_VALUES = 20

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
_MISSING = frozenset(
    ("na", "n/a", "nan", "none", "null", "missing", "unknown", "?", "-", ".", "inf", "-inf")
)
_SHOWN = 3
_FEW_A_CLASS = 5

_Labels = tuple[str, ...]


def number_of(label: str) -> float | None:
    """Return the finite number that a label is, or None.

    Examples:
        >>> number_of("-1.5e3"), number_of("nan"), number_of("1_000"), number_of("1e999")
        (-1500.0, None, None, None)
    """
    if not _NUMBER.fullmatch(label):
        return None
    number = float(label)
    return number if abs(number) != float("inf") else None


def are_measured(labels: Collection[_Labels]) -> bool:
    """Whether all labels are numbers that look measured; an example has a tuple of labels."""
    if not labels or any(len(each) != 1 for each in labels):
        return False
    numbers = {number_of(each[0]) for each in labels}
    return None not in numbers and _look_measured({n for n in numbers if n is not None})


def check_kinds(where: str, labels: Sequence[_Labels], places: Sequence[str], task: str) -> None:
    """Refuse labels of which some are numbers and others are not, where all should be numbers.

    Warns where they may all be names of classes, and of whole numbers that may be measured.

    Args:
        where: The file, for the message.
        labels: Those of each example.
        places: Where each of them stands, such as ``line 3``.
        task: What was asked for, one of ``KINDS``, or the task of a model.

    Raises:
        DataError: With a count and the first ones.
    """
    numbers = {label for each in labels for label in each if number_of(label) is not None}
    words = [
        (";".join(each), place)
        for each, place in zip(labels, places, strict=True)
        if len(each) != 1 or number_of(each[0]) is None
    ]
    if task == "regression" and words:
        raise DataError(
            f"{where}: {len(words)} of {len(labels)} labels are no numbers ({_listed(words)}), but "
            f"for regression each must be one. {_remedy(words)}"
        )
    if task == "auto" and _are_numbers_with_gaps(numbers, words, len(labels)):
        raise DataError(
            f"{where}: {len(words)} of {len(labels)} labels are no numbers ({_listed(words)}) and "
            f"the others are (such as {min(numbers)!r}), but labels must be of one kind. "
            f"{_remedy(words)} If each names a class, {_set_task('classification')}."
        )
    if task != "regression":
        _warn(where, labels, numbers, is_auto=task == "auto")


def warn_of_regression(where: str, task: str, asked: str) -> None:
    """Tell the user that labels were taken as numbers without being asked."""
    if task == "regression" and asked == "auto":
        warnings.warn(
            f"{where}: the labels are numbers that look measured, so they are predicted as numbers "
            f"(regression). If they name classes, {_set_task('classification')}.",
            RMTGenomicsWarning,
            stacklevel=3,
        )


def _look_measured(numbers: Collection[float]) -> bool:
    return len(numbers) >= FEWEST_VALUES and any(not each.is_integer() for each in numbers)


def _are_numbers_with_gaps(
    numbers: Collection[str], words: Sequence[tuple[str, str]], count: int
) -> bool:
    """Whether most labels are numbers, and the rest says that one is missing, or they measure."""
    if not words or 2 * len(words) >= count:
        return False
    all_missing = all(label.lower() in _MISSING for label, _ in words)
    return all_missing or _look_measured({float(each) for each in numbers})


def _remedy(words: Sequence[tuple[str, str]]) -> str:
    if any(_DECIMAL_COMMA.fullmatch(label) for label, _ in words):
        return "Write a point in numbers, not a comma."
    return "Fill them in, or leave these lines out."


def _set_task(task: str) -> str:
    return f"set data.task (split: --task) to {task!r}"


def _listed(words: Sequence[tuple[str, str]]) -> str:
    shown = ", ".join(f"{label!r} at {place}" for label, place in words[:_SHOWN])
    return shown + (", ..." if len(words) > _SHOWN else "")


def _warn(where: str, labels: Sequence[_Labels], numbers: set[str], *, is_auto: bool) -> None:
    """Warn of labels that break no rule and yet look wrong."""
    names = sorted({label for each in labels for label in each} - numbers)
    if numbers and names:
        count = sum(any(label in names for label in each) for each in labels)
        warnings.warn(
            f"{where}: {count} of {len(labels)} examples have a name as label (such as "
            f"{names[0]!r}) and the others a number (such as {min(numbers)!r}). Each is taken as a "
            "class; leave lines out whose label is not known.",
            RMTGenomicsWarning,
            stacklevel=4,
        )
    elif is_auto and len(numbers) >= FEWEST_VALUES and not are_measured(labels):
        _warn_of_whole_numbers(where, len(labels), len(numbers))


def _warn_of_whole_numbers(where: str, num_examples: int, num_classes: int) -> None:
    if num_examples < _FEW_A_CLASS * num_classes:
        warnings.warn(
            f"{where}: the labels are {num_classes} different whole numbers, and each is taken as "
            f"a class. If they measure something, {_set_task('regression')}.",
            RMTGenomicsWarning,
            stacklevel=5,
        )


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
