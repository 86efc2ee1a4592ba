"""Compare predictions with true labels, on the full set at once, beside the k-mer baseline.

``evaluate`` judges any model on any labelled FASTA. ``evaluate_run`` judges a fresh run on the
examples its training held out, and leaves the baseline in the run folder.

Dimensions: n examples, c classes.
"""

import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rmt_genomics.datasets.examples import Example, LabelScheme, Targets
from rmt_genomics.datasets.label_sources import LabelSource
from rmt_genomics.datasets.labels import read_labels
from rmt_genomics.datasets.store import EncodedStore
from rmt_genomics.errors import CheckpointError, DataError, RMTGenomicsWarning
from rmt_genomics.inference import kmer_baseline, tables
from rmt_genomics.inference.kmer_baseline import KmerBaseline
from rmt_genomics.inference.output import check_new_folder, write_text
from rmt_genomics.inference.predict import make_prediction
from rmt_genomics.inference.trained_on import warn_if_trained_on
from rmt_genomics.model import RMTClassifier, classification_metrics
from rmt_genomics.model.classifier import batches_of_similar_length
from rmt_genomics.model.device import choose_device
from rmt_genomics.model.saving import staged


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
        model_dir: A model folder or a hub id. The k-mer baseline in it is judged too; if there
            is none, one is fitted on the rows that the labels file marks as train.
        fasta: The sequences: a file, or a folder of files.
        labels: True labels, of classes the model knows: a table, or where else they are.
        out: Folder for ``metrics.json``, ``predictions.tsv`` and ``confusion.tsv``.
        device: auto, cpu, cuda or mps.
        overwrite: Replace what an earlier evaluation left in ``out``.

    Returns:
        The content of ``metrics.json``; ``split`` says which rows were judged (test or all).

    Raises:
        RMTGenomicsError: If the input is wrong or ``out`` is in use; then nothing is written.
    """
    check_new_folder(out, overwrite=overwrite)
    labels = LabelSource.of(labels)
    labels.check()
    model = RMTClassifier.from_pretrained(model_dir, device=choose_device(device))
    store = EncodedStore.open(fasta, progress=sys.stderr.isatty())
    examples = labels.read(store.records())
    test = [example for example in examples if example.split == "test"]
    warn_if_trained_on(model_dir, test or examples, store.sha256)
    judged = _Judged.of(model, store, test or examples, where=str(labels))
    train = [example for example in examples if example.split == "train"]
    baseline = _find_baseline(model_dir, judged.scheme, store, train, where=str(labels))
    metrics = _with_baseline(judged, "test" if test else "all", baseline, store)
    with staged(out) as stage:
        _write_tables(stage, judged, metrics)
    return metrics


def evaluate_run(run: Path, fasta: Path, *, device: str = "auto") -> dict[str, Any]:
    """Judge a fresh run on its test part, or its validation part if it has no test part.

    Fits the k-mer baseline on the train part. Writes ``metrics.json`` and
    ``kmer_logistic.safetensors`` into the run folder.

    Args:
        run: The folder of a finished training; its ``split.tsv`` says how examples were used.
        fasta: The sequences it was trained on.
        device: auto, cpu, cuda or mps.

    Returns:
        The content of ``metrics.json``. When test was judged, ``validation`` holds the same
        metrics of the validation part.
    """
    model = RMTClassifier.from_pretrained(run, device=choose_device(device))
    store = EncodedStore.open(fasta)
    split_file = run / "split.tsv"
    examples = read_labels(split_file, store.lengths)
    part = {name: [e for e in examples if e.split == name] for name in _PARTS}
    name = "test" if part["test"] else "validation"
    judged = _Judged.of(model, store, part[name], where=str(split_file))
    baseline = _fit(judged.scheme, store, part["train"], where=str(split_file))
    metrics = _with_baseline(judged, name, baseline, store)
    if name == "test":
        validation = _Judged.of(model, store, part["validation"], where=str(split_file))
        metrics["validation"] = validation.metrics(validation.probabilities)
    if baseline is not None:
        baseline.save(run / kmer_baseline.FILE_NAME)
    write_text(run / "metrics.json", _as_json(metrics))
    return metrics


def predict_examples(
    model: RMTClassifier, store: EncodedStore, examples: Sequence[Example]
) -> np.ndarray:
    """Return the probability of each class ``(n, c)``, rows in the order of the examples."""
    rows = np.empty((len(examples), len(model.classes_)))
    for batch in batches_of_similar_length([len(example.interval) for example in examples]):
        rows[batch] = model.predict_codes([store.codes(examples[i].interval) for i in batch])
    return rows


_PARTS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """Examples with their targets and what the model says."""

    model: RMTClassifier
    scheme: LabelScheme
    examples: Sequence[Example]
    targets: Targets
    probabilities: np.ndarray

    @classmethod
    def of(
        cls, model: RMTClassifier, store: EncodedStore, examples: Sequence[Example], *, where: str
    ) -> "_Judged":
        """Predict, once the labels are known to fit the model; ``where`` is the labels file."""
        scheme = LabelScheme(model.classes_, model.config.task)
        targets = _targets(scheme, examples, where)
        return cls(model, scheme, examples, targets, predict_examples(model, store, examples))

    def metrics(self, probabilities: np.ndarray) -> dict[str, Any]:
        """Compare some probabilities with the truth."""
        return classification_metrics(
            self.targets, probabilities, classes=self.scheme.classes, task=self.scheme.task
        )


def _targets(scheme: LabelScheme, examples: Sequence[Example], where: str) -> Targets:
    try:
        return scheme.targets(examples)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _with_baseline(
    judged: _Judged, split: str, baseline: KmerBaseline | None, store: EncodedStore
) -> dict[str, Any]:
    """Return the metrics of the model, and of the baseline if there is one."""
    baselines = {}
    if baseline is not None:
        sequences = (store.codes(example.interval) for example in judged.examples)
        baselines["kmer_logistic"] = judged.metrics(baseline.predict_proba(sequences))
    metrics = judged.metrics(judged.probabilities)
    return {**metrics, "task": judged.scheme.task, "split": split, "baselines": baselines}


def _find_baseline(
    model_dir: str | Path,
    scheme: LabelScheme,
    store: EncodedStore,
    train: Sequence[Example],
    *,
    where: str,
) -> KmerBaseline | None:
    """Read the baseline beside the model, or fit one on the train rows."""
    path = Path(model_dir) / kmer_baseline.FILE_NAME
    if not path.is_file():
        return _fit(scheme, store, train, where=where)
    baseline = KmerBaseline.load(path)
    if (baseline.classes, baseline.task) != (scheme.classes, scheme.task):
        raise CheckpointError(
            f"{path}: has the classes {', '.join(baseline.classes)} ({baseline.task}), but the "
            f"model beside it has {', '.join(scheme.classes)} ({scheme.task}). Remove the file."
        )
    return baseline


def _fit(
    scheme: LabelScheme, store: EncodedStore, train: Sequence[Example], *, where: str
) -> KmerBaseline | None:
    """Fit a baseline, or warn why there is none."""
    try:
        if not train:
            raise DataError("no row is marked as train, but a k-mer baseline is fitted on those")
        sequences = (store.codes(example.interval) for example in train)
        targets = _targets(scheme, train, where)
        return KmerBaseline.fit(sequences, targets, scheme.classes, scheme.task)
    except DataError as error:
        warnings.warn(
            f"{where}: {error}. The k-mer baseline is left out.", RMTGenomicsWarning, stacklevel=3
        )
        return None


def _write_tables(folder: Path, judged: _Judged, metrics: dict[str, Any]) -> None:
    """Write metrics.json, predictions.tsv and confusion.tsv."""
    classes = judged.scheme.classes
    predictions = [
        make_prediction(judged.model, example.name, len(example.interval), row)
        for example, row in zip(judged.examples, judged.probabilities, strict=True)
    ]
    truths = [";".join(example.labels) for example in judged.examples]
    judged_lines = tables.judged_lines(predictions, truths, classes)
    (folder / "predictions.tsv").write_text(_as_text(judged_lines), encoding="utf-8")
    confusion = tables.confusion_lines(metrics)
    (folder / "confusion.tsv").write_text(_as_text(confusion), encoding="utf-8")
    (folder / "metrics.json").write_text(_as_json(metrics), encoding="utf-8")


def _as_text(lines: Any) -> str:
    return "".join(f"{line}\n" for line in lines)


def _as_json(metrics: dict[str, Any]) -> str:
    return json.dumps(metrics, indent=2, allow_nan=False) + "\n"
