"""What counting k-mers and a logistic regression would say: the bar that a model has to clear.

No claim about long sequences means much without it: the shares of k-mers know no order beyond k.
Where labels are numbers, the regression is ridge regression.

Dimensions: n sequences, f k-mers (``kmer_shares``), c classes.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rmt_genomics.atomic_io import atomic_file
from rmt_genomics.dna.genetic_code import AMINO_ACID_CLASSES
from rmt_genomics.dna.kmers import count_canonical_kmers, num_canonical_kmers
from rmt_genomics.errors import CheckpointError, DataError
from rmt_genomics.model.kmer_features import count_words
from rmt_genomics.model.metrics import probabilities_of

K = 4
_LARGE = 1 << 25  # shares (n * f) beyond which half the memory and time matters more than digits


@dataclass(frozen=True, slots=True)
class Kmers:
    """What is counted."""

    k: int = K
    """Bases, or amino acids, in a k-mer."""

    orf_codons: int | None = None
    """None = k-mers of bases; else of amino acids in reading frames with no stop in so many codons.
    """

    @property
    def counted(self) -> int:
        """Number of k-mers that are told apart: f."""
        if self.orf_codons is not None:
            return int(len(AMINO_ACID_CLASSES) ** self.k)
        return num_canonical_kmers(self.k)

    def frequencies(self, codes: np.ndarray) -> np.ndarray:
        """Return the share of each k-mer in one sequence of base codes, of any length.

        Returns:
            ``(f,)`` float64 that adds up to 1, or zeros if there is no whole k-mer.
        """
        if self.orf_codons is None:
            return kmer_frequencies(codes, self.k)
        row = torch.from_numpy(codes)[None]
        counts = count_words(row, self.k, self.orf_codons)[0].numpy()
        shares: np.ndarray = counts / max(1, counts.sum())
        return shares

    def shares(self, sequences: Iterable[np.ndarray], *, count: int | None = None) -> np.ndarray:
        """Return ``frequencies`` of many sequences ``(n, f)``; in float32 if very many.

        Those of amino acids are square roots, in which a common one does not drown the others.

        Args:
            sequences: Base codes, one array a sequence.
            count: How many there are, so that they need not all be in memory.
        """
        if count is None:
            sequences = list(sequences)
            count = len(sequences)
        large = count * self.counted > _LARGE
        shares = np.empty((count, self.counted), np.float32 if large else np.float64)
        for row, codes in zip(shares, sequences, strict=True):
            row[:] = self.frequencies(codes)
        return shares if self.orf_codons is None else np.sqrt(shares, out=shares)


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
    counts = count_canonical_kmers(codes, k)
    shares: np.ndarray = counts / max(1.0, counts.sum())
    return shares


FILE_NAME = "kmer_logistic.safetensors"
PROTEIN_FILE_NAME = "protein_logistic.safetensors"
FOUR_MERS = Kmers()


@dataclass(frozen=True, slots=True, eq=False)
class KmerBaseline:
    """A fitted logistic (or ridge) regression on standardised k-mer shares.

    Those of amino acids are centred, and keep their relative scale.
    """

    classes: tuple[str, ...]
    """Label names, in the order of the probabilities."""

    task: str
    """binary, multiclass, multilabel or regression."""

    kmers: Kmers
    """What is counted."""

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
        kmers: Kmers = FOUR_MERS,
        strength: float = 1.0,
    ) -> "KmerBaseline":
        """Count, standardise and fit.

        Args:
            sequences: Base codes, one array a sequence.
            targets: Class indices ``(n,)``, or 0/1 a class ``(n, c)`` for multi-label; for
                regression numbers ``(n,)``.
            classes: Label names; for regression the name of the numbers.
            task: binary, multiclass, multilabel or regression.
            kmers: What is counted; 4-mers of bases unless told.
            strength: How freely it may fit: scikit-learn's ``C``. Below 1 holds it back more.

        Raises:
            DataError: If there are not two classes to tell apart.
        """
        shares = kmers.shares(sequences)
        return cls.fit_shares(shares, targets, classes, task, kmers=kmers, strength=strength)

    @classmethod
    def fit_shares(
        cls,
        shares: np.ndarray,
        targets: np.ndarray,
        classes: Sequence[str],
        task: str,
        *,
        kmers: Kmers,
        strength: float,
    ) -> "KmerBaseline":
        """Do as ``fit`` for shares ``(n, f)`` that are counted already."""
        mean, scale = shares.mean(axis=0, dtype=float), shares.std(axis=0, dtype=float)
        if kmers.orf_codons is not None:  # most are rare: a scale of their own would blow up noise
            scale[:] = np.sqrt(np.square(scale).mean())
        scale[scale == 0] = 1.0
        coefficients = np.zeros((len(classes), shares.shape[1]))
        intercepts = np.full(len(classes), -np.inf)
        standard = (shares - mean.astype(shares.dtype)) / scale.astype(shares.dtype)
        fit = {"multilabel": _fit_each, "regression": _fit_numbers}.get(task, _fit_one)
        fit(standard, targets, strength, coefficients, intercepts)
        return cls(tuple(classes), task, kmers, mean, scale, coefficients, intercepts)

    def predict_proba(self, sequences: Iterable[np.ndarray]) -> np.ndarray:
        """Return the probability of each class ``(n, c)`` for sequences of base codes.

        For regression, return the numbers ``(n, 1)``.
        """
        return self.predict_shares(self.kmers.shares(sequences))

    def predict_shares(self, shares: np.ndarray) -> np.ndarray:
        """Do as ``predict_proba`` for shares ``(n, f)`` that are counted already."""
        weights = self.coefficients / self.scale
        scores: np.ndarray = shares @ weights.T + (self.intercepts - weights @ self.mean)
        if self.task == "regression":
            return scores
        return probabilities_of(scores, self.task)

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all."""
        from safetensors.numpy import save

        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        metadata = {"classes": json.dumps(self.classes), "task": self.task, "k": str(self.kmers.k)}
        if self.kmers.orf_codons is not None:
            metadata["orf_codons"] = str(self.kmers.orf_codons)
        with atomic_file(path) as making:
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
            orf_codons = metadata.get("orf_codons")
            kmers = Kmers(int(metadata["k"]), None if orf_codons is None else int(orf_codons))
            return cls(classes, metadata["task"], kmers, **arrays)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: is no k-mer baseline ({error}), but must be one that a training wrote. "
                "Remove the file: the baseline is then fitted anew, or left out."
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
