"""Small classifiers for the tests of the model layer."""

from typing import Any

import torch

from rmt_genomics.model import ClassifierConfig, RMTClassifier

TINY: dict[str, Any] = {
    "classes": ("a", "b", "c"),
    "task": "multiclass",
    "dim": 8,
    "depth": 2,
    "heads": 2,
    "segment_length": 6,
    "num_memory_tokens": 2,
    "stem_width": 3,
}


def toy(**changes: Any) -> RMTClassifier:
    """A seeded three-class model in float64, six bases a segment."""
    torch.manual_seed(0)
    return RMTClassifier(ClassifierConfig(**{**TINY, **changes})).double()
