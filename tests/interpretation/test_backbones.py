"""Explanations of a model around a pretrained encoder: occlusion, but no gradients of bases."""

import numpy as np
import pytest

from rmt_genomics.dna import encode
from rmt_genomics.errors import ConfigError
from rmt_genomics.interpretation import DEFAULT_METHODS, attribute, default_methods
from rmt_genomics.interpretation.occlusion import PrefixMemory, occlude
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.backbone_step import random_letters
from tests.interpretation.toys import logits
from tests.model.encoders import classifier_of, save_encoder
from tests.model.toys import toy

pytest.importorskip("transformers", reason="needs the extra hf: transformers is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> RMTClassifier:
    return classifier_of(save_encoder(tmp_path_factory.mktemp("encoder"))).eval()


def test_effects_of_pieces_are_those_of_full_predictions(model: RMTClassifier) -> None:
    codes, pieces = encode(random_letters(100, 1)), [(0, 6), (20, 31), (40, 75), (98, 100)]

    found = occlude(PrefixMemory(model, codes), pieces)

    expected = []
    for start, end in pieces:
        without = codes.copy()
        without[start:end] = 4
        expected.append(logits(model, codes) - logits(model, without))
    np.testing.assert_allclose(found.effects, expected, rtol=1e-9, atol=1e-11)
    assert np.abs(found.effects).max() > 1e-4


def test_effects_of_variants_are_those_of_full_predictions(model: RMTClassifier) -> None:
    track = attribute(model, random_letters(60, 1), method="mutagenesis", interval=(20, 22))

    assert track.by_base is not None
    assert np.abs(track.by_base).max() > 1e-4


def test_gradients_are_refused_and_not_a_default(model: RMTClassifier) -> None:
    with pytest.raises(ConfigError, match="method gradient follows gradients to single bases"):
        attribute(model, "ACGT", method="gradient")

    assert default_methods(model) == ("occlusion",)
    assert default_methods(toy()) == DEFAULT_METHODS
