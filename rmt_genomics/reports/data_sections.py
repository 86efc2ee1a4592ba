"""What the report shows on the data: split, leakage audit, provenance."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from rmt_genomics.datasets.examples import SPLITS
from rmt_genomics.reports import plots
from rmt_genomics.reports.formatting import Cell, Table, number
from rmt_genomics.reports.plot_files import plot
from rmt_genomics.reports.run_results import Row, RunResults, length_bp

_PROBES = {"length": "length", "gc": "GC", "n": "fraction of N", "all": "all three"}


def data(results: RunResults) -> dict[str, Any] | None:
    """Show the number and the lengths of examples by class and part of the split."""
    parts: dict[str, Sequence[Row]]
    if results.split:
        present = {row.get("split") for row in results.split}
        parts = {
            name: [row for row in results.split if row.get("split") == name]
            for name in SPLITS
            if name in present
        }
        labels, source = "label", "all examples of the run"
        if results.is_simulated:
            source = "the source records, of which examples were made anew in each epoch"
    elif results.predictions:
        name = str(results.metrics.get("split", "all"))
        parts, labels, source = {name: results.predictions}, "truth", "the evaluated examples"
    else:
        return None
    counts = _values_by_part if results.is_regression else _classes_by_part
    lengths = {name: [length_bp(row) for row in rows] for name, rows in parts.items()}
    drawn = lengths if results.is_regression else _lengths_by_class(parts, labels)
    grouping = "part" if results.is_regression else "class"
    caption = f"Lengths of {source}, by {grouping}."
    return {
        "source": source,
        "rows": _rows_of(results),
        "counts": counts(parts, labels),
        "lengths": Table(
            ["part", "shortest", "median", "longest", "sum"],
            [[name, min(n), int(median(n)), max(n), sum(n)] for name, n in lengths.items()],
        ),
        "plot": plot(plots.length_histogram(drawn), "lengths", caption),
    }


def leakage(results: RunResults) -> dict[str, Any] | None:
    """Show the findings of the leakage audit."""
    audit = results.leakage
    if not audit:
        return None
    checks: list[tuple[str, Cell]] = [
        ("near-duplicate pairs in different parts", audit.get("near_duplicate_pairs")),
        *(
            (f"fraction of {part} with a near-duplicate in another part", fraction)
            for part, fraction in audit.get("touched", {}).items()
        ),
        ("examples that overlap an example of another part", audit.get("overlapping")),
        ("examples too short to compare", audit.get("not_compared")),
    ]
    keys = ("first", "first_part", "second", "second_part", "identity", "similarity")
    pairs = [[pair.get(key) for key in keys] for pair in audit.get("near_duplicates", ())]
    probes = [(_PROBES.get(name, name), auroc) for name, auroc in audit.get("probes", {}).items()]
    return {
        "warnings": [str(text) for text in audit.get("warnings", ())],
        "checks": Table(["check", "result"], checks),
        "near_duplicates": Table(
            ["first", "part", "second", "part", "identity", "shared k-mers"], pairs
        ),
        "probes": Table(["features", "AUROC"], probes),
    }


def provenance(results: RunResults) -> dict[str, Any] | None:
    """Show the command, the model or the environment of its training, the data and the settings."""
    evaluation: Mapping[str, str] = results.metrics.get("provenance") or {}
    if not (results.environment or results.config or results.epochs or evaluation):
        return None
    facts: list[tuple[str, Cell]] = [*(evaluation or results.environment).items()]
    if results.epochs:
        seconds = sum(row.get("seconds") or 0.0 for row in results.epochs)
        facts.append(("epochs", number(len(results.epochs))))
        facts.append(("training time (s)", number(seconds)))
    parts = Counter(row.get("split", "") for row in results.split)
    rows = _rows_of(results)
    facts += [(f"{rows} in {name}", number(parts[name])) for name in SPLITS if parts[name]]
    return {"facts": Table(["item", "value"], facts), "config": results.config}


def _rows_of(results: RunResults) -> str:
    """Return what the rows of ``split.tsv`` are."""
    return "source records" if results.is_simulated else "examples"


def _classes_by_part(parts: Mapping[str, Sequence[Row]], column: str) -> Table:
    """Count the examples of each class in each part; an example may have several labels."""
    counts = {
        name: Counter(label for row in rows for label in row[column].split(";") if label)
        for name, rows in parts.items()
    }
    classes = sorted({label for counter in counts.values() for label in counter})
    rows: list[list[Cell]] = [[name, *(counts[part][name] for part in parts)] for name in classes]
    return Table(
        ["class", *parts], [*rows, ["examples" if classes else "all", *map(len, parts.values())]]
    )


def _values_by_part(parts: Mapping[str, Sequence[Row]], label: str) -> Table:
    values = {name: [float(row[label]) for row in rows] for name, rows in parts.items()}
    rows: list[list[Cell]] = [
        [name, len(column), min(column), median(column), max(column)]
        for name, column in values.items()
    ]
    return Table(["part", "examples", "lowest value", "median", "highest"], rows)


def _lengths_by_class(parts: Mapping[str, Sequence[Row]], column: str) -> dict[str, list[int]]:
    lengths: defaultdict[str, list[int]] = defaultdict(list)
    for rows in parts.values():
        for row in rows:
            for label in row[column].split(";"):
                lengths[label or "no label"].append(length_bp(row))
    return dict(sorted(lengths.items()))
