"""The records that simulated sequences are cut from: their groups, and the part of each group.

Groups are what must not be in two parts of a split, such as species: the model should recognise
combined DNA, not the genomes it has seen. The part of a group depends on the names of all groups
and on the seed, not on lengths; so a training and a simulation with the same genomes, groups and
seed have the same parts, whatever the length of their sequences.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rmt_genomics.datasets.examples import SPLITS
from rmt_genomics.datasets.label_checks import (
    check_records_exist,
    quoted,
    warn_of_unused_columns,
)
from rmt_genomics.datasets.label_table import Rows, Table
from rmt_genomics.datasets.sequence_store import SequenceStore
from rmt_genomics.errors import DataError, counted
from rmt_genomics.parsing import shown

FRACTIONS = {"train": 0.7, "validation": 0.15, "test": 0.15}
"""Fraction of the groups in each part."""

_COLUMNS = ("record", "group")
_PARTS = 2  # separates the random numbers from those of ``simulation`` and ``mosaics``


@dataclass(frozen=True, slots=True)
class SourceRecords:
    """The records of some sequence files, by group and part."""

    store: SequenceStore
    group_of: Mapping[str, str]
    """Group of each record, in file order."""

    part_of: Mapping[str, str]
    """Part of each group: one of ``SPLITS``."""

    groups_file: Path | None = None

    @classmethod
    def of(cls, store: SequenceStore, groups: Path | None, *, seed: int) -> "SourceRecords":
        """Read the groups of all records of a store, and divide them into parts.

        ``groups`` is a table with the header ``record  group``; None = each record is its own
        group.

        Raises:
            DataError: If the table breaks a rule, or does not have exactly the records.
        """
        group_of = {name: name for name in store.lengths}
        if groups is not None:
            group_of = read_groups(groups, store.lengths)
        return cls(store, group_of, divide_groups(group_of.values(), seed=seed), groups)

    def part(self, part: str, length_bp: int) -> dict[str, str]:
        """Return the records of a part that have at least ``length_bp``, with their groups."""
        return {
            record: group
            for record, group in self.group_of.items()
            if self.part_of[group] == part and self.store.lengths[record] >= length_bp
        }

    def check(self, parts: Collection[str], length_bp: int, *, least_groups: int) -> None:
        """Raise DataError unless each part has enough groups with a record that is long enough."""
        files, lengths = self.store.files, self.store.lengths
        where = str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
        if (longest := max(lengths.values(), default=0)) < length_bp:
            raise DataError(
                f"{where}: the longest record has {longest:,} bp, but sequences of {length_bp:,} "
                "bp are to be cut from it. Set a smaller length, or use longer genomes."
            )
        num_groups = {part: len(set(self.part(part, length_bp).values())) for part in SPLITS}
        needed = least_groups * len(SPLITS)
        in_groups = f"with a record of at least {length_bp:,} bp"
        remedy = "Add genomes of other groups" if self.groups_file else "Add records"
        if (total := sum(num_groups.values())) < needed:
            raise DataError(
                f"{self.groups_file or where}: there {'is' if total == 1 else 'are'} "
                f"{counted(total, 'group')} {in_groups}, but at least {needed} are needed: "
                f"{least_groups} for each of {', '.join(SPLITS)}. {remedy}, or set a smaller "
                "length."
            )
        for part in parts:
            if num_groups[part] < least_groups:
                raise DataError(
                    f"{self.groups_file or where}: the {part} part has "
                    f"{counted(num_groups[part], 'group')} {in_groups}, but needs {least_groups}. "
                    f"{remedy}, set a smaller length, or try another --seed, which divides the "
                    "groups in another way."
                )


def read_groups(path: Path, lengths: Mapping[str, int]) -> dict[str, str]:
    """Read the group of each record, in the order of ``lengths``, which has all of them.

    Raises:
        DataError: At the first line that breaks a rule, or if records are missing on one side.
    """
    rows = Rows(path, "a table of groups")
    header = next(iter(rows), None)
    if header is None or any(header.cells.count(column) != 1 for column in _COLUMNS):
        found = "the file is empty" if header is None else f"the header is {shown(header.cells)}"
        raise DataError(
            f"{header.where if header else path}: {found}, but must have the columns record and "
            "group once each, separated by tabs. Write 'record', a tab and 'group' into the first "
            "line."
        )
    warn_of_unused_columns(header.where, header.cells, _COLUMNS)
    groups: dict[str, str] = {}
    lines: dict[str, int] = {}
    for row, cells in Table(header, rows, has_header=True):
        record, group = (cells[column] for column in _COLUMNS)
        if not (record and group):
            raise DataError(
                f"{row.where}: the {'group' if record else 'record'} is empty, but every line must "
                "have both. Fill it in, or remove the record from the genomes too."
            )
        if record in groups:
            raise DataError(
                f"{row.where}: the record {shown(record)} was already at line {lines[record]}, but "
                "must have one line. Remove one of them."
            )
        groups[record], lines[record] = group, row.line_number
    check_records_exist(
        path, lines, lengths, to_leave_out="Remove these lines, or add the records to the genomes."
    )
    if missing := [record for record in lengths if record not in groups]:
        raise DataError(
            f"{path}: no group for {len(missing)} of {len(lengths)} records of the genomes "
            f"({quoted(missing)}), but every record must have one. Add their lines, or remove "
            "them from the genomes."
        )
    return {record: groups[record] for record in lengths}


def divide_groups(groups: Iterable[str], *, seed: int) -> dict[str, str]:
    """Return the part of each group, at random in the fractions of ``FRACTIONS``.

    Validation and test have at least two groups if there are six.
    """
    names = sorted(set(groups))
    order = [
        names[index] for index in np.random.default_rng((seed, _PARTS)).permutation(len(names))
    ]
    least = min(2, len(names) // len(SPLITS))
    ends = {part: max(least, round(FRACTIONS[part] * len(names))) for part in SPLITS[1:]}
    parts = [part for part, number in ends.items() for _ in range(number)]
    return dict(zip(order, parts + ["train"] * (len(order) - len(parts)), strict=True))
