"""Compare predictions with true labels, on the full set at once, beside honest baselines.

``evaluate`` judges any model on any labelled FASTA. ``evaluate_run`` judges a fresh run on the
examples its training held out, and leaves the k-mer baseline and the calibration in the run folder.
"""

import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rmt_genomics.datasets.examples import Example, LabelScheme
from rmt_genomics.datasets.label_sources import LabelSource
from rmt_genomics.datasets.labels import read_labels
from rmt_genomics.datasets.store import EncodedStore
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from rmt_genomics.inference import calibration as calibrations
from rmt_genomics.inference import kmer_baseline, tables
from rmt_genomics.inference.assess import Known, assess, say
from rmt_genomics.inference.baselines import KmerBaselines, fit_kmers
from rmt_genomics.inference.calibration import Calibration, check_same_classes, logits_of
from rmt_genomics.inference.judged import Judged, predict_examples, targets_of
from rmt_genomics.inference.kmer_baseline import KmerBaseline
from rmt_genomics.inference.output import check_new_folder
from rmt_genomics.inference.predict import make_prediction
from rmt_genomics.inference.trained_on import train_examples, warn_if_trained_on
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.device import choose_device
from rmt_genomics.model.saving import staged

__all__ = ["evaluate", "evaluate_run", "predict_examples"]

_PARTS = ("train", "validation", "test")


def evaluate(
    model_dir: str | Path,
    fasta: Path,
    labels: Path | LabelSource,
    out: Path,
    *,
    device: str = "auto",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Judge a model on labelled DNA and write ``metrics.json`` and two tables into ``out``.

    If the labels file marks rows as test, those are judged; else all rows are. Warns if the model
    was trained on some of them.

    Args:
        model_dir: A model folder or a hub id. The k-mer baseline and the calibration in it are
            judged too; if there are none, they are fitted on the rows that the labels file marks
            as train and as validation.
        fasta: The sequences: a file, or a folder of files.
        labels: True labels, of classes the model knows: a table, or where else they are.
        out: Folder for ``metrics.json``, ``predictions.tsv`` and ``confusion.tsv``.
        device: auto, cpu, cuda or mps.
        overwrite: Replace what an earlier evaluation left in ``out``.

    Returns:
        The content of ``metrics.json``; ``split`` says which rows were judged (test or all), and
        ``notes`` what could not be judged.

    Raises:
        RMTGenomicsError: If the input is wrong or ``out`` is in use; then nothing is written.
    """
    check_new_folder(out, overwrite=overwrite)
    labels = LabelSource.of(labels)
    labels.check()
    model = RMTClassifier.from_pretrained(model_dir, device=choose_device(device))
    store = EncodedStore.open(fasta, progress=sys.stderr.isatty())
    examples = labels.read(store.records(), task=model.config.task)
    part = _parts(examples)
    warn_if_trained_on(model_dir, part["test"] or examples, store.sha256)
    judged = _judge(model, store, part["test"] or examples, where=str(labels))
    known = _known(Path(model_dir), judged, part, where=str(labels))
    metrics = assess(judged, "test" if part["test"] else "all", known)
    with staged(out) as stage:
        _write_tables(stage, judged, metrics)
    return metrics


def evaluate_run(run: Path, fasta: Path, *, device: str = "auto") -> dict[str, Any]:
    """Judge a fresh run on its test part, or its validation part if it has no test part.

    Fits k-mer baselines on the train part, and the calibration on the validation part. Writes
    ``metrics.json``, ``predictions.tsv``, ``confusion.tsv``, ``calibration.json`` and the
    baselines (``kmer_logistic.safetensors``, with ``protein_k`` also
    ``protein_logistic.safetensors``) into the run folder.

    Args:
        run: The folder of a finished training; its ``split.tsv`` says how examples were used.
        fasta: The sequences it was trained on.
        device: auto, cpu, cuda or mps.

    Returns:
        The content of ``metrics.json``. When test was judged, ``validation`` holds the main
        metrics of the validation part.
    """
    model = RMTClassifier.from_pretrained(run, device=choose_device(device))
    store = EncodedStore.open(fasta)
    where = str(run / "split.tsv")
    examples = read_labels(run / "split.tsv", store.lengths, task=model.config.task)
    part = _parts([_named_if_whole(each, store) for each in examples])
    name = "test" if part["test"] else "validation"
    judged = _judge(model, store, part[name], where=where)
    validation = judged
    if name == "test" and part["validation"]:
        validation = _judge(model, store, part["validation"], where=where)
    known = _fitted(validation, part["train"], where=where, is_judged=validation is judged)
    metrics = assess(judged, name, known)
    if validation is not judged:
        metrics["validation"] = validation.metrics()
    _leave_in_run(run, known)
    with staged(run) as stage:
        _write_tables(stage, judged, metrics)
    return metrics


def _parts(examples: Sequence[Example]) -> dict[str, list[Example]]:
    return {name: [each for each in examples if each.split == name] for name in _PARTS}


def _named_if_whole(example: Example, store: EncodedStore) -> Example:
    """Give an interval that is a whole record its short name back: ``split.tsv`` has them all."""
    place = example.interval
    is_whole = (place.start, place.end) == (0, store.lengths[place.record]) and place.strand != "-"
    return replace(example, whole=is_whole)


def _judge(
    model: RMTClassifier, store: EncodedStore, examples: Sequence[Example], *, where: str
) -> Judged:
    """Predict examples, once their labels are known to fit the model."""
    say("the model", examples)
    return Judged.of(model, store, examples, where=where)


def _fitted(validation: Judged, train: Sequence[Example], *, where: str, is_judged: bool) -> Known:
    """Fit all that is fitted, from the train part and the validation part of a run."""
    kmers = _fit_kmers(validation, train, where=where)
    return Known(
        train_targets=_train_targets(validation, train, where),
        kmers=kmers,
        calibration=_fit_calibration(validation),
        is_fitted_on_judged=is_judged,
    )


def _known(model_dir: Path, judged: Judged, part: dict[str, list[Example]], *, where: str) -> Known:
    """Find in the model folder what can be compared with, or fit it on the rows of the labels."""
    validation = None
    calibration = _calibration_in(model_dir, judged)
    kmers = _kmers_in(model_dir, judged, can_fit=bool(part["train"]))
    if part["validation"] and (calibration is None or (kmers is None and part["train"])):
        validation = _judge(judged.model, judged.store, part["validation"], where=where)
    chosen_on_judged = kmers is None and validation is None and bool(part["train"])
    if kmers is None:
        kmers = _fit_kmers(validation or judged, part["train"], where=where)
    if calibration is None and validation is not None:
        calibration = _fit_calibration(validation)
    train = part["train"] or train_examples(model_dir)
    return Known(
        train_targets=_train_targets(judged, train, where),
        kmers=kmers,
        calibration=calibration,
        is_chosen_on_judged=chosen_on_judged and kmers is not None,
    )


def _calibration_in(model_dir: Path, judged: Judged) -> Calibration | None:
    """Read the calibration beside the model."""
    found = Calibration.load(model_dir)
    if found is not None:
        check_same_classes(model_dir / calibrations.FILE_NAME, found, judged.model.config)
    return found


def _kmers_in(model_dir: Path, judged: Judged, *, can_fit: bool) -> KmerBaselines | None:
    """Read the baselines beside the model; None if one is missing, and all can be fitted anew."""
    found = _kmer_baseline_in(model_dir / kmer_baseline.FILE_NAME, judged)
    if found is None:
        return None
    proteins = _kmer_baseline_in(model_dir / kmer_baseline.PROTEIN_FILE_NAME, judged)
    if judged.model.config.protein_k and proteins is None and can_fit:
        return None
    return KmerBaselines({found.kmers.k: found}, found.kmers.k, proteins)


def _kmer_baseline_in(path: Path, judged: Judged) -> KmerBaseline | None:
    if not path.is_file():
        return None
    found = KmerBaseline.load(path)
    check_same_classes(path, found, judged.model.config)
    return found


def _fit_kmers(chosen_on: Judged, train: Sequence[Example], *, where: str) -> KmerBaselines | None:
    """Fit baselines, or warn why there is none."""
    try:
        if not train:
            raise DataError("no row is marked as train, but a k-mer baseline is fitted on those")
        say("k-mer counts", [*train, *chosen_on.examples])
        scheme = LabelScheme(chosen_on.classes, chosen_on.task)
        return fit_kmers(chosen_on.store, train, targets_of(scheme, train, where), chosen_on)
    except DataError as error:
        warnings.warn(
            f"{where}: {error}. The k-mer baseline is left out.", RMTGenomicsWarning, stacklevel=4
        )
        return None


def _train_targets(judged: Judged, train: Sequence[Example], where: str) -> np.ndarray | None:
    """Return the targets of the train rows, if there are any and the model knows their labels."""
    try:
        return targets_of(LabelScheme(judged.classes, judged.task), train, where) if train else None
    except DataError:
        return None  # _fit_kmers has told


def _fit_calibration(validation: Judged) -> Calibration | None:
    """Fit a temperature; numbers have none."""
    if validation.task == "regression":
        return None
    logits = logits_of(validation.probabilities, validation.task)
    return Calibration.fit(logits, validation.targets, validation.task, validation.classes)


def _leave_in_run(run: Path, known: Known) -> None:
    """Write what was fitted beside the model."""
    if known.kmers is not None:
        known.kmers.best.save(run / kmer_baseline.FILE_NAME)
        if known.kmers.proteins is not None:
            known.kmers.proteins.save(run / kmer_baseline.PROTEIN_FILE_NAME)
    if known.calibration is not None:
        known.calibration.save(run)
    else:
        (run / calibrations.FILE_NAME).unlink(missing_ok=True)


def _write_tables(folder: Path, judged: Judged, metrics: dict[str, Any]) -> None:
    """Write metrics.json, predictions.tsv and confusion.tsv."""
    predictions = [
        make_prediction(judged.model, example.name, len(example.interval), row)
        for example, row in zip(judged.examples, judged.probabilities, strict=True)
    ]
    truths = [";".join(example.labels) for example in judged.examples]
    judged_lines = tables.judged_lines(predictions, truths, judged.classes, judged.task)
    (folder / "predictions.tsv").write_text(_as_text(judged_lines), encoding="utf-8")
    if "confusion" in metrics:
        confusion = tables.confusion_lines(metrics)
        (folder / "confusion.tsv").write_text(_as_text(confusion), encoding="utf-8")
    (folder / "metrics.json").write_text(_as_json(metrics), encoding="utf-8")


def _as_text(lines: Any) -> str:
    return "".join(f"{line}\n" for line in lines)


def _as_json(metrics: dict[str, Any]) -> str:
    return json.dumps(metrics, indent=2, allow_nan=False) + "\n"
