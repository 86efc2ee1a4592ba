"""Labels that are numbers, in bins of about equal size: what classes are to a split."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets.examples import Numbers

MOST_BINS = 10


def bin_edges(values: Numbers, num_bins: int) -> Numbers:
    """Return the borders between bins: fewer than asked for where many values are equal."""
    shares = np.arange(1, num_bins) / num_bins
    edges = np.unique(np.quantile(values, shares, method="lower")) if num_bins > 1 else values[:0]
    return edges[edges > values.min()] if len(edges) else edges


def places_in(edges: Numbers, values: Numbers) -> npt.NDArray[np.int64]:
    """Return the bin of each value, from 0; a value on an edge belongs to the bin above it."""
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def bins_to_try(values: Numbers, fraction: float) -> Iterator[npt.NDArray[np.float32]]:
    """Yield what ``hold_out`` takes as classes: fine bins first, one bin for all at the end.

    No more bins than examples are to be held out, so that each can give one.
    """
    most = max(1, min(MOST_BINS, int(fraction * len(values))))
    for num_bins in sorted({most, max(1, most // 2), min(2, most), 1}, reverse=True):
        edges = bin_edges(values, num_bins)
        yield np.eye(len(edges) + 1, dtype=np.float32)[places_in(edges, values)]
