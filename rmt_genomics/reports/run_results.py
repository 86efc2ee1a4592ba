"""The files of a run or an evaluation, read for its report, figures and model card."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rmt_genomics.errors import DataError, counted
from rmt_genomics.evaluation.tables import baseline_name, shown_baselines

Row = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class RunResults:
    """The files of one folder, and its name; a file that does not exist is empty.

    ``epochs`` is ``metrics.jsonl``, and ``config`` the text of ``config.toml``.
    """

    name: str
    metrics: Mapping[str, Any]
    leakage: Mapping[str, Any]
    split: Sequence[Row]
    predictions: Sequence[Row]
    epochs: Sequence[Mapping[str, Any]]
    config: str
    environment: Mapping[str, str]

    @property
    def task(self) -> str:
        """binary, multiclass, multilabel or regression; empty if it is not known."""
        return str(self.metrics.get("task", ""))

    @property
    def is_regression(self) -> bool:
        """Whether the model predicts a number, not a class."""
        return self.task == "regression"

    @property
    def classes(self) -> list[str]:
        """Label names; for a regression the name of the predicted quantity."""
        return [str(name) for name in self.metrics.get("classes", ())]

    @property
    def examples(self) -> str:
        """Which examples were evaluated, such as "34 examples of the test part"."""
        count = counted(int(self.metrics.get("n") or 0), "example")
        part = self.metrics.get("split", "all")
        return count if part == "all" else f"{count} of the {part} part"

    @property
    def metric_columns(self) -> dict[str, Mapping[str, Any]]:
        """The metrics of the model and of each baseline, by the name of their column."""
        columns = {"model": self.metrics}
        for key, metrics in shown_baselines(self.metrics).items():
            columns[baseline_name(key, metrics)] = metrics
        return columns

    @cached_property
    def probabilities(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Truth as 0/1 and probabilities, both ``(n, c)``; None if they are not in a table."""
        columns = [f"prob_{name}" for name in self.classes]
        if not self.predictions or not columns or columns[0] not in self.predictions[0]:
            return None
        labels = [row["truth"].split(";") for row in self.predictions]
        truth = np.array([[name in row for name in self.classes] for row in labels], dtype=int)
        return truth, np.array([[float(row[key]) for key in columns] for row in self.predictions])

    @cached_property
    def regression_values(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Truth and prediction of a regression, both ``(n,)``; None if they are not in a table."""
        if not self.predictions or not self.is_regression:
            return None
        values = np.array(
            [(float(row["truth"]), float(row["prediction"])) for row in self.predictions]
        )
        return values[:, 0], values[:, 1]


def read_run_results(folder: Path) -> RunResults:
    """Read the files that exist in the folder of a run or an evaluation.

    Raises:
        DataError: If a file is damaged.
    """
    lines = _text(folder / "metrics.jsonl").splitlines()
    environment = (line.partition(": ") for line in _text(folder / "environment.txt").splitlines())
    return RunResults(
        name=folder.resolve().name,
        metrics=_json_object(_text(folder / "metrics.json") or "{}", folder / "metrics.json"),
        leakage=_json_object(_text(folder / "leakage.json") or "{}", folder / "leakage.json"),
        split=_rows(folder / "split.tsv"),
        predictions=_rows(folder / "predictions.tsv"),
        epochs=[_json_object(line, folder / "metrics.jsonl") for line in lines if line],
        config=_text(folder / "config.toml"),
        environment={name: value for name, _, value in environment if name},
    )


def length_bp(row: Row) -> int:
    """Return the length of the example in a row of ``split.tsv`` or ``predictions.tsv``."""
    return int(row["length"]) if "length" in row else int(row["end"]) - int(row["start"])


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _json_object(text: str, path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DataError(
            f"{path}: is not readable as JSON ({error}), but must be as rmt-genomics wrote it. "
            "Evaluate again."
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds {text[:20]!r}, but must hold an object. Evaluate again.")
    return value


def _rows(path: Path) -> Sequence[Row]:
    if not path.is_file():
        return ()
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
