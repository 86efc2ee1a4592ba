"""Regressions on features of the whole sequence, and their share in a trained model.

They are fitted on the training part before the network is trained. The network is trained without
them: beside their logits it would have little left to learn, and learn it slowly
(docs/development/experiments/feature-regressions.md). At the end the logits of both are added, each
times a factor that is best on the validation part (stacking: Wolpert 1992,
doi:10.1016/S0893-6080(05)80023-1). So a model is hardly worse than counting k-mers.

Dimensions: n examples, c classes.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt
import torch

from rmt_genomics.datasets import Example, SequenceStore
from rmt_genomics.datasets.fresh_examples import SimulatedStore
from rmt_genomics.errors import three_digits
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.batching import compute_in_batches
from rmt_genomics.model.features import Feature, parse_features
from rmt_genomics.model.kmer_regression import KmerRegression, KmerSpec, linear_map
from rmt_genomics.model.metrics import compute_metrics, logits_of, main_metric, probabilities_of
from rmt_genomics.training.automatic import SHORT_BP, Choice, TrainingPart
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.data_module import PreparedData
from rmt_genomics.training.loss import RegressionLoss, WeightedLoss

_STRENGTHS = (1.0, 0.1, 0.01, 0.001)  # scikit-learn's C: smaller is a stronger regularization
_OF_LARGE_FITS = (0.01,)
_LARGE_FIT = 1 << 28  # numbers (examples x k-mers x classes) of a fit that takes long
_MOST_NUMBERS = 1 << 26  # of all frequencies that a regression is fitted on: 256 MB
_ROWS_AT_ONCE = 4096
_NOT_BY_CHANCE = 2.0  # standard errors of the metric on the validation examples
# All that the baselines count, for any length. Of two that are as good the first is taken: 2-mers
# can be as good as 4-mers on validation examples, and worse on others (docs/benchmarks/suite.md).
_OF_ALL = ("kmer:4", "kmer:2", "kmer:6", "stranded-kmer:4", "stranded-kmer:2")
_OF_SHORT = (*_OF_ALL, "kmer:5", "stranded-kmer:5")
_OF_LONG = (*_OF_ALL, "protein:3")
_OF_MANY_SHORT = "wide:6,8,10,12"  # no regression: trained with the network
_MOST_WIDE_CLASSES = 8  # each takes 4 MB of weights
_FEWEST_NATS = 4.0  # by which a part must lower the loss of all validation examples together
_OF_NETWORK = np.round(np.arange(0, 1.51, 0.1), 1).tolist()
_OF_REGRESSION = [*_OF_NETWORK, 2.0, 3.0]  # a regularised regression is too unsure

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Fitted regressions, and their logits for the validation part."""

    regressions: dict[str, KmerRegression]
    """By item of ``model.features``, such as ``kmer:4``; the logits are the mean of theirs."""

    logits: Floats
    """``(n, c)``; of a regression standardised numbers."""

    loss: float
    score: float
    """The main metric of the task."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureFits:
    """Fits regressions on the training part, and judges them on the validation part."""

    data: PreparedData
    loss: WeightedLoss | RegressionLoss
    """That of the training."""

    orf_codons: int
    tried: dict[str, Fit] = field(default_factory=dict)

    @property
    def scale(self) -> tuple[float, float]:
        """Mean and standard deviation by which numbers are standardised."""
        is_number = isinstance(self.loss, RegressionLoss)
        return (self.loss.mean, self.loss.std) if is_number else (0.0, 1.0)  # type: ignore[return-value]

    def fit(self, features: Sequence[Feature]) -> Fit | None:
        """Fit one regression for each feature. None if the training part has only one class."""
        if self._has_one_class():
            return None
        return self.mean([self.fit_one(feature) for feature in features])

    def fit_one(self, feature: Feature) -> Fit:
        """Fit on one feature, with the strength whose loss on the validation part is lowest."""
        if feature.text in self.tried:
            return self.tried[feature.text]
        kmers, split, scheme = (
            KmerSpec.of(feature, self.orf_codons),
            self.data.split,
            self.data.scheme,
        )
        train = _sample(split.train, _most_rows(kmers))
        features, targets = _features(self.data.store, train, kmers), scheme.targets(train)
        validation = _features(self.data.store, split.validation, kmers)
        num_columns = 1 if scheme.task in ("binary", "regression") else len(scheme.classes)
        is_large = features.size * num_columns > _LARGE_FIT
        is_balanced = isinstance(self.loss, WeightedLoss) and bool((self.loss.weights != 1).any())
        fits = []
        for strength in _OF_LARGE_FITS if is_large else _STRENGTHS:
            regression = KmerRegression.fit(
                features, targets, scheme.classes, scheme.task,
                kmers=kmers, inverse_regularization=strength, is_balanced=is_balanced,
            )  # fmt: skip
            weight, bias = linear_map(regression, *self.scale)
            fits.append(self._judged({feature.text: regression}, validation @ weight + bias))
        best = min(fits, key=lambda fit: fit.loss)
        self.tried[feature.text] = best
        return best

    def mean(self, fits: Sequence[Fit]) -> Fit:
        """Return regressions together: the mean of their logits."""
        if len(fits) == 1:
            return fits[0]
        regressions = {item: each for fit in fits for item, each in fit.regressions.items()}
        return self._judged(regressions, np.mean([fit.logits for fit in fits], axis=0))

    def choose(self, config: ExperimentConfig, until: float | None = None) -> Choice:
        """Return the value of ``model.features``: one feature, a pair of two kinds, or none.

        And ``wide`` k-mers, which are no regression, for many short examples. After the time
        ``until`` (``time.monotonic``) no other feature is tried.
        """
        if isinstance(self.data.store, SimulatedStore):
            return Choice("none", "a regression would need examples that do not change")
        if self._has_one_class():
            return Choice("none", "the training part has one class only")
        part = TrainingPart.of(self.data)
        lengths_bp = part.lengths_bp
        num_classes = len(self.data.scheme.classes)
        wide, with_wide = [], ""
        if part.has_many_short and num_classes <= _MOST_WIDE_CLASSES:
            wide = [_OF_MANY_SHORT]
            with_wide = f"; wide k-mers for {len(lengths_bp):,} short examples"
        items = _OF_SHORT if part.typical_bp <= SHORT_BP else _OF_LONG
        fits: list[Fit] = []
        for (feature,) in (parse_features([item]) for item in items):
            is_late = until is not None and fits and time.monotonic() > until
            is_stranded = feature.kind == "stranded-kmer"
            if is_late or (is_stranded and config.model.strand_head == "symmetric"):
                continue
            kmers = KmerSpec.of(feature, self.orf_codons)
            if min(len(lengths_bp), _most_rows(kmers)) <= kmers.affordable_rows(num_classes):
                fits.append(self.fit_one(feature))
        if not fits:
            reason = f"a regression on k-mers for {num_classes:,} classes would take hours"
            return Choice(tuple(wide) or "none", reason + with_wide)
        num_examples = len(self.data.split.validation)
        useful = [fit for fit in fits if fit.score > _NOT_BY_CHANCE / np.sqrt(num_examples)]
        if not useful:
            reason = "no k-mer frequencies tell more about the labels than chance may"
            return Choice(tuple(wide) or "none", reason + with_wide)
        first = _first_of_the_best(useful, num_examples)
        pairs = [self.mean([first, other]) for other in useful if _kind(other) != _kind(first)]
        best = _first_of_the_best([first, *pairs], num_examples)
        metric = main_metric(self.data.scheme.task)
        reason = f"the best of {len(fits)} regressions and their pairs: validation {metric}"
        reason += f" {three_digits(best.score)}{with_wide}"
        return Choice((*best.regressions, *wide), reason)

    def _has_one_class(self) -> bool:
        scheme, train = self.data.scheme, self.data.split.train
        return scheme.task in ("binary", "multiclass") and len(np.unique(scheme.targets(train))) < 2

    def _judged(self, regressions: dict[str, KmerRegression], logits: Floats) -> Fit:
        scheme = self.data.scheme
        targets = scheme.targets(self.data.split.validation)
        outputs = outputs_of(logits, scheme.task, self.scale)
        name = main_metric(scheme.task)
        metrics = compute_metrics(
            targets, outputs, classes=scheme.classes, task=scheme.task, only=[name]
        )
        score = metrics[name]
        return Fit(regressions, logits, loss_of(self.loss, logits, targets), score or 0.0)


def add_regressions(
    model: RMTClassifier, fit: Fit, data: PreparedData, loss: WeightedLoss | RegressionLoss
) -> str:
    """Add regressions to a trained model, each part times the factor that validates best.

    Returns a sentence that says so.

    Args:
        model: Its regressions are still zero.
        fit: Those of its features.
        data: Whose validation part decides.
        loss: That of the training.
    """
    assert model.regressions is not None
    examples = data.split.validation
    targets = data.scheme.targets(examples)
    mean, std = (loss.mean, loss.std) if isinstance(loss, RegressionLoss) else (0.0, 1.0)
    outputs = compute_in_batches(
        [len(example.interval) for example in examples],
        lambda batch: model.predict_codes(
            [data.store.codes(examples[index].interval) for index in batch]
        ),
        (len(data.scheme.classes),),
    )
    is_number = data.scheme.task == "regression"
    network = (outputs - mean) / std if is_number else logits_of(outputs, data.scheme.task)
    losses = {  # not 0 and 0: that model would say nothing of any sequence
        factors: loss_of(loss, factors[0] * network + factors[1] * fit.logits, targets)
        for factors in product(_OF_NETWORK, _OF_REGRESSION)
        if any(factors)
    }
    of_network, of_regression = best = _best_factors(losses, len(targets))
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.mul_(of_network)
        if model.wide is not None:
            model.wide.weight.mul_(of_network)
        share = of_regression / len(fit.regressions)
        for module, regression in zip(model.regressions, fit.regressions.values(), strict=True):
            module.set_from(regression, mean, std, share=share)  # type: ignore[operator]
    return (
        f"{of_network:g} x network + {of_regression:g} x regression on "
        f"{' and '.join(fit.regressions)}: val_loss {three_digits(losses[best])}; of the network "
        f"{three_digits(losses[1.0, 0.0])}, of the regression {three_digits(losses[0.0, 1.0])}"
    )


def _first_of_the_best(fits: Sequence[Fit], num_examples: int) -> Fit:
    """Return the first fit whose loss is hardly higher than the lowest."""
    lowest = min(fit.loss for fit in fits)
    return next(fit for fit in fits if fit.loss - lowest < _FEWEST_NATS / num_examples)


def _best_factors(
    losses: Mapping[tuple[float, float], float], num_examples: int
) -> tuple[float, float]:
    """Return the factors with the lowest loss; one part alone if the other hardly lowers it."""
    best = min(losses, key=lambda factors: losses[factors])
    for is_alone in (lambda factors: factors[0] == 0, lambda factors: factors[1] == 0):
        alone = min(filter(is_alone, losses), key=lambda factors: losses[factors])
        if losses[alone] - losses[best] < _FEWEST_NATS / num_examples:
            return alone
    return best


def outputs_of(logits: Floats, task: str, scale: tuple[float, float]) -> Floats:
    """Return probabilities, or numbers in the unit of the label."""
    mean, std = scale
    outputs: Floats = (
        logits * std + mean if task == "regression" else probabilities_of(logits, task)
    )
    return outputs


def loss_of(loss: WeightedLoss | RegressionLoss, logits: Floats, targets: np.ndarray) -> float:
    """Return the loss of a training for logits ``(n, c)``."""
    of_targets = torch.from_numpy(targets)
    if of_targets.is_floating_point():
        of_targets = of_targets.float()
    return float(loss.cpu()(torch.from_numpy(logits), of_targets))


def _most_rows(kmers: KmerSpec) -> int:
    return _MOST_NUMBERS // kmers.num_features


def _kind(fit: Fit) -> str:
    return next(iter(fit.regressions)).partition(":")[0]


def _sample(examples: Sequence[Example], most: int) -> list[Example]:
    """Return all examples, or as many as ``most``, drawn at random."""
    if len(examples) <= most:
        return list(examples)
    rows = np.sort(np.random.default_rng(0).permutation(len(examples))[:most])
    return [examples[row] for row in rows.tolist()]


def _features(store: SequenceStore, examples: Sequence[Example], kmers: KmerSpec) -> np.ndarray:
    sequences = (store.codes(example.interval) for example in examples)
    return kmers.features(sequences, count=len(examples))
