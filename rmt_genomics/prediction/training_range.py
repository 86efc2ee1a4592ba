"""The GC content and the 4-mer composition that the training examples had.

A prediction for DNA that is unlike all training examples may mean nothing. How unlike is a
Mahalanobis distance: how far the frequencies of canonical 4-mers are from their mean over the
training examples, in units of their spread there. Each frequency is standardised, and of their
correlations a fifth is taken away (shrinkage towards the identity), so that directions in which the
training examples hardly vary do not decide alone. What is too far is what 0.5% of the training
examples exceed (of up to 200 examples: none), each measured with mean and spread of the other half.

A sequence that is shorter than the training examples varies more by chance: what is compared is its
deviation times the square root of (its length / that of the shortest training example).

Dimensions: n training examples, f canonical 4-mers.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np

from rmt_genomics.atomic_io import atomic_file
from rmt_genomics.dna.alphabet import Codes
from rmt_genomics.dna.kmers import canonical_kmers, count_canonical_kmers, num_canonical_kmers
from rmt_genomics.errors import CheckpointError

FILE_NAME = "training_range.safetensors"
LOWER_GC, HIGHER_GC, OTHER_KMERS = (
    "lower GC content than any training example",
    "higher GC content than any training example",
    "4-mer composition unlike the training examples",
)
MAX_EXAMPLES = 10_000  # more are not measured

ROUNDING = 1e-6  # of the numbers in the file
_K = 4
_SHRINKAGE = 0.2
_WITHIN = 0.995  # fraction of the training examples that are not too far
_FEWEST = 10  # examples below which the composition is not compared


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRange:
    """What the composition of a sequence is compared with."""

    gc: np.ndarray  # ``(3,)`` lowest, mean and highest GC content of a training example
    mean: np.ndarray  # ``(f,)`` mean frequency of each 4-mer
    whitening: np.ndarray
    """``(f, f)`` turns deviations from the mean into independent ones of variance 1; zeros if there
    are too few training examples."""

    max_distance: np.ndarray  # ``(1,)`` the distance up to which a sequence is like them
    min_kmers: np.ndarray  # ``(1,)`` 4-mers in the shortest training example

    @classmethod
    def fit(cls, sequences: Iterable[Codes]) -> "TrainingRange | None":
        """Measure the base codes of training examples; None if none has a 4-mer without N."""
        rows = [row for row in map(_count, sequences) if row.any()]
        if not rows:
            return None
        counts = np.stack(rows)
        totals, frequencies = counts.sum(axis=1), counts / counts.sum(axis=1, keepdims=True)
        min_kmers, gc = totals.min(), frequencies @ gc_of_kmers()
        mean, max_distance = frequencies.mean(axis=0), 0.0
        whitening = np.zeros((len(mean), len(mean)))
        if len(rows) >= _FEWEST:
            whitening, distances = _whitening(frequencies, totals), np.empty(len(rows))
            order = np.random.default_rng(0).permutation(len(rows))
            for half, others in ((order[::2], order[1::2]), (order[1::2], order[::2])):
                deviations = frequencies[half] - frequencies[others].mean(axis=0)
                scale = np.sqrt(np.minimum(1, totals[half] / min_kmers))
                other_whitening = _whitening(frequencies[others], totals[others])
                distances[half] = _norms(deviations @ other_whitening.T) * scale
            max_distance = np.quantile(distances, _WITHIN, method="higher")
        arrays = ([gc.min(), gc.mean(), gc.max()], mean, whitening, [max_distance], [min_kmers])
        # (order: safetensors ignores the layout of an array in memory.)
        return cls(*(np.array(each, dtype=np.float32, order="C") for each in arrays))

    def notes(self, codes: Codes) -> list[str]:
        """Return which of the three notes hold for a sequence; none if it has no 4-mer without N.

        They do not depend on the strand.
        """
        counts = _count(codes)
        if not (total := counts.sum()):
            return []
        frequencies, (lowest, mean, highest) = counts / total, self.gc.astype(float)
        scale = min(1.0, float(np.sqrt(total / self.min_kmers[0])))
        gc = scale * (frequencies @ gc_of_kmers() - mean)
        distance = scale * _norms((frequencies - self.mean)[None] @ self.whitening.T)[0]
        holds = {
            LOWER_GC: gc < lowest - mean - ROUNDING,
            HIGHER_GC: gc > highest - mean + ROUNDING,
            OTHER_KMERS: distance > self.max_distance[0] * (1 + ROUNDING),
        }
        return [note for note, is_true in holds.items() if is_true]

    def save(self, folder: Path) -> None:
        """Write ``training_range.safetensors`` into a model folder, whole or not at all."""
        from safetensors.numpy import save

        arrays = {each.name: getattr(self, each.name) for each in fields(self)}
        with atomic_file(folder / FILE_NAME) as making:
            making.write_bytes(save(arrays))

    @classmethod
    def load(cls, folder: str | Path) -> "TrainingRange | None":
        """Read what ``save`` wrote; None if the folder has no such file.

        Raises:
            CheckpointError: If the file is truncated, or holds something else.
        """
        from safetensors import SafetensorError, safe_open

        path, f = Path(folder) / FILE_NAME, num_canonical_kmers(_K)
        if not path.is_file():
            return None
        shapes = {"gc": (3,), "mean": (f,), "whitening": (f, f)}
        shapes |= {"max_distance": (1,), "min_kmers": (1,)}
        try:
            with safe_open(path, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in shapes}
            for name, array in arrays.items():
                if array.dtype != np.float32 or array.shape != shapes[name]:
                    raise ValueError(f"its {name} is {array.dtype} of shape {array.shape}")
                if not np.isfinite(array).all():
                    raise ValueError(f"its {name} is not finite")
            if arrays["min_kmers"][0] < 1:
                raise ValueError("its min_kmers is below 1")
        except (SafetensorError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: is not the composition of training examples ({error}), but must be one "
                "that a training wrote. Remove the file: there are then no notes on composition."
            ) from error
        return cls(**arrays)


def _count(codes: Codes) -> np.ndarray:
    return count_canonical_kmers(codes, _K)


def _norms(deviations: np.ndarray) -> np.ndarray:
    """Return the root mean square of each row."""
    roots: np.ndarray = np.sqrt((deviations**2).mean(axis=1))
    return roots


def _whitening(frequencies: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Return the matrix that makes deviations from the mean independent, of variance 1."""
    mean = frequencies.mean(axis=0)
    # No 4-mer varies less than by chance in a sequence of mean length.
    by_chance = np.sqrt(np.maximum(mean, 1 / totals.sum()) / totals.mean())
    scale = np.maximum(frequencies.std(axis=0), by_chance)
    standardised = (frequencies - mean) / scale
    covariance = (1 - _SHRINKAGE) * standardised.T @ standardised / len(frequencies)
    variances, directions = np.linalg.eigh(covariance + _SHRINKAGE * np.eye(len(mean)))
    whitening: np.ndarray = (directions / np.sqrt(variances)).T / scale
    return whitening


@cache
def gc_of_kmers() -> np.ndarray:
    """Return the GC content of each canonical 4-mer ``(f,)``."""
    all_kmers = np.indices((4,) * _K, dtype=np.uint8).reshape(_K, -1).T  # a row holds base codes
    numbers = np.unique([canonical_kmers(kmer, _K)[0] for kmer in all_kmers])
    digits = numbers[:, None] // 4 ** np.arange(_K, dtype=np.uint64) % 4
    content: np.ndarray = np.isin(digits, (1, 2)).mean(axis=1)
    return content
