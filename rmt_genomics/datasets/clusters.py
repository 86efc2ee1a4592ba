"""Put related sequences into one group, so that a split can keep them on one side.

Related means: at least the k-mers in common that two sequences of 90 % identity share (an estimate
of homology, common descent), on either strand; or bases in common. Relatives of relatives are in
one group (single linkage). The groups are a partition; they depend neither on the order of the
sequences nor on the strand on which one is given.
"""

from collections.abc import Sequence

import numpy as np

from rmt_genomics.datasets.alike import alike_pairs
from rmt_genomics.datasets.examples import Example
from rmt_genomics.datasets.overlaps import overlapping_neighbours
from rmt_genomics.datasets.sketches import Places, sketch
from rmt_genomics.datasets.store import EncodedStore

IDENTITY = 0.9


def homology_groups(store: EncodedStore, examples: Sequence[Example]) -> list[str]:
    """Name the group of each example: after its first member in the alphabet."""
    intervals = [example.interval for example in examples]
    sketches = sketch(store, intervals)
    related = alike_pairs(sketches, IDENTITY**sketches.k)
    overlapping = np.array(overlapping_neighbours(intervals), dtype=np.int64).reshape(-1, 2)
    roots = components(
        len(examples),
        np.concatenate([related.first, overlapping[:, 0]]),
        np.concatenate([related.second, overlapping[:, 1]]),
    ).tolist()
    names: dict[int, str] = {}
    for root, example in zip(roots, examples, strict=True):
        names[root] = min(names.get(root, example.name), example.name)
    return [names[root] for root in roots]


def components(count: int, first: Places, second: Places) -> Places:
    """Join the ends of all pairs (union-find) and return the smallest place of each one's set.

    Args:
        count: Things there are.
        first: One end of each pair, 0 to ``count - 1``.
        second: The other end.

    Examples:
        >>> components(5, np.array([3, 1]), np.array([1, 4])).tolist()
        [0, 1, 2, 1, 1]
    """
    root = np.arange(count)
    while True:
        low, high = np.minimum(root[first], root[second]), np.maximum(root[first], root[second])
        apart = low != high
        if not apart.any():
            return root
        np.minimum.at(root, high[apart], low[apart])
        while not np.array_equal(above := root[root], root):
            root = above
