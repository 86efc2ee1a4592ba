"""The files of a run or an evaluation, read for its report, figures and model card."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rmt_genomics.errors import DataError
from rmt_genomics.evaluation.result_files import (
    read_epochs,
    read_evidence,
    read_leakage,
    read_metrics,
)
from rmt_genomics.evaluation.summary import evaluated_examples
from rmt_genomics.evaluation.tables import baseline_name, shown_baselines
from rmt_genomics.parsing import read_integer, read_number, read_text, shown

EVIDENCE = "evidence.json"

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
    evidence: Mapping[str, Any] = field(default_factory=dict)

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
    def is_simulated(self) -> bool:
        """Whether examples were simulated; then ``split`` has their source records."""
        return bool(self.leakage.get("of_sources"))

    @property
    def examples(self) -> str:
        """Which examples were evaluated, such as "34 examples of the test part"."""
        return evaluated_examples(self.metrics)

    @property
    def metric_columns(self) -> dict[str, Mapping[str, Any]]:
        """The metrics of the model and of each baseline, by the name that is shown."""
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
    files = {path.name: path for path in folder.iterdir() if path.is_file()}
    metrics = read_metrics(files["metrics.json"]) if "metrics.json" in files else {}
    is_regression = metrics.get("task") == "regression"
    answers = [f"prob_{name}" for name in metrics.get("classes", ())]
    environment = _text(files.get("environment.txt")).splitlines()
    return RunResults(
        name=folder.resolve().name,
        metrics=metrics,
        leakage=read_leakage(files["leakage.json"]) if "leakage.json" in files else {},
        split=_rows(files.get("split.tsv"), ("start", "end"), is_regression=is_regression),
        predictions=_rows(
            files.get("predictions.tsv", files.get("out_of_fold.tsv")),
            ("length",),
            is_regression=is_regression,
            answers=["prediction"] if is_regression else answers,
        ),
        epochs=read_epochs(files["metrics.jsonl"]) if "metrics.jsonl" in files else (),
        config=_text(files.get("config.toml")),
        evidence=read_evidence(files[EVIDENCE]) if EVIDENCE in files else {},
        environment={
            name: value for name, _, value in (line.partition(": ") for line in environment) if name
        },
    )


def length_bp(row: Row) -> int:
    """Return the length of the example in a row of ``split.tsv`` or ``predictions.tsv``."""
    return int(row["length"]) if "length" in row else int(row["end"]) - int(row["start"])


def _text(path: Path | None) -> str:
    return "" if path is None else read_text(path, "a file that this program wrote")


def _rows(
    path: Path | None,
    integers: Sequence[str],
    *,
    is_regression: bool,
    answers: Sequence[str] = (),
) -> Sequence[Row]:
    """Read a table of examples, if there is one, and check what is read as numbers later.

    ``answers`` are the columns of what the model said: all of them are there, or none.
    """
    table = csv.DictReader(_text(path).splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    label, rows = ("label" if "start" in integers else "truth"), list(table)
    for line, row in enumerate(rows, 2):
        numbers = [name for name in row if str(name).startswith("prob_") or name == "prediction"]
        numbers += [label] if is_regression else []
        problem = None
        needed = {"record", label, *integers}
        needed |= set(answers) if not row.keys().isdisjoint(answers) or is_regression else set()
        if lacking := needed - row.keys():
            problem = f"has no column {min(lacking)}"
        elif None in row or None in row.values():
            problem = "has another number of cells than the header"
        else:
            wrong = [name for name in integers if read_integer(row[name]) is None]
            wrong += [name for name in numbers if read_number(row[name]) is None]
            if wrong:
                problem = f"has {shown(row[wrong[0]])} as {wrong[0]}"
        if problem is not None:
            rule = "but must be as this program wrote it. Train or evaluate again."
            raise DataError(f"{path}:{line}: {problem}, {rule}")
    return rows
