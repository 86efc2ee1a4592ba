"""The programs that are exported, and the loop of run_onnx.py over them, give what the model gives.

Here the programs run in PyTorch. That their exported forms compute the same is in test_export.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rmt_genomics.dna import encode
from rmt_genomics.export import Exported
from rmt_genomics.export.onnx_runner import Model
from rmt_genomics.export.programs import count_amino_acids, count_kmers, hash_kmers
from rmt_genomics.model import RMTClassifier, kmer_features
from tests.model.toys import toy
from tests.prediction.toys import dna

ALL_FEATURES = ("kmer:3", "stranded-kmer:2", "protein:2", "wide:3,10")
LETTERS = [
    *("A", "N", "ACGTAC", "acgtnACGT", "NNNNNNNNNNNNN"),  # the shortest, one segment, N, lower case
    *(dna(length, seed=length) for length in (6, 7, 11, 23, 24, 25, 60)),
    dna(30, letters="ACGTN"),
    "ATGGCT" * 20,  # one open reading frame
]
CODES = [encode(letters) for letters in LETTERS]


class Session:
    """A program of PyTorch with the interface of an onnxruntime session."""

    def __init__(self, program: nn.Module, outputs: list[str]) -> None:
        self.program, self.outputs = program, outputs

    def run(self, _: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode():
            results = self.program(*(torch.from_numpy(each.copy()) for each in feed.values()))
        return [each.numpy() for each in results]

    def get_outputs(self) -> list[Any]:
        return [type("Output", (), {"name": name}) for name in self.outputs]


def runner(model: RMTClassifier) -> Model:
    """The loop of run_onnx.py over the programs of a model."""
    exported, made = Exported(model), Model.__new__(Model)
    made.config = exported.settings()
    made.segment = Session(exported.segment, [])
    made.head = Session(exported.head, exported.head.outputs)
    return made


def model_of(**changes: Any) -> RMTClassifier:
    """A model whose parts all have an effect."""
    model = toy(**{"dim": 8, "depth": 1, **changes}).float()
    with torch.no_grad():
        for weight in model.state_dict().values():
            weight.add_(torch.randn_like(weight), alpha=0.3)
    return model


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"stem_pool": 3, "pooling": "mean"},
        {"stem_pool": 4, "pooling": "max", "strand_head": "symmetric", "features": ("kmer:2",)},
        {"stem_width": 0, "pooling": "attention", "depth": 2},
        {"pooling": "attention", "stem_pool": 2, "head_layers": 1, "readout": "carried"},
        {"memory_gate": False, "task": "multilabel"},
        {"memory_gate": "hard", "readout": "carried", "pooling": "mean"},
        {"memory_reset": "segment", "task": "regression", "classes": ("ph",), "target_std": 2.0},
        {"tokenizer_kind": "kmer", "k": 3, "stride": 2},
        {"tokenizer_kind": "kmer", "k": 3, "stride": 3, "stem_pool": 2, "stem_width": 5},
        {"tokenizer_kind": "kmer", "k": 1},
        {"features": ALL_FEATURES},
        {"features": ALL_FEATURES, "feature_head": "regression", "orf_codons": 5},
        {"features": ("kmer:1",), "strand_head": "symmetric"},
    ],
)
def test_the_loop_gives_the_probabilities_of_the_model(changes: dict[str, Any]) -> None:
    model = model_of(**changes)
    expected = model.predict_codes(CODES)

    found = list(runner(model).outputs([("", codes) for codes in CODES]))

    np.testing.assert_allclose([each["outputs"] for each in found], expected, atol=1e-5)
    if model.config.task != "regression":
        labels = [";".join(np.array(model.classes_)[each["called"]]) for each in found]
        assert labels == [model.label_of(row) for row in expected]
