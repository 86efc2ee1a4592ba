"""k-mers as numbers: k bases in a row, read in base 4, the first base being the highest digit.

A k-mer and its reverse complement are the same stretch of DNA, read on one strand or the other. The
smaller of the two numbers is their *canonical* form, so counts of canonical k-mers do not depend on
the strand. A k-mer that contains an N has no number.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from rmt_genomics.dna.alphabet import UNKNOWN, Codes, check_codes

KmerNumbers = npt.NDArray[np.uint64]

_BLOCK_BP = 1 << 20


def number_kmers(
    codes: Codes, k: int, *, stride: int = 1
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Number the k-mers of a sequence from 0 (AA..A) to ``4**k - 1`` (TT..T); k is at most 14.

    ``stride`` counts the bases from the start of one k-mer to the start of the next. With each
    number comes whether the k-mer contains an N; the number then has no meaning.

    Examples:
        >>> from rmt_genomics.dna.alphabet import encode
        >>> numbers, has_unknown = number_kmers(encode("AATTNC"), 2)
        >>> numbers[~has_unknown].tolist(), has_unknown.tolist()
        ([0, 3, 15], [False, False, False, True, True])
    """
    codes = check_codes(codes)
    num_kmers = max(0, (len(codes) - k) // stride + 1)
    numbers = np.zeros(num_kmers, dtype=np.int32)
    has_unknown = np.zeros(num_kmers, dtype=bool)
    if num_kmers:
        last_start = (num_kmers - 1) * stride
        for offset in range(k):
            bases = codes[offset : offset + last_start + 1 : stride]
            numbers *= 4
            numbers += bases
            has_unknown |= bases == UNKNOWN
    return numbers, has_unknown


def canonical_kmers(codes: Codes, k: int) -> KmerNumbers:
    """Return the number of each k-mer or of its reverse complement, whichever is smaller.

    The sequence is without N, and k at most 31: each base takes two bits.

    Examples:
        >>> from rmt_genomics.dna.alphabet import encode
        >>> canonical_kmers(encode("AAC"), 2).tolist(), canonical_kmers(encode("GTT"), 2).tolist()
        ([0, 1], [1, 0])
    """
    bases = check_codes(codes, largest=3).astype(np.uint64)
    reverse_complements = _number(np.uint64(3) - bases[::-1], k)[::-1]
    return np.minimum(_number(bases, k), reverse_complements)


def _number(bases: KmerNumbers, k: int) -> KmerNumbers:
    """Number the k-mers in log2(k) steps over the sequence instead of k: most steps double k."""
    if k == 1:
        return bases
    left_width = k - 1 if k % 2 else k // 2
    left = _number(bases, left_width)
    right = bases if k % 2 else left
    count = max(0, len(bases) - k + 1)
    shifted = left[:count] << np.uint64(2 * (k - left_width))
    return shifted | right[left_width : left_width + count]


def count_canonical_kmers(codes: Codes, k: int) -> npt.NDArray[np.float64]:
    """Count each canonical k-mer of a sequence, in alphabetical order; one with an N is left out.

    Examples:
        >>> count_canonical_kmers(np.array([0, 0, 3, 1], dtype=np.uint8), k=1)  # A/T, C/G
        array([3., 1.])
    """
    codes, counts = check_codes(codes), np.zeros(4**k)
    for start in range(0, len(codes) - k + 1, _BLOCK_BP):
        numbers, has_unknown = number_kmers(codes[start : start + _BLOCK_BP + k - 1], k)
        counts += np.bincount(numbers[~has_unknown], minlength=4**k)
    merged: np.ndarray = np.bincount(canonical_index(k), weights=counts)
    return merged


def num_canonical_kmers(k: int) -> int:
    """Return how many canonical k-mers there are."""
    return int(canonical_index(k).max()) + 1


@cache
def canonical_index(k: int) -> npt.NDArray[np.intp]:
    """Return for each k-mer the index of its canonical form among the canonical k-mers."""
    all_kmers = np.indices((4,) * k, dtype=np.uint8).reshape(k, -1).T  # a row holds k base codes
    canonical = canonical_kmers(all_kmers.ravel(), k)[::k]
    return np.unique(canonical, return_inverse=True)[1]
