"""Logistic or ridge regression on k-mer frequencies: the baseline of every model.

K-mer frequencies hold no order beyond k, so a model of long sequences has to do better. Where
labels are numbers, the regression is ridge regression. Arrays in, coefficients out: which k and
which regularization are best is chosen in ``evaluation.baselines``.

``FeatureRegression`` is such a regression within a model: it is fitted before the training, and its
logits are added to those of the network.

Dimensions: n sequences, f k-mers, c classes; b batch, n base pairs in a module.
"""

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from rmt_genomics.atomic_io import atomic_file, utf8_path
from rmt_genomics.dna.genetic_code import AMINO_ACID_CLASSES
from rmt_genomics.dna.kmers import (
    canonical_index,
    count_canonical_kmers,
    num_canonical_kmers,
)
from rmt_genomics.errors import CheckpointError, DataError
from rmt_genomics.model.config import ClassifierConfig
from rmt_genomics.model.features import Feature
from rmt_genomics.model.kmer_features import count_amino_acid_kmers, count_kmers
from rmt_genomics.model.metrics import probabilities_of
from rmt_genomics.model.settings import as_toml
from rmt_genomics.model.tokenization import N
from rmt_genomics.parsing import read_integer, read_json, read_number

FILE_NAME = "kmer_logistic.safetensors"
PROTEIN_FILE_NAME = "protein_logistic.safetensors"
FILE_NAMES = {
    "kmer": FILE_NAME,
    "stranded_kmer": "stranded_kmer_logistic.safetensors",
    "composition": "composition_logistic.safetensors",
    "protein": PROTEIN_FILE_NAME,
}
"""The file in a model folder of each kind of baseline."""

K = 4
_LARGEST_FIT = 1 << 32  # rows x classes x (k-mers + the cost of a class): it takes minutes
_COST_OF_A_CLASS = 100  # in k-mers
_LARGE = 1 << 25  # frequencies (n * f) beyond which they are float32, in half the memory and time
_FLAGS = ("is_stranded", "has_length")  # of a KmerSpec, in the metadata of a file
_ARRAYS = ("mean", "scale", "coefficients", "intercepts")


@dataclass(frozen=True, slots=True)
class KmerSpec:
    """Which k-mers are counted."""

    k: int = K  # bases, or amino acids, in a k-mer
    orf_codons: int | None = None
    """None = k-mers of bases; else of amino acids in reading frames with no stop in so many codons.
    """

    is_stranded: bool = False
    """k-mers of bases are counted on the forward strand; else canonical ones, on both strands."""

    has_length: bool = False
    """Two more features: the logarithm of the length, and the fraction of N."""

    @classmethod
    def of(cls, feature: Feature, orf_codons: int) -> "KmerSpec":
        """Return what a model counts for an item of ``features``; of ``wide``, the shortest."""
        is_protein, is_stranded = feature.kind == "protein", feature.kind == "stranded-kmer"
        return cls(feature.k, orf_codons if is_protein else None, is_stranded=is_stranded)

    @property
    def num_features(self) -> int:
        """Number of different k-mers, and of other features: f."""
        if self.orf_codons is not None:
            return int(len(AMINO_ACID_CLASSES) ** self.k)
        num_kmers = 4**self.k if self.is_stranded else num_canonical_kmers(self.k)
        return num_kmers + 2 * self.has_length

    def affordable_rows(self, num_classes: int) -> int:
        """Return on how many sequences of so many classes a fit takes minutes, not hours."""
        return _LARGEST_FIT // (num_classes * (self.num_features + _COST_OF_A_CLASS))

    def frequencies(self, codes: np.ndarray) -> np.ndarray:
        """Return the frequency of each k-mer in one sequence of base codes, of any length.

        k-mers with an N are not counted.

        Returns:
            One float64 per k-mer; they add up to 1, or are zeros if there is no whole k-mer.

        Examples:
            >>> KmerSpec(k=1).frequencies(np.array([0, 0, 3, 1], dtype=np.uint8))  # A/T, C/G
            array([0.75, 0.25])
        """
        if self.orf_codons is None and not self.is_stranded:
            counts: np.ndarray = count_canonical_kmers(codes, self.k)
        else:
            row = torch.from_numpy(codes)[None]
            if self.orf_codons is None:
                counts = count_kmers(row, self.k)[0].numpy()
            else:
                counts = count_amino_acid_kmers(row, self.k, self.orf_codons)[0].numpy()
        frequencies: np.ndarray = counts / max(1, counts.sum())
        return frequencies

    def features(self, sequences: Iterable[np.ndarray], *, count: int | None = None) -> np.ndarray:
        """Return ``frequencies`` of many sequences ``(n, f)``; in float32 if there are very many.

        Of amino acids the square roots are taken, so that common k-mers do not dominate. If
        ``count``, the number of sequences, is given, they need not all be in memory.
        """
        if count is None:
            sequences = list(sequences)
            count = len(sequences)
        is_large = count * self.num_features > _LARGE
        rows = np.empty((count, self.num_features), np.float32 if is_large else np.float64)
        for row, codes in zip(rows, sequences, strict=True):
            others = (np.log10(len(codes)), (codes == N).mean()) if self.has_length else ()
            row[:] = np.append(self.frequencies(codes), others)
        return rows if self.orf_codons is None else np.sqrt(rows, out=rows)


@dataclass(frozen=True, slots=True, eq=False)
class KmerRegression:
    """A fitted logistic (or ridge) regression on standardised k-mer frequencies.

    Those of amino acids are centred and share one scale: most are rare, and a scale per k-mer would
    amplify noise.
    """

    classes: tuple[str, ...]  # label names, in the order of the probabilities
    task: str  # binary, multiclass, multilabel or regression
    kmers: KmerSpec
    mean: np.ndarray  # (f,), like the scale
    scale: np.ndarray
    coefficients: np.ndarray  # (c, f)
    intercepts: np.ndarray  # ``(c,)``; minus infinity for a class that was not in train

    validation: float | None = None
    """The main metric of the task on the validation part; None = not known or not defined."""

    thresholds: tuple[float, ...] | None = None
    """From which probabilities on classes are predicted, as in ``ClassifierConfig``."""

    @classmethod
    def fit(
        cls,
        features: np.ndarray,
        targets: np.ndarray,
        classes: Sequence[str],
        task: str,
        *,
        kmers: KmerSpec,
        inverse_regularization: float = 1.0,
        is_balanced: bool = True,
    ) -> "KmerRegression":
        """Standardise ``kmers.features`` of sequences ``(n, f)``, and fit.

        Targets are class indices ``(n,)``, or 0/1 per class ``(n, c)`` for multi-label; for
        regression numbers ``(n,)``. ``inverse_regularization`` is scikit-learn's ``C``: smaller
        values regularize more strongly. ``is_balanced`` gives all classes the same total weight.

        Raises:
            DataError: If there are fewer than two classes.
        """
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        c = inverse_regularization
        weights = "balanced" if is_balanced else None
        regression = LogisticRegression(C=c, class_weight=weights, max_iter=5000)
        if task == "regression":
            regression = Ridge(alpha=1 / c)
        one_scale = 1.0  # of all amino acid k-mers
        if kmers.orf_codons is not None:
            one_scale = float(np.sqrt(features.var(axis=0, dtype=float).mean())) or 1.0
            features = features / features.dtype.type(one_scale)
        scaler = StandardScaler(with_std=kmers.orf_codons is None).fit(features)
        pipeline = make_pipeline(scaler, regression)
        with warnings.catch_warnings():  # of very many classes
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            coefficients = _coefficients(pipeline, features, targets, len(classes), task)
        scale = np.full(features.shape[1], one_scale) if scaler.scale_ is None else scaler.scale_
        return cls(tuple(classes), task, kmers, scaler.mean_ * one_scale, scale, *coefficients)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of each class ``(n, c)`` for ``kmers.features`` of sequences.

        For regression, return the numbers ``(n, 1)``.
        """
        weights = self.coefficients / self.scale
        scores: np.ndarray = features @ weights.T + (self.intercepts - weights @ self.mean)
        return scores if self.task == "regression" else probabilities_of(scores, self.task)

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all."""
        from safetensors.numpy import save

        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        metadata = {"classes": json.dumps(self.classes), "task": self.task, "k": str(self.kmers.k)}
        if self.kmers.orf_codons is not None:
            metadata["orf_codons"] = str(self.kmers.orf_codons)
        metadata |= {name: "yes" for name in _FLAGS if getattr(self.kmers, name)}
        if self.validation is not None:
            metadata["validation"] = repr(self.validation)
        if self.thresholds is not None:
            metadata["thresholds"] = json.dumps(self.thresholds)
        with atomic_file(path) as making:
            making.write_bytes(save(arrays, metadata=metadata))

    @classmethod
    def load(cls, path: Path) -> "KmerRegression":
        """Read what ``save`` wrote.

        Raises:
            CheckpointError: If the file is truncated, or holds something else.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with utf8_path(path) as readable, safe_open(readable, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in _ARRAYS}
                metadata = file.metadata()
            k, codons = read_integer(metadata["k"]), metadata.get("orf_codons")
            flags = {name: name in metadata for name in _FLAGS}
            kmers = KmerSpec(k or 0, None if codons is None else read_integer(codons), **flags)
            remedy = "Remove the file."
            classes = tuple(read_json(metadata["classes"], str(path), remedy, CheckpointError))
            if not all(isinstance(name, str) and name.isprintable() for name in classes):
                raise ValueError("its classes are not text")
            validation = read_number(metadata.get("validation", ""))
            thresholds = read_json(
                metadata.get("thresholds", "null"), str(path), remedy, CheckpointError
            )
            thresholds = None if thresholds is None else tuple(map(float, thresholds))
            regression = cls(
                classes,
                metadata["task"],
                kmers,
                **arrays,
                validation=validation,
                thresholds=thresholds,
            )
            regression._check()
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: is not a k-mer baseline ({error}), but must be one that a training "
                "wrote. Remove the file: the baseline is then fitted again, or left out."
            ) from error
        return regression

    def _check(self) -> None:
        """Raise ValueError unless the arrays fit each other and are finite."""
        if self.task not in get_args(ClassifierConfig.model_fields["task"].annotation):
            raise ValueError(f"its task is {as_toml(self.task)}")
        if not 1 <= self.kmers.k <= 12 or 4**self.kmers.k > 2 * self.mean.size:
            raise ValueError(f"its k is {self.kmers.k}, with {self.mean.size} features")
        f, c = self.kmers.num_features, len(self.classes)
        wanted = {"binary": 1, "multilabel": c}.get(self.task, 0)
        if self.thresholds is not None and not (
            len(self.thresholds) == wanted and all(0 < each < 1 for each in self.thresholds)
        ):
            raise ValueError(f"its thresholds are {as_toml(self.thresholds)}")
        shapes = {"mean": (f,), "scale": (f,), "coefficients": (c, f), "intercepts": (c,)}
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.dtype.kind != "f" or array.shape != shape:
                raise ValueError(
                    f"its {name} are {array.dtype} of shape {array.shape}, not {shape}"
                )
            # The intercept of a class that no or all examples have is infinite.
            if np.isnan(array).any() or (name != "intercepts" and np.isinf(array).any()):
                raise ValueError(f"its {name} are not finite")
        if not (self.scale > 0).all():
            raise ValueError("its scale is not above 0")
        with np.errstate(all="ignore"):
            weights = self.coefficients / self.scale
            if not np.isfinite(weights @ np.stack([self.mean, np.ones(f)]).T).all():
                raise ValueError("its coefficients are too large for its scale")


def _coefficients(
    pipeline: Any, features: np.ndarray, targets: np.ndarray, num_classes: int, task: str
) -> tuple[np.ndarray, np.ndarray]:
    """Fit, and return coefficients ``(c, f)`` and intercepts ``(c,)`` for standardised features."""
    coefficients = np.zeros((num_classes, features.shape[1]))
    intercepts = np.full(num_classes, -np.inf)
    regression = pipeline[-1]
    if task == "regression":
        pipeline.fit(features, targets.ravel())
        coefficients[0], intercepts[0] = regression.coef_, regression.intercept_
        return coefficients, intercepts

    if task == "multilabel":
        # A class that all or no examples have needs no fit: its probability is 1 or 0.
        for index, has_class in enumerate(targets.astype(int).T):
            if 0 < has_class.sum() < len(has_class):
                pipeline.fit(features, has_class)
                coefficients[index] = regression.coef_[0]
                intercepts[index] = regression.intercept_[0]
            elif has_class.all():
                intercepts[index] = np.inf
        return coefficients, intercepts

    seen = np.unique(targets)
    if len(seen) < 2:
        raise DataError(f"the train rows hold {len(seen)} class, but a k-mer baseline needs two")
    pipeline.fit(features, targets)
    if len(seen) == 2:  # one score, for the second class against the first
        coefficients[seen[1]] = regression.coef_[0]
        intercepts[seen] = (0.0, regression.intercept_[0])
    else:
        coefficients[seen], intercepts[seen] = regression.coef_, regression.intercept_
    return coefficients, intercepts


_LARGEST_LOGIT = 20.0  # of a class that no training example, or every one, has


class FeatureRegression(nn.Module):
    """A linear map of the frequencies of k-mers; one logit per class, zero until it is set."""

    weight: Tensor
    bias: Tensor

    def __init__(self, kmers: KmerSpec, num_classes: int) -> None:
        super().__init__()
        self.kmers = kmers
        num_features = kmers.num_features if kmers.orf_codons is not None else 4**kmers.k
        self.register_buffer("weight", torch.zeros(num_features, num_classes))
        self.register_buffer("bias", torch.zeros(num_classes))

    def set_from(
        self, regression: KmerRegression, mean: float = 0.0, std: float = 1.0, *, share: float = 1.0
    ) -> None:
        """Take the weights of a fitted regression on the same k-mers, times ``share``.

        If its outputs are numbers, ``mean`` and ``std`` are those by which they are standardised.
        """
        weight, bias = linear_map(regression, mean, std)
        if self.kmers.orf_codons is None and not self.kmers.is_stranded:
            weight = weight[canonical_index(self.kmers.k)]
        self.weight.copy_(torch.from_numpy(share * weight))
        self.bias.copy_(torch.from_numpy(share * bias))

    def forward(self, codes: UInt8[Tensor, "b n"]) -> Float[Tensor, "b c"]:
        """Return one logit per class for each row."""
        if not self.weight.any():  # in the training, or left out of the model: nothing to count
            return self.bias.expand(len(codes), -1)
        k, orf_codons = self.kmers.k, self.kmers.orf_codons
        if orf_codons is None:
            counts = count_kmers(codes, k)
        else:
            counts = count_amino_acid_kmers(codes, k, orf_codons)
        return self.of_counts(counts)

    def of_counts(self, counts: Int[Tensor, "b f"]) -> Float[Tensor, "b c"]:
        """Return one logit per class, given how often each row has each k-mer."""
        # In float64 where there is one: weights are large, since frequencies are small.
        precise = torch.float32 if self.weight.device.type == "mps" else torch.float64
        frequencies = counts.to(self.weight.device, precise)
        frequencies = frequencies / frequencies.sum(dim=1, keepdim=True).clamp(min=1)
        if self.kmers.orf_codons is not None:
            frequencies = frequencies.sqrt()
        logits = frequencies @ self.weight.to(precise) + self.bias.to(precise)
        return logits.to(self.weight.dtype)


def linear_map(
    regression: KmerRegression, mean: float = 0.0, std: float = 1.0
) -> tuple[Float[np.ndarray, "f c"], Float[np.ndarray, " c"]]:
    """Return weight and bias of a regression, for frequencies that are not standardised."""
    weight = (regression.coefficients / regression.scale).T
    bias = regression.intercepts - regression.mean @ weight
    limit = np.inf if regression.task == "regression" else _LARGEST_LOGIT
    known = np.where(np.isfinite(bias), bias, np.sign(bias) * limit)
    return weight / std, (known - mean) / std
