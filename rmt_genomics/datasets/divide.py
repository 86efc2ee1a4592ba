"""Divide labelled examples as ``rmt-genomics split`` does: groups, parts, and a table of both."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from rmt_genomics.datasets.bins import bin_edges, places_in
from rmt_genomics.datasets.examples import SPLITS, Example, LabelScheme
from rmt_genomics.datasets.grouping import choose_way, regroup
from rmt_genomics.datasets.label_columns import as_table, with_columns
from rmt_genomics.datasets.label_kinds import warn_of_regression
from rmt_genomics.datasets.label_sources import LabelSource
from rmt_genomics.datasets.names import in_file
from rmt_genomics.datasets.splits import Split, split_by_shares, split_examples
from rmt_genomics.datasets.store import EncodedStore

_BINS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class DividedLabels:
    """Labelled examples in parts."""

    way: str
    """How the examples were divided: one of ``grouping.WAYS``."""

    split: Split
    scheme: LabelScheme

    table: str
    """The text of the labels table with the columns ``group`` (if there are any) and ``split``; a
    new table if the labels are in a BED file without a header, or in the sequence files."""

    def counts(self) -> list[list[str]]:
        """Return a table of examples a class and part, with a header and a last row for all.

        Labels that are numbers are counted in bins.
        """
        parts = {name: getattr(self.split, name) for name in SPLITS}
        is_regression = self.scheme.task == "regression"
        rows = self._a_bin(parts) if is_regression else self._a_class(parts)
        total = ["(all)", *(str(len(part)) for part in parts.values())]
        return [["label", *SPLITS], *rows, total]

    def _a_class(self, parts: Mapping[str, Sequence[Example]]) -> list[list[str]]:
        of = {
            name: Counter(label for each in part for label in each.labels)
            for name, part in parts.items()
        }
        return [
            [label, *(str(of[name][label]) for name in SPLITS)] for label in self.scheme.classes
        ]

    def _a_bin(self, parts: Mapping[str, Sequence[Example]]) -> list[list[str]]:
        of = {name: self.scheme.numbers(part) for name, part in parts.items()}
        values = np.concatenate(list(of.values()))
        edges = bin_edges(values, _BINS_SHOWN)
        ends = [values.min(), *edges, values.max()]
        counts = [
            np.bincount(places_in(edges, of[name]), minlength=len(edges) + 1) for name in SPLITS
        ]
        return [
            [f"{low:.6g} to {high:.6g}", *(str(each[place]) for each in counts)]
            for place, (low, high) in enumerate(pairwise(ends))
        ]


def divide_labels(
    store: EncodedStore,
    labels: LabelSource,
    shares: Mapping[str, float],
    *,
    way: str | None = None,
    clusters: Path | None = None,
    seed: int = 0,
    task: str = "auto",
) -> DividedLabels:
    """Read labels and divide their examples.

    Args:
        store: The sequences.
        labels: A table, or where else the labels are.
        shares: Of train, validation and test. Where a split column says what is for testing, only
            how much of the rest validates.
        way: One of ``grouping.WAYS``; by default what the labels file has columns for, and
            homology if it has none.
        clusters: A file of clusters to be used for a split by homology.
        seed: Decides what comes where.
        task: As in ``LabelScheme.of``.

    Raises:
        ConfigError: If the settings do not go together.
        DataError: If the labels, the clusters or the parts break a rule.
    """
    examples = labels.read(store.records(), task=task)
    labels.check_classes(examples)
    if way is None:
        way = "homology" if clusters is not None else choose_way(examples)
    grouped = regroup(store, examples, way, clusters)
    with in_file(str(labels)):
        split = _split(grouped, way, shares, seed=seed, task=task)
    columns = _columns(grouped, split)
    table = with_columns(labels.table, columns) if labels.table else None
    scheme = LabelScheme.of(grouped, task)
    warn_of_regression(str(labels), scheme.task, task)
    return DividedLabels(way, split, scheme, table or as_table(grouped, columns))


def _split(
    examples: list[Example], way: str, shares: Mapping[str, float], *, seed: int, task: str
) -> Split:
    if way == "column":
        held_out = shares["validation"] / (shares["train"] + shares["validation"])
        return split_examples(examples, how=way, validation_fraction=held_out, seed=seed, task=task)
    by_group = way != "stratified"
    return split_by_shares(examples, shares, by_group=by_group, seed=seed, task=task)


def _columns(examples: list[Example], split: Split) -> dict[str, list[str]]:
    part_of = {each: name for name in SPLITS for each in getattr(split, name)}
    groups = [example.group or "" for example in examples]
    columns = {"group": groups} if any(groups) else {}
    return columns | {"split": [part_of[example] for example in examples]}
