"""Make the split of ``rmt-genomics split``: groups, parts, and a labels table with both."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from rmt_genomics.datasets.clusters import Homology, clusters_from_file
from rmt_genomics.datasets.examples import SPLITS, Example, LabelScheme
from rmt_genomics.datasets.homology_split import check_identity, split_by_homology
from rmt_genomics.datasets.label_checks import in_file, warn_of_regression
from rmt_genomics.datasets.label_sources import LabelSource
from rmt_genomics.datasets.label_table import quote_cell, read_table
from rmt_genomics.datasets.sequence_store import SequenceStore
from rmt_genomics.datasets.similarity import IDENTITY
from rmt_genomics.datasets.splits import (
    Split,
    bin_edges,
    bin_indices,
    split_by_fractions,
    split_examples,
)
from rmt_genomics.datasets.windows import Windows
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsWarning

METHODS = ("column", "group", "record", "homology", "stratified")
_NUM_COUNT_BINS = 5
_QUOTED = r'"(?:[^"]|"")*"'


@dataclass(frozen=True, slots=True)
class SplitResult:
    """A split, and the labels table that says so."""

    method: str  # one of ``METHODS``
    split: Split
    scheme: LabelScheme
    labels: LabelSource
    examples: Sequence[Example]
    columns: Mapping[str, Sequence[str]]
    """The columns ``group`` (if there are any) and ``split``, one value per example."""

    identity: float = IDENTITY
    """Estimated identity from which on two sequences count as similar."""

    windows: Windows | None = None

    @property
    def table(self) -> str:
        """The text of the labels table with these columns.

        It is a new table if the labels are in a BED file without a header, or in the sequence
        files, or if the examples are windows.
        """
        table = None
        if self.labels.table is not None and self.windows is None:
            table = add_columns(self.labels.table, self.columns)
        return table or format_table(self.examples, self.columns)

    def counts(self) -> list[list[str]]:
        """Return the number of examples of each class in each part, as a table.

        It has a header and a last row for all. Labels that are numbers are counted in bins.
        """
        parts: list[tuple[Example, ...]] = [getattr(self.split, name) for name in SPLITS]
        if self.scheme.task == "regression":
            values = [self.scheme.numbers(part) for part in parts]
            everything = np.concatenate(values)
            edges = bin_edges(everything, _NUM_COUNT_BINS)
            ends = pairwise([everything.min(), *edges, everything.max()])
            names = [f"{low:.6g} to {high:.6g}" for low, high in ends]
            columns = [
                np.bincount(bin_indices(edges, of_part), minlength=len(names)) for of_part in values
            ]
        else:
            names = list(self.scheme.classes)
            columns = [self.scheme.multi_hot(part).sum(axis=0, dtype=np.int64) for part in parts]
        rows = [[name, *map(str, row)] for name, *row in zip(names, *columns, strict=True)]
        return [["label", *SPLITS], *rows, ["(all)", *(str(len(part)) for part in parts)]]


def make_split(  # noqa: PLR0913 (the options of the command line)
    store: SequenceStore,
    labels: LabelSource,
    fractions: Mapping[str, float],
    *,
    method: str | None = None,
    clusters: Path | None = None,
    identity: float | None = None,
    windows: Windows | None = None,
    seed: int = 0,
    task: str = "auto",
    **options: Any,
) -> SplitResult:
    """Read labels and split their examples, by default as the labels have a column for it.

    ``method`` is one of ``METHODS``. For ``column``, only the ratio of the ``fractions`` of train
    and validation counts, where the column does not name a validation part; ``homology``, the
    default without a column, may use a file of ``clusters``, and without one takes an estimated
    ``identity`` (see ``split_by_homology``). ``windows`` cuts the examples; homology is that of the
    examples before. ``options`` are ``unlabelled`` and ``min_class_size`` of ``LabelSource.read``.

    Raises:
        ConfigError: If the settings do not fit together.
        DataError: If the labels, the clusters or the parts break a rule.
    """
    if identity is not None:
        check_identity(identity)
    examples = labels.read(store.records(), task=task, **options)
    labels.check_classes(examples)
    if method is None:
        method = "homology" if clusters is not None else default_method(examples)
    assign_groups(examples, method, clusters, windows)
    with in_file(str(labels)):
        if method == "homology" and clusters is None:
            examples, split, identity = _split_by_homology(
                store, examples, windows, fractions, identity=identity, seed=seed, task=task
            )
        else:
            examples = examples if windows is None else windows.cut(examples)
            split = _split_by_groups(examples, fractions, method, seed=seed, task=task)
    # The parts have the same objects, and their order.
    part_of = {id(example): name for name in SPLITS for example in getattr(split, name)}
    columns = new_columns(examples, [part_of[id(example)] for example in examples])
    scheme = LabelScheme.of(examples, task)
    warn_of_regression(str(labels), scheme.task, task)
    return SplitResult(
        method, split, scheme, labels, examples, columns, identity or IDENTITY, windows
    )


def _split_by_homology(
    store: SequenceStore,
    examples: list[Example],
    windows: Windows | None,
    fractions: Mapping[str, float],
    *,
    identity: float | None,
    seed: int,
    task: str,
) -> tuple[list[Example], Split, float]:
    """Return the examples with their groups, or windows of them; their split; its identity."""
    lowest = IDENTITY if identity is None else identity
    homology = Homology.of(store, examples, lowest, by_record=windows is not None)
    group_index: Sequence[int] = range(len(examples))
    if windows is not None:
        index_of = {example.interval.record: index for index, example in enumerate(examples)}
        examples = windows.cut(examples)
        group_index = [index_of[example.interval.record] for example in examples]
    split, identity = split_by_homology(
        examples,
        homology,
        fractions,
        group_index=group_index,
        identity=identity,
        seed=seed,
        task=task,
    )
    return examples, split, identity


def _split_by_groups(
    examples: list[Example], fractions: Mapping[str, float], method: str, *, seed: int, task: str
) -> Split:
    if method != "column":
        by_group = method != "stratified"
        return split_by_fractions(examples, fractions, by_group=by_group, seed=seed, task=task)
    fraction = fractions["validation"] / (fractions["train"] + fractions["validation"])
    return split_examples(examples, how=method, validation_fraction=fraction, seed=seed, task=task)


def default_method(examples: Sequence[Example]) -> str:
    """Return the method that uses what the labels have: a split, else groups, else neither."""
    if any(example.split is not None for example in examples):
        return "column"
    return "group" if any(example.group is not None for example in examples) else "homology"


def assign_groups(
    examples: list[Example],
    method: str,
    clusters: Path | None = None,
    windows: Windows | None = None,
) -> None:
    """Give the examples in a list groups by record or by a file of clusters, for those methods.

    Raises:
        ConfigError: If clusters are given for another method than ``homology``, or windows of a
            record would be divided.
        DataError: If the labels have groups or a split that would be replaced or divided, or the
            clusters file cannot be used.
    """
    if clusters is not None and method != "homology":
        raise ConfigError(
            f"{clusters}: clusters are given, but only a split by homology uses them, not by "
            f"{method}. Remove --clusters, or add --by homology."
        )
    if windows is not None and method == "stratified":
        raise ConfigError(
            "--by stratified divides the windows of a record, but they must stay in one part. Use "
            "--by record, or leave out --window."
        )
    if method != "column" and any(example.split is not None for example in examples):
        raise DataError(
            f"the labels have a split column, but a split by {method} would replace it. "
            "Remove the column, or use --by column."
        )
    has_groups = any(example.group is not None for example in examples)
    if has_groups and method in ("record", "homology", "stratified"):
        raise DataError(
            f"the labels have a group column, but a split by {method} would "
            f"{'divide the groups' if method == 'stratified' else 'replace it'}. "
            "Remove the column, or use --by group."
        )
    if method == "record":
        groups = [example.interval.record for example in examples]
    elif clusters is not None:
        groups = clusters_from_file(clusters, examples)
    else:
        return
    for index, group in enumerate(groups):
        examples[index] = replace(examples[index], group=group)


def is_split_table(path: Path) -> bool:
    """Whether a file is a labels table with a split, as ``rmt-genomics split`` writes it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RMTGenomicsWarning)
            table = read_table(path, "a labels file")
    except DataError:
        return False
    return table.has_header and {"record", "label", "split"} <= set(table.header.cells)


def add_columns(path: Path, columns: Mapping[str, Sequence[str]]) -> str | None:
    """Return the text of a labels table with more columns, or with new values in those it has.

    All else stays byte for byte. ``columns`` has one value per row below the header. None if the
    table has no header with our column names (as BED files).
    """
    table = read_table(path, "a labels file")
    names, separator = table.columns, table.rows.separator
    rows = iter(table.rows)
    if not table.has_header or next(rows).cells != names:
        return None
    if sum(1 for _ in rows) != len(next(iter(columns.values()))):
        return None
    lines = table.rows.lines(as_they_are=True)
    new_cells = chain([columns], zip(*columns.values(), strict=True))  # the header first
    text, num_read = StringIO(newline=""), 0
    for row, values in zip(table.rows, new_cells, strict=True):
        text.writelines(islice(lines, row.line_number - 1 - num_read))  # comments and blank lines
        num_read = row.line_number - 1 + row.num_lines
        line = "".join(islice(lines, row.num_lines))
        cells = [line.rstrip("\r\n")]
        end = line[len(cells[0]) :]
        if not columns.keys().isdisjoint(names) or len(row.cells) != len(names):
            # The cells as they are written, quotes included.
            pattern = rf"(?:^|(?<={separator}))({_QUOTED}|[^{separator}]*)(?={separator}|\Z)"
            cells = re.findall(pattern, cells[0])[: len(names)]  # more are empty
        for name, value in zip(columns, values, strict=True):
            cell = quote_cell(value, separator)
            if name in names:
                cells[names.index(name)] = cell
            else:
                cells.append(cell)
        text.write(separator.join(cells) + end)
    text.writelines(lines)
    return text.getvalue()


def new_columns(examples: Sequence[Example], parts: Sequence[str]) -> dict[str, Sequence[str]]:
    """Return the columns of a split: ``group`` if any has one, and ``split``, the parts."""
    if not any(example.group for example in examples):
        return {"split": parts}
    return {"group": [example.group or "" for example in examples], "split": parts}


def format_table(
    examples: Sequence[Example], columns: Mapping[str, Sequence[str]], *, intervals: bool = False
) -> str:
    """Return a new labels table with one row per example: record or interval, label, more columns.

    With ``intervals``, intervals are written although all examples are whole records.
    """
    is_whole = not intervals and all(example.whole for example in examples)
    rows = [["record", *([] if is_whole else ["start", "end", "strand"]), "label", *columns]]
    for example, cells in zip(examples, zip(*columns.values(), strict=True), strict=True):
        interval = example.interval
        ends = [] if is_whole else [str(interval.start), str(interval.end), interval.strand]
        row = [interval.record, *ends, ";".join(example.labels), *cells]
        rows.append([quote_cell(cell) for cell in row])
    return "".join("\t".join(row) + "\n" for row in rows)
