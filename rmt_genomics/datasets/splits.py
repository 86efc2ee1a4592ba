"""Divide examples into training, validation and test parts.

Laws: parts are disjoint and together are all examples; examples of one group are in one part; every
class is in the training part; the same seed gives the same parts. Labels that are numbers have
bins in the place of classes, each with its share in every part, as far as groups allow it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets.examples import SPLITS, Example, LabelScheme, Numbers
from rmt_genomics.errors import ConfigError, DataError

MOST_BINS = 10


def bin_edges(values: Numbers, num_bins: int) -> Numbers:
    """Return the borders between bins: fewer than asked for where many values are equal."""
    shares = np.arange(1, num_bins) / num_bins
    edges = np.unique(np.quantile(values, shares, method="lower")) if num_bins > 1 else values[:0]
    return edges[edges > values.min()] if len(edges) else edges


def places_in(edges: Numbers, values: Numbers) -> npt.NDArray[np.int64]:
    """Return the bin of each value, from 0; a value on an edge belongs to the bin above it."""
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def bins_to_try(values: Numbers, fraction: float) -> Iterator[npt.NDArray[np.float32]]:
    """Yield what ``hold_out`` takes as classes: fine bins first, one bin for all at the end.

    No more bins than examples are to be held out, so that each can give one.
    """
    most = max(1, min(MOST_BINS, int(fraction * len(values))))
    for num_bins in sorted({most, max(1, most // 2), min(2, most), 1}, reverse=True):
        edges = bin_edges(values, num_bins)
        yield np.eye(len(edges) + 1, dtype=np.float32)[places_in(edges, values)]


_Counts = npt.NDArray[np.float64]

_MOST_ORDERS = 20
_MOST_STEPS = 50_000  # groups looked at in all orders together


def groups_of(examples: Sequence[Example], *, by_group: bool) -> list[list[int]]:
    """Return the places of the examples of each group; without groups, each is one of its own."""
    if not by_group:
        return [[place] for place in range(len(examples))]
    groups: dict[str, list[int]] = {}
    for place, example in enumerate(examples):
        if example.group is None:
            raise DataError(
                f"{example.name} has no group, but a split by group needs one for every example. "
                "Fill in the group column of the labels file, or leave it out and set data.split "
                "to 'stratified'."
            )
        groups.setdefault(example.group, []).append(place)
    return list(groups.values())


def hold_out(
    multi_hot: npt.NDArray[np.float32],
    groups: list[list[int]],
    fraction: float,
    seed: int,
    *,
    part: str = "validation",
) -> set[int]:
    """Choose groups at random so that every class gets close to its share.

    A class that is in several groups is wanted at least once on both sides. Of several random
    orders in which the groups may be taken, the one that comes closest decides.

    Args:
        multi_hot: 1 where an example (row) has a class (column).
        groups: Places of the examples of each group.
        fraction: Share of the examples of each class to choose.
        seed: Decides which.
        part: What the chosen ones are for; named in errors.

    Returns:
        The places of the chosen examples.

    Raises:
        DataError: If nothing can be chosen so that every class stays among the others.
    """
    counts = np.array([multi_hot[group].sum(axis=0, dtype=np.float64) for group in groups])
    total = counts.sum(axis=0)
    wanted = np.where((counts > 0).sum(axis=0) > 1, np.maximum(fraction * total, 1), 0)
    random = np.random.default_rng(seed)
    tries = max(1, min(_MOST_ORDERS, _MOST_STEPS // len(groups)))
    orders = [random.permutation(len(groups)) for _ in range(tries)]
    choices = [order[_choose(counts[order], total, wanted)] for order in orders]
    chosen = min(choices, key=lambda each: _distance(counts[each].sum(axis=0), wanted))
    if not len(chosen):
        raise DataError(
            f"{len(multi_hot)} examples in {len(groups)} groups give no {part} part, but "
            "training needs one, and every class must stay in train. "
            "Add examples or groups, or name the parts in a split column."
        )
    return {place for index in chosen for place in groups[index]}


def _distance(held: _Counts, wanted: _Counts) -> tuple[int, float]:
    """Count the classes that are wanted but not held, then the examples too many and too few."""
    return int(((wanted > 0) & (held == 0)).sum()), float(np.abs(held - wanted).sum())


def _choose(counts: _Counts, total: _Counts, wanted: _Counts) -> list[int]:
    """Take each group in turn that brings the held-out counts of the classes closer to ``wanted``.

    If none does (all are large), take the one that does least harm. Every class that is in the
    examples at all stays in those that are left.
    """
    held = np.zeros_like(total)
    chosen: list[int] = []
    for index, group in enumerate(counts):
        closer = np.abs(held + group - wanted).sum() < np.abs(held - wanted).sum()
        if closer and _leaves_all(held + group, total):
            held += group
            chosen.append(index)
    if chosen:
        return chosen
    possible = [index for index, group in enumerate(counts) if _leaves_all(group, total)]
    return sorted(possible, key=lambda index: np.abs(counts[index] - wanted).sum())[:1]


def _leaves_all(held: _Counts, total: _Counts) -> bool:
    return bool(np.all((held < total) | (total == 0))) and bool(held.sum() < total.sum())


WAYS = ("auto", "column", "group", "stratified")

_Examples = tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of a data set, each in the order of the labels file."""

    train: _Examples
    validation: _Examples
    test: _Examples
    """Empty unless the labels file says which examples are for testing."""


def split_examples(
    examples: Sequence[Example],
    *,
    how: str = "auto",
    validation_fraction: float,
    seed: int,
    task: str = "auto",
) -> Split:
    """Divide examples into parts.

    Args:
        examples: All of them.
        how: ``column`` takes the parts that the labels file names, and holds validation out of
            the training part if it names none; ``group`` holds out whole groups; ``stratified``
            holds out the same share of every class. ``auto`` is the first of these that the
            examples have what is needed for.
        validation_fraction: Share of the training examples to hold out, between 0 and 1.
        seed: Decides which ones.
        task: As in ``LabelScheme.of``.

    Returns:
        The parts. Whether they leak into each other, ``leakage.audit`` finds out.

    Raises:
        ConfigError: If an argument is out of its range, or a stratified split would divide groups.
        DataError: If a part would be empty or a group divided, if there is one class only, or if
            a class would be missing from the training part.
    """
    if how not in WAYS:
        raise ConfigError(f"data.split is {how!r}, but must be one of {', '.join(WAYS)}.")
    if not 0 < validation_fraction < 1:
        raise ConfigError(
            f"data.validation_fraction is {validation_fraction}, but must be between 0 and 1."
        )
    scheme = LabelScheme.of(examples, task)
    if how == "auto":
        how = _best_way(examples)
    if how == "stratified" and _has_groups(examples):
        raise ConfigError(
            "data.split is 'stratified', but the examples have groups, which that would divide. "
            "Set data.split to 'group', or leave the group column out."
        )
    parts = _by_column(examples) if how == "column" else {"train": tuple(examples)}
    _check_classes(parts.get("train", ()), scheme)
    _check_groups(parts)
    if "validation" not in parts:
        by_group = how == "group" or (how == "column" and _has_groups(examples))
        groups = groups_of(parts["train"], by_group=by_group)
        held_out = _held_out(scheme, parts["train"], groups, validation_fraction, seed)
        parts |= _divide(parts["train"], held_out)
    return Split(parts["train"], parts["validation"], parts.get("test", ()))


def split_by_shares(
    examples: Sequence[Example],
    shares: Mapping[str, float],
    *,
    by_group: bool,
    seed: int,
    task: str = "auto",
) -> Split:
    """Divide examples into parts of wanted sizes, with every class near its share in each.

    Args:
        examples: All of them.
        shares: Of train, validation and test; they add up to 1, and test may be 0.
        by_group: Whether groups stay whole.
        seed: Decides which examples or groups come where.
        task: As in ``LabelScheme.of``.

    Raises:
        DataError: If there is one class only, or a class would be missing from a part.
    """
    scheme = LabelScheme.of(examples, task)
    parts, left = {"train": tuple(examples)}, 1.0
    for name in [name for name in ("test", "validation") if shares[name] > 0]:
        groups = groups_of(parts["train"], by_group=by_group)
        held_out = _held_out(scheme, parts["train"], groups, shares[name] / left, seed, name)
        parts |= _divide(parts["train"], held_out, name)
        left -= shares[name]
    _check_classes_everywhere(parts, scheme)
    return Split(parts["train"], parts["validation"], parts.get("test", ()))


def _held_out(  # what hold_out takes
    scheme: LabelScheme,
    examples: Sequence[Example],
    groups: list[list[int]],
    fraction: float,
    seed: int,
    part: str = "validation",
) -> set[int]:
    """Choose examples by their classes; those of a regression by the finest bins that will do."""
    if scheme.task != "regression":
        return hold_out(_counted(scheme, examples), groups, fraction, seed, part=part)
    *finer, one_bin = bins_to_try(scheme.numbers(examples), fraction)
    for bins in finer:
        with suppress(DataError):
            return hold_out(bins, groups, fraction, seed, part=part)
    return hold_out(one_bin, groups, fraction, seed, part=part)


def _counted(scheme: LabelScheme, examples: Sequence[Example]) -> npt.NDArray[np.float32]:
    """Return a column a class, and one more for having none: that must be divided as well."""
    hot = scheme.multi_hot(examples)
    return np.column_stack([hot, ~hot.any(axis=1)]).astype(np.float32)


def _best_way(examples: Sequence[Example]) -> str:
    if any(example.split is not None for example in examples):
        return "column"
    return "group" if _has_groups(examples) else "stratified"


def _has_groups(examples: Sequence[Example]) -> bool:
    return any(example.group is not None for example in examples)


def _by_column(examples: Sequence[Example]) -> dict[str, _Examples]:
    if without := [example.name for example in examples if example.split is None]:
        raise DataError(
            f"{len(without)} of {len(examples)} examples have no split (such as {without[0]}), "
            "but data.split 'column' needs one for each. Fill in the column, or set data.split."
        )
    parts = {name: tuple(each for each in examples if each.split == name) for name in SPLITS}
    return {name: part for name, part in parts.items() if part}


def _divide(
    examples: _Examples, held_out: set[int], name: str = "validation"
) -> dict[str, _Examples]:
    return {
        "train": tuple(each for place, each in enumerate(examples) if place not in held_out),
        name: tuple(each for place, each in enumerate(examples) if place in held_out),
    }


def _check_classes(train: _Examples, scheme: LabelScheme) -> None:
    if not train:
        raise DataError(
            "the split column has no example for train, but training needs some. "
            "Write train in more lines."
        )
    if scheme.task == "regression":
        return
    in_train = {label for example in train for label in example.labels}
    if missing := [label for label in scheme.classes if label not in in_train]:
        raise DataError(
            f"{len(missing)} of {len(scheme.classes)} classes (such as {missing[0]!r}) have no "
            "example in train, but every class must. Move examples into train, or leave the "
            "class out."
        )


def _check_classes_everywhere(parts: dict[str, _Examples], scheme: LabelScheme) -> None:
    if scheme.task == "regression":
        return
    everyone = [example for part in parts.values() for example in part]
    for name, part in parts.items():
        there = {label for example in part for label in example.labels}
        if missing := [label for label in scheme.classes if label not in there]:
            groups = {
                example.group or example.name
                for example in everyone
                if missing[0] in example.labels
            }
            raise DataError(
                f"{len(missing)} of {len(scheme.classes)} classes have no example in {name} (such "
                f"as {missing[0]!r}, which is in {len(groups)} groups), but every class must be in "
                f"all {len(parts)} parts. Add examples of it, leave the class out, or change "
                "--fractions or --seed."
            )


def _check_groups(parts: dict[str, _Examples]) -> None:
    part_of: dict[str, str] = {}
    for name, examples in parts.items():
        for example in examples:
            if example.group is not None and part_of.setdefault(example.group, name) != name:
                raise DataError(
                    f"the group {example.group!r} is in {part_of[example.group]} and in {name}, "
                    "but a group must stay in one part of the split. Change the split column."
                )
