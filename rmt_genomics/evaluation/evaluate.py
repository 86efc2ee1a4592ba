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

from rmt_genomics.atomic_io import check_new_folder, staged_files
from rmt_genomics.datasets.examples import Example, LabelScheme
from rmt_genomics.datasets.label_sources import LabelSource
from rmt_genomics.datasets.label_table import read_rows
from rmt_genomics.datasets.labels import read_labels
from rmt_genomics.datasets.sequence_store import EncodedStore
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from rmt_genomics.evaluation import tables
from rmt_genomics.evaluation.baselines import KmerBaselines, fit_kmers
from rmt_genomics.evaluation.evaluation_set import EvaluationSet, targets_of
from rmt_genomics.evaluation.metrics_report import FittedReferences, assess, say
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model import kmer_regression as kmer_baseline
from rmt_genomics.model.kmer_regression import KmerBaseline
from rmt_genomics.model.metrics import logits_of
from rmt_genomics.model.pretrained import choose_device
from rmt_genomics.prediction import calibration as calibrations
from rmt_genomics.prediction.calibration import Calibration, check_same_classes
from rmt_genomics.prediction.predictor import make_prediction

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
    with staged_files(out) as stage:
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
    with staged_files(run) as stage:
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
) -> EvaluationSet:
    """Predict examples, once their labels are known to fit the model."""
    say("the model", examples)
    return EvaluationSet.of(model, store, examples, where=where)


def _fitted(
    validation: EvaluationSet, train: Sequence[Example], *, where: str, is_judged: bool
) -> FittedReferences:
    """Fit all that is fitted, from the train part and the validation part of a run."""
    kmers = _fit_kmers(validation, train, where=where)
    return FittedReferences(
        train_targets=_train_targets(validation, train, where),
        kmers=kmers,
        calibration=_fit_calibration(validation),
        is_fitted_on_judged=is_judged,
    )


def _known(
    model_dir: Path, judged: EvaluationSet, part: dict[str, list[Example]], *, where: str
) -> FittedReferences:
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
    return FittedReferences(
        train_targets=_train_targets(judged, train, where),
        kmers=kmers,
        calibration=calibration,
        is_chosen_on_judged=chosen_on_judged and kmers is not None,
    )


def _calibration_in(model_dir: Path, judged: EvaluationSet) -> Calibration | None:
    """Read the calibration beside the model."""
    found = Calibration.load(model_dir)
    if found is not None:
        check_same_classes(model_dir / calibrations.FILE_NAME, found, judged.model.config)
    return found


def _kmers_in(model_dir: Path, judged: EvaluationSet, *, can_fit: bool) -> KmerBaselines | None:
    """Read the baselines beside the model; None if one is missing, and all can be fitted anew."""
    found = _kmer_baseline_in(model_dir / kmer_baseline.FILE_NAME, judged)
    if found is None:
        return None
    proteins = _kmer_baseline_in(model_dir / kmer_baseline.PROTEIN_FILE_NAME, judged)
    if judged.model.config.protein_k and proteins is None and can_fit:
        return None
    return KmerBaselines({found.kmers.k: found}, found.kmers.k, proteins)


def _kmer_baseline_in(path: Path, judged: EvaluationSet) -> KmerBaseline | None:
    if not path.is_file():
        return None
    found = KmerBaseline.load(path)
    check_same_classes(path, found, judged.model.config)
    return found


def _fit_kmers(
    chosen_on: EvaluationSet, train: Sequence[Example], *, where: str
) -> KmerBaselines | None:
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


def _train_targets(
    judged: EvaluationSet, train: Sequence[Example], where: str
) -> np.ndarray | None:
    """Return the targets of the train rows, if there are any and the model knows their labels."""
    try:
        return targets_of(LabelScheme(judged.classes, judged.task), train, where) if train else None
    except DataError:
        return None  # _fit_kmers has told


def _fit_calibration(validation: EvaluationSet) -> Calibration | None:
    """Fit a temperature; numbers have none."""
    if validation.task == "regression":
        return None
    logits = logits_of(validation.probabilities, validation.task)
    return Calibration.fit(logits, validation.targets, validation.task, validation.classes)


def _leave_in_run(run: Path, known: FittedReferences) -> None:
    """Write what was fitted beside the model."""
    if known.kmers is not None:
        known.kmers.best.save(run / kmer_baseline.FILE_NAME)
        if known.kmers.proteins is not None:
            known.kmers.proteins.save(run / kmer_baseline.PROTEIN_FILE_NAME)
    if known.calibration is not None:
        known.calibration.save(run)
    else:
        (run / calibrations.FILE_NAME).unlink(missing_ok=True)


def _write_tables(folder: Path, judged: EvaluationSet, metrics: dict[str, Any]) -> None:
    """Write metrics.json, predictions.tsv and confusion.tsv."""
    predictions = [
        make_prediction(judged.model, example.name, len(example.interval), row)
        for example, row in zip(judged.examples, judged.probabilities, strict=True)
    ]
    truths = [";".join(example.labels) for example in judged.examples]
    evaluation_lines = tables.evaluation_lines(predictions, truths, judged.classes, judged.task)
    (folder / "predictions.tsv").write_text(_as_text(evaluation_lines), encoding="utf-8")
    if "confusion" in metrics:
        confusion = tables.confusion_lines(metrics)
        (folder / "confusion.tsv").write_text(_as_text(confusion), encoding="utf-8")
    (folder / "metrics.json").write_text(_as_json(metrics), encoding="utf-8")


def _as_text(lines: Any) -> str:
    return "".join(f"{line}\n" for line in lines)


def _as_json(metrics: dict[str, Any]) -> str:
    return json.dumps(metrics, indent=2, allow_nan=False) + "\n"
