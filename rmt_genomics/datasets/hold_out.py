"""Choose the examples that validate: whole groups, with every class near its share."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets.examples import Example
from rmt_genomics.errors import DataError

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
