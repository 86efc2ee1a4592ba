"""Evaluate a trained model against true labels and baselines, on the full set at once.

``evaluate`` takes any model and any labelled sequences. ``evaluate_run`` takes a finished training
and the examples it held out, and saves the k-mer baselines and the calibration in the run folder.
"""

import copy
import json
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save

from rmt_genomics import __version__
from rmt_genomics.atomic_io import sha256_of_file, staged_files
from rmt_genomics.datasets.examples import SPLITS, Example, LabelScheme
from rmt_genomics.datasets.fresh_examples import SimulatedStore
from rmt_genomics.datasets.label_checks import in_file
from rmt_genomics.datasets.label_sources import LabelSource
from rmt_genomics.datasets.labels import read_labels, read_split
from rmt_genomics.datasets.sequence_store import SequenceStore, open_sequences
from rmt_genomics.datasets.windows import Windows
from rmt_genomics.dna import NameOptions
from rmt_genomics.errors import CheckpointError, DataError, RMTGenomicsWarning, counted
from rmt_genomics.evaluation.baselines import KmerBaselines, fit_kmer_baselines, specs_of
from rmt_genomics.evaluation.control import TrainedControl, load_control
from rmt_genomics.evaluation.evaluation_set import (
    EvaluationSet,
    log_stage,
    predict_examples,
    targets_of,
)
from rmt_genomics.evaluation.linear_probe import LinearProbe, fit_linear_probe
from rmt_genomics.evaluation.metrics_report import (
    FittedReferences,
    metrics_report,
    predicted_baselines,
    predictions_to_keep,
)
from rmt_genomics.evaluation.result_files import read_leakage
from rmt_genomics.evaluation.tables import confusion_lines, evaluation_lines
from rmt_genomics.evaluation.time_limit import TimeLimit
from rmt_genomics.locks import check_new_folder, check_replaceable, locked
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.fold_ensemble import AnyModel, load_model, model_folders
from rmt_genomics.model.kmer_regression import FILE_NAMES, KmerRegression
from rmt_genomics.model.metrics import logits_of
from rmt_genomics.model.pretrained import WEIGHTS, choose_device, find_model_folder
from rmt_genomics.parsing import as_path
from rmt_genomics.prediction import calibration as calibration_file
from rmt_genomics.prediction.calibration import Calibration, check_same_classes
from rmt_genomics.prediction.predictor import make_prediction

KEPT = "test_predictions.safetensors"
_SIMULATED = (
    "Examples were simulated. The baselines were fitted on as many as there are in an epoch: those "
    "of the first epoch, at full difficulty."
)
OnEvaluated = Callable[[EvaluationSet], object]
_Parts = dict[str, list[Example]]
_PLOTS = ("confusion", "context", "errors", "precision_recall", "reliability", "roc")
_OUTPUTS = (
    *("metrics.json", "predictions.tsv", "confusion.tsv", "evidence.json", "report.html"),
    *(f"{name}.{kind}" for name in _PLOTS for kind in ("svg", "png")),
)


def evaluate(  # noqa: PLR0913 (model, data, output, and how)
    model_dir: str | Path,
    fasta: str | Path,
    labels: str | Path | LabelSource | None,
    out: str | Path,
    *,
    device: str = "auto",
    overwrite: bool = False,
    names: NameOptions = NameOptions(),
    on_evaluated: OnEvaluated = lambda _: None,
    **options: Any,
) -> dict[str, Any]:
    """Evaluate a model on labelled DNA and write ``metrics.json`` and two tables into ``out``.

    If the labels file marks rows as test, those are evaluated; else all rows are. If the model was
    trained on windows, the rows are cut into the same windows. Warns if the model was trained on
    some of them.

    Args:
        model_dir: A folder or ``hf://owner/name``. The k-mer baseline and the calibration in it are
            evaluated too; if there are none, they are fitted on the rows that the labels file
            marks as train and as validation. So is the trained control, if there is one.
        fasta: The sequences: a file, or a folder of files.
        labels: True labels, of classes of the model: a table, or another source. None = the column
            ``label`` of the sequences.
        out: Folder for ``metrics.json``, ``predictions.tsv`` and ``confusion.tsv``.
        device: auto, cpu, cuda or mps.
        overwrite: Replace the files of an earlier evaluation in ``out``.
        names: How records are named.
        on_evaluated: Called with the evaluated examples and their predictions at the end.
        **options: ``unlabelled`` and ``min_class_size`` of ``LabelSource.read``.

    Returns:
        The content of ``metrics.json``; ``split`` is the evaluated part (test or all), ``notes``
        has what is missing or uncertain, and ``provenance`` the model, the data and the date.

    Raises:
        RMTGenomicsError: If the input is wrong or ``out`` is in use; then nothing is written.
    """
    fasta, out = as_path(fasta), as_path(out, "a folder")
    with locked(out, is_folder=True):
        check_new_folder(out, overwrite=overwrite)
        check_replaceable(out, _OUTPUTS, marker="metrics.json", text='"length_bins"')
        source = LabelSource.of(labels, fasta)
        eval_set, metrics = _evaluate_into(out, model_dir, fasta, source, device, names, options)
        on_evaluated(eval_set)
    return metrics


def _evaluate_into(
    out: Path,
    model_dir: str | Path,
    fasta: Path,
    labels: LabelSource,
    device: str,
    names: NameOptions,
    options: Mapping[str, Any],
) -> tuple[EvaluationSet, dict[str, Any]]:
    labels.check()
    folder = find_model_folder(model_dir)
    model = load_model(folder, device=choose_device(device))
    store = open_sequences(
        fasta,
        intervals_only=labels.has_intervals(),
        progress=sys.stderr.isatty(),
        names=names,
    )
    examples = labels.read(store.records(), task=model.config.task, **options)
    where, windows = str(labels), Windows.of_run(folder)
    if windows is not None:
        with in_file(where):
            examples = windows.cut(examples)
    parts = _by_part(examples)
    part, evaluated = ("test", parts["test"]) if parts["test"] else ("all", examples)
    warn_if_trained_on(folder, evaluated, store.sha256)
    eval_set = EvaluationSet.from_model(model, store, evaluated, where=where)
    references = _load_or_fit_references(folder, eval_set, parts, where)
    baselines = predicted_baselines(eval_set, references)
    metrics = metrics_report(eval_set, part, references, baselines)
    metrics["provenance"] = _provenance(model_dir, eval_set, fasta, where)
    _write_results(out, eval_set, metrics, windows)
    return eval_set, metrics


def evaluate_run(  # noqa: PLR0913 (run, data, and how)
    run: str | Path,
    fasta: str | Path,
    *,
    device: str = "auto",
    trained: Any = None,
    names: NameOptions = NameOptions(),
    max_seconds: float | None = None,
    keep_predictions: bool = False,
    on_evaluated: OnEvaluated = lambda _: None,
) -> dict[str, Any]:
    """Evaluate a finished run on its test part, or on its validation part if it has no test part.

    Fits k-mer baselines on the train part, and the calibration on the validation part. Writes
    ``metrics.json``, ``predictions.tsv``, ``confusion.tsv``, ``calibration.json`` and the
    baselines (``kmer_logistic.safetensors`` and so on) into the run folder.

    Args:
        run: The folder of a finished training; its ``split.tsv`` has the examples.
        fasta: The sequences it was trained on.
        device: auto, cpu, cuda or mps.
        trained: The ``training.TrainingResult`` of this run: those of its model, store and split
            that are not None are not read again. The results are the same.
        names: How records were named in the training.
        max_seconds: Time for evaluation and report. Of a part that would take longer a sample is
            evaluated, by the model and all baselines alike; the notes say so. None = no limit.
        keep_predictions: Also write ``test_predictions.safetensors``, of the model and of each
            baseline: for ``evaluate_folds``.
        on_evaluated: Called with the evaluated examples and their predictions at the end.

    Returns:
        The content of ``metrics.json``. If test was evaluated, ``validation`` has the metrics of
        the validation part.
    """
    run, fasta = as_path(run, "a run folder"), as_path(fasta)
    where = str(run / "split.tsv")
    model, store, examples = _read_run(run, fasta, choose_device(device), trained, names)
    parts = _by_part([_named_if_whole(example, store) for example in examples])
    part = "test" if parts["test"] else "validation"
    limit = TimeLimit(max_seconds)
    others = parts["validation"] or parts[part]
    scheme = LabelScheme(model.classes_, model.config.task)
    predict = partial(predict_examples, model, store)
    evaluated, others = limit.evaluated(predict, parts[part], others, scheme)
    validation = eval_set = EvaluationSet.from_model(model, store, evaluated, where=where)
    if part == "test" and parts["validation"]:
        validation = EvaluationSet.from_model(model, store, others, where=where)
    references = FittedReferences(
        kmers=_fit_kmers(validation, parts["train"], where, limit=limit),
        train_targets=_train_targets(validation, parts["train"], where),
        calibration=_fit_calibration(validation),
        control=load_control(run, model),
        probe=_fit_probe(validation, parts["train"], where, limit),
        is_fitted_on_evaluated=validation is eval_set,
    )
    baselines = predicted_baselines(eval_set, references)
    metrics = metrics_report(eval_set, part, references, baselines)
    metrics["notes"] += limit.notes
    if isinstance(store, SimulatedStore):
        metrics["notes"].append(_SIMULATED)
    if validation is not eval_set:
        metrics["validation"] = validation.metrics()
    with locked(run, is_folder=True):
        _save_references(run, references)
        kept = predictions_to_keep(eval_set, baselines) if keep_predictions else None
        _write_results(run, eval_set, metrics, Windows.of_run(run), kept)
        on_evaluated(eval_set)
    return metrics


def _read_run(
    run: Path, fasta: Path, device: torch.device, trained: Any, names: NameOptions
) -> tuple[RMTClassifier, SequenceStore, list[Example]]:
    """Return the model, sequences and examples of a run; those of ``trained`` as they are."""
    audit = run / "leakage.json"
    if trained is None and audit.is_file() and read_leakage(audit).get("of_sources"):
        raise DataError(
            f"{run / 'split.tsv'}: has the source records of simulated examples, but not the "
            "examples, which are evaluated right after training. Make others with rmt-genomics "
            "simulate, and evaluate the model on them."
        )
    model, store, split = (getattr(trained, name, None) for name in ("model", "store", "split"))
    if model is None:
        model = RMTClassifier.from_pretrained(run, device=device)
    else:
        # A copy is not compiled, and leaves device and mode of the caller's model alone.
        model = copy.deepcopy(model).to(device).eval()
    if store is None:
        store = open_sequences(fasta, intervals_only=True, names=names)
    if split is None:
        examples = read_labels(run / "split.tsv", store.lengths, task=model.config.task)
    else:
        examples = [
            replace(example, split=part) for part in SPLITS for example in getattr(split, part)
        ]
    return model, store, examples


def _describe_windows(
    metrics: dict[str, Any], windows: Windows | None, eval_set: EvaluationSet
) -> None:
    """Add to the metrics that the examples are windows, and what that means for the intervals."""
    if windows is None:
        return
    metrics["windows"] = found = windows.to_json(eval_set.examples)
    size = f"{counted(found['records'], 'record')} in {counted(found['groups'], 'group')}"
    note = (
        f"The examples are {windows}, of {size}. Windows of one record are not independent: "
        "intervals come from draws of whole groups."
    )
    metrics["notes"].insert(0, note)


def _provenance(
    model_dir: str | Path, eval_set: EvaluationSet, fasta: Path, labels: str
) -> dict[str, str]:
    """Return what was evaluated, on which data, when, and by which version."""
    folder = eval_set.model.folder
    assert folder is not None, "the model was loaded from a folder"
    return {
        "command": shlex.join(sys.argv),
        "date": datetime.now(UTC).isoformat(" ", "seconds"),
        "model": str(model_dir),
        "model_sha256": " ".join(sha256_of_file(each / WEIGHTS) for each in model_folders(folder)),
        "fasta": str(fasta),
        "fasta_sha256": eval_set.store.sha256,
        "labels": labels,
        "rmt-genomics": __version__,
        "torch": version("torch"),
        "device": str(eval_set.model.device),
    }


def _by_part(examples: Sequence[Example]) -> _Parts:
    return {part: [example for example in examples if example.split == part] for part in SPLITS}


def _named_if_whole(example: Example, store: SequenceStore) -> Example:
    """Name an example that is a whole record by its record: ``split.tsv`` has intervals only."""
    interval = example.interval
    ends = (interval.start, interval.end)
    is_whole = ends == (0, store.lengths[interval.record]) and interval.strand != "-"
    return replace(example, whole=is_whole)


def warn_if_trained_on(model_dir: str | Path, examples: Sequence[Example], sha256: str) -> None:
    """Warn of examples that the model was trained on, and so may have memorised.

    If it was trained on another file than the one of this ``sha256``, records of one name and
    length may have the same sequence or not, and the warning says so.
    """

    def location(example: Example) -> tuple[str, int, int]:  # on any strand: a model reads both
        return example.interval.record, example.interval.start, example.interval.end

    trained_on = {location(example) for example in training_examples(model_dir)}
    count = sum(location(example) in trained_on for example in examples)
    if not count:
        return
    environment = Path(model_dir) / "environment.txt"
    lines = environment.read_text(encoding="utf-8").splitlines() if environment.is_file() else []
    if f"fasta_sha256: {sha256}" in lines:
        problem = "were used to train this model, so the metrics are optimistic"
    else:
        problem = (
            "have the name and length of one that this model was trained on, in another file: "
            "if the sequences are the same, the metrics are optimistic"
        )
    file = Path(model_dir) / "split.tsv"
    warnings.warn(
        f"{file if file.is_file() else model_dir}: {count} of {len(examples)} examples {problem}. "
        "Evaluate on others, or mark those in a split column.",
        RMTGenomicsWarning,
        stacklevel=3,
    )


def training_examples(model_dir: str | Path) -> list[Example]:
    """Return what a model was trained on, by ``split.tsv`` in its folder; empty without one."""
    files = [folder / "split.tsv" for folder in model_folders(Path(model_dir))]
    found = [example for file in files if file.is_file() for example in read_split(file)]
    return [example for example in dict.fromkeys(found) if example.split == "train"]


def _load_or_fit_references(
    model_dir: Path, eval_set: EvaluationSet, parts: _Parts, where: str
) -> FittedReferences:
    """Load baselines and calibration from the model folder, or fit them on rows of the labels."""
    config, loaded = eval_set.model.config, {}
    calibration = Calibration.load(model_dir)
    if calibration is not None:
        check_same_classes(model_dir / calibration_file.FILE_NAME, calibration, config)
    for kind in specs_of(config):
        path = model_dir / FILE_NAMES[kind]
        if path.is_file():
            loaded[kind] = KmerRegression.load(path)
            check_same_classes(path, loaded[kind], config)
    can_fit = bool(parts["train"]) and len(loaded) < len(specs_of(config))
    validation, rows = None, parts["validation"]
    if rows and (calibration is None or can_fit):
        validation = EvaluationSet.from_model(eval_set.model, eval_set.store, rows, where=where)
    kmers = KmerBaselines(loaded) if loaded else None
    if can_fit or not loaded:
        kmers = _fit_kmers(validation or eval_set, parts["train"], where, loaded)
    if calibration is None and validation is not None:
        calibration = _fit_calibration(validation)
    train = parts["train"] or training_examples(model_dir)
    return FittedReferences(
        train_targets=_train_targets(eval_set, train, where),
        kmers=kmers,
        calibration=calibration,
        control=_control_of(eval_set.model, model_dir),
        is_chosen_on_evaluated=can_fit and validation is None and kmers is not None,
    )


def _control_of(model: AnyModel, folder: Path) -> TrainedControl | None:
    return load_control(folder, model) if isinstance(model, RMTClassifier) else None


def _fit_kmers(
    validation: EvaluationSet,
    train: Sequence[Example],
    where: str,
    loaded: Mapping[str, KmerRegression] = MappingProxyType({}),
    *,
    limit: TimeLimit | None = None,
) -> KmerBaselines | None:
    """Fit the baselines that were not loaded, or warn why there are none."""
    try:
        if not train:
            raise DataError("no row is marked as train, but k-mer baselines are fitted on those")
        log_stage("k-mer baselines", [*train, *validation.examples])
        scheme = LabelScheme(validation.classes, validation.task)

        def fit(rows: Sequence[Example]) -> KmerBaselines:
            targets = targets_of(scheme, rows, where)
            return fit_kmer_baselines(validation.store, rows, targets, validation, loaded)

        return (limit or TimeLimit(None)).fit(fit, train, scheme)
    except DataError as error:
        reason = f"{where}: {error}. The k-mer baselines are left out."
        warnings.warn(reason, RMTGenomicsWarning, stacklevel=4)
        return KmerBaselines(dict(loaded)) if loaded else None


def _fit_probe(
    validation: EvaluationSet, train: Sequence[Example], where: str, limit: TimeLimit
) -> LinearProbe | None:
    """Fit the linear probe of a pretrained encoder, or warn why there is none."""
    if validation.model.config.backbone is None or not train:
        return None
    if limit.seconds is not None:
        limit.notes.append(
            "The linear probe of the encoder is left out: it would take more than the time budget."
        )
        return None
    try:
        log_stage("linear probe", [*train, *validation.examples])
        targets = targets_of(LabelScheme(validation.classes, validation.task), train, where)
        return fit_linear_probe(train, targets, validation)
    except (CheckpointError, DataError) as error:
        reason = f"{where}: {error}. The linear probe of the encoder is left out."
        warnings.warn(reason, RMTGenomicsWarning, stacklevel=4)
        return None


def _train_targets(
    eval_set: EvaluationSet, train: Sequence[Example], where: str
) -> np.ndarray | None:
    """Return the targets of the train rows, if there are any with labels of the model."""
    try:
        scheme = LabelScheme(eval_set.classes, eval_set.task)
        return targets_of(scheme, train, where) if train else None
    except DataError:
        return None  # _fit_kmers has warned


def _fit_calibration(validation: EvaluationSet) -> Calibration | None:
    if validation.task == "regression":
        return None
    logits = logits_of(validation.probabilities, validation.task)
    return Calibration.fit(logits, validation.targets, validation.task, validation.classes)


def _save_references(run: Path, references: FittedReferences) -> None:
    for kind, regression in references.kmers.best.items() if references.kmers else ():
        regression.save(run / FILE_NAMES[kind])
    if references.calibration is not None:
        references.calibration.save(run)
    else:
        (run / calibration_file.FILE_NAME).unlink(missing_ok=True)


def _write_results(
    folder: Path,
    eval_set: EvaluationSet,
    metrics: dict[str, Any],
    windows: Windows | None,
    kept: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write metrics.json, predictions.tsv and, of a classifier, confusion.tsv; all or none.

    First add to ``metrics`` what is to be said of windows.
    """
    _describe_windows(metrics, windows, eval_set)
    predictions = [
        make_prediction(eval_set.model, example.name, len(example.interval), row)
        for example, row in zip(eval_set.examples, eval_set.probabilities, strict=True)
    ]
    truths = [";".join(example.labels) for example in eval_set.examples]
    tables: dict[str, Iterable[str]] = {
        "predictions.tsv": evaluation_lines(predictions, truths, eval_set.classes, eval_set.task)
    }
    if "confusion" in metrics:
        tables["confusion.tsv"] = confusion_lines(metrics)
    text = json.dumps(metrics, indent=2, allow_nan=False)
    with staged_files(folder) as stage:
        for name, lines in tables.items():
            content = "".join(f"{line}\n" for line in lines)
            (stage / name).write_text(content, encoding="utf-8")
        if kept is not None:
            (stage / KEPT).write_bytes(save(dict(kept)))
        (stage / "metrics.json").write_text(text + "\n", encoding="utf-8")
