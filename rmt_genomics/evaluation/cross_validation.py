"""The evaluation of a cross-validation: all out-of-fold predictions, and the spread over folds.

Each example is predicted by the one model that has not seen it. The metrics of all of these
predictions together are those of ``metrics.json``; beside them are those of each fold.

Dimensions: n examples of all folds, c classes.
"""

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from rmt_genomics.atomic_io import staged_files
from rmt_genomics.datasets.examples import Example, LabelScheme
from rmt_genomics.datasets.label_checks import in_file
from rmt_genomics.datasets.labels import read_split
from rmt_genomics.dna import NameOptions
from rmt_genomics.errors import DataError, three_digits
from rmt_genomics.evaluation.bootstrap import Truth, difference, intervals_by_class
from rmt_genomics.evaluation.calibration_metrics import (
    calibration_intervals,
    calibration_metrics,
    cross_fitted,
)
from rmt_genomics.evaluation.evaluate import KEPT, evaluate_run
from rmt_genomics.evaluation.result_files import read_metrics
from rmt_genomics.evaluation.summary import summary_of
from rmt_genomics.evaluation.tables import baseline_name, confusion_lines, shown_baselines
from rmt_genomics.locks import locked
from rmt_genomics.model.fold_ensemble import model_folders, read_joint_config
from rmt_genomics.model.metrics import (
    compute_metrics,
    logits_of,
    main_metric,
    metric_keys,
    metric_name,
    per_class_metrics,
)
from rmt_genomics.parsing import as_path, read_text
from rmt_genomics.prediction.calibration import Calibration

OUT_OF_FOLD = "out_of_fold.tsv"
_FILE = "a file of a fold"


@dataclass(frozen=True, slots=True, eq=False)
class _FoldResults:
    """What is read of an evaluated fold."""

    folder: Path
    metrics: Mapping[str, Any]
    examples: Sequence[Example]  # of its test part
    arrays: Mapping[str, np.ndarray]  # see ``predictions_to_keep``

    @property
    def baselines(self) -> Mapping[str, Any]:
        """The metrics of its baselines."""
        return self.metrics.get("baselines") or {}


def evaluate_folds(
    out: str | Path,
    fasta: str | Path,
    *,
    device: str = "auto",
    names: NameOptions = NameOptions(),
) -> dict[str, Any]:
    """Evaluate a finished cross-validation; folds that are not evaluated yet are, first.

    Writes ``out_of_fold.tsv``, ``metrics.json``, ``confusion.tsv`` and ``calibration.json`` (fitted
    on the out-of-fold predictions) into ``out``.

    Args:
        out: The folder of ``training.cross_validate``.
        fasta: The sequences it was trained on.
        device: auto, cpu, cuda or mps.
        names: How records were named in the training.

    Returns:
        The content of ``metrics.json``. It and each of its baselines have folds (the metrics of
        each), mean and sd, the sample standard deviation over folds.
    """
    out = as_path(out, "the folder of a cross-validation")
    folders = model_folders(out)
    if folders == [out]:
        raise DataError(
            f"{out}: is not the folder of a cross-validation, but must be one that train --folds "
            "wrote."
        )
    for folder in folders:
        if not all((folder / name).is_file() for name in ("metrics.json", KEPT)):
            evaluate_run(folder, fasta, device=device, names=names, keep_predictions=True)
    results = [_read(folder) for folder in folders]
    config = read_joint_config(out)
    calibration, metrics = _metrics(results, config.classes, config.task)
    with locked(out, is_folder=True), staged_files(out) as stage:
        tables = {OUT_OF_FOLD: _lines(results)}
        if "confusion" in metrics:
            tables["confusion.tsv"] = confusion_lines(metrics)
        for name, lines in tables.items():
            content = "".join(f"{line}\n" for line in lines)
            (stage / name).write_text(content, encoding="utf-8")
        if calibration is not None:
            calibration.save(stage)
        text = json.dumps(metrics, indent=2, allow_nan=False)
        (stage / "metrics.json").write_text(text + "\n", encoding="utf-8")
    return metrics


def fold_sentence(metrics: Mapping[str, Any]) -> str:
    """Return the mean and the spread of the main metric over the folds, in a sentence."""
    key = main_metric(metrics["task"])
    mean, sd = metrics["mean"][key], metrics["sd"][key]
    if mean is None or sd is None:
        return f"{metric_name(key)} is not defined in at least two of the folds."
    folds = metrics["folds"]
    values = ", ".join("-" if fold[key] is None else three_digits(fold[key]) for fold in folds)
    return (
        f"Over {len(folds)} folds {metric_name(key)} is {three_digits(mean)} on average, with "
        f"a standard deviation of {three_digits(sd)} ({values})."
    )


def _read(folder: Path) -> _FoldResults:
    examples = [each for each in read_split(folder / "split.tsv") if each.split == "test"]
    try:
        arrays = load((folder / KEPT).read_bytes())
        metrics = read_metrics(folder / "metrics.json")
        shape = len(examples), len(metrics.get("classes", ()))
        if any(array.shape != shape for array in (arrays["model"], *arrays.values())):
            raise ValueError("it is not of the test part and the classes of the fold")
    except (SafetensorError, ValueError, KeyError) as error:
        raise DataError(
            f"{folder / KEPT}: is damaged ({error}), but must be as this program wrote it. Remove "
            "it: the fold is then evaluated again."
        ) from error
    return _FoldResults(folder, metrics, examples, arrays)


def _metrics(
    results: Sequence[_FoldResults], classes: tuple[str, ...], task: str
) -> tuple[Calibration | None, dict[str, Any]]:
    """Return the calibration on, and the metrics of, all out-of-fold predictions."""
    examples = [example for fold in results for example in fold.examples]
    with in_file(str(results[0].folder.parent)):
        targets = LabelScheme(classes, task).targets(examples)
    truth = Truth(targets, task, len(classes), [example.group for example in examples])
    kept = {
        key: np.concatenate([fold.arrays[key] for fold in results])
        for key in results[0].arrays
        if all(key in fold.arrays for fold in results)
    }
    compute = partial(compute_metrics, targets, classes=classes, task=task)
    baselines = {
        key: {
            **compute(kept[key], called=kept.get(f"{key}/called")),
            **_of_folds([fold.baselines.get(key) or {} for fold in results], task),
        }
        for key in results[0].baselines
        if key in kept
    }
    outputs, called = kept["model"], kept.get("model/called")
    overall, of_classes = intervals_by_class(truth, outputs, called=called)
    metrics = {
        **compute(outputs, called=called),
        "intervals": overall,
        "task": task,
        "split": "all",
        "baselines": baselines,
        "differences": _differences(truth, kept, shown_baselines({"baselines": baselines})),
        "notes": list(_notes(results)),
        **_of_folds([fold.metrics for fold in results], task),
    }
    if task == "regression":
        return None, {**metrics, "summary": summary_of(metrics)}
    rows = per_class_metrics(targets, outputs, classes=classes, task=task, called=called)
    metrics["per_class"] = [
        {**row, "intervals": found} for row, found in zip(rows, of_classes, strict=True)
    ]
    calibration, metrics["calibration"] = _calibrated(truth, outputs, classes)
    return calibration, {**metrics, "summary": summary_of(metrics)}


def _differences(
    truth: Truth, kept: Mapping[str, np.ndarray], keys: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """Compare the model with baselines; those without a defined difference are left out."""
    compared = {
        key: difference(
            truth,
            kept["model"],
            kept[key],
            name=f"the baseline {baseline_name(key)!r}",
            called=kept.get("model/called"),
            baseline_called=kept.get(f"{key}/called"),
        )
        for key in keys
    }
    return {key: found for key, found in compared.items() if found is not None}


def _calibrated(
    truth: Truth, outputs: np.ndarray, classes: tuple[str, ...]
) -> tuple[Calibration, dict[str, Any]]:
    """Fit the calibration, and measure it on halves that are calibrated by each other."""
    targets, task = truth.targets, truth.task
    logits = logits_of(outputs, task)
    calibration = Calibration.fit(logits, targets, task, classes, fitted_on="out-of-fold")
    after = cross_fitted(outputs, targets, task, classes)
    return calibration, {
        **calibration_metrics(calibration, outputs, targets, after=after),
        "intervals": calibration_intervals(truth, outputs, after),
    }


def _of_folds(rows: Sequence[Mapping[str, Any]], task: str) -> dict[str, Any]:
    """Return the metrics of each fold, their mean and their sample standard deviation."""
    keys = metric_keys(task)
    folds = [
        {"fold": number, "n": row.get("n"), **{key: row.get(key) for key in keys}}
        for number, row in enumerate(rows, 1)
    ]
    defined: dict[str, list[float]] = {
        key: [row[key] for row in rows if row.get(key) is not None] for key in keys
    }
    found: dict[str, Any] = {
        "folds": folds,
        "mean": {key: statistics.fmean(each) if each else None for key, each in defined.items()},
        "sd": {
            key: statistics.stdev(each) if len(each) > 1 else None for key, each in defined.items()
        },
    }
    validation = f"validation_{main_metric(task)}"
    scores = [row.get(validation) for row in rows]
    if None not in scores:  # by which the best baseline is chosen
        found[validation] = statistics.fmean(score for score in scores if score is not None)
    return found


def _notes(results: Sequence[_FoldResults]) -> Iterator[str]:
    yield (
        f"Each example was predicted by the one of {len(results)} models that was not trained on "
        "it (cross-validation). The mean of all models, which predict gives, cannot be evaluated "
        "on these examples."
    )
    if results[0].metrics.get("thresholds"):
        yield "Each fold has a threshold of its own; the mean of the models uses their mean."


def _lines(results: Sequence[_FoldResults]) -> Iterator[str]:
    """Yield the predictions of all folds, with the number of the fold as last column."""
    for number, fold in enumerate(results, 1):
        text = read_text(fold.folder / "predictions.tsv", _FILE)
        header, *lines = text.removesuffix("\n").split("\n")
        if number == 1:
            yield f"{header}\tfold"
        yield from (f"{line}\t{number}" for line in lines)
