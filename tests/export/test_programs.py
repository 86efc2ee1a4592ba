"""The programs that are exported, and the loop of run_onnx.py over them, give what the model gives.

Here the programs run in PyTorch. That their exported forms compute the same is in test_export.
"""

import re
import sys
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rmt_genomics.dna import encode
from rmt_genomics.export import Exported, onnx_runner
from rmt_genomics.export.onnx_runner import Model
from rmt_genomics.export.programs import Counts, count_amino_acids
from rmt_genomics.model import RMTClassifier, kmer_features
from rmt_genomics.prediction.training_range import TrainingRange
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


@pytest.mark.parametrize("length", [33, 36, 201])
def test_what_is_counted_is_what_the_model_counts(length: int) -> None:
    codes = torch.from_numpy(np.stack([encode(dna(length, seed=seed)) for seed in range(3)]))
    codes[1, 20:23], codes[2, 25:] = 4, 4
    long = codes.long()
    counts = Counts(long, 16)

    for k in (1, 4, 6):
        assert torch.equal(counts.kmers(k), kmer_features.count_kmers(codes, k))
    for k, codons in ((1, 5), (3, 10), (2, 1)):
        expected = kmer_features.count_amino_acid_kmers(codes, k, codons)
        assert torch.equal(count_amino_acids(long, k, codons), expected)
    for k in (3, 10, 16):  # a bucket for each k-mer, and hashed ones
        assert all(map(torch.equal, counts.hashed(k), kmer_features.hash_kmers(codes, k)))


def test_regressions_that_are_left_out_of_the_model_are_not_counted() -> None:
    model = model_of(features=("kmer:2", "protein:2"), feature_head="regression")
    assert model.regressions is not None
    for regression in model.regressions:
        regression.weight.zero_()

    head = Exported(model).head

    assert not head.reads_codes
    assert head.outputs == ["logits", "outputs", "called"]
    found = list(runner(model).outputs([("", codes) for codes in CODES]))
    np.testing.assert_allclose(
        [each["outputs"] for each in found], model.predict_codes(CODES), atol=1e-5
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "binary", "classes": ("a", "b"), "thresholds": (0.3,)},
        {"task": "binary", "classes": ("a", "b"), "thresholds": (0.7,)},
        {"task": "multilabel", "thresholds": (0.4, 0.5, 0.9)},
    ],
)
def test_thresholds_decide(changes: dict[str, Any]) -> None:
    model = model_of(**changes, thresholds_from="given")
    expected = [model.label_of(row) for row in model.predict_codes(CODES)]

    found = list(runner(model).outputs([("", codes) for codes in CODES]))

    assert [";".join(np.array(model.classes_)[each["called"]]) for each in found] == expected


def test_notes_on_the_composition_are_those_of_predict(tmp_path: Path) -> None:
    examples = [encode(dna(60, seed=seed)) for seed in range(30)]
    training_range = TrainingRange.fit(examples)
    assert training_range is not None
    training_range.save(tmp_path)
    model = model_of()
    model.folder = tmp_path
    codes = [*CODES, *(encode(dna(80, seed=1, letters=letters)) for letters in ("AT", "GGC", "AC"))]
    expected = [training_range.notes(each) for each in codes]
    assert len({note for notes in expected for note in notes}) == 3

    found = list(runner(model).outputs([("", each) for each in codes]))

    names = Exported(model).settings()["notes"][3:]
    assert [list(compress(names, each["notes"])) for each in found] == expected


def test_the_runner_has_at_most_150_lines_and_needs_nothing_of_this_package() -> None:
    source = Path(onnx_runner.__file__).read_text()

    assert len(source.splitlines()) <= 150
    imported = re.findall(r"^(?:import|from) (\w+)", source, re.MULTILINE)
    assert set(imported) <= {*sys.stdlib_module_names, "numpy", "onnxruntime"}
