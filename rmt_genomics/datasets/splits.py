"""Split examples into training, validation and test parts.

Laws: parts are disjoint and together are all examples; examples of one group are in one part; every
class is in the training part; the same seed gives the same parts. Labels that are numbers are
binned, and the bins are treated as classes as far as groups allow it.
"""

import warnings
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import compress

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets.examples import SPLITS, Example, LabelScheme, Numbers
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsWarning, counted
from rmt_genomics.parsing import shown

METHODS = ("auto", "column", "group", "stratified")  # values of ``data.split``
MAX_BINS = 10
IN_A_COLUMN = ", or name the parts in a split column"
"""The remedy where labels are in a table."""

_MAX_ORDERS = 20
_MAX_STEPS = 50_000  # groups tried in all orders together

_Examples = tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of a data set, each in the order of the labels file."""

    train: _Examples
    validation: _Examples
    test: _Examples  # empty unless the labels file says which examples are for testing


def split_examples(
    examples: Sequence[Example],
    *,
    how: str = "auto",
    validation_fraction: float,
    seed: int,
    task: str = "auto",
) -> Split:
    """Split examples for training, as the settings ``data.split`` say.

    ``column`` takes the parts that the labels file names, and holds validation out of the training
    part if it names none; ``group`` holds out whole groups; ``stratified`` holds out the same
    fraction of every class. ``auto`` is ``column`` if any example has a split, else ``group`` if
    any has a group, else ``stratified``.

    Raises:
        ConfigError: If an argument is out of its range, or a stratified split would divide groups.
        DataError: If a part would be empty or a group divided, if there is one class only, or if
            a class would be missing from the training part.
    """
    if how not in METHODS:
        raise ConfigError(f"data.split is {how!r}, but must be one of {', '.join(METHODS)}.")
    if not 0 < validation_fraction < 1:
        raise ConfigError(
            f"data.validation_fraction is {validation_fraction}, but must be between 0 and 1."
        )
    scheme = LabelScheme.of(examples, task)
    has_groups = any(example.group is not None for example in examples)
    if how == "auto":
        has_splits = any(example.split is not None for example in examples)
        how = "column" if has_splits else "group" if has_groups else "stratified"
    if how == "stratified" and has_groups:
        raise ConfigError(
            "data.split is 'stratified', but the examples have groups, which it would divide. "
            "Set data.split to 'group', or remove the group column."
        )
    parts = _parts_of_column(examples) if how == "column" else {"train": tuple(examples)}
    _check_training_classes(parts.get("train", ()), scheme)
    _check_groups_are_whole(parts)
    if "validation" not in parts:
        by_group = how == "group" or (how == "column" and has_groups)
        parts |= _hold_out_of_train(
            parts["train"], scheme, validation_fraction, seed, by_group=by_group, part="validation"
        )
    return Split(parts["train"], parts["validation"], parts.get("test", ()))


def split_by_fractions(
    examples: Sequence[Example],
    fractions: Mapping[str, float],
    *,
    by_group: bool,
    seed: int,
    task: str = "auto",
) -> Split:
    """Split examples into parts of given sizes, with every class in each part in proportion.

    The ``fractions`` of train, validation and test add up to 1, and test may be 0; ``by_group``
    keeps groups whole.

    Raises:
        DataError: If there is one class only, or a part would be empty.

    Warns:
        RMTGenomicsWarning: If a class is too small, or in too few groups, to be in each part.
    """
    scheme = LabelScheme.of(examples, task)
    parts, remaining = {"train": tuple(examples)}, 1.0
    for part in [part for part in ("test", "validation") if fractions[part] > 0]:
        fraction, num_later = fractions[part] / remaining, int(part == "test")
        parts |= _hold_out_of_train(
            parts["train"],
            scheme,
            fraction,
            seed,
            by_group=by_group,
            part=part,
            num_later=num_later,
        )
        remaining -= fractions[part]
    _check_training_classes(parts["train"], scheme)
    _warn_of_missing_classes(parts, scheme)
    return Split(parts["train"], parts["validation"], parts.get("test", ()))


def _hold_out_of_train(
    train: _Examples,
    scheme: LabelScheme,
    fraction: float,
    seed: int,
    *,
    by_group: bool,
    part: str,
    num_later: int = 0,
) -> dict[str, _Examples]:
    """Move a fraction of every class, or of every bin of numbers, from train to another part.

    ``num_later`` more parts will be held out, and need a group of every class as well.
    """
    groups = group_numbers(train) if by_group else np.arange(len(train))
    if scheme.task == "regression":
        *finer, multi_hot = candidate_bins(scheme.numbers(train), fraction)
    else:
        finer = []
        hot = scheme.multi_hot(train)
        # Examples without any label are one more class: they are split in proportion as well.
        multi_hot = np.column_stack([hot, ~hot.any(axis=1)]).astype(np.float32)
    for finer_bins in finer:
        with suppress(DataError):
            is_held_out = _hold_out(finer_bins, groups, fraction, seed, part, num_later)
            break
    else:
        is_held_out = _hold_out(
            multi_hot, groups, fraction, seed, part, num_later, has_bins=scheme.task == "regression"
        )
    return {
        "train": tuple(compress(train, ~is_held_out)),
        part: tuple(compress(train, is_held_out)),
    }


def _hold_out(
    multi_hot: npt.NDArray[np.float32],
    groups: npt.NDArray[np.int64],
    fraction: float,
    seed: int,
    part: str,
    num_later: int,
    *,
    has_bins: bool = True,
) -> npt.NDArray[np.bool_]:
    """Choose groups at random so that about the same fraction of every class is chosen.

    A class that is in several groups should be at least once on both sides. The groups are taken
    greedily in several random orders; the order that comes closest to the fraction is used.
    ``multi_hot`` is 1 where an example (row) has a class (column); ``groups`` are numbers.
    """
    counts = np.zeros((groups.max() + 1, multi_hot.shape[1]))
    np.add.at(counts, groups, multi_hot)
    num_groups, total = (counts > 0).sum(axis=0), counts.sum(axis=0)
    wanted = np.where(num_groups > 1, np.maximum(fraction * total, 1), 0)
    kinds, kind_of = _unique_rows(counts)
    del counts  # much memory
    spare = np.where(num_groups > num_later + 1, num_groups - num_later - 1, num_groups)
    random = np.random.default_rng(seed)
    num_orders = max(1, min(_MAX_ORDERS, _MAX_STEPS // len(kind_of)))
    orders = [random.permutation(len(kind_of)) for _ in range(num_orders)]
    choices = [
        order[_choose_greedily(kinds, kind_of[order], total, wanted, spare, has_bins=has_bins)]
        for order in orders
    ]

    def distance(chosen: npt.NDArray[np.int64]) -> tuple[int, float]:
        held_out = np.bincount(kind_of[chosen], minlength=len(kinds)) @ kinds
        missing_classes = int(((wanted > 0) & (held_out == 0)).sum())
        return missing_classes, float(np.abs(held_out - wanted).sum())

    chosen = min(choices, key=distance)
    if not len(chosen):
        found = counted(len(multi_hot), "example")
        remedy = "Add examples"
        if len(kind_of) < len(multi_hot):
            found += f" in {counted(len(kind_of), 'group')}"
            remedy = "Add examples of other groups"
        elif not has_bins and total.max() == 1:
            found += ", as each class has one example"
            remedy = "Add examples of each class"
        raise DataError(
            f"a {part} part cannot be made from {found}, but training needs one, and every class "
            f"must stay in train. {remedy}{IN_A_COLUMN}."
        )
    return np.isin(groups, chosen)


def _choose_greedily(
    kinds: Numbers,
    kind_of: npt.NDArray[np.int64],
    total: Numbers,
    wanted: Numbers,
    spare_groups: npt.NDArray[np.int64],
    *,
    has_bins: bool,
) -> list[int]:
    """Take each group in turn that brings the held-out counts of the classes closer to ``wanted``.

    Then, for each class that is still missing (its groups are large), the group that exceeds
    ``wanted`` least; bins of numbers may be missing if any group is held out. Every class keeps an
    example among those that are not held out, and only ``spare_groups`` of its groups are held out.
    ``kinds`` are the different counts of the classes in a group, ``kind_of`` the kind of each.
    """

    def leaves_all_classes(held_out: Numbers, held_groups: npt.NDArray[np.int64]) -> bool:
        return bool(
            np.all((held_out < total) | (total == 0))
            and np.all(held_groups <= spare_groups)
            and held_out.sum() < total.sum()
        )

    presence = np.where(kinds > 0, 1, 0)
    held_out, held_groups = np.zeros_like(total), np.zeros_like(spare_groups)
    chosen: list[int] = []
    refused = set()  # more groups of the same classes would be refused as well
    for index, kind in enumerate(kind_of.tolist()):
        if kind in refused:
            continue
        group, has = kinds[kind], presence[kind]
        is_closer = np.abs(held_out + group - wanted).sum() < np.abs(held_out - wanted).sum()
        if is_closer and leaves_all_classes(held_out + group, held_groups + has):
            held_out += group
            held_groups += has
            chosen.append(index)
        else:
            refused.add(kind)
    excess = np.abs(kinds - wanted).sum(axis=1)
    while not chosen or (not has_bins and ((held_out == 0) & (wanted > 0)).any()):
        is_missing = (held_out == 0) & (wanted > 0)
        of_missing = presence[:, is_missing].any(axis=1) | ~is_missing.any()
        for index in np.argsort(excess[kind_of], kind="stable").tolist():
            kind = kind_of[index]
            if of_missing[kind] and leaves_all_classes(
                held_out + kinds[kind], held_groups + presence[kind]
            ):
                held_out += kinds[kind]
                held_groups += presence[kind]
                chosen.append(index)
                break
        else:
            break
    return chosen


def _unique_rows(rows: Numbers) -> tuple[Numbers, npt.NDArray[np.int64]]:
    """Return the different rows, and the index of each row among them: ``np.unique(axis=0)``.

    Column by column, which takes less memory.
    """
    index_of = np.zeros(len(rows), np.int64)
    for column in rows.T:
        _, values = np.unique(column, return_inverse=True)
        index_of = index_of * (values.max() + 1) + values
        _, first, index_of = np.unique(index_of, return_index=True, return_inverse=True)
    return rows[first], index_of


def group_numbers(examples: Sequence[Example]) -> npt.NDArray[np.int64]:
    """Return the number of the group of each example; raise DataError if one has none."""
    numbers: dict[str, int] = {}
    group_of = array("q")
    for example in examples:
        if example.group is None:
            raise DataError(
                f"{example.name} has no group, but a split by group needs one for every example. "
                "Fill in the group column of the labels file, or remove it and set data.split "
                "to 'stratified'."
            )
        group_of.append(numbers.setdefault(example.group, len(numbers)))
    return np.frombuffer(group_of, np.int64)


def bin_edges(values: Numbers, num_bins: int) -> Numbers:
    """Return the edges between bins of about equal counts: fewer if many values are equal."""
    quantiles = np.arange(1, num_bins) / num_bins
    edges: Numbers = np.quantile(values, quantiles, method="lower")
    return np.unique(edges[edges > values.min()])


def bin_indices(edges: Numbers, values: Numbers) -> npt.NDArray[np.int64]:
    """Return the bin of each value, from 0; a value on an edge belongs to the bin above it."""
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def candidate_bins(values: Numbers, fraction: float) -> Iterator[npt.NDArray[np.float32]]:
    """Yield bins as ``hold_out`` takes classes: the finest first, one bin for all at the end.

    There are at most as many bins as examples to hold out, so that each bin can give one.
    """
    most = max(1, min(MAX_BINS, int(fraction * len(values))))
    for num_bins in sorted({most, max(1, most // 2), min(2, most), 1}, reverse=True):
        edges = bin_edges(values, num_bins)
        yield np.eye(len(edges) + 1, dtype=np.float32)[bin_indices(edges, values)]


def _parts_of_column(examples: Sequence[Example]) -> dict[str, _Examples]:
    if without := [example.name for example in examples if example.split is None]:
        raise DataError(
            f"no split for {len(without)} of {len(examples)} examples (such as {without[0]}), but "
            "data.split 'column' needs one for each. Fill in the column, or set data.split."
        )
    parts = {
        name: tuple(example for example in examples if example.split == name) for name in SPLITS
    }
    return {name: part for name, part in parts.items() if part}


def _check_training_classes(train: _Examples, scheme: LabelScheme) -> None:
    if not train:
        raise DataError(
            "the split column has no example for train, but training needs some. "
            "Write train in more lines."
        )
    if missing := _missing_classes(train, scheme):
        raise DataError(
            f"no example in train for {len(missing)} of {len(scheme.classes)} classes (such as "
            f"{shown(missing[0])}), but every class needs one. Move examples into train, or "
            "remove the class."
        )


def _warn_of_missing_classes(parts: dict[str, _Examples], scheme: LabelScheme) -> None:
    """Warn of classes that are not in all parts: they stay in train, as far as they go."""
    missing = {name: _missing_classes(part, scheme) for name, part in parts.items()}
    classes = sorted({label for labels in missing.values() for label in labels})
    if not classes:
        return
    groups = {
        example.group or example.name
        for examples in parts.values()
        for example in examples
        if classes[0] in example.labels
    }
    by_part = [f"{name}: {len(labels):,}" for name, labels in missing.items() if labels]
    warnings.warn(
        f"{len(classes)} of {len(scheme.classes)} classes are too small to be in all {len(parts)} "
        f"parts, so no example of them is in some (missing in {', '.join(by_part)}), such as "
        f"{shown(classes[0])}, which is in {counted(len(groups), 'group')}. What is not in train "
        "cannot be learned, and what is not in the others cannot be evaluated: add examples, or "
        "leave small classes out with --min-class-size.",
        RMTGenomicsWarning,
        stacklevel=4,
    )


def _missing_classes(part: _Examples, scheme: LabelScheme) -> list[str]:
    if scheme.task == "regression":
        return []
    present = {label for example in part for label in example.labels}
    return [label for label in scheme.classes if label not in present]


def _check_groups_are_whole(parts: dict[str, _Examples]) -> None:
    part_of: dict[str, str] = {}
    for name, examples in parts.items():
        for example in examples:
            if example.group is not None and part_of.setdefault(example.group, name) != name:
                raise DataError(
                    f"the group {shown(example.group)} is in {part_of[example.group]} and in "
                    f"{name}, but a group must stay in one part of the split. Change the column."
                )
