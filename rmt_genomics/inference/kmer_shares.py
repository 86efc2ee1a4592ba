"""What a sequence is made of: the share of each k-mer, of bases or of amino acids.

A k-mer of bases and its reverse complement count as one. K-mers of amino acids, in the ten classes
of ``dna.genetic_code``, are counted in the open reading frames of both strands. Either way all
order beyond k is lost.

Dimensions: n sequences, f k-mers (of bases 136 for k = 4 and 2,080 for k = 6).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from rmt_genomics.dna.genetic_code import AMINO_ACID_CLASSES
from rmt_genomics.model.proteins import count_words

K = 4
_BLOCK_BP = 1 << 20
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
        return int(_canonical(self.k).max()) + 1

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
    counts = np.zeros(4**k, dtype=np.int64)
    for start in range(0, len(codes) - k + 1, _BLOCK_BP):
        counts += _count(codes[start : start + _BLOCK_BP + k - 1], k)
    merged = np.bincount(_canonical(k), weights=counts)
    shares: np.ndarray = merged / max(1.0, merged.sum())
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
