"""The linear probe of a pretrained encoder: what it embeds, and what it is fitted on."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rmt_genomics.datasets import EncodedStore, Example
from rmt_genomics.dna import Interval
from rmt_genomics.errors import CheckpointError
from rmt_genomics.evaluation.evaluation_set import EvaluationSet
from rmt_genomics.evaluation.linear_probe import fit_linear_probe
from rmt_genomics.model.backbone_step import random_letters
from tests.model.encoders import classifier_of, save_encoder
from tests.model.toys import toy
from tests.prediction.toys import write_fasta

pytest.importorskip("transformers", reason="needs the extra hf: transformers is not installed")
LENGTHS = [70, 20, 95, 64, 40, 81, 33, 58]


@pytest.fixture
def eval_set(tmp_path: Path) -> EvaluationSet:
    """Records of two classes: AT-rich ones, and others."""
    model = classifier_of(save_encoder(tmp_path / "encoder"), classes=("a", "b"), task="binary")
    letters = [random_letters(length, length) for length in LENGTHS]
    letters[::2] = [each.replace("G", "A").replace("C", "T") for each in letters[::2]]
    names = [f"r{index}" for index in range(len(letters))]
    store = EncodedStore.open(
        write_fasta(tmp_path / "toy.fa", dict(zip(names, letters, strict=True)))
    )
    examples = [
        Example(Interval(name, 0, len(each)), whole=True, labels=("ab"[index % 2],))
        for index, (name, each) in enumerate(zip(names, letters, strict=True))
    ]
    return EvaluationSet.from_model(model.float().eval(), store, examples, where="toy")


def test_an_embedding_is_the_mean_of_the_token_states_of_both_strands(
    eval_set: EvaluationSet, tmp_path: Path
) -> None:
    from transformers import AutoModel, AutoTokenizer

    encoder = AutoModel.from_pretrained(tmp_path / "encoder", add_pooling_layer=False).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "encoder")
    probe = fit_linear_probe(eval_set.examples, eval_set.targets, eval_set)
    assert probe is not None

    rows = []
    for example in eval_set.examples:
        forward = "".join("ACGT"[code] for code in eval_set.store.codes(example.interval))
        states = []
        for strand in (forward, forward[::-1].translate(str.maketrans("ACGT", "TGCA"))):
            for start in range(0, len(strand), 30):
                ids = tokenizer(strand[start : start + 30], return_tensors="pt")["input_ids"]
                with torch.no_grad():
                    states.append(encoder(input_ids=ids)[0][0])
        rows.append(torch.cat(states).mean(dim=0).numpy())
    expected = probe.regression.predict_proba(np.array(rows, dtype=float))

    found = probe.predictions(eval_set)
    np.testing.assert_allclose(found.outputs, expected, atol=1e-4)
    assert found.extra == {"encoder": str(tmp_path / "encoder"), "train_rows": 8}
    assert (found.outputs.argmax(axis=1) == eval_set.targets).mean() >= 0.75


def test_a_model_without_an_encoder_has_no_probe(eval_set: EvaluationSet) -> None:
    plain = toy(classes=("a", "b"), task="binary")
    own = EvaluationSet.from_model(plain, eval_set.store, eval_set.examples, where="toy")

    assert fit_linear_probe(own.examples, own.targets, own) is None


def test_the_probe_needs_the_encoder_as_it_was(eval_set: EvaluationSet, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "encoder")

    with pytest.raises(CheckpointError, match="there is no such folder"):
        fit_linear_probe(eval_set.examples, eval_set.targets, eval_set)
