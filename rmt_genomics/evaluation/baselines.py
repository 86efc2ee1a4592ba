"""What any model has to beat: the most common answer, k-mer counts, and itself without recurrence.

All are judged on the same examples as the model.

Dimensions: n examples, c classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rmt_genomics.datasets.examples import Example
from rmt_genomics.datasets.sequence_store import EncodedStore
from rmt_genomics.evaluation.context_ablation import Averages, average_of_segments, segment_bp
from rmt_genomics.evaluation.evaluation_set import EvaluationSet
from rmt_genomics.model.batching import batches_of_similar_length
from rmt_genomics.model.kmer_regression import KmerBaseline, Kmers
from rmt_genomics.model.metrics import one_hot

KS = (4, 6)
_STRENGTHS = (1.0, 0.01, 0.001)
_LARGE_STRENGTHS = (0.01,)
_MOST = 1 << 28  # shares of all train rows together: 1 GB
_ROWS_AT_ONCE = 4096
_LARGE = 1 << 29  # numbers (examples x k-mers x classes) beyond which one fit has to do


@dataclass(frozen=True, slots=True, eq=False)
class KmerBaselines:
    """The best regression on counts of 4-mers and of 6-mers, and which of the two is better."""

    by_k: dict[int, KmerBaseline]
    k: int
    proteins: KmerBaseline | None = None
    """On what a model with ``protein_k`` reads beside its memory; None for other models."""

    notes: tuple[str, ...] = ()
    """What a reader must know of how they were fitted."""

    @property
    def best(self) -> KmerBaseline:
        """The better of the two."""
        return self.by_k[self.k]


@dataclass(frozen=True, slots=True, eq=False)
class BaselinePredictions:
    """The answers of a baseline."""

    name: str
    """Its key in ``metrics.json``."""

    words: str | None
    """What it is called in sentences; None = it is not compared with the model."""

    outputs: np.ndarray
    """``(n, c)``, as the probabilities of the model."""

    more: dict[str, Any] = field(default_factory=dict)
    """What stands in ``metrics.json`` beside its metrics."""


def fit_kmers(
    store: EncodedStore,
    train: Sequence[Example],
    targets: np.ndarray,
    chosen_on: EvaluationSet,
) -> KmerBaselines:
    """Fit on the train rows; choose k, and how freely to fit, on other examples.

    Args:
        store: The sequences of the train rows.
        train: At least one.
        targets: Of the train rows.
        chosen_on: The validation part.

    Raises:
        DataError: If there are not two classes to tell apart.
    """
    of_bases, config = [Kmers(k) for k in KS], chosen_on.model.config
    of_proteins = [Kmers(config.protein_k, config.orf_codons)] if config.protein_k else []
    found, scores, notes = {}, {}, []
    for kmers in of_bases + of_proteins:
        places = _affordable(len(train), kmers)
        if len(places) < len(train):
            notes.append(
                f"{_words(kmers).capitalize()} was fitted on {len(places):,} of {len(train):,} "
                "train rows, drawn at random (seed 0): more would not fit into memory."
            )
        rows = [train[place] for place in places]
        found[kmers], scores[kmers] = _fit_best(store, rows, targets[places], chosen_on, kmers)
    best = max(of_bases, key=lambda kmers: scores[kmers])
    return KmerBaselines(
        by_k={kmers.k: found[kmers] for kmers in of_bases},
        k=best.k,
        proteins=found[of_proteins[0]] if of_proteins else None,
        notes=tuple(notes),
    )


def _fit_best(
    store: EncodedStore,
    train: Sequence[Example],
    targets: np.ndarray,
    chosen_on: EvaluationSet,
    kmers: Kmers,
) -> tuple[KmerBaseline, tuple[float, float]]:
    """Return the regression of the strength that is best on other examples, and its rating."""
    shares = _shares(store, train, kmers)
    fitted = [
        KmerBaseline.fit_shares(
            shares, targets, chosen_on.classes, chosen_on.task, kmers=kmers, strength=strength
        )
        for strength in _strengths(shares, chosen_on)
    ]
    rated = [_rating(chosen_on, outputs) for outputs in _answers(fitted, chosen_on)]
    best = max(rated)
    return fitted[rated.index(best)], best


def _words(kmers: Kmers) -> str:
    """Return what a baseline is called in sentences."""
    of_bases = kmers.orf_codons is None
    return f"the {kmers.k}-mer baseline" if of_bases else f"the protein {kmers.k}-mer baseline"


def _affordable(count: int, kmers: Kmers) -> np.ndarray:
    """Return the places of as many train rows as memory should hold the counts of."""
    most = _MOST // kmers.counted
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).permutation(count)[:most])


def _shares(store: EncodedStore, examples: Sequence[Example], kmers: Kmers) -> np.ndarray:
    sequences = (store.codes(example.interval) for example in examples)
    return kmers.shares(sequences, count=len(examples))


def _answers(fitted: Sequence[KmerBaseline], judged: EvaluationSet) -> list[np.ndarray]:
    """Return the answers ``(n, c)`` of regressions on the same k-mers, counted once."""
    parts: list[list[np.ndarray]] = [[] for _ in fitted]
    for start in range(0, len(judged.examples), _ROWS_AT_ONCE):
        examples = judged.examples[start : start + _ROWS_AT_ONCE]
        shares = _shares(judged.store, examples, fitted[0].kmers)
        for part, baseline in zip(parts, fitted, strict=True):
            part.append(baseline.predict_shares(shares))
    return [np.concatenate(part) for part in parts]


def _strengths(shares: np.ndarray, judged: EvaluationSet) -> tuple[float, ...]:
    """Say which strengths are tried: few where a fit takes minutes."""
    columns = 1 if judged.task == "binary" else len(judged.classes)
    return _LARGE_STRENGTHS if shares.size * columns > _LARGE else _STRENGTHS


def _rating(judged: EvaluationSet, outputs: np.ndarray) -> tuple[float, float]:
    """Return what is compared, and what decides if it is equal; minus infinity if undefined."""
    metrics = judged.metrics(outputs)
    names = ("r2", "pearson") if judged.task == "regression" else ("mcc", "auroc")
    first, second = (-np.inf if metrics[name] is None else metrics[name] for name in names)
    return first, second


def most_common(targets: np.ndarray, judged: EvaluationSet) -> np.ndarray:
    """Return the same answer for each judged example: the share of each class among ``targets``.

    The most common label is then called everywhere; for regression the mean.
    """
    if judged.task == "regression":
        answer = np.array([np.mean(targets)])
    else:
        answer = one_hot(targets, len(judged.classes)).mean(axis=0)
    return np.tile(answer, (len(judged.examples), 1))


def segment_by_segment(judged: EvaluationSet) -> Averages:
    """Return ``average_of_segments`` of each example.

    An example of one segment has the model's own answer, which is not computed again.
    """
    lengths = judged.lengths
    places = np.flatnonzero(lengths > segment_bp(judged.model))
    rows = Averages(judged.probabilities.copy(), judged.probabilities.copy())
    for batch in batches_of_similar_length(lengths[places].tolist()):
        chosen = places[batch]
        codes = [judged.store.codes(judged.examples[place].interval) for place in chosen]
        found = average_of_segments(judged.model, codes)
        rows.beside_whole[chosen], rows.alone[chosen] = found
    return rows


def baseline_predictions(
    judged: EvaluationSet, train_targets: np.ndarray | None, kmers: KmerBaselines | None
) -> list[BaselinePredictions]:
    """Return all baselines that there are, in the order they are shown.

    Args:
        judged: The examples to answer for.
        train_targets: Of the train rows; None = not known.
        kmers: Fitted on the train rows; None = there are none.
    """
    found = []
    if train_targets is not None and len(train_targets):
        name, words = _CONSTANT[judged.task == "regression"]
        found.append(BaselinePredictions(name, words, most_common(train_targets, judged)))
    if kmers is not None:
        found += _kmer_rivals(judged, kmers)
    words, averages = "the same network reading each segment by itself", segment_by_segment(judged)
    if beside := judged.model.config.beside_memory:
        words += f" (beside {beside} of the whole)"
    found.append(BaselinePredictions("chunk_average", words, averages.beside_whole))
    bp = segment_bp(judged.model)
    if beside and judged.lengths.max() > bp:
        words = f"the mean of the same network on windows of {bp:,} bp"
        found.append(
            BaselinePredictions("window_average", words, averages.alone, {"window_bp": bp})
        )
    return found


_CONSTANT = (
    ("majority", "the most common label"),
    ("mean", "the mean of the train rows"),
)


def _kmer_rivals(judged: EvaluationSet, kmers: KmerBaselines) -> list[BaselinePredictions]:
    """Return the better k-mer baseline, then each, which has no words, then that on proteins."""
    kind = "ridge" if judged.task == "regression" else "logistic"
    outputs = {k: _answers([baseline], judged)[0] for k, baseline in kmers.by_k.items()}
    words = _words(kmers.best.kmers)
    found = [BaselinePredictions(f"kmer_{kind}", words, outputs[kmers.k], {"k": kmers.k})]
    if len(outputs) > 1:
        found += [
            BaselinePredictions(f"kmer{k}_{kind}", None, outputs[k], {"k": k}) for k in outputs
        ]
    if kmers.proteins is not None:
        (answers,), counted = _answers([kmers.proteins], judged), kmers.proteins.kmers
        found.append(
            BaselinePredictions(f"protein_{kind}", _words(counted), answers, {"k": counted.k})
        )
    return found
