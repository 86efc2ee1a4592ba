"""Folds of a cross-validation: each example is in the test part of one fold.

Classes are divided in proportion (scikit-learn's StratifiedKFold), and groups stay whole
(StratifiedGroupKFold). Numbers are binned for that, and an example with several labels counts for
the rarest of them. The validation part is taken from the other folds as for any training.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets.examples import Example, LabelScheme
from rmt_genomics.datasets.splits import (
    MAX_BINS,
    Split,
    bin_edges,
    bin_indices,
    group_numbers,
    split_examples,
)
from rmt_genomics.errors import ConfigError, DataError, counted
from rmt_genomics.parsing import shown

_ATTEMPTS = 20
_MOST_FOLDS = 10_000
_LOWER = "Lower --folds, or add examples."


@dataclass(frozen=True, slots=True)
class Fold:
    """Which of the folds is the test part.

    Raises:
        ConfigError: If the number of folds is out of range.
    """

    number: int  # from 1
    of: int

    def __post_init__(self) -> None:
        if not 2 <= self.of <= _MOST_FOLDS:
            raise ConfigError(
                f"--folds is {self.of}, but must be from 2 to {_MOST_FOLDS:,}: one fold for "
                "testing, and others for training. Give another number, such as 5."
            )

    def split(
        self,
        examples: Sequence[Example],
        *,
        how: str,
        validation_fraction: float,
        seed: int,
        task: str = "auto",
    ) -> Split:
        """Return the parts of the examples in this fold; arguments as for ``split_examples``.

        Raises:
            ConfigError: If the parts are named already, or ``how`` does not fit.
            DataError: If there are too few examples or groups.
        """
        _check_split(examples, how)
        fold_of = assign_folds(examples, self.of, seed=seed, task=task, by_group=how == "group")
        marked = [
            replace(example, split="test" if fold == self.number - 1 else "train")
            for example, fold in zip(examples, fold_of.tolist(), strict=True)
        ]
        fraction = {"validation_fraction": validation_fraction}
        return split_examples(marked, how="column", seed=seed, task=task, **fraction)


def assign_folds(
    examples: Sequence[Example],
    num_folds: int,
    *,
    seed: int,
    task: str = "auto",
    by_group: bool = False,
) -> npt.NDArray[np.int64]:
    """Return the fold of each example, from 0; groups stay whole if there are any.

    Raises:
        DataError: If there are too few examples or groups.
    """
    from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold

    scheme = LabelScheme.of(examples, task)
    has_groups = by_group or any(example.group is not None for example in examples)
    groups = group_numbers(examples) if has_groups else np.arange(len(examples))
    _check_counts(examples, scheme, groups, num_folds, has_groups=has_groups)
    strata = _strata(examples, scheme, num_folds)
    options = {"n_splits": num_folds, "shuffle": True}
    kind = StratifiedGroupKFold if has_groups else StratifiedKFold
    if np.bincount(strata).max() < num_folds:
        kind, strata = (kind if has_groups else KFold), np.zeros_like(strata)
    for attempt in range(_ATTEMPTS):
        divider = kind(random_state=(seed + attempt) % 2**32, **options)
        fold_of = np.full(len(examples), -1)
        with warnings.catch_warnings(action="ignore"):  # of strata with fewer than K examples
            for fold, (_, test) in enumerate(divider.split(strata, strata, groups)):
                fold_of[test] = fold
        if len(np.unique(fold_of)) == num_folds and not _in_one_fold(examples, scheme, fold_of):
            return fold_of
    label = _in_one_fold(examples, scheme, fold_of)
    raise DataError(
        f"{counted(len(examples), 'example')} in {counted(int(groups.max()) + 1, 'group')} cannot "
        f"be divided into {num_folds} folds "
        + (f"with the class {shown(label)} in two of them" if label else "that all have some")
        + f", but each model must learn every class. {_LOWER}"
    )


def _check_split(examples: Sequence[Example], how: str) -> None:
    has_groups = any(example.group is not None for example in examples)
    if how == "column" or any(example.split is not None for example in examples):
        raise ConfigError(
            "the labels name the parts of the split (or data.split is 'column'), but --folds "
            "divides all examples itself. Remove the split column, or leave --folds out."
        )
    if how == "stratified" and has_groups:
        raise ConfigError(
            "data.split is 'stratified', but the examples have groups, which it would divide. "
            "Set data.split to 'group', or remove the group column."
        )


def _check_counts(
    examples: Sequence[Example],
    scheme: LabelScheme,
    groups: npt.NDArray[np.int64],
    num_folds: int,
    *,
    has_groups: bool,
) -> None:
    """Raise DataError if there are fewer groups, or examples of a class, than folds."""
    num_groups = int(groups.max()) + 1
    if num_groups < num_folds:
        what = "group" if has_groups else "example"
        raise DataError(
            f"--folds is {num_folds}, but there are only {counted(num_groups, what)}, and each "
            f"fold needs one. {_LOWER}"
        )
    if scheme.task == "regression":
        return
    counts = Counter(label for example in examples for label in example.labels)
    label, count = min(counts.items(), key=lambda item: item[1])
    if count < num_folds:
        raise DataError(
            f"--folds is {num_folds}, but the class {shown(label)} has only "
            f"{counted(count, 'example')}, and each fold needs one. Lower --folds, or leave small "
            "classes out with --min-class-size."
        )


def _strata(
    examples: Sequence[Example], scheme: LabelScheme, num_folds: int
) -> npt.NDArray[np.int64]:
    """Return what is divided in proportion: the class of each example, or the bin of its number."""
    if scheme.task == "regression":
        values = scheme.numbers(examples)
        edges = bin_edges(values, max(1, min(MAX_BINS, len(values) // num_folds)))
        return bin_indices(edges, values)
    hot = scheme.multi_hot(examples)
    by_rarity = np.argsort(hot.sum(axis=0), kind="stable")
    rarest = hot[:, by_rarity].argmax(axis=1)
    return np.where(hot.any(axis=1), rarest, len(by_rarity)).astype(np.int64)


def _in_one_fold(
    examples: Sequence[Example], scheme: LabelScheme, fold_of: npt.NDArray[np.int64]
) -> str:
    """Return a class whose examples are all in one fold: no training would have it; or ''."""
    folds: dict[str, set[int]] = {}
    for example, fold in zip(examples, fold_of.tolist(), strict=True):
        for label in example.labels if scheme.task != "regression" else ():
            folds.setdefault(label, set()).add(fold)
    return next((label for label, found in folds.items() if len(found) < 2), "")
