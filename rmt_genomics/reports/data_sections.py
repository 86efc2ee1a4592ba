"""Sections of a report on what was learned from: data, leakage, provenance."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from rmt_genomics.datasets.examples import SPLITS
from rmt_genomics.reports import plots as data_plots
from rmt_genomics.reports.html_page import (
    Cell,
    Html,
    bullets,
    folded,
    join,
    paragraph,
    plot,
    subheading,
    table,
)
from rmt_genomics.reports.run_results import Findings, Row

_PROBES = {"length": "length", "gc": "GC", "n": "share of N", "all": "all three"}
_RUN = {"train_loss": "training loss", "val_loss": "validation loss"}


def data(found: Findings) -> Html | None:
    """Say how many examples there are of each class and part, and how long they are."""
    parts: dict[str, Sequence[Row]]
    if found.split:
        present = {row.get("split") for row in found.split}
        parts = {
            name: [row for row in found.split if row.get("split") == name]
            for name in SPLITS
            if name in present
        }
        labels, source = "label", "all examples of the run"
    elif found.predictions:
        name = str(found.metrics.get("split", "all"))
        parts, labels, source = {name: found.predictions}, "truth", "the examples judged"
    else:
        return None
    describe = _values_by_part if found.is_regression else _classes_by_part
    lengths = {name: [_length_bp(row) for row in rows] for name, rows in parts.items()}
    shown = lengths if found.is_regression else _by_class(parts, labels)
    return join(
        [
            paragraph(f"These are {source}."),
            describe(parts, labels),
            subheading("Lengths (bp)"),
            _lengths_table(lengths),
            plot(
                data_plots.length_histogram(shown),
                "lengths",
                f"Lengths of {source}, by {'part' if found.is_regression else 'class'}.",
            ),
        ]
    )


def leakage(found: Findings) -> Html | None:
    """Tell what the leakage audit found."""
    audit = found.leakage
    if not audit:
        return None
    warnings = [str(text) for text in audit.get("warnings", ())]
    touched = audit.get("touched", {})
    facts: list[tuple[str, Cell]] = [
        ("pairs of near-duplicates in different parts", audit.get("near_duplicate_pairs")),
        *((f"share of {part} with one in another part", share) for part, share in touched.items()),
        ("examples that overlap one of another part", audit.get("overlapping")),
        ("examples too short to compare", audit.get("not_compared")),
    ]
    probes = [(_PROBES.get(name, name), auroc) for name, auroc in audit.get("probes", {}).items()]
    return join(
        [
            bullets(warnings, "warn")
            or paragraph("The audit found nothing that flatters the scores."),
            table(["what was looked for", "found"], facts),
            _duplicates(audit.get("near_duplicates", ())),
            subheading("What is told without the sequence"),
            paragraph(
                "A small forest learned the labels from these alone; AUROC on validation: 0.5 "
                "knows nothing, 1 all.",
                "faint",
            ),
            table(["seen", "AUROC"], probes),
        ]
    )


def provenance(found: Findings) -> Html | None:
    """Say what was run, on what, with which settings."""
    if not (found.environment or found.config or found.epochs):
        return None
    facts: list[tuple[str, Cell]] = list(found.environment.items())
    if found.epochs:
        seconds = sum(row.get("seconds") or 0.0 for row in found.epochs)
        facts.append(("epochs", str(len(found.epochs))))
        facts.append(("time of training (s)", f"{seconds:.1f}"))
    parts = Counter(row.get("split", "") for row in found.split)
    facts += [(f"examples in {name}", str(parts[name])) for name in SPLITS if parts[name]]
    return join(
        [
            table(["what", "value"], facts) if facts else None,
            folded("config.toml: every setting", found.config) if found.config else None,
        ]
    )


def _classes_by_part(parts: Mapping[str, Sequence[Row]], column: str) -> Html:
    """Count examples of each class in each part; of several labels each counts."""
    counts = {
        name: Counter(label for row in rows for label in row[column].split(";") if label)
        for name, rows in parts.items()
    }
    classes = sorted({label for each in counts.values() for label in each})
    rows: list[list[Cell]] = [[name, *(counts[part][name] for part in parts)] for name in classes]
    return table(["class", *parts], [*rows, ["examples", *map(len, parts.values())]])


def _values_by_part(parts: Mapping[str, Sequence[Row]], column: str) -> Html:
    values = {name: [float(row[column]) for row in rows] for name, rows in parts.items()}
    rows: list[list[Cell]] = [
        [name, len(each), min(each), median(each), max(each)] for name, each in values.items()
    ]
    return table(["part", "examples", "smallest value", "median", "largest"], rows)


def _lengths_table(lengths: dict[str, list[int]]) -> Html:
    rows: list[list[Cell]] = [
        [name, min(each), int(median(each)), max(each), sum(each)] for name, each in lengths.items()
    ]
    return table(["part", "shortest", "median", "longest", "sum"], rows)


def _by_class(parts: Mapping[str, Sequence[Row]], column: str) -> dict[str, list[int]]:
    lengths: defaultdict[str, list[int]] = defaultdict(list)
    for rows in parts.values():
        for row in rows:
            for label in row[column].split(";"):
                lengths[label or "no label"].append(_length_bp(row))
    return dict(sorted(lengths.items()))


def _length_bp(row: Row) -> int:
    if "length" in row:
        return int(row["length"])
    return int(row["end"]) - int(row["start"])


def _duplicates(pairs: Sequence[dict[str, Any]]) -> Html | None:
    if not pairs:
        return None
    keys = ("first", "first_part", "second", "second_part", "similarity")
    rows = [[pair.get(key) for key in keys] for pair in pairs]
    header = ["one", "part", "other", "part", "k-mers shared"]
    return join([subheading("The most alike"), table(header, rows)])
