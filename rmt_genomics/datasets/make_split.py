"""Divide labelled examples as ``rmt-genomics split`` does: groups, parts, and a table of both."""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from rmt_genomics.datasets.clusters import clusters_from_file, homology_groups
from rmt_genomics.datasets.examples import SPLITS, Example, LabelScheme, warn_of_regression
from rmt_genomics.datasets.label_checks import in_file
from rmt_genomics.datasets.label_sources import LabelSource
from rmt_genomics.datasets.label_table import as_cell, read_rows
from rmt_genomics.datasets.sequence_store import EncodedStore
from rmt_genomics.datasets.splits import (
    Split,
    bin_edges,
    places_in,
    split_by_shares,
    split_examples,
)
from rmt_genomics.dna.compression import open_decompressed
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


_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
_QUOTED = r'"(?:[^"]|"")*"'
_SEPARATORS = {"tab": "\t", "comma": ","}


def with_columns(path: Path, columns: Mapping[str, Sequence[str]]) -> str | None:
    """Return the text of a labels table with more columns, or with new values in those it has.

    Args:
        path: A table that ``read_labels`` has read.
        columns: The values of each column, one a line below the header.

    Returns:
        The text; None if the table has no header of our names to add to (BED has none).
    """
    header, *rows = read_rows(path, "a labels file")
    if not {"record", "label"} <= set(header.cells) or header.separator not in _SEPARATORS:
        return None
    with open_decompressed(path) as handle:
        lines = _LINE.findall(handle.read().decode("utf-8"))
    cells = [list(columns), *zip(*columns.values(), strict=True)]  # a line each, the header first
    for row, added in zip([header, *rows], cells, strict=True):
        values = dict(zip(columns, added, strict=True))
        first, last = row.number - 1, row.number + row.num_lines - 2
        text = "".join(text + end for text, end in lines[first:last]) + lines[last][0]
        filled = _filled(text, _SEPARATORS[header.separator], header.cells, values)
        lines[first : last + 1] = [("", "")] * (last - first) + [(filled, lines[last][1])]
    return "".join(text + end for text, end in lines)


def as_table(examples: Sequence[Example], columns: Mapping[str, Sequence[str]]) -> str:
    """Write a labels table anew: record or interval, label, and more columns."""
    is_whole = all(example.whole for example in examples)
    header = ["record", *([] if is_whole else ["start", "end", "strand"]), "label", *columns]
    lines = [header]
    for example, more in zip(examples, zip(*columns.values(), strict=True), strict=True):
        place = example.interval
        interval = [] if is_whole else [str(place.start), str(place.end), place.strand]
        row = [place.record, *interval, ";".join(example.labels), *more]
        lines.append([as_cell(cell) for cell in row])
    return "".join("\t".join(line) + "\n" for line in lines)


def _filled(line: str, separator: str, names: list[str], values: Mapping[str, str]) -> str:
    """Set cells of one line; if all of them are new, the line keeps its very bytes."""
    old = {name: value for name, value in values.items() if name in names}
    if old:
        cells = _written(line, separator)
        for name, value in old.items():
            cells[names.index(name)] = _joined([value], separator)
        line = separator.join(cells)
    new = [value for name, value in values.items() if name not in names]
    return separator.join([line, *(_joined([each], separator) for each in new)])


def _written(line: str, separator: str) -> list[str]:
    """Cut a line into its cells as they are written, quotes included."""
    return re.findall(rf"(?:^|(?<={separator}))({_QUOTED}|[^{separator}]*)(?={separator}|\Z)", line)


def _joined(cells: list[str], separator: str) -> str:
    """Join cells; where commas are between them, a cell that has one is quoted."""
    if separator == "\t":
        return separator.join(map(as_cell, cells))
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


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
