"""Split by homology: the lowest identity at which the groups can be divided.

Single linkage at a low identity joins nearly everything where sequences share a part (a gene, a
mobile element): then no part of the split can be filled, or not with all classes. At a higher
identity the groups are smaller, but sequences of different parts are more similar. So the identity
that was asked for is tried first, then higher ones; what was found is said.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets.clusters import Homology, describe_groups
from rmt_genomics.datasets.examples import SPLITS, Example, LabelScheme
from rmt_genomics.datasets.similarity import IDENTITY, percent
from rmt_genomics.datasets.splits import Split, split_by_fractions
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsWarning
from rmt_genomics.parsing import shown

logger = logging.getLogger(__name__)

IDENTITIES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995, 0.999, 1.0)
"""The identities that are tried, from the one that was asked for on."""

_MIN_COUNTED = 5  # examples that a part should have of a class, from which on its size is checked
_MAX_FACTOR = 2  # by which the part may then be larger or smaller than it should


def check_identity(identity: float) -> None:
    """Raise ConfigError unless an identity is a fraction above 0, and at most 1."""
    if not 0 < identity <= 1:
        raise ConfigError(
            f"the identity is {identity:g}, but must be above 0 and at most 1, such as 0.95."
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Attempt:
    """What a split at one identity would be like."""

    identity: float
    groups: Sequence[str]  # of each example
    problem: str  # empty if the parts have about the sizes that were asked for
    is_possible: bool  # whether each part can have examples, and of each class that is not small

    @property
    def percent(self) -> str:
        return percent(self.identity)

    @property
    def description(self) -> str:
        return f"there are {describe_groups(self.groups)}"


def split_by_homology(
    examples: list[Example],
    homology: Homology,
    fractions: Mapping[str, float],
    *,
    group_index: Sequence[int],
    identity: float | None,
    seed: int,
    task: str,
) -> tuple[Split, float]:
    """Split examples so that no two related ones are in different parts.

    Args:
        examples: Get the groups of the split.
        homology: Found at ``identity`` or below.
        fractions: Of train, validation and test, adding up to 1.
        group_index: For each example, the index in ``homology`` of the sequence it is (from).
        identity: The estimated identity from which on examples are related. None takes the lowest
            one, from 95% on, at which the parts get about their fractions of every class.
        seed: Of the random choice.
        task: As for ``LabelScheme.of``.

    Returns:
        The split, and its identity. Warns if that is not the one asked for, or if the parts are far
        from their fractions.

    Raises:
        DataError: If no split exists at that identity, with the one at which it does.
    """
    scheme = LabelScheme.of(examples, task)  # one class only is another problem
    first = IDENTITY if identity is None else identity

    def split_at(groups: Sequence[str]) -> Split:
        for place, group in enumerate(groups):  # one by one: a second list would be much memory
            examples[place] = replace(examples[place], group=group)
        return split_by_fractions(examples, fractions, by_group=True, seed=seed, task=task)

    attempts: list[_Attempt] = []
    for candidate in (first, *(higher for higher in IDENTITIES if higher > first)):
        of_sequences = homology.groups(candidate)
        groups = [of_sequences[index] for index in group_index]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RMTGenomicsWarning)
            try:
                split = split_at(groups)
                problem, is_possible = _unevenness(split, fractions, scheme)
            except DataError:
                problem, is_possible = "not every part can have examples", False
        attempts.append(_Attempt(candidate, groups, problem, is_possible))
        if not problem:
            break
    chosen = _choose(attempts, is_fixed=identity is not None)
    if chosen is not attempts[-1]:
        split, caught = split_at(chosen.groups), []
    for warning in caught:
        warnings.warn(warning.message, stacklevel=3)
    for message in _warnings(attempts, chosen):
        warnings.warn(message, RMTGenomicsWarning, stacklevel=3)
    logger.info("Groups at %s identity: %s.", chosen.percent, describe_groups(chosen.groups))
    return split, chosen.identity


def _choose(attempts: Sequence[_Attempt], *, is_fixed: bool) -> _Attempt:
    """Return the first if the identity ``is_fixed``, else the first without a problem, if any."""
    possible = [attempt for attempt in attempts if attempt.is_possible]
    first, last = attempts[0], attempts[-1]
    if not possible:
        raise DataError(
            f"no split by homology exists at {first.percent} identity or above: even at "
            f"{last.percent} {last.problem}, since {last.description}. Add examples that are less "
            "similar, leave a class out, or change --fractions or --by."
        )
    best = possible[0] if last.problem else last
    if not is_fixed:
        return best
    if not first.is_possible:
        raise DataError(
            f"no split by homology exists at {first.percent} identity: {first.problem}, since no "
            f"group may be divided, and {first.description}. At {best.percent} there is one: "
            f"--identity {best.identity:g}."
        )
    return first


def _unevenness(
    split: Split, fractions: Mapping[str, float], scheme: LabelScheme
) -> tuple[str, bool]:
    """Say which part is most too large or too small, of all examples or of a class, if any is.

    Also return whether all parts have examples of the classes that are not small.
    """
    counts = {part: _counts(getattr(split, part), scheme) for part in SPLITS}
    totals = np.sum(list(counts.values()), axis=0)
    names = ["examples", *(f"examples of {shown(label)}" for label in scheme.classes)]
    worst, problem, is_possible = float(_MAX_FACTOR), "", True
    for part, fraction in fractions.items():
        for name, total, count in zip(names, totals, counts[part], strict=False):
            wanted = fraction * total
            factor = max(count / wanted, wanted / max(count, 0.5)) if wanted >= _MIN_COUNTED else 0
            is_possible &= count > 0 or wanted < _MIN_COUNTED
            if factor > worst:
                worst = factor
                problem = f"{part} has {count:,} of {total:,} {name}, not about {wanted:,.0f}"
    return problem, bool(is_possible)


def _counts(part: Sequence[Example], scheme: LabelScheme) -> npt.NDArray[np.int64]:
    """Return the number of examples, and of those of each class."""
    if scheme.task == "regression":
        return np.array([len(part)])
    return np.array([len(part), *scheme.multi_hot(part).sum(axis=0, dtype=np.int64)])


def _warnings(attempts: Sequence[_Attempt], chosen: _Attempt) -> Iterator[str]:
    """Say what is not as it was asked for."""
    first, last = attempts[0], attempts[-1]
    if chosen is not first:
        yield (
            f"the split was made at {chosen.percent} identity (sequences of different parts may be "
            f"nearly that similar): at {first.percent} {first.problem}, since {first.description}."
        )
    if chosen.problem:
        remedy = "no higher identity gives an even one"
        if not last.problem:
            remedy = f"--identity {last.identity:g} gives an even one"
        yield (
            f"the split by homology at {chosen.percent} identity is uneven: {chosen.problem}, "
            f"since no group may be divided, and {chosen.description}; {remedy}."
        )
