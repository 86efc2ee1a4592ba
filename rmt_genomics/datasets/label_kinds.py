"""Numbers as labels: whether they are measured (regression), or name classes.

Labels that are all numbers, of which some are not whole and at least twenty differ, are measured.
Anything else names classes, unless the user says otherwise.
"""

import re
import warnings
from collections.abc import Collection, Sequence

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
