"""The regression from which a model starts: which frequencies, how strong, fitted on which part.

All is decided on the training part: by logits *out of fold*, those of regressions that were fitted
without the example (Wolpert 1992, doi:10.1016/S0893-6080(05)80023-1). The network is trained beside
these logits, too. A regression fits its own training examples much better than others, so beside
its own logits there would be nothing left to learn.

Dimensions: n examples of the training part, c classes.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from rmt_genomics.datasets import Example, SequenceStore
from rmt_genomics.datasets.examples import Targets
from rmt_genomics.model.feature_regression import linear_map
from rmt_genomics.model.kmer_regression import KmerRegression, KmerSpec
from rmt_genomics.model.metrics import compute_metrics, main_metric, probabilities_of
from rmt_genomics.training.loss import RegressionLoss, WeightedLoss

NUM_FOLDS = 5
_STRENGTHS = (1.0, 0.1, 0.01, 0.001)  # scikit-learn's C: smaller is a stronger regularization
_OF_LARGE_FITS = (0.01,)
_LARGE_FIT = 1 << 27  # numbers (examples x k-mers x classes) of a fit that takes long
_MOST_NUMBERS = 1 << 26  # of all frequencies that a regression is fitted on: 256 MB
_ROWS_AT_ONCE = 4096
_NOT_BY_CHANCE = 3.0  # standard errors of the metric on so many examples

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FeatureStart:
    """A fitted regression, and its logits for the training part."""

    item: str
    """As in ``model.features``, such as ``kmer:4``."""

    regression: KmerRegression
    train_logits: Floats
    """``(n, c)``, out of fold; of a regression standardised numbers."""

    score: float
    """The main metric of the task, out of fold."""

    loss: float

    @property
    def is_by_chance(self) -> bool:
        """Whether labels without any relation to the features could give such a score."""
        return not self.score > _NOT_BY_CHANCE / np.sqrt(len(self.train_logits))


class FeatureStarts:
    """Regressions on the training part, one for each list of frequencies that is asked for.

    Args:
        store: The sequences.
        examples: The training part.
        targets: One for each example: class indices, 0/1 per class, or numbers.
        classes: Label names.
        task: binary, multiclass, multilabel or regression.
        loss: That of the training, which decides on the strength.
        seed: Of the folds, and of the sample if there are too many examples.
    """

    def __init__(
        self,
        store: SequenceStore,
        examples: Sequence[Example],
        targets: Targets,
        *,
        classes: tuple[str, ...],
        task: str,
        loss: WeightedLoss | RegressionLoss,
        seed: int = 0,
    ) -> None:
        self.store, self.examples, self.targets = store, examples, targets
        self.classes, self.task, self.loss, self.seed = classes, task, loss, seed
        is_number = isinstance(loss, RegressionLoss)
        self.scale = (loss.mean, loss.std) if is_number else (0.0, 1.0)
        self.is_balanced = not is_number and bool((loss.weights != 1).any())

    def fit(self, item: str, kmers: KmerSpec) -> FeatureStart | None:
        """Fit on one list of frequencies, with the strength that is best out of fold.

        None if there are too few examples or groups for folds, or only one class.
        """
        rows = self._sample(kmers)
        folds = self._folds(rows)
        if folds is None:
            return None
        features = self._features(rows, kmers)
        num_columns = 1 if self.task in ("binary", "regression") else len(self.classes)
        is_large = features.size * num_columns > _LARGE_FIT
        strengths = _OF_LARGE_FITS if is_large else _STRENGTHS
        best, best_loss, best_strength = None, np.inf, strengths[0]
        for strength in strengths:
            logits = self._out_of_fold(features, rows, folds, kmers, strength)
            if logits is None:
                return None
            loss = self._loss(logits, rows)
            if loss < best_loss:
                best, best_loss, best_strength = logits, loss, strength
        if best is None:  # no loss is a number
            return None
        regression = self._fit(features, self.targets[rows], kmers, best_strength)
        train_logits = np.empty((len(self.examples), len(self.classes)))
        train_logits[rows] = best
        others = np.setdiff1d(np.arange(len(self.examples)), rows)
        for start in range(0, len(others), _ROWS_AT_ONCE):
            part = others[start : start + _ROWS_AT_ONCE]
            train_logits[part] = self._logits(regression, self._features(part, kmers))
        return FeatureStart(item, regression, train_logits, self._score(best, rows), best_loss)

    def _sample(self, kmers: KmerSpec) -> npt.NDArray[np.int64]:
        """Return the examples to fit on: all, or a sample if they are too many."""
        n, affordable = len(self.examples), max(1, _MOST_NUMBERS // kmers.num_features)
        if n <= affordable:
            return np.arange(n)
        return np.sort(np.random.default_rng(self.seed).permutation(n)[:affordable])

    def _folds(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
        """Return the fold of each example; examples of a group, or of a record, share one."""
        from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

        examples = [self.examples[row] for row in rows.tolist()]
        names = [each.group or f"record {each.interval.record}" for each in examples]
        groups = np.unique(names, return_inverse=True)[1]
        num_folds = min(NUM_FOLDS, groups.max() + 1 if len(groups) else 0)
        if num_folds < 2:
            return None
        targets = self.targets[rows]
        is_single_label = self.task in ("binary", "multiclass")
        make = StratifiedGroupKFold if is_single_label else GroupKFold
        splitter = make(num_folds, shuffle=True, random_state=self.seed)
        folds = np.empty(len(rows), dtype=np.int64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class with fewer members than folds
            for fold, (_, held_out) in enumerate(splitter.split(groups, targets, groups)):
                folds[held_out] = fold
        return folds

    def _features(self, rows: npt.NDArray[np.int64], kmers: KmerSpec) -> np.ndarray:
        sequences = (self.store.codes(self.examples[row].interval) for row in rows.tolist())
        return kmers.features(sequences, count=len(rows))

    def _fit(
        self, features: np.ndarray, targets: Targets, kmers: KmerSpec, strength: float
    ) -> KmerRegression:
        return KmerRegression.fit(
            features, targets, self.classes, self.task,
            kmers=kmers, inverse_regularization=strength, is_balanced=self.is_balanced,
        )  # fmt: skip

    def _logits(self, regression: KmerRegression, features: np.ndarray) -> Floats:
        weight, bias = linear_map(regression, *self.scale)
        logits: Floats = features @ weight + bias
        return logits

    def _out_of_fold(
        self,
        features: np.ndarray,
        rows: npt.NDArray[np.int64],
        folds: npt.NDArray[np.int64],
        kmers: KmerSpec,
        strength: float,
    ) -> Floats | None:
        """Return the logits of each example by the regression on the other folds.

        None if these hold one class only.
        """
        targets = self.targets[rows]
        logits = np.empty((len(rows), len(self.classes)))
        for fold in range(folds.max() + 1):
            is_held_out = folds == fold
            others = targets[~is_held_out]
            if self.task in ("binary", "multiclass") and len(np.unique(others)) < 2:
                return None
            fitted = self._fit(features[~is_held_out], others, kmers, strength)
            logits[is_held_out] = self._logits(fitted, features[is_held_out])
        return logits

    def _loss(self, logits: Floats, rows: npt.NDArray[np.int64]) -> float:
        targets = torch.from_numpy(self.targets[rows])
        if targets.is_floating_point():
            targets = targets.float()
        return float(self.loss(torch.from_numpy(logits), targets))

    def _score(self, logits: Floats, rows: npt.NDArray[np.int64]) -> float:
        mean, std = self.scale
        is_number = self.task == "regression"
        outputs = logits * std + mean if is_number else probabilities_of(logits, self.task)
        metrics = compute_metrics(self.targets[rows], outputs, classes=self.classes, task=self.task)
        return metrics[main_metric(self.task)] or 0.0
