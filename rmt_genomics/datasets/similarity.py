"""Small samples of the k-mers of sequences, by which like ones are found without aligning them.

A k-mer is k bases in a row; it is taken together with its reverse complement, so both strands of a
sequence give the same sample. Of all k-mers one in ``scale`` is kept, those with the smallest
hashes: the same ones in every sequence (FracMinHash, Irber et al. 2022, bioRxiv 2022.01.11.475838).
So the share of kept k-mers two sequences have in common estimates the share of all. If every base
is changed with probability d, a k-mer stays whole with probability ``(1 - d) ** k``.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets.sequence_store import EncodedStore
from rmt_genomics.dna.alphabet import UNKNOWN, Codes
from rmt_genomics.dna.kmers import canonical_kmers
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import RMTGenomicsWarning

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

LONG_K, SHORT_K = 21, 15
_SHORT_BP = 1000
_HASHES_A_SEQUENCE = 200
_MOST_HASHES = 20_000_000
_PIECE_BP = 1 << 15  # what fits into a processor's cache, as eight bytes a base
_SEPARATOR = np.full(1, UNKNOWN, dtype=np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Sketches:
    """The kept k-mers of many sequences, sorted by hash: an index from hash to sequences."""

    k: int
    """Bases in a k-mer."""

    scale: int
    """One k-mer in this many is kept."""

    hashes: Hashes
    """Ascending; as often as there are sequences that have it."""

    owners: Places
    """Place of the sequence that each hash is of, ascending among equal hashes."""

    sizes: Places
    """Different hashes of each sequence; 0 if it has no k-mer without N, or none that is kept."""


def sketch(store: EncodedStore, intervals: Sequence[Interval]) -> Sketches:
    """Sample the k-mers of sequences, in memory that does not grow with their length.

    k is 21, or 15 if half of the sequences are shorter than 1 kb: a changed base spoils k of the
    k-mers, and a short sequence has few. ``scale`` gives the shortest sequence about 200 hashes,
    and all together at most 20 million.
    """
    lengths = [len(interval) for interval in intervals]
    k = LONG_K if median(lengths) >= _SHORT_BP else SHORT_K
    scale = max(1, min(lengths) // _HASHES_A_SEQUENCE, -(-sum(lengths) // _MOST_HASHES))
    limit = np.uint64(2**64 // scale - 1)
    kept_hashes, kept_owners = [], []
    for codes, owners in _pieces(store, intervals, k):
        hashes, starts = _small_hashes(codes, k, limit)
        kept_hashes.append(hashes)
        kept_owners.append(owners[starts])
    hashes, owners = _sorted_once(np.concatenate(kept_hashes), np.concatenate(kept_owners))
    return Sketches(k, scale, hashes, owners, np.bincount(owners, minlength=len(intervals)))


def _pieces(
    store: EncodedStore, intervals: Sequence[Interval], k: int
) -> Iterator[tuple[Codes, Places]]:
    """Yield base codes, with an N between two sequences, and the sequence each base is of.

    Long sequences are cut so that every k-mer is in one piece; short ones share a piece.
    """
    codes, owners, waiting = [], [], 0
    for owner, interval in enumerate(intervals):
        last_start = max(interval.start, interval.end - k)
        for start in range(interval.start, last_start + 1, _PIECE_BP):
            end = min(start + _PIECE_BP + k - 1, interval.end)
            codes += [store.codes(Interval(interval.record, start, end)), _SEPARATOR]
            owners.append((owner, end - start + 1))
            waiting += end - start
            if waiting >= _PIECE_BP:
                yield np.concatenate(codes), np.repeat(*np.array(owners).T)
                codes, owners, waiting = [], [], 0
    yield np.concatenate([*codes, _SEPARATOR]), np.repeat(*np.array([*owners, (0, 1)]).T)


def _small_hashes(codes: Codes, k: int, limit: np.uint64) -> tuple[Hashes, Places]:
    """Return the hashes up to ``limit`` of the k-mers without N, and where those begin."""
    is_unknown = codes == UNKNOWN
    hashes = _mixed(canonical_kmers(np.where(is_unknown, np.uint8(0), codes), k))
    starts = np.flatnonzero(hashes <= limit)
    unknown_before = np.concatenate([[0], np.cumsum(is_unknown)])
    starts = starts[unknown_before[starts + k] == unknown_before[starts]]
    return hashes[starts], starts


def _mixed(kmers: Hashes) -> Hashes:
    """Spread numbers evenly over 64 bits, each to a value of its own (SplitMix64)."""
    mixed = kmers + np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _sorted_once(hashes: Hashes, owners: Places) -> tuple[Hashes, Places]:
    """Sort by hash, then owner, and keep a hash once a sequence."""
    order = np.lexsort((owners, hashes))
    hashes, owners = hashes[order], owners[order]
    is_new = np.ones(len(hashes), dtype=bool)
    is_new[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    return hashes[is_new], owners[is_new]


_FEWEST_SHARED = 3
_MOST_MEETINGS = 30_000_000


@dataclass(frozen=True, slots=True, eq=False)
class AlikePairs:
    """Pairs of places of like sequences, the smaller place first, each pair once."""

    first: Places
    second: Places
    similarity: npt.NDArray[np.float64]
    """Share of the k-mers of the smaller sequence that both have, 0 to 1."""


def alike_pairs(sketches: Sketches, at_least: float) -> AlikePairs:
    """Find all pairs of sequences with at least this similarity.

    Fewer than three shared k-mers prove nothing (low complexity is everywhere), unless the
    smaller sequence has no more. Warns if k-mers are so common that not all could be compared.
    """
    count = len(sketches.sizes)
    meetings, shared = np.unique(_meetings(sketches), return_counts=True)
    one, other = np.divmod(meetings, count)
    first, second = np.minimum(one, other), np.maximum(one, other)
    smaller = np.minimum(sketches.sizes[first], sketches.sizes[second])
    is_alike = shared >= np.maximum(at_least * smaller, np.minimum(_FEWEST_SHARED, smaller))
    similarity = shared[is_alike] / smaller[is_alike]
    return AlikePairs(first[is_alike], second[is_alike], similarity)


def _meetings(sketches: Sketches) -> Places:
    """Return ``one * count + other`` for each k-mer that two sequences share.

    Sequences with one hash stand next to each other in the index. Where too many would meet, each
    meets those that come next in an order of their k-mers, whatever their order in the file.
    """
    owners, runs = sketches.owners, _run_lengths(sketches.hashes)
    window = _largest_window(runs)
    if is_limited := window + 1 < runs.max(initial=0):
        owners = owners[np.lexsort((_content_order(sketches)[owners], sketches.hashes))]
        warnings.warn(
            f"{int((runs > window + 1).sum()):,} k-mers are in more than {window + 1:,} sequences "
            f"each (up to {runs.max():,}): like sequences may be missed. "
            "Take exact duplicates out first.",
            RMTGenomicsWarning,
            stacklevel=4,
        )
    left_in_run = np.repeat(np.cumsum(runs), runs) - np.arange(len(owners)) - 1
    found = []
    here = np.flatnonzero(left_in_run)
    for step in range(1, window + 1):
        here = here[left_in_run[here] >= step]
        if not len(here):
            break
        one, other = owners[here], owners[here + step]
        if is_limited:  # then owners of a run are not in ascending order
            one, other = np.minimum(one, other), np.maximum(one, other)
        found.append(one * len(sketches.sizes) + other)
    return np.concatenate([np.zeros(0, dtype=np.int64), *found])


def _run_lengths(hashes: Hashes) -> Places:
    """Count how many sequences have each hash."""
    if not len(hashes):
        return np.zeros(0, dtype=np.int64)
    borders = np.flatnonzero(hashes[1:] != hashes[:-1]) + 1
    return np.diff(np.concatenate([[0], borders, [len(hashes)]]))


def _largest_window(runs: Places) -> int:
    """Return how many others each sequence of a run may meet, so that memory lasts."""
    window = int(runs.max(initial=1))
    while window > 1 and int((runs * np.minimum(runs, 2 * window)).sum()) > 2 * _MOST_MEETINGS:
        window //= 2
    return window


def _content_order(sketches: Sketches) -> Places:
    """Rank the sequences by what they hold: like ones mostly come next to each other."""
    count = len(sketches.sizes)
    smallest, total = np.zeros(count, dtype=np.uint64), np.zeros(count, dtype=np.uint64)
    smallest[sketches.owners[::-1]] = sketches.hashes[::-1]  # the last one written stays
    np.add.at(total, sketches.owners, sketches.hashes)
    rank = np.empty(count, dtype=np.int64)
    rank[np.lexsort((total, sketches.sizes, smallest))] = np.arange(count)
    return rank
