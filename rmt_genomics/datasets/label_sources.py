"""Where labels come from: a table of their own, or the sequence files themselves.

``--labels`` takes the path of a table (see ``labels``), or one of these words (a table that is
called so needs its full path):

    column   the column label of a CSV or TSV of sequences
    header   label=... in the header of each record, or what a pattern finds there
    file     one file a class; the file's name without its suffixes is the label
    folder   one folder a class; the name of the folder that a file is in is the label

With ``column`` and ``header``, files called train, dev and test are the parts of the split.
"""

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rmt_genomics.datasets.examples import Example, check_kinds
from rmt_genomics.datasets.label_checks import listed
from rmt_genomics.datasets.labels import COLUMNS, SPLIT_WORDS, Fields, read_labels, warn_of_unused
from rmt_genomics.dna.compression import check_is_file
from rmt_genomics.dna.record_types import RecordInfo
from rmt_genomics.dna.sequence_tables import stem_of
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsWarning

HEADER_PATTERN = r"\blabel=([^\s\]|,]+)"
"""Finds ``label=lytic``, with or without brackets around it."""

_REMEDIES = {
    "column": "Fill in the column 'label' of the sequence table.",
    "header": "Write label=... into each header, or give --label-pattern.",
}


@dataclass(frozen=True, slots=True)
class LabelSource:
    """Says where labels come from. Checks itself.

    Args:
        path: A table, or one of the words above.
        pattern: For ``header``: a regular expression whose one group is the label; searched in
            the whole header of a record, its name included.

    Raises:
        ConfigError: If the pattern cannot be used.
    """

    path: Path
    pattern: str | None = None

    def __post_init__(self) -> None:
        if self.pattern is None:
            return
        if str(self.path) != "header":
            raise ConfigError(
                f"--label-pattern is {self.pattern!r}, but it is for --labels header only, and "
                f"--labels is {str(self.path)!r}. Leave one of them out."
            )
        try:
            groups = re.compile(self.pattern).groups
        except re.error as error:
            raise ConfigError(
                f"--label-pattern {self.pattern!r} is no regular expression ({error})."
            ) from error
        if groups != 1:
            raise ConfigError(
                f"--label-pattern {self.pattern!r} has {groups} groups, but must have one, the "
                "label. Put it in (...), and write other brackets (?:...)."
            )

    @classmethod
    def of(cls, labels: "Path | LabelSource") -> "LabelSource":
        """Take a path for the table it names, or the word it is."""
        return labels if isinstance(labels, LabelSource) else cls(labels)

    @property
    def table(self) -> Path | None:
        """The table, if the labels have one of their own."""
        return None if str(self.path) in _LABELS else self.path

    def __str__(self) -> str:
        return str(self.path) if self.table else f"--labels {self.path}"

    def check(self) -> None:
        """Raise DataError if there is no such table, before long work is done in vain."""
        if self.table is not None:
            check_is_file(self.table, f"a labels file (or one of {', '.join(_LABELS)})")

    def read(
        self, records: Sequence[RecordInfo], *, group_column: str = "group", task: str = "auto"
    ) -> list[Example]:
        """Label the records, or intervals of them.

        Args:
            records: All there are, in file order.
            group_column: As in ``read_labels``; the columns are those of the sequence table.
            task: As in ``read_labels``.

        Raises:
            DataError: If a record has no label, or a label breaks a rule.
            ConfigError: If there is no such column.
        """
        lengths = {record.name: record.length for record in records}
        if self.table is not None:
            return read_labels(self.table, lengths, group_column=group_column, task=task)
        rows = [_cells(record, self) for record in records]
        may_have_none = task == "multilabel" or any(";" in row.get("label", "") for row in rows)
        _check_labelled(self, records, rows, may_have_none=may_have_none)
        _check_group_column(self, rows, group_column)
        _warn_of_unused(self, records, group_column)
        if str(self.path) in _WITH_SPLIT:
            _add_splits(self, records, rows)
        examples = [
            Fields(f"{record.file}: record {record.name!r}", row).example(
                lengths, group_column, may_have_none=may_have_none
            )
            for record, row in zip(records, rows, strict=True)
        ]
        places = [f"record {record.name!r}" for record in records]
        check_kinds(str(self), [each.labels for each in examples], places, task)
        return examples

    def check_classes(self, examples: Sequence[Example]) -> None:
        """Raise DataError if all examples are one class since they are in one folder or file.

        To be called before something is learned from them; judging one class is fine.
        """
        labels = {label for example in examples for label in example.labels}
        if str(self.path) in _WHERE_CLASSES_ARE and len(labels) == 1:
            raise DataError(
                f"{self}: all {len(examples)} examples are in one {self.path} and have the label "
                f"{labels.pop()!r}, but there must be two classes at least. Give the folder that "
                f"holds {_WHERE_CLASSES_ARE[str(self.path)]}."
            )


def _by_column(record: RecordInfo, _: str) -> dict[str, str]:
    return {name: cell for name, cell in record.columns.items() if name not in _PLACES}


def _by_header(record: RecordInfo, pattern: str) -> dict[str, str]:
    found = re.search(pattern, f"{record.name} {record.description}")
    return {"label": found[1] or ""} if found else {}


def _by_file(record: RecordInfo, _: str) -> dict[str, str]:
    return {"label": stem_of(record.file)}


def _by_folder(record: RecordInfo, _: str) -> dict[str, str]:
    return {"label": record.file.absolute().parent.name}


_LABELS: dict[str, Callable[[RecordInfo, str], dict[str, str]]] = {
    "column": _by_column,
    "header": _by_header,
    "file": _by_file,
    "folder": _by_folder,
}
_WHERE_CLASSES_ARE = {"folder": "one folder a class", "file": "one file a class"}
_WITH_SPLIT = ("column", "header")
_PLACES = ("record", "start", "end", "strand")  # where a sequence is from, not a part of it


def _cells(record: RecordInfo, source: LabelSource) -> dict[str, str]:
    labelled = _LABELS[str(source.path)](record, source.pattern or HEADER_PATTERN)
    return {"record": record.name, **labelled}


def _check_labelled(
    source: LabelSource,
    records: Sequence[RecordInfo],
    rows: Sequence[dict[str, str]],
    *,
    may_have_none: bool,
) -> None:
    missing = [
        record.name
        for record, row in zip(records, rows, strict=True)
        if "label" not in row or not (row["label"] or may_have_none)
    ]
    if missing:
        raise DataError(
            f"{source}: {len(missing)} of {len(records)} records have no label "
            f"({listed(missing)}), but every record must have one. "
            f"{_REMEDIES.get(str(source.path), 'Check the names of files and folders.')}"
        )


def _check_group_column(
    source: LabelSource, rows: Sequence[dict[str, str]], group_column: str
) -> None:
    if group_column != "group" and (lacking := sum(group_column not in row for row in rows)):
        raise ConfigError(
            f"data.group is {group_column!r}, but with {source} {lacking} of {len(rows)} records "
            "have no such column. Use a labels table that has it, or data.group 'record'."
        )


def _warn_of_unused(source: LabelSource, records: Sequence[RecordInfo], group_column: str) -> None:
    """Warn of columns of the sequence table that are not used."""
    used = [*COLUMNS, group_column] if str(source.path) == "column" else [group_column]
    columns = dict.fromkeys(column for record in records for column in record.columns)
    warn_of_unused(str(source), columns, [each for each in used if each not in _PLACES])


def _add_splits(
    source: LabelSource, records: Sequence[RecordInfo], rows: Sequence[dict[str, str]]
) -> None:
    """Take the parts from the files' names if all of them are names of parts."""
    stems = {record.file: stem_of(record.file).lower() for record in records}
    if len(set(stems.values()) & set(SPLIT_WORDS)) < 2 or set(stems.values()) - set(SPLIT_WORDS):
        return
    if any("split" in row for row in rows):
        return
    for record, row in zip(records, rows, strict=True):
        row["split"] = stems[record.file]
    warnings.warn(
        f"{source}: the files {', '.join(dict.fromkeys(file.name for file in stems))} are taken "
        "as the parts of the split, by their names.",
        RMTGenomicsWarning,
        stacklevel=4,
    )
