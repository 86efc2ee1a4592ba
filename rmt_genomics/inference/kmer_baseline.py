"""What counting k-mers and a logistic regression would say: the bar that a model has to clear.

A sequence becomes the share of each canonical k-mer (a k-mer and its reverse complement are one),
which loses all order beyond k bases. No claim about long sequences means much without it. Where
labels are numbers, the regression is ridge regression.

Dimensions: n sequences, f canonical k-mers (136 for k = 4, 2,080 for k = 6), c classes.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rmt_genomics.errors import CheckpointError, DataError
from rmt_genomics.inference.calibration import probabilities_of
from rmt_genomics.inference.output import whole_file

K = 4
FILE_NAME = "kmer_logistic.safetensors"
_BLOCK_BP = 1 << 20
_LARGE = 1 << 25  # shares (n * f) beyond which half the memory and time matters more than digits


def kmer_frequencies(codes: np.ndarray, k: int = K) -> np.ndarray:
    """Return the share of each canonical k-mer; k-mers that hold an N are not counted.

    Args:
        codes: Base codes of one sequence, of any length.
        k: Bases in a k-mer.

    Returns:
        ``(f,)`` float64 that adds up to 1, or zeros if there is no whole k-mer.

    Examples:
        >>> kmer_frequencies(np.array([0, 0, 3, 1], dtype=np.uint8), k=1)  # A/T, C/G
        array([0.75, 0.25])
    """
    counts = np.zeros(4**k, dtype=np.int64)
    for start in range(0, len(codes) - k + 1, _BLOCK_BP):
        counts += _count(codes[start : start + _BLOCK_BP + k - 1], k)
    merged = np.bincount(_canonical(k), weights=counts)
    shares: np.ndarray = merged / max(1.0, merged.sum())
    return shares


def kmer_shares(
    sequences: Iterable[np.ndarray], k: int = K, *, count: int | None = None
) -> np.ndarray:
    """Return ``kmer_frequencies`` of many sequences ``(n, f)``; in float32 if very many.

    Args:
        sequences: Base codes, one array a sequence.
        k: Bases in a k-mer.
        count: How many there are, so that they need not all be in memory.
    """
    if count is None:
        sequences = list(sequences)
        count = len(sequences)
    width = int(_canonical(k).max()) + 1
    shares = np.empty((count, width), np.float32 if count * width > _LARGE else np.float64)
    for row, codes in zip(shares, sequences, strict=True):
        row[:] = kmer_frequencies(codes, k)
    return shares


def _count(codes: np.ndarray, k: int) -> np.ndarray:
    """Count all k-mers of a block by their number, the first base most significant."""
    size = len(codes) - k + 1
    ids = np.zeros(size, dtype=np.int32)
    is_known = np.ones(size, dtype=bool)
    for offset in range(k):
        letters = codes[offset : offset + size]
        ids = ids * 4 + letters
        is_known &= letters < 4
    return np.bincount(ids[is_known], minlength=4**k)


@cache
def _canonical(k: int) -> np.ndarray:
    """Return for each k-mer the place of its canonical form."""
    kmers = np.arange(4**k)
    other = np.zeros_like(kmers)
    rest = kmers.copy()
    for _ in range(k):
        other = other * 4 + (3 - rest % 4)
        rest //= 4
    return np.unique(np.minimum(kmers, other), return_inverse=True)[1]


@dataclass(frozen=True, slots=True, eq=False)
class KmerBaseline:
    """A fitted logistic (or ridge) regression on standardised k-mer shares."""

    classes: tuple[str, ...]
    """Label names, in the order of the probabilities."""

    task: str
    """binary, multiclass, multilabel or regression."""

    k: int
    """Bases in a k-mer."""

    mean: np.ndarray
    """``(f,)``"""

    scale: np.ndarray
    """``(f,)``"""

    coefficients: np.ndarray
    """``(c, f)``"""

    intercepts: np.ndarray
    """``(c,)``; minus infinity for a class that was not in train."""

    @classmethod
    def fit(
        cls,
        sequences: Iterable[np.ndarray],
        targets: np.ndarray,
        classes: Sequence[str],
        task: str,
        *,
        k: int = K,
        strength: float = 1.0,
    ) -> "KmerBaseline":
        """Count, standardise and fit.

        Args:
            sequences: Base codes, one array a sequence.
            targets: Class indices ``(n,)``, or 0/1 a class ``(n, c)`` for multi-label; for
                regression numbers ``(n,)``.
            classes: Label names; for regression the name of the numbers.
            task: binary, multiclass, multilabel or regression.
            k: Bases in a k-mer.
            strength: How freely it may fit: scikit-learn's ``C``. Below 1 holds it back more.

        Raises:
            DataError: If there are not two classes to tell apart.
        """
        return cls.fit_shares(
            kmer_shares(sequences, k), targets, classes, task, k=k, strength=strength
        )

    @classmethod
    def fit_shares(
        cls,
        shares: np.ndarray,
        targets: np.ndarray,
        classes: Sequence[str],
        task: str,
        *,
        k: int,
        strength: float,
    ) -> "KmerBaseline":
        """Do as ``fit`` for what ``kmer_shares`` has counted ``(n, f)``."""
        mean, scale = shares.mean(axis=0, dtype=float), shares.std(axis=0, dtype=float)
        scale[scale == 0] = 1.0
        coefficients = np.zeros((len(classes), shares.shape[1]))
        intercepts = np.full(len(classes), -np.inf)
        standard = (shares - mean.astype(shares.dtype)) / scale.astype(shares.dtype)
        fit = {"multilabel": _fit_each, "regression": _fit_numbers}.get(task, _fit_one)
        fit(standard, targets, strength, coefficients, intercepts)
        return cls(tuple(classes), task, k, mean, scale, coefficients, intercepts)

    def predict_proba(self, sequences: Iterable[np.ndarray]) -> np.ndarray:
        """Return the probability of each class ``(n, c)`` for sequences of base codes.

        For regression, return the numbers ``(n, 1)``.
        """
        return self.predict_shares(kmer_shares(sequences, self.k))

    def predict_shares(self, shares: np.ndarray) -> np.ndarray:
        """Do as ``predict_proba`` for what ``kmer_shares`` has counted ``(n, f)``."""
        weights = self.coefficients / self.scale
        scores: np.ndarray = shares @ weights.T + (self.intercepts - weights @ self.mean)
        if self.task == "regression":
            return scores
        return probabilities_of(scores, self.task)

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all."""
        from safetensors.numpy import save

        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        metadata = {"classes": json.dumps(self.classes), "task": self.task, "k": str(self.k)}
        with whole_file(path) as making:
            making.write_bytes(save(arrays, metadata=metadata))

    @classmethod
    def load(cls, path: Path) -> "KmerBaseline":
        """Read what ``save`` wrote.

        Raises:
            CheckpointError: If the file is cut, or holds something else.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in _ARRAYS}
                metadata = file.metadata()
            classes = tuple(json.loads(metadata["classes"]))
            return cls(classes, metadata["task"], int(metadata["k"]), **arrays)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: is no k-mer baseline ({error}), but must be one that a training wrote. "
                "Remove the file: the baseline is then fitted anew."
            ) from error


_ARRAYS = ("mean", "scale", "coefficients", "intercepts")


def _fit_one(
    shares: np.ndarray,
    targets: np.ndarray,
    strength: float,
    coefficients: np.ndarray,
    intercepts: np.ndarray,
) -> None:
    """Fill in one regression over the classes that occur."""
    seen = np.unique(targets)
    if len(seen) < 2:
        raise DataError(
            f"the train rows hold {len(seen)} class, but a k-mer baseline needs two to tell apart"
        )
    fitted = _regression(strength).fit(shares, targets)
    if len(seen) == 2:  # one score, for the second class against the first
        coefficients[seen[1]], intercepts[seen] = fitted.coef_[0], (0.0, fitted.intercept_[0])
    else:
        coefficients[seen], intercepts[seen] = fitted.coef_, fitted.intercept_


def _fit_each(
    shares: np.ndarray,
    targets: np.ndarray,
    strength: float,
    coefficients: np.ndarray,
    intercepts: np.ndarray,
) -> None:
    """Fill in one regression a class; a class that all or none have gets that answer."""
    for place, is_one in enumerate(targets.astype(int).T):
        if 0 < is_one.sum() < len(is_one):
            fitted = _regression(strength).fit(shares, is_one)
            coefficients[place], intercepts[place] = fitted.coef_[0], fitted.intercept_[0]
        elif is_one.all():
            intercepts[place] = np.inf


def _fit_numbers(
    shares: np.ndarray,
    targets: np.ndarray,
    strength: float,
    coefficients: np.ndarray,
    intercepts: np.ndarray,
) -> None:
    """Fill in one ridge regression."""
    from sklearn.linear_model import Ridge

    fitted = Ridge(alpha=1 / strength).fit(shares, targets.ravel())
    coefficients[0], intercepts[0] = fitted.coef_, fitted.intercept_


def _regression(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, class_weight="balanced", max_iter=5000)
