"""Decide which examples must stay together, from what the user says about a split."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rmt_genomics.datasets.cluster_files import clusters_from_file
from rmt_genomics.datasets.clusters import homology_groups
from rmt_genomics.datasets.examples import Example
from rmt_genomics.datasets.store import EncodedStore
from rmt_genomics.errors import ConfigError, DataError

WAYS = ("column", "group", "record", "homology", "stratified")
_NEW_GROUPS = ("record", "homology")


def choose_way(examples: Sequence[Example]) -> str:
    """Return the way that uses what the labels say: their split, else their groups, else none."""
    if any(example.split is not None for example in examples):
        return "column"
    return "group" if any(example.group is not None for example in examples) else "homology"


def regroup(
    store: EncodedStore, examples: Sequence[Example], way: str, clusters: Path | None = None
) -> list[Example]:
    """Give the examples the groups that a way of splitting asks for.

    Args:
        store: Where the sequences are.
        examples: As the labels file has them.
        way: ``record`` and ``homology`` make groups; ``column``, ``group`` and ``stratified``
            take the examples as they are.
        clusters: A file of clusters that takes the place of our own, for ``homology``.

    Raises:
        ConfigError: If clusters are given for another way.
        DataError: If the labels have groups or a split that would be replaced or divided, or the
            clusters file cannot be used.
    """
    if clusters is not None and way != "homology":
        raise ConfigError(
            f"{clusters}: clusters are given, but only a split by homology uses them, not by "
            f"{way}. Leave --clusters out, or add --by homology."
        )
    _check_nothing_is_lost(examples, way)
    if way not in _NEW_GROUPS:
        return list(examples)
    if way == "record":
        names: Sequence[str] = [example.interval.record for example in examples]
    elif clusters is not None:
        names = clusters_from_file(clusters, examples)
    else:
        names = homology_groups(store, examples)
    return [replace(each, group=name) for each, name in zip(examples, names, strict=True)]


def _check_nothing_is_lost(examples: Sequence[Example], way: str) -> None:
    if way != "column" and any(example.split is not None for example in examples):
        raise DataError(
            f"the labels have a split column, but a split by {way} would replace it. "
            "Take the column out, or use --by column."
        )
    has_groups = any(example.group is not None for example in examples)
    if has_groups and way in (*_NEW_GROUPS, "stratified"):
        raise DataError(
            f"the labels have a group column, but a split by {way} would "
            f"{'divide the groups' if way == 'stratified' else 'replace it'}. "
            "Take the column out, or use --by group."
        )
