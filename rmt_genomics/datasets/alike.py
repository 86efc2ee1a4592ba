"""Find pairs of like sequences among many, without comparing every one with every other.

Only sequences that share a kept k-mer meet at all. How alike two are is the share of the smaller
one's kept k-mers that the larger one has too (containment), so a fragment is like its whole.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets.sketches import Hashes, Places, Sketches
from rmt_genomics.errors import RMTGenomicsWarning

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
