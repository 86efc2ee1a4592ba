"""From files to batches: labels, splits, leakage checks, encoded sequences, batches."""

from typing import TYPE_CHECKING, Any

from rmt_genomics.datasets.examples import Example, LabelScheme
from rmt_genomics.datasets.label_sources import LabelSource
from rmt_genomics.datasets.labels import read_intervals, read_labels
from rmt_genomics.datasets.sequence_store import EncodedStore, SequenceStore, open_sequences
from rmt_genomics.datasets.splits import Split, split_examples

if TYPE_CHECKING:
    from rmt_genomics.datasets.batches import Batch, IntervalDataset, LengthBuckets, collate

__all__ = [
    "Batch",
    "EncodedStore",
    "Example",
    "IntervalDataset",
    "LabelScheme",
    "LabelSource",
    "LengthBuckets",
    "SequenceStore",
    "Split",
    "collate",
    "open_sequences",
    "read_intervals",
    "read_labels",
    "split_examples",
]


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use, so that reading labels is quick."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rmt_genomics.datasets import batches

    return getattr(batches, name)
