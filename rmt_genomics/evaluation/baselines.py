"""Baselines of a model: the most common label, regressions on k-mers, itself on single segments.

All are evaluated on the same examples as the model. The model reads both strands, each in its
order, so it can use what differs between them (such as more G than C): k-mers are counted on both
strands as one, and on the given strand.

Dimensions: n examples, c classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from rmt_genomics.datasets.examples import Example
from rmt_genomics.datasets.sequence_store import SequenceStore
from rmt_genomics.evaluation.context_ablation import Averages, average_of_segments, segment_bp
from rmt_genomics.evaluation.evaluation_set import EvaluationSet, Thresholds
from rmt_genomics.evaluation.summary import FEATURES
from rmt_genomics.model import ClassifierConfig, RMTClassifier
from rmt_genomics.model.batching import compute_in_batches, pad
from rmt_genomics.model.fold_ensemble import FoldEnsemble
from rmt_genomics.model.kmer_regression import KmerRegression, KmerSpec
from rmt_genomics.model.metrics import best_thresholds, main_metric, one_hot

KS = (4, 6)
STRANDED_KS = (2, 4)
_INVERSE_REGULARIZATIONS = (1.0, 0.01, 0.001)
_OF_LARGE_FITS = (0.01,)
_LARGE_FIT = 1 << 29  # numbers (examples x k-mers x classes) beyond which a fit takes minutes
_FEWEST_OF_A_CLASS = 10  # rows of a sample
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

    thresholds: Thresholds = None
    """From which probabilities on it predicts a class, like those of the model."""


@dataclass(frozen=True, slots=True, eq=False)
class KmerBaselines:
    """Regressions on counts of k-mers."""

    best: dict[str, KmerRegression]
    """The best of each kind (a key of ``specs_of``) on validation."""

    by_k: dict[int, KmerRegression] = field(default_factory=dict)
    """All on canonical k-mers, if several were fitted."""

    notes: tuple[str, ...] = ()
    """Restrictions of the fit, for the notes of ``metrics.json``."""


def specs_of(config: ClassifierConfig) -> dict[str, list[KmerSpec]]:
    """Return what is counted for each kind of baseline; of several the best is chosen."""
    specs = {
        "kmer": [KmerSpec(k) for k in KS],
        "stranded_kmer": [KmerSpec(k, is_stranded=True) for k in STRANDED_KS],
        "composition": [KmerSpec(1, is_stranded=True, has_length=True)],
    }
    if protein := config.features_by_kind.get("protein"):
        specs["protein"] = [KmerSpec.of(protein, config.orf_codons)]
    return specs


def baseline_predictions(
    eval_set: EvaluationSet,
    train_targets: np.ndarray | None,
    kmers: KmerBaselines | None,
    *,
    has_validation: bool = True,
) -> list[BaselinePredictions]:
    """Return the predictions of all baselines, in the order they are shown.

    Args:
        eval_set: The examples to predict.
        train_targets: Targets of the train rows; None = unknown.
        kmers: Fitted on the train rows; None = there are none.
        has_validation: Whether they were chosen on other examples than those of ``eval_set``.
    """
    baselines: list[BaselinePredictions] = []

    def add(
        key: str,
        description: str | None,
        outputs: np.ndarray,
        thresholds: Thresholds = None,
        **extra: Any,
    ) -> None:
        baselines.append(BaselinePredictions(key, description, outputs, extra, thresholds))

    is_regression = eval_set.task == "regression"
    if train_targets is not None and len(train_targets):
        key, description = ("majority", "the most common label")
        if is_regression:
            key, description = ("mean", "the mean of the train rows")
        add(key, description, constant_predictions(train_targets, eval_set))
    if kmers is not None:
        suffix = "ridge" if is_regression else "logistic"
        for kind, fitted in kmers.best.items():
            several = kmers.by_k if kind == "kmer" and kmers.by_k else {fitted.kmers.k: fitted}
            outputs = {k: _predict([one], eval_set)[0] for k, one in several.items()}
            extra: dict[str, Any] = {} if fitted.kmers.has_length else {"k": fitted.kmers.k}
            if has_validation and fitted.validation is not None:
                extra[f"validation_{main_metric(eval_set.task)}"] = fitted.validation
            description = description_of(fitted.kmers)
            own = fitted.thresholds
            add(f"{kind}_{suffix}", description, outputs[fitted.kmers.k], own, **extra)
            for k in outputs if len(outputs) > 1 else ():
                add(f"{kind}{k}_{suffix}", None, outputs[k], several[k].thresholds, k=k)
    if not isinstance(eval_set.model, FoldEnsemble):
        baselines += _ablations(eval_set.model, eval_set)
    return baselines


def _ablations(model: RMTClassifier, eval_set: EvaluationSet) -> list[BaselinePredictions]:
    """Return the predictions of a model with parts of it, or of the sequences, taken away."""
    own, found = eval_set.thresholds, list[BaselinePredictions]()
    if model.regressions is not None and any(
        bool(each.any()) for each in model.regressions.buffers()
    ):
        name, outputs = "the regression on its features alone", regression_alone(model, eval_set)
        found.append(BaselinePredictions(FEATURES, name, outputs, thresholds=own))
    averages = segment_by_segment(eval_set)
    composition, bp = model.config.beside_memory, segment_bp(model)
    whole = f" (with {composition} of the whole sequence)" if composition else ""
    name = f"the same network on single segments{whole}"
    found.append(BaselinePredictions("chunk_average", name, averages.with_whole, thresholds=own))
    if composition and eval_set.lengths.max() > bp:
        name, extra = f"the same network averaged over windows of {bp:,} bp", {"window_bp": bp}
        found.append(BaselinePredictions("window_average", name, averages.alone, extra, own))
    return found


def constant_predictions(targets: np.ndarray, eval_set: EvaluationSet) -> np.ndarray:
    """Return the class frequencies among ``targets`` as prediction for every example.

    So the most common label is predicted everywhere; for regression the mean.
    """
    if eval_set.task == "regression":
        row = np.array([np.mean(targets)])
    else:
        row = one_hot(targets, len(eval_set.classes)).mean(axis=0)
    return np.tile(row, (len(eval_set.examples), 1))


def regression_alone(model: RMTClassifier, eval_set: EvaluationSet) -> np.ndarray:
    """Return the predictions of the feature regressions of a model without its network."""

    def outputs(batch: list[int]) -> np.ndarray:
        codes, _ = pad(eval_set.codes(batch), model.device)
        with torch.inference_mode():
            return model.outputs(model.regression_logits(codes)).cpu().numpy()

    return compute_in_batches(eval_set.lengths.tolist(), outputs, (len(eval_set.classes),))


def segment_by_segment(eval_set: EvaluationSet) -> Averages:
    """Return ``average_of_segments`` of each example.

    An example of one segment has the model's own prediction, which is not computed again.
    """
    model = eval_set.model
    assert isinstance(model, RMTClassifier), "a single network"
    is_long = eval_set.lengths > segment_bp(model)
    long = eval_set.subset(np.flatnonzero(is_long))

    def averages(batch: list[int]) -> np.ndarray:
        return np.stack(average_of_segments(model, long.codes(batch)), axis=1)

    rows = np.stack([eval_set.probabilities] * 2, axis=1)
    rows[is_long] = compute_in_batches(long.lengths.tolist(), averages, rows.shape[1:])
    return Averages(rows[:, 0], rows[:, 1])


def fit_kmer_baselines(
    store: SequenceStore,
    train: Sequence[Example],
    targets: np.ndarray,
    validation: EvaluationSet,
    loaded: Mapping[str, KmerRegression] = MappingProxyType({}),
) -> KmerBaselines:
    """Fit on the train rows; choose k and regularization on the validation part.

    Args:
        store: The sequences of the train rows.
        train: At least one example.
        targets: Of the train rows.
        validation: The examples that decide.
        loaded: Baselines by kind that need not be fitted.

    Raises:
        DataError: If there are fewer than two classes.
    """
    best, by_k, notes = {}, {}, []
    for kind, specs in specs_of(validation.model.config).items():
        if kind in loaded:
            best[kind] = loaded[kind]
            continue
        candidates = []
        for kmers in specs:
            rows, num_classes = np.arange(len(train)), len(validation.classes)
            affordable = kmers.affordable_rows(num_classes)
            if affordable < min(len(train), _FEWEST_OF_A_CLASS * num_classes):
                notes.append(
                    f"{description_of(kmers).capitalize()} was not fitted: {len(train):,} train "
                    f"rows of {num_classes:,} classes would take hours."
                )
                continue
            affordable = min(affordable, _MAX_FREQUENCIES // kmers.num_features)
            if len(train) > affordable:
                rows = np.sort(np.random.default_rng(0).permutation(len(train))[:affordable])
                notes.append(
                    f"{description_of(kmers).capitalize()} was fitted on {len(rows):,} of "
                    f"{len(train):,} train rows, drawn at random (seed 0): more would take too "
                    "long, or not fit into memory."
                )
            features = _features(store, [train[row] for row in rows.tolist()], kmers)
            candidates.append(_fit_best(features, targets[rows], validation, kmers))
        if not candidates:
            continue
        best[kind] = max(candidates, key=lambda fitted_and_score: fitted_and_score[1])[0]
        if kind == "kmer":
            by_k = {fitted.kmers.k: fitted for fitted, _ in candidates}
    return KmerBaselines(best, by_k, tuple(notes))


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
    outputs = _predict(fitted, validation)
    if validation.model.config.thresholds_from == "validation":  # for a fair comparison
        chosen = (best_thresholds(validation.targets, each, validation.task) for each in outputs)
        fitted = [
            replace(one, thresholds=found) for one, (found, _) in zip(fitted, chosen, strict=True)
        ]
    pairs = zip(outputs, fitted, strict=True)
    scores = [_score(validation, each, one.thresholds) for each, one in pairs]
    best = max(scores)
    main = best[0] if np.isfinite(best[0]) else None
    return replace(fitted[scores.index(best)], validation=main), best


def _score(
    eval_set: EvaluationSet, outputs: np.ndarray, thresholds: Thresholds
) -> tuple[float, float]:
    """Return the metric that decides and the one that breaks ties; -inf if not defined."""
    metrics = eval_set.metrics(outputs, thresholds)
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


def description_of(kmers: KmerSpec) -> str:
    """Return the name of a baseline in sentences."""
    if kmers.has_length:
        return "the length and composition baseline"
    kind = "stranded " if kmers.is_stranded else "" if kmers.orf_codons is None else "protein "
    return f"the {kind}{kmers.k}-mer baseline"
