"""Small models for the tests of attributions: two classes, symmetric or not, with any features."""

from typing import Any

import numpy as np
import torch

from rmt_genomics.dna.alphabet import Codes
from rmt_genomics.model import RMTClassifier
from tests.model import toys

LENGTH = 45  # seven segments of six bases and a half


def toy(**changes: Any) -> RMTClassifier:
    """A seeded model in float64 whose read-outs, gates and linear features are all in use."""
    model = toys.toy(**changes).eval()
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            if name.startswith("encoder.step.memory.gate.bias"):
                weight.zero_()  # an open gate: memory matters
            if name.startswith(("wide.", "regressions.")):
                weight.copy_(torch.randn_like(weight) / 10)
    return model


def random_codes(length: int = LENGTH, *, seed: int = 0, num_bases: int = 4) -> Codes:
    return np.random.default_rng(seed).integers(0, num_bases, length).astype(np.uint8)


def logits(model: RMTClassifier, codes: Codes) -> np.ndarray:
    """The plain way: one record through the whole model."""
    with torch.no_grad():
        found: np.ndarray = model(torch.from_numpy(codes)[None], [len(codes)])[0].numpy()
    return found
