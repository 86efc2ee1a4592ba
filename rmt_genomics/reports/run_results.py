"""What a run or an evaluation left in its folder, read once for a report."""

import csv
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rmt_genomics.errors import DataError

Row = Mapping[str, str]

_ANSWERS = ("predicted", "prediction", "label")  # columns that may hold what a regression says


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The files of one folder. What is not there is empty."""

    name: str
    """Of the folder."""

    metrics: Mapping[str, Any]
    """``metrics.json``."""

    leakage: Mapping[str, Any]
    """``leakage.json``."""

    split: Sequence[Row]
    """``split.tsv``: an example a row."""

    predictions: Sequence[Row]
    """``predictions.tsv``: an example a row."""

    epochs: Sequence[Mapping[str, Any]]
    """``metrics.jsonl``."""

    config: str
    """``config.toml``, as text."""

    environment: Mapping[str, str]
    """``environment.txt``."""

    @property
    def task(self) -> str:
        """binary, multiclass, multilabel or regression; empty if nothing says so."""
        return str(self.metrics.get("task", ""))

    @property
    def is_regression(self) -> bool:
        """Whether a number is predicted, not a class."""
        return self.task == "regression"

    @property
    def classes(self) -> list[str]:
        """Label names; for a regression the name of what is predicted."""
        return [str(name) for name in self.metrics.get("classes", ())]

    @property
    def judged(self) -> str:
        """Which examples were judged, in words."""
        part = self.metrics.get("split", "all")
        examples = (
            "1 example" if self.metrics.get("n") == 1 else f"{self.metrics.get('n')} examples"
        )
        return examples if part == "all" else f"{examples} of the {part} part"

    @cached_property
    def settings(self) -> dict[str, object]:
        """The config by dotted keys."""
        tables = tomllib.loads(self.config)
        return {
            f"{section}.{key}": value
            for section, table in tables.items()
            if isinstance(table, dict)
            for key, value in table.items()
        }

    @cached_property
    def answers(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Truth as 0/1 and probabilities, both ``(n, c)``; None without a table of them."""
        columns = [f"prob_{name}" for name in self.classes]
        if not self.predictions or not columns or columns[0] not in self.predictions[0]:
            return None
        truths = [row["truth"].split(";") for row in self.predictions]
        truth = np.array([[name in each for name in self.classes] for each in truths], dtype=int)
        return truth, np.array([[float(row[key]) for key in columns] for row in self.predictions])

    @cached_property
    def values(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Truth and prediction of a regression, both ``(n,)``; None without a table of them."""
        if not self.predictions or not self.is_regression:
            return None
        columns = (*_ANSWERS, *self.classes)
        said = next((key for key in columns if key in self.predictions[0]), None)
        if said is None:
            return None
        both = np.array([(float(row["truth"]), float(row[said])) for row in self.predictions])
        return both[:, 0], both[:, 1]


def read_findings(folder: Path) -> Findings:
    """Read what is there.

    Raises:
        DataError: If a file is damaged.
    """
    lines = _text(folder / "metrics.jsonl").splitlines()
    environment = (line.partition(": ") for line in _text(folder / "environment.txt").splitlines())
    return Findings(
        name=folder.resolve().name,
        metrics=_object(folder / "metrics.json"),
        leakage=_object(folder / "leakage.json"),
        split=_rows(folder / "split.tsv"),
        predictions=_rows(folder / "predictions.tsv"),
        epochs=[_parsed(line, folder / "metrics.jsonl") for line in lines if line],
        config=_text(folder / "config.toml"),
        environment={name: value for name, _, value in environment if name},
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _object(path: Path) -> Mapping[str, Any]:
    text = _text(path)
    return _parsed(text, path) if text else {}


def _parsed(text: str, path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise DataError(
            f"{path}: is not readable as JSON ({error}), but must be as rmt-genomics wrote it. "
            "Evaluate anew."
        ) from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds {text[:20]!r}, but must hold an object. Evaluate anew.")
    return found


def _rows(path: Path) -> Sequence[Row]:
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
