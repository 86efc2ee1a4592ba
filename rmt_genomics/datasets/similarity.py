"""Find similar sequences without aligning them: shared k-mers in small samples (sketches).

A k-mer is k bases in a row, taken together with its reverse complement, so both strands of a
sequence give the same sketch. Of all k-mers one in ``scale`` is kept, those with the smallest
hashes: the same ones in every sequence (FracMinHash, Irber et al. 2022, bioRxiv 2022.01.11.475838).
So the fraction of kept k-mers that two sequences share estimates the fraction of all. If every base
is changed with probability d, a k-mer is unchanged with probability ``(1 - d) ** k``.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from rmt_genomics.datasets.sequence_store import SequenceStore
from rmt_genomics.dna.alphabet import UNKNOWN, Codes
from rmt_genomics.dna.kmers import canonical_kmers
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import RMTGenomicsWarning

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]
Halves = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int32]

LONG_K, SHORT_K = 21, 15
_SHORT_BP = 1000
_HASHES_PER_SEQUENCE = 200
_MAX_HASHES = 10_000_000
_CHUNK_BP = 1 << 15  # what fits into a processor's cache, at eight bytes per base
_SEPARATOR = np.full(1, UNKNOWN, dtype=np.uint8)
_MIN_SHARED = 3
_MAX_PAIRS = 30_000_000
_PAIRS_AT_ONCE, _ROWS_AT_ONCE = 1_000_000, 100_000
_HIGH_HALF = np.uint64(0xFFFFFFFF00000000)


@dataclass(frozen=True, slots=True, eq=False)
class Sketches:
    """The kept k-mers of many sequences, sorted by hash: an index from hash to sequences."""

    k: int
    scale: int
    """One k-mer in this many is kept."""

    keys: Hashes
    """A hash in the high 32 bits, ascending, and the index of a sequence that has it in the low."""

    sizes: Indices
    """Different hashes of each sequence; 0 if it has no k-mer without N, or none that is kept."""

    @property
    def hashes(self) -> Halves:
        """The hashes, ascending; each once for every sequence that has it."""
        return self.keys.view(np.uint32)[1::2]  # the high half of each, on little-endian machines

    @property
    def owners(self) -> Numbers:
        """Index of the sequence of each hash."""
        return self.keys.view(np.int32)[::2]


@dataclass(frozen=True, slots=True, eq=False)
class SimilarPairs:
    """Pairs of indices of similar sequences, the smaller index first, each pair once."""

    first: Numbers
    second: Numbers
    similarity: npt.NDArray[np.float64]
    """Fraction of the k-mers of the smaller sequence that both have, 0 to 1."""


def sketch(store: SequenceStore, intervals: Sequence[Interval]) -> Sketches:
    """Sample the k-mers of sequences, in memory that does not grow with their length.

    k is 21, or 15 if half of the sequences are shorter than 1 kb: a changed base changes k
    k-mers, and a short sequence has few. ``scale`` gives the shortest sequence about 200 hashes,
    and all together at most 10 million.
    """
    lengths = np.fromiter(map(len, intervals), np.int64, len(intervals))
    k = LONG_K if np.median(lengths) >= _SHORT_BP else SHORT_K
    scale = max(
        1, int(lengths.min()) // _HASHES_PER_SEQUENCE, -(-int(lengths.sum()) // _MAX_HASHES)
    )
    limit = np.uint64(2**64 // scale - 1)
    shift = np.uint64(scale.bit_length() - 1)  # all kept hashes begin with so many zeros
    packed = bytearray()
    for codes, owners in _chunks(store, intervals, k):
        hashes, starts = _small_hashes(codes, k, limit)
        keys = (hashes << shift) & _HIGH_HALF | owners[starts].astype(np.uint64)
        packed += np.unique(keys).tobytes()
    keys = np.frombuffer(packed, np.uint64)
    keys.sort()
    if (is_repeat := keys[1:] == keys[:-1]).any():  # a hash is kept once per sequence
        keys = keys[np.append(True, ~is_repeat)]
    sizes = np.bincount(keys.view(np.uint32)[::2], minlength=len(intervals))
    return Sketches(k, scale, keys, sizes)


def similar_pairs(sketches: Sketches, min_similarity: float) -> SimilarPairs:
    """Find all pairs of sequences with at least this similarity.

    Pairs with fewer than three shared k-mers are left out (low complexity is everywhere), unless
    the smaller sequence has no more. Warns if k-mers are so common that not all pairs could be
    compared.
    """
    count = len(sketches.sizes)
    kmers = sparse.csr_array((count, count), dtype=np.int32)
    for first, second in _pairs_per_kmer(sketches):
        ones = np.ones(len(first), dtype=np.int32)
        kmers += sparse.coo_array((ones, (first, second)), shape=(count, count)).tocsr()
    # Each pair is there once now, with the sum of its ones. Rows are read in blocks: less memory.
    found = [(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0))]
    for start in range(0, count, _ROWS_AT_ONCE):
        block = kmers[start : start + _ROWS_AT_ONCE].tocoo()
        shared, (first, second) = block.data, (ends.astype(np.int32) for ends in block.coords)
        first += start
        smaller = np.minimum(sketches.sizes[first], sketches.sizes[second])
        least = np.maximum(min_similarity * smaller, np.minimum(_MIN_SHARED, smaller))
        is_similar = shared >= least
        similarity = shared[is_similar] / smaller[is_similar]
        found.append((first[is_similar], second[is_similar], similarity))
    first, second, similarity = map(np.concatenate, zip(*found, strict=True))
    return SimilarPairs(first, second, similarity)


def _chunks(
    store: SequenceStore, intervals: Sequence[Interval], k: int
) -> Iterator[tuple[Codes, Indices]]:
    """Yield base codes, with an N between two sequences, and the sequence index of each base.

    Long sequences are cut so that every k-mer is in one chunk; short ones share a chunk.
    """
    codes, owners, chunk_bp = [], [], 0
    for owner, interval in enumerate(intervals):
        last_start = max(interval.start, interval.end - k)
        for start in range(interval.start, last_start + 1, _CHUNK_BP):
            end = min(start + _CHUNK_BP + k - 1, interval.end)
            is_all = (start, end) == (interval.start, interval.end)
            piece = interval if is_all else Interval(interval.record, start, end)
            codes += [store.codes(piece), _SEPARATOR]
            owners.append((owner, end - start + 1))
            chunk_bp += end - start
            if chunk_bp >= _CHUNK_BP:
                yield np.concatenate(codes), np.repeat(*np.array(owners).T)
                codes, owners, chunk_bp = [], [], 0
    yield np.concatenate([*codes, _SEPARATOR]), np.repeat(*np.array([*owners, (0, 1)]).T)


def _small_hashes(codes: Codes, k: int, limit: np.uint64) -> tuple[Hashes, Indices]:
    """Return the hashes up to ``limit`` of the k-mers without N, and where those begin."""
    is_unknown = codes == UNKNOWN
    hashes = _split_mix_64(canonical_kmers(np.where(is_unknown, np.uint8(0), codes), k))
    starts = np.flatnonzero(hashes <= limit)
    unknown_before = np.concatenate([[0], np.cumsum(is_unknown)])
    starts = starts[unknown_before[starts + k] == unknown_before[starts]]
    return hashes[starts], starts


def _split_mix_64(kmers: Hashes) -> Hashes:
    """Hash numbers evenly over 64 bits, without collisions (SplitMix64)."""
    mixed = kmers + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _pairs_per_kmer(sketches: Sketches) -> Iterator[tuple[Numbers, Numbers]]:
    """Yield a pair of sequences, the smaller index first, for each k-mer that two of them share.

    Sequences with the same hash are a run in the index. Where there would be too many pairs, each
    sequence is paired only with the next ones of its run, which is first sorted by content, so
    that the result does not depend on the order in the file.
    """
    hashes, owners = sketches.hashes, sketches.owners
    left = np.flatnonzero(hashes[1:] == hashes[:-1]).astype(np.int32)
    breaks = np.flatnonzero(np.diff(left) != 1) + 1
    run_lengths = np.diff(breaks, prepend=0, append=len(left)) + 1  # of two or more
    num_single, longest = len(hashes) - run_lengths.sum(), int(run_lengths.max())
    window = longest
    while (
        window > 1
        and num_single + (run_lengths * np.minimum(run_lengths, 2 * window)).sum() > 2 * _MAX_PAIRS
    ):
        window //= 2
    if window + 1 < longest:
        rank = _content_rank(sketches)
        owners[:] = rank[owners]
        sketches.keys.sort()
        owners[:] = np.argsort(rank)[owners]
        warnings.warn(
            f"{int((run_lengths > window + 1).sum()):,} k-mers are in more than "
            f"{window + 1:,} sequences each (up to {longest:,}): similar sequences may be missed. "
            "Remove exact duplicates first.",
            RMTGenomicsWarning,
            stacklevel=4,
        )
    for step in range(1, window + 1):
        is_same = np.append(hashes[step:] == hashes[:-step], np.zeros(step, dtype=bool))
        left = left[is_same[left]]
        for start in range(0, len(left), _PAIRS_AT_ONCE):
            block = left[start : start + _PAIRS_AT_ONCE]
            one, other = owners[block], owners[block + step]
            yield np.minimum(one, other), np.maximum(one, other)
        if not len(left):
            break


def _content_rank(sketches: Sketches) -> Numbers:
    """Rank the sequences by their hashes, so that similar ones mostly have neighbouring ranks."""
    count = len(sketches.sizes)
    smallest, total = np.zeros(count, dtype=np.uint64), np.zeros(count, dtype=np.uint64)
    smallest[sketches.owners[::-1]] = sketches.hashes[::-1]  # the last one written stays
    np.add.at(total, sketches.owners, sketches.hashes)
    rank = np.empty(count, dtype=np.int32)
    rank[np.lexsort((total, sketches.sizes, smallest))] = np.arange(count)
    return rank
