"""Baselines of a model: the most common label, k-mer counts, and itself on single segments.

All are evaluated on the same examples as the model.

Dimensions: n examples, c classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rmt_genomics.datasets.examples import Example
from rmt_genomics.datasets.sequence_store import SequenceStore
from rmt_genomics.evaluation.context_ablation import Averages, average_of_segments, segment_bp
from rmt_genomics.evaluation.evaluation_set import EvaluationSet
from rmt_genomics.model.batching import compute_in_batches
from rmt_genomics.model.kmer_regression import KmerRegression, KmerSpec
from rmt_genomics.model.metrics import one_hot

KS = (4, 6)
_INVERSE_REGULARIZATIONS = (1.0, 0.01, 0.001)
_OF_LARGE_FITS = (0.01,)
_LARGE_FIT = 1 << 29  # numbers (examples x k-mers x classes) beyond which a fit takes minutes
_MAX_FREQUENCIES = 1 << 28  # of all train rows together: 1 GB
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, eq=False)
class BaselinePredictions:
    """The predictions of a baseline."""

    key: str
    """In ``metrics.json``."""

    description: str | None
    """Its name in sentences; None = it is not compared with the model."""

    outputs: np.ndarray
    """``(n, c)``, like the probabilities of the model."""

    extra: dict[str, Any] = field(default_factory=dict)
    """Entries of ``metrics.json`` beside its metrics."""


@dataclass(frozen=True, slots=True, eq=False)
class KmerBaselines:
    """The best regression on counts of 4-mers and of 6-mers, and which of the two is better."""

    by_k: dict[int, KmerRegression]
    k: int
    proteins: KmerRegression | None = None
    """On the amino acid k-mers that a model with ``protein_k`` reads; None for other models."""

    notes: tuple[str, ...] = ()
    """Restrictions of the fit, for the notes of ``metrics.json``."""

    @property
    def best(self) -> KmerRegression:
        """The better of the two."""
        return self.by_k[self.k]


def baseline_predictions(
    eval_set: EvaluationSet, train_targets: np.ndarray | None, kmers: KmerBaselines | None
) -> list[BaselinePredictions]:
    """Return the predictions of all baselines, in the order they are shown.

    Args:
        eval_set: The examples to predict.
        train_targets: Targets of the train rows; None = unknown.
        kmers: Fitted on the train rows; None = there are none.
    """
    baselines: list[BaselinePredictions] = []

    def add(key: str, description: str | None, outputs: np.ndarray, **extra: Any) -> None:
        baselines.append(BaselinePredictions(key, description, outputs, extra))

    is_regression = eval_set.task == "regression"
    if train_targets is not None and len(train_targets):
        key, description = ("majority", "the most common label")
        if is_regression:
            key, description = ("mean", "the mean of the train rows")
        add(key, description, constant_predictions(train_targets, eval_set))
    if kmers is not None:
        kind = "ridge" if is_regression else "logistic"
        by_k = {k: _predict([fitted], eval_set)[0] for k, fitted in kmers.by_k.items()}
        add(f"kmer_{kind}", _description(kmers.best.kmers), by_k[kmers.k], k=kmers.k)
        for k, outputs in by_k.items() if len(by_k) > 1 else ():
            add(f"kmer{k}_{kind}", None, outputs, k=k)
        if kmers.proteins is not None:
            (outputs,), spec = _predict([kmers.proteins], eval_set), kmers.proteins.kmers
            add(f"protein_{kind}", _description(spec), outputs, k=spec.k)
    averages = segment_by_segment(eval_set)
    composition = eval_set.model.config.beside_memory
    whole = f" (with {composition} of the whole sequence)" if composition else ""
    add("chunk_average", f"the same network on single segments{whole}", averages.with_whole)
    bp = segment_bp(eval_set.model)
    if composition and eval_set.lengths.max() > bp:
        windows = f"the same network averaged over windows of {bp:,} bp"
        add("window_average", windows, averages.alone, window_bp=bp)
    return baselines


def constant_predictions(targets: np.ndarray, eval_set: EvaluationSet) -> np.ndarray:
    """Return the class frequencies among ``targets`` as prediction for every example.

    So the most common label is predicted everywhere; for regression the mean.
    """
    if eval_set.task == "regression":
        row = np.array([np.mean(targets)])
    else:
        row = one_hot(targets, len(eval_set.classes)).mean(axis=0)
    return np.tile(row, (len(eval_set.examples), 1))


def segment_by_segment(eval_set: EvaluationSet) -> Averages:
    """Return ``average_of_segments`` of each example.

    An example of one segment has the model's own prediction, which is not computed again.
    """
    is_long = eval_set.lengths > segment_bp(eval_set.model)
    long = eval_set.subset(np.flatnonzero(is_long))

    def averages(batch: list[int]) -> np.ndarray:
        return np.stack(average_of_segments(long.model, long.codes(batch)), axis=1)

    rows = np.stack([eval_set.probabilities] * 2, axis=1)
    rows[is_long] = compute_in_batches(long.lengths.tolist(), averages, rows.shape[1:])
    return Averages(rows[:, 0], rows[:, 1])


def fit_kmer_baselines(
    store: SequenceStore,
    train: Sequence[Example],
    targets: np.ndarray,
    validation: EvaluationSet,
) -> KmerBaselines:
    """Fit on the train rows; choose k and regularization on the validation part.

    Args:
        store: The sequences of the train rows.
        train: At least one example.
        targets: Of the train rows.
        validation: The examples that decide.

    Raises:
        DataError: If there are fewer than two classes.
    """
    config = validation.model.config
    of_bases = [KmerSpec(k) for k in KS]
    of_proteins = [KmerSpec(config.protein_k, config.orf_codons)] if config.protein_k else []
    fitted, scores, notes = {}, {}, []
    for kmers in of_bases + of_proteins:
        rows = np.arange(len(train))
        affordable = _MAX_FREQUENCIES // kmers.num_features
        if len(train) > affordable:
            rows = np.sort(np.random.default_rng(0).permutation(len(train))[:affordable])
            notes.append(
                f"{_description(kmers).capitalize()} was fitted on {len(rows):,} of "
                f"{len(train):,} train rows, drawn at random (seed 0): more would not fit into "
                "memory."
            )
        features = _features(store, [train[row] for row in rows.tolist()], kmers)
        fitted[kmers], scores[kmers] = _fit_best(features, targets[rows], validation, kmers)
    best = max(of_bases, key=lambda kmers: scores[kmers])
    return KmerBaselines(
        by_k={kmers.k: fitted[kmers] for kmers in of_bases},
        k=best.k,
        proteins=fitted[of_proteins[0]] if of_proteins else None,
        notes=tuple(notes),
    )


def _fit_best(
    features: np.ndarray, targets: np.ndarray, validation: EvaluationSet, kmers: KmerSpec
) -> tuple[KmerRegression, tuple[float, float]]:
    """Return the regression with the regularization that validates best, and its score."""
    num_columns = 1 if validation.task == "binary" else len(validation.classes)
    is_large = features.size * num_columns > _LARGE_FIT
    fitted = [
        KmerRegression.fit(
            features,
            targets,
            validation.classes,
            validation.task,
            kmers=kmers,
            inverse_regularization=inverse_regularization,
        )
        for inverse_regularization in (_OF_LARGE_FITS if is_large else _INVERSE_REGULARIZATIONS)
    ]
    scores = [_score(validation, outputs) for outputs in _predict(fitted, validation)]
    best = max(scores)
    return fitted[scores.index(best)], best


def _score(eval_set: EvaluationSet, outputs: np.ndarray) -> tuple[float, float]:
    """Return the metric that decides and the one that breaks ties; -inf if not defined."""
    metrics = eval_set.metrics(outputs)
    keys = ("r2", "pearson") if eval_set.task == "regression" else ("mcc", "auroc")
    first, second = (-np.inf if metrics[key] is None else metrics[key] for key in keys)
    return first, second


def _predict(fitted: Sequence[KmerRegression], eval_set: EvaluationSet) -> list[np.ndarray]:
    """Return the predictions ``(n, c)`` of regressions on the same k-mers, counted once."""
    parts: list[list[np.ndarray]] = [[] for _ in fitted]
    for start in range(0, len(eval_set.examples), _ROWS_AT_ONCE):
        examples = eval_set.examples[start : start + _ROWS_AT_ONCE]
        features = _features(eval_set.store, examples, fitted[0].kmers)
        for part, regression in zip(parts, fitted, strict=True):
            part.append(regression.predict_proba(features))
    return [np.concatenate(part) for part in parts]


def _features(store: SequenceStore, examples: Sequence[Example], kmers: KmerSpec) -> np.ndarray:
    sequences = (store.codes(example.interval) for example in examples)
    return kmers.features(sequences, count=len(examples))


def _description(kmers: KmerSpec) -> str:
    return f"the {'' if kmers.orf_codons is None else 'protein '}{kmers.k}-mer baseline"
