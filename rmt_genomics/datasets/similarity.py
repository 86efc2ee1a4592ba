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

from rmt_genomics.datasets.sequence_store import SequenceStore
from rmt_genomics.dna.alphabet import UNKNOWN, Codes
from rmt_genomics.dna.kmers import canonical_kmers
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import RMTGenomicsWarning

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]
Owners = npt.NDArray[np.int32]

LONG_K, SHORT_K = 21, 15
_SHORT_BP = 1000
_HASHES_PER_SEQUENCE = 200
_MAX_HASHES = 10_000_000
_CHUNK_BP = 1 << 15  # what fits into a processor's cache, at eight bytes per base
_SEPARATOR = np.full(1, UNKNOWN, dtype=np.uint8)
_MIN_SHARED = 3
_MAX_PAIRS = 10_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Sketches:
    """The kept k-mers of many sequences, sorted by hash: an index from hash to sequences."""

    k: int
    scale: int
    """One k-mer in this many is kept."""

    hashes: Hashes
    """Ascending; each once for every sequence that has it."""

    owners: Owners
    """Index of the sequence of each hash, ascending among equal hashes."""

    sizes: Indices
    """Different hashes of each sequence; 0 if it has no k-mer without N, or none that is kept."""


@dataclass(frozen=True, slots=True, eq=False)
class SimilarPairs:
    """Pairs of indices of similar sequences, the smaller index first, each pair once."""

    first: Indices
    second: Indices
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
    shift, bits = np.uint64(scale.bit_length() - 1), _owner_bits(len(intervals))
    packed = bytearray()  # hash and owner in one number: half the memory, and quick to sort
    for codes, owners in _chunks(store, intervals, k):
        hashes, starts = _small_hashes(codes, k, limit)
        keys = (hashes << shift) >> bits << bits | owners[starts].astype(np.uint64)
        packed += np.unique(keys).tobytes()
    keys = np.frombuffer(packed, np.uint64)
    keys.sort()
    if (is_repeat := keys[1:] == keys[:-1]).any():  # a hash is kept once per sequence
        keys = keys[np.append(True, ~is_repeat)]
    owners, hashes = _unpacked_owners(keys, bits), keys >> bits
    return Sketches(k, scale, hashes, owners, np.bincount(owners, minlength=len(intervals)))


def _owner_bits(count: int) -> np.uint64:
    """Return how many low bits of a packed number are the index of a sequence."""
    return np.uint64((count - 1).bit_length())


def _unpacked_owners(keys: Hashes, bits: np.uint64) -> Owners:
    return (keys & np.uint64(2 ** int(bits) - 1)).astype(np.int32)


def similar_pairs(sketches: Sketches, min_similarity: float) -> SimilarPairs:
    """Find all pairs of sequences with at least this similarity.

    Pairs with fewer than three shared k-mers are left out (low complexity is everywhere), unless
    the smaller sequence has no more. Warns if k-mers are so common that not all pairs could be
    compared.
    """
    pairs = _pairs_per_kmer(sketches)
    pairs.sort()
    starts = np.flatnonzero(np.append(True, pairs[1:] != pairs[:-1]) if len(pairs) else pairs)
    shared = np.diff(starts, append=len(pairs))
    first, second = np.divmod(pairs[starts], len(sketches.sizes))
    smaller = np.minimum(sketches.sizes[first], sketches.sizes[second])
    is_similar = shared >= np.maximum(min_similarity * smaller, np.minimum(_MIN_SHARED, smaller))
    similarity = shared[is_similar] / smaller[is_similar]
    return SimilarPairs(first[is_similar], second[is_similar], similarity)


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
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _pairs_per_kmer(sketches: Sketches) -> Indices:
    """Return a pair of sequences for each k-mer that two of them share.

    A pair is ``first * number of sequences + second``, the smaller index first. Sequences with the
    same hash are a run in the index. Where there would be too many pairs, each sequence is paired
    only with the next ones of its run, which is first sorted by content, so that the result does
    not depend on the order in the file.
    """
    count, hashes, owners = len(sketches.sizes), sketches.hashes, sketches.owners
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
        bits, rank = _owner_bits(count), _content_rank(sketches)
        keys = hashes << bits | rank[owners].astype(np.uint64)
        keys.sort()
        owners = np.argsort(rank)[_unpacked_owners(keys, bits)].astype(np.int32)
        del keys
        warnings.warn(
            f"{int((run_lengths > window + 1).sum()):,} k-mers are in more than "
            f"{window + 1:,} sequences each (up to {longest:,}): similar sequences may be missed. "
            "Remove exact duplicates first.",
            RMTGenomicsWarning,
            stacklevel=4,
        )
    packed = bytearray()
    for step in range(1, window + 1):
        left = left[: np.searchsorted(left, len(hashes) - step)]
        left = left[hashes[left] == hashes[left + step]]
        if not len(left):
            break
        one, other = owners[left].astype(np.int64), owners[left + step].astype(np.int64)
        packed += (np.minimum(one, other) * count + np.maximum(one, other)).tobytes()
    return np.frombuffer(packed, np.int64)


def _content_rank(sketches: Sketches) -> Indices:
    """Rank the sequences by their hashes, so that similar ones mostly have neighbouring ranks."""
    count = len(sketches.sizes)
    smallest, total = np.zeros(count, dtype=np.uint64), np.zeros(count, dtype=np.uint64)
    smallest[sketches.owners[::-1]] = sketches.hashes[::-1]  # the last one written stays
    np.add.at(total, sketches.owners, sketches.hashes)
    rank = np.empty(count, dtype=np.int64)
    rank[np.lexsort((total, sketches.sizes, smallest))] = np.arange(count)
    return rank
