"""Which examples a model was trained on, as ``split.tsv`` in the folder of its run tells."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from rmt_genomics.datasets.examples import Example
from rmt_genomics.datasets.rows import read_rows
from rmt_genomics.dna.interval import Interval
from rmt_genomics.errors import RMTGenomicsWarning

_Place = tuple[str, str, str]


def warn_if_trained_on(model_dir: str | Path, examples: Sequence[Example], sha256: str) -> None:
    """Warn of examples that the model saw in training: it may know them by heart.

    Args:
        model_dir: A model folder or a hub id. Without ``split.tsv`` in it nothing is known.
        examples: Those to be judged.
        sha256: Of their sequences. If the model's were others, records of one name and length may
            be alike or not, and the warning says no more than that.
    """
    split_file = Path(model_dir) / "split.tsv"
    if not split_file.is_file():
        return
    known = _train_places(split_file)
    count = sum(_place_of(example) in known for example in examples)
    if not count:
        return
    if _has_line(Path(model_dir) / "environment.txt", f"fasta_sha256: {sha256}"):
        found = "were trained on by this model, so the figures flatter it"
    else:
        found = (
            "have the name and length of one that this model was trained on, in another file: "
            "if the sequences are the same, the figures flatter it"
        )
    warnings.warn(
        f"{split_file}: {count} of {len(examples)} examples {found}. "
        "Judge it on others, or mark those in a split column.",
        RMTGenomicsWarning,
        stacklevel=3,
    )


def train_examples(model_dir: str | Path) -> list[Example]:
    """Return what a model was trained on, as far as its folder tells; empty if it does not."""
    split_file = Path(model_dir) / "split.tsv"
    if not split_file.is_file():
        return []
    return [
        Example(
            Interval(row["record"], int(row["start"]), int(row["end"])),
            whole=False,
            labels=tuple(label for label in row["label"].split(";") if label),
        )
        for row in _train_rows(split_file)
    ]


def _train_places(split_file: Path) -> set[_Place]:
    return {(row["record"], row["start"], row["end"]) for row in _train_rows(split_file)}


def _train_rows(split_file: Path) -> list[dict[str, str]]:
    header, *rows = (row.cells for row in read_rows(split_file, "a table of a run's split"))
    named = (dict(zip(header, cells, strict=False)) for cells in rows)
    return [row for row in named if row.get("split") == "train"]


def _place_of(example: Example) -> _Place:
    """Record, start and end (0-based, half-open); the other strand would be known as well."""
    place = example.interval
    return place.record, str(place.start), str(place.end)


def _has_line(path: Path, line: str) -> bool:
    return path.is_file() and line in path.read_text(encoding="utf-8").splitlines()
