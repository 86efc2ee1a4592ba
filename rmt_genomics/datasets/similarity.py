"""Find similar sequences without aligning them: shared k-mers in small samples (sketches).

A k-mer is k bases in a row, taken together with its reverse complement, so both strands of a
sequence give the same sketch. Of all k-mers one in ``scale`` is kept, those with the smallest
hashes: the same ones in every sequence (FracMinHash, Irber et al. 2022, bioRxiv 2022.01.11.475838).
So the fraction of kept k-mers that two sequences share estimates the fraction of all.

The identity of two sequences is estimated from that fraction. If every base is changed with
probability d, a k-mer is unchanged with probability ``(1 - d) ** k`` (the model of Mash, Ondov et
al. 2016, doi:10.1186/s13059-016-0997-x), so ``1 - d`` is the k-th root of the fraction shared. We
take the fraction of the smaller sequence's k-mers (containment, as Mash Screen does, Ondov et al.
2019, doi:10.1186/s13059-019-1841-x), not of both: a fragment leaks as much as a copy. The estimate
is an average over the sequence: two that have a third of their bases in common, unchanged, and
nothing else count as 95% identical (0.95 ** 21 = 0.34).
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import floor

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

IDENTITY = 0.95
"""Estimated identity from which on two sequences count as similar, in splits and in the audit.

It is the usual boundary of bacterial species (average nucleotide identity, Jain et al. 2018,
doi:10.1038/s41467-018-07641-9) and of the populations of viruses (Roux et al. 2019,
doi:10.1038/nbt.4306).
"""

LONG_K, SHORT_K = 21, 15
_SHORT_BP = 1000
_HASHES_PER_SEQUENCE = 200
_MAX_HASHES = 10_000_000
_CHUNK_BP = 1 << 15  # what fits into a processor's cache, at eight bytes per base
_RELEASED_BP = 1 << 21
_SEPARATOR = np.full(1, UNKNOWN, dtype=np.uint8)
_MIN_SHARED = 3
_MAX_PAIRS = 30_000_000
_PAIRS_AT_ONCE, _ROWS_AT_ONCE = 1_000_000, 100_000
_MAX_DENSE = 4096  # sequences up to which all pairs are counted in one matrix
_MIN_COMMON = 64
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

    k: int
    highest: float
    """Highest similarity of all compared pairs, also below the least that was asked for."""

    def at_least(self, identity: float) -> Indices:
        """Return the indices of the pairs of at least this estimated identity."""
        return np.flatnonzero(self.similarity >= shared_fraction(identity, self.k))


def shared_fraction(identity: float, k: int) -> float:
    """Return the fraction of k-mers that two sequences of this identity share on average."""
    return identity**k


def estimated_identity(similarity: float, k: int) -> float:
    """Return the identity of two sequences that share this fraction of their k-mers.

    Examples:
        >>> round(estimated_identity(0.95**21, 21), 6)
        0.95
    """
    return float(similarity ** (1 / k))


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
    sizes = np.zeros(len(intervals), np.int64)
    for start in range(0, len(keys), _PAIRS_AT_ONCE):  # in blocks: bincount copies its input
        block = keys[start : start + _PAIRS_AT_ONCE].view(np.uint32)[::2]
        sizes += np.bincount(block, minlength=len(intervals))
    return Sketches(k, scale, keys, sizes)


def percent(identity: float) -> str:
    """Return an identity in percent, rounded down: 99.97% is not 100%.

    Examples:
        >>> percent(0.99999), percent(0.95), percent(1.0)
        ('99.9%', '95%', '100%')
    """
    return f"{floor(identity * 1000 + 1e-6) / 10:g}%"


def similar_pairs(
    sketches: Sketches, min_identity: float, part_of: Indices | None = None
) -> SimilarPairs:
    """Find all pairs of sequences of at least this estimated identity.

    Pairs with fewer than three shared k-mers are left out (low complexity is everywhere), unless
    the smaller sequence has no more. Warns if k-mers are so common that not all pairs could be
    compared. With ``part_of``, the number of each sequence's part, only pairs of different parts
    are compared.
    """
    count, min_similarity = len(sketches.sizes), shared_fraction(min_identity, sketches.k)
    kmers = sparse.csr_array((count, count), dtype=np.int32)
    if count <= _MAX_DENSE:
        common, sketches = _without_common(sketches)
        kmers += sparse.csr_array(_shared_by_all(common))
    for first, second in _pairs_per_kmer(sketches):
        ones = np.ones(len(first), dtype=np.int32)
        kmers += sparse.coo_array((ones, (first, second)), shape=(count, count)).tocsr()
    # Each pair is there once now, with the sum of its ones. Rows are read in blocks: less memory.
    found, highest = [(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0))], 0.0
    for start in range(0, count, _ROWS_AT_ONCE):
        block = kmers[start : start + _ROWS_AT_ONCE].tocoo()
        shared, (first, second) = block.data, (ends.astype(np.int32) for ends in block.coords)
        first += start
        smaller = np.minimum(sketches.sizes[first], sketches.sizes[second])
        is_compared = shared >= np.minimum(_MIN_SHARED, smaller)
        if part_of is not None:
            is_compared &= part_of[first] != part_of[second]
        similarity = shared / smaller
        highest = max(highest, similarity.max(initial=0, where=is_compared))
        is_similar = is_compared & (similarity >= min_similarity)
        found.append((first[is_similar], second[is_similar], similarity[is_similar]))
    first, second, similarity = map(np.concatenate, zip(*found, strict=True))
    return SimilarPairs(first, second, similarity, sketches.k, highest)


def _chunks(
    store: SequenceStore, intervals: Sequence[Interval], k: int
) -> Iterator[tuple[Codes, Indices]]:
    """Yield base codes, with an N between two sequences, and the sequence index of each base.

    Long sequences are cut so that every k-mer is in one chunk; short ones share a chunk. They are
    read in the order of their starts, so that few pages of the file are in memory at a time.
    """
    starts = np.fromiter((interval.start for interval in intervals), np.int64, len(intervals))
    codes, owners, chunk_bp, unreleased_bp = [], [], 0, 0
    for owner in np.argsort(starts, kind="stable").tolist():
        interval = intervals[owner]
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
                unreleased_bp += chunk_bp
                if unreleased_bp > _RELEASED_BP:
                    store.release()
                    unreleased_bp = 0
                codes, owners, chunk_bp = [], [], 0
    store.release()
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


def _without_common(sketches: Sketches) -> tuple[Sketches, Sketches]:
    """Divide sketches into the k-mers of a tenth of the sequences or more, and the others."""
    count = len(sketches.sizes)
    is_first = np.append(True, sketches.hashes[1:] != sketches.hashes[:-1])[: len(sketches.keys)]
    run_lengths = np.diff(np.flatnonzero(is_first), append=len(is_first))
    is_common = np.repeat(run_lengths > max(_MIN_COMMON, count // 10), run_lengths)
    common, others = sketches.keys[is_common], sketches.keys[~is_common]
    return replace(sketches, keys=common), replace(sketches, keys=others)


def _shared_by_all(sketches: Sketches) -> Numbers:
    """Count the k-mers that each two sequences share, above the diagonal: a matrix product."""
    count = len(sketches.sizes)
    _, columns = np.unique(sketches.hashes, return_inverse=True)
    shared = np.zeros((count, count), np.float32)
    for start in range(0, int(columns.max(initial=-1)) + 1, _MAX_DENSE):
        is_in = (columns >= start) & (columns < start + _MAX_DENSE)
        has = np.zeros((count, _MAX_DENSE), np.float32)
        has[sketches.owners[is_in], columns[is_in] - start] = 1
        shared += has @ has.T
    return np.triu(shared, 1).astype(np.int32)


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
