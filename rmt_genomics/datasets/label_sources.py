"""Where labels come from: a table of their own, or the sequence files themselves.

``--labels`` takes the path of a table (see ``labels``), or one of these names (a table with such a
name needs its full path):

    column   the column ``label`` of a CSV or TSV file of sequences
    header   label=... in the header of each record, or what a pattern finds there
    file     one file per class; the file's name without its suffixes is the label
    folder   one folder per class; the first folder on the way to a file is the label

With ``column`` and ``header``, files called train, dev and test are the parts of the split.
"""

import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

from rmt_genomics.datasets.examples import Example, without_small_classes
from rmt_genomics.datasets.label_checks import (
    SKIP_UNLABELLED,
    check_label_kinds,
    check_unlabelled,
    quoted,
    warn_of_skipped,
    warn_of_unused_columns,
)
from rmt_genomics.datasets.label_table import read_table
from rmt_genomics.datasets.labels import COLUMNS, SPLIT_NAMES, parse_example, read_labels
from rmt_genomics.dna.compression import check_is_file
from rmt_genomics.dna.record_names import stem_of
from rmt_genomics.dna.record_types import RecordInfo
from rmt_genomics.dna.sequence_files import label_column
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsWarning, counted
from rmt_genomics.parsing import as_path, shown

logger = logging.getLogger(__name__)

HEADER_PATTERN = r"\blabel=([^\s\]|,]+)"
"""Finds ``label=lytic``, with or without brackets around it."""

_REMEDIES = {
    "column": "Fill in the column 'label' of the sequence table",
    "header": "Write label=... into each header, or give --label-pattern",
    "file": "Check the names of the files",
    "folder": "Check the names of the folders",
}
"""By name of a source: what to do if it gives no label."""

NEW_SPLIT = (
    "Make a new split: rmt-genomics split --by homology (if that was made at a higher identity, "
    "set data.identity to it)."
)

_LOCATION_COLUMNS = ("record", "start", "end", "strand")
"""Columns of a sequence table that say where a sequence is from; the example is all of it."""


@dataclass(frozen=True, slots=True)
class LabelSource:
    """Where labels come from: a table, or one of the names above.

    The pattern, for ``header``, is a regular expression whose one group is the label; searched in
    the whole header of a record, its name included.

    Raises:
        ConfigError: If the pattern cannot be used.
    """

    path: str | Path
    pattern: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", as_path(self.path, "a labels table"))
        if self.pattern is None:
            return
        if str(self.path) != "header":
            raise ConfigError(
                f"--label-pattern is {self.pattern!r}, but it is for --labels header only, and "
                f"--labels is {str(self.path)!r}. Remove one of them."
            )
        try:
            groups = re.compile(self.pattern).groups
        except re.error as error:
            raise ConfigError(
                f"--label-pattern {self.pattern!r} is not a regular expression ({error}), but must "
                "be one. Put the label in (...), as in class=(.*)."
            ) from error
        if groups != 1:
            raise ConfigError(
                f"--label-pattern {self.pattern!r} has {counted(groups, 'group')}, but must have "
                "one, the label. Put it in (...), and write other brackets (?:...)."
            )

    @property
    def new_split(self) -> str:
        """What to do if examples of different parts are similar."""
        return NEW_SPLIT

    @classmethod
    def of(
        cls, labels: "str | Path | LabelSource | None", fasta: str | Path | None = None
    ) -> "LabelSource":
        """Return a path as the source that it names; a source as it is.

        If there is none, it is the column ``label`` of the sequence files, which must have it.
        """
        if labels is None and fasta is not None:
            if not label_column(fasta):
                raise DataError(
                    f"{fasta}: no labels were given and there is no column 'label', but labels are "
                    f"needed. Pass --labels: a table, or one of {', '.join(_REMEDIES)}; or set "
                    "simulation.task to train on simulated examples."
                )
            logger.info("Labels: the column 'label' of %s.", fasta)
            return cls("column")
        if isinstance(labels, LabelSource):
            return labels
        return cls(as_path(labels, "a labels table"))

    @property
    def table(self) -> Path | None:
        """The labels table, or None if the labels are in the sequence files."""
        return None if str(self.path) in _REMEDIES else Path(self.path)

    def __str__(self) -> str:
        return str(self.path) if self.table else f"--labels {self.path}"

    def check(self) -> None:
        """Raise DataError if the table does not exist, before long work is done in vain."""
        if self.table is not None:
            check_is_file(self.table, f"a labels file (or one of {', '.join(_REMEDIES)})")

    def has_intervals(self) -> bool:
        """Whether examples are intervals, by the header of the table.

        Raises:
            DataError: If the table cannot be read.
        """
        if self.table is None:
            return False
        with warnings.catch_warnings(action="ignore"):  # they come when the labels are read
            return "start" in read_table(self.table, "a labels file").header.cells

    def read(
        self,
        records: Sequence[RecordInfo],
        *,
        group_column: str = "group",
        task: str = "auto",
        unlabelled: str = "error",
        min_class_size: int = 1,
    ) -> list[Example]:
        """Label the records, which are all of the sequence files, or intervals of them.

        ``group_column``, ``task`` and ``unlabelled`` are those of ``read_labels``. Examples of a
        class with fewer than ``min_class_size`` are left out, with a warning.

        Raises:
            DataError: If a record has no label, or a label breaks a rule.
            ConfigError: If there is no such column.
        """
        if self.table is not None:
            lengths = {record.name: record.length for record in records}
            examples = read_labels(
                self.table, lengths, group_column=group_column, task=task, unlabelled=unlabelled
            )
        else:
            examples = self._read_records(records, group_column, task, unlabelled)
        return without_small_classes(str(self), examples, min_class_size, task)

    def _read_records(
        self, records: Sequence[RecordInfo], group_column: str, task: str, unlabelled: str
    ) -> list[Example]:
        """Label the records by what is in the sequence files."""
        lengths = {record.name: record.length for record in records}
        rows = [{"record": record.name, **self._cells(record)} for record in records]
        kind = str(self.path)
        if kind in ("file", "folder"):
            for label in {row["label"] for row in rows}:
                if ";" in label:
                    raise DataError(
                        f"{self}: the {kind} {shown(label)} has ';' in its name, but ';' joins "
                        f"several labels. Rename the {kind}."
                    )
        may_lack_label = task == "multilabel" or any(";" in row.get("label", "") for row in rows)
        if check_unlabelled(unlabelled) == "skip":
            is_labelled = [_is_labelled(row, may_lack_label=may_lack_label) for row in rows]
            names = [
                row["record"] for row, is_kept in zip(rows, is_labelled, strict=True) if not is_kept
            ]
            rows, records = list(compress(rows, is_labelled)), list(compress(records, is_labelled))
            warn_of_skipped(str(self), {"records without a label": names}, len(rows))
        self._check_rows(rows, group_column, may_lack_label=may_lack_label)
        used = [*COLUMNS, group_column] if kind == "column" else [group_column]
        columns = dict.fromkeys(column for record in records for column in record.columns)
        warn_of_unused_columns(str(self), columns, set(used) - set(_LOCATION_COLUMNS))
        if kind in ("column", "header"):
            self._add_splits(records, rows)
        examples = [
            parse_example(
                f"{record.file}: record {record.name!r}",
                row,
                lengths,
                group_column=group_column,
                may_lack_label=may_lack_label,
            )
            for record, row in zip(records, rows, strict=True)
        ]
        given = [example.labels for example in examples]
        check_label_kinds(str(self), given, lambda index: f"record {records[index].name!r}", task)
        return examples

    def check_classes(self, examples: Sequence[Example]) -> None:
        """Raise DataError if all examples are of one class because they are in one folder or file.

        To be called before training; evaluating one class is fine.
        """
        kind = str(self.path)
        labels = {label for example in examples for label in example.labels}
        if kind in ("folder", "file") and len(labels) == 1:
            raise DataError(
                f"{self}: all {len(examples)} examples are in one {kind} and have the label "
                f"{labels.pop()!r}, but there must be at least two classes. Give the folder that "
                f"has one {kind} per class."
            )

    def _cells(self, record: RecordInfo) -> dict[str, str]:
        """Return the cells that a labels table would have for a record, without ``record``."""
        match str(self.path):
            case "column":
                columns = record.columns.items()
                return {name: cell for name, cell in columns if name not in _LOCATION_COLUMNS}
            case "header":
                header = f"{record.name} {record.description}".rstrip()
                match = re.search(self.pattern or HEADER_PATTERN, header)
                return {"label": match[1] or ""} if match else {}
            case "file":
                return {"label": stem_of(record.file)}
            case _:
                return {"label": record.folder}

    def _check_rows(
        self, rows: Sequence[dict[str, str]], group_column: str, *, may_lack_label: bool
    ) -> None:
        """Check that all records have a label, and a group if its column is named."""
        unlabelled = [
            row["record"] for row in rows if not _is_labelled(row, may_lack_label=may_lack_label)
        ]
        if unlabelled:
            others = (
                "" if len(unlabelled) == len(rows) else f", or leave them out: {SKIP_UNLABELLED}"
            )
            raise DataError(
                f"{self}: no label for {len(unlabelled)} of {len(rows)} records "
                f"({quoted(unlabelled)}), but every record must have one. "
                f"{_REMEDIES[str(self.path)]}{others}."
            )
        if group_column != "group" and (lacking := sum(group_column not in row for row in rows)):
            raise ConfigError(
                f"data.group is {group_column!r}, but with {self} there is no such column for "
                f"{lacking} of {len(rows)} records. Use a labels table that has it, or data.group "
                "'record'."
            )

    def _add_splits(self, records: Sequence[RecordInfo], rows: Sequence[dict[str, str]]) -> None:
        """Take the parts of the split from the names of the files if all are names of parts."""
        stems = {record.file: stem_of(record.file).lower() for record in records}
        names = set(stems.values())
        if len(names) < 2 or not names <= SPLIT_NAMES.keys() or any("split" in row for row in rows):
            return
        for record, row in zip(records, rows, strict=True):
            row["split"] = stems[record.file]
        warnings.warn(
            f"{self}: the files {', '.join(dict.fromkeys(file.name for file in stems))} are taken "
            "as the parts of the split, by their names.",
            RMTGenomicsWarning,
            stacklevel=3,
        )


def _is_labelled(row: Mapping[str, str], *, may_lack_label: bool) -> bool:
    return "label" in row and bool(row["label"] or may_lack_label)
