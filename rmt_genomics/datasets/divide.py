"""Divide labelled examples as ``rmt-genomics split`` does: groups, parts, and a table of both."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rmt_genomics.datasets.examples import SPLITS, Example, LabelScheme
from rmt_genomics.datasets.grouping import choose_way, regroup
from rmt_genomics.datasets.label_columns import as_table, with_columns
from rmt_genomics.datasets.label_sources import LabelSource
from rmt_genomics.datasets.splits import Split, split_by_shares, split_examples
from rmt_genomics.datasets.store import EncodedStore


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
        """Return a table of examples a class and part, with a header and a last row for all."""
        parts = {name: getattr(self.split, name) for name in SPLITS}
        of = {
            name: Counter(label for each in part for label in each.labels)
            for name, part in parts.items()
        }
        rows = [
            [label, *(str(of[name][label]) for name in SPLITS)] for label in self.scheme.classes
        ]
        total = ["(all)", *(str(len(part)) for part in parts.values())]
        return [["label", *SPLITS], *rows, total]


def divide_labels(
    store: EncodedStore,
    labels: LabelSource,
    shares: Mapping[str, float],
    *,
    way: str | None = None,
    clusters: Path | None = None,
    seed: int = 0,
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

    Raises:
        ConfigError: If the settings do not go together.
        DataError: If the labels, the clusters or the parts break a rule.
    """
    examples = labels.read(store.records())
    labels.check_classes(examples)
    if way is None:
        way = "homology" if clusters is not None else choose_way(examples)
    grouped = regroup(store, examples, way, clusters)
    if way == "column":
        held_out = shares["validation"] / (shares["train"] + shares["validation"])
        split = split_examples(grouped, how=way, validation_fraction=held_out, seed=seed)
    else:
        split = split_by_shares(grouped, shares, by_group=way != "stratified", seed=seed)
    columns = _columns(grouped, split)
    table = with_columns(labels.table, columns) if labels.table else None
    return DividedLabels(way, split, LabelScheme.of(grouped), table or as_table(grouped, columns))


def _columns(examples: list[Example], split: Split) -> dict[str, list[str]]:
    part_of = {each: name for name in SPLITS for each in getattr(split, name)}
    groups = [example.group or "" for example in examples]
    columns = {"group": groups} if any(groups) else {}
    return columns | {"split": [part_of[example] for example in examples]}
