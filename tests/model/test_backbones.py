"""A pretrained encoder as the step: the laws, for tiny encoders of ten architectures."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rmt_genomics.dna import encode
from rmt_genomics.errors import CheckpointError, ConfigError, RMTGenomicsWarning
from rmt_genomics.evaluation.context_ablation import with_memory_reset
from rmt_genomics.model import RMTClassifier, bidirectional_encoder
from rmt_genomics.model.backbone_step import BackboneStep, random_letters
from rmt_genomics.model.batching import pad
from rmt_genomics.model.bidirectional_encoder import encode_long
from tests.model.encoders import ENCODERS, SIZES, TOKENIZERS, classifier_of, save_encoder

pytest.importorskip("transformers", reason="needs the extra hf: transformers is not installed")
LENGTHS = (100, 31, 95, 2)
others = [pytest.param(name, marks=pytest.mark.slow) for name in ENCODERS if name != "bert"]
every_encoder = pytest.mark.parametrize("name", ["bert", *others])
Make = Callable[..., RMTClassifier]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A classifier around a tiny encoder, whose folder is written once."""
    folders: dict[tuple[str, str], str] = {}

    def classifier(name: str = "bert", tokenizer: str = "bpe", **changes: Any) -> RMTClassifier:
        key = name, tokenizer
        if key not in folders:
            folders[key] = save_encoder(tmp_path_factory.mktemp(name), *key)
        return classifier_of(folders[key], **changes).eval()

    return classifier


def step_of(model: RMTClassifier) -> BackboneStep:
    assert isinstance(model.encoder.step, BackboneStep)
    return model.encoder.step


def batch(*lengths_bp: int) -> tuple[Tensor, Tensor]:
    return pad([encode(random_letters(length, length)) for length in lengths_bp])


def gradients(model: RMTClassifier, *, replay: bool) -> tuple[Tensor, dict[str, Tensor | None]]:
    model.train().zero_grad()
    torch.manual_seed(1)  # of dropout
    logits = model(*batch(*LENGTHS), replay=replay)
    logits.pow(2).sum().backward()
    return logits.detach(), {name: each.grad for name, each in model.named_parameters()}


@every_encoder
def test_replay_equals_unroll(make: Make, name: str) -> None:
    model = make(name, features=("kmer:2",))

    logits, found = gradients(model, replay=True)
    expected_logits, expected = gradients(model, replay=False)

    torch.testing.assert_close(logits, expected_logits, atol=0, rtol=1e-10)
    for key, gradient in expected.items():
        assert gradient is not None, f"{key} has no gradient"
        scale = float(gradient.abs().max())
        torch.testing.assert_close(found[key], gradient, atol=1e-10 * scale, rtol=1e-10)


@every_encoder
def test_a_row_does_not_depend_on_its_batch(make: Make, name: str) -> None:
    model = make(name)
    sequences = [encode(random_letters(length, length)) for length in LENGTHS]

    with torch.no_grad():
        together = model(*pad(sequences))
        alone = torch.cat([model(*pad([sequence])) for sequence in sequences])

    torch.testing.assert_close(together, alone, atol=1e-7, rtol=0)  # Longformer has float32 inside


@every_encoder
def test_a_prediction_does_not_depend_on_earlier_ones(make: Make, name: str) -> None:
    """BigBird would leave its sparse attention for good at the first short input."""
    model = make(name)

    with torch.no_grad():
        before = model(*batch(100))
        model(*batch(2))
        after = model(*batch(100))

    torch.testing.assert_close(before, after, atol=0, rtol=0)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_the_reverse_complement_swaps_the_halves(make: Make, tokenizer: str) -> None:
    model, letters = make(tokenizer=tokenizer), random_letters(100, 3)
    opposite = letters[::-1].translate(str.maketrans("ACGT", "TGCA"))

    forward, reverse = model.embed([letters]), model.embed([opposite])

    np.testing.assert_allclose(forward[:, :16], reverse[:, 16:], atol=1e-6)
    np.testing.assert_allclose(forward[:, 16:], reverse[:, :16], atol=1e-6)
    assert np.abs(forward[:, :16] - forward[:, 16:]).max() > 1e-3


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_streaming_equals_in_memory(
    make: Make, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, letters = make(tokenizer=tokenizer), random_letters(100, 3)
    monkeypatch.setattr(bidirectional_encoder, "SEGMENTS_AT_ONCE", 2)

    with torch.no_grad():
        in_memory = model.encode(*pad([encode(letters)])).strands
        streamed = encode_long(model.encoder, encode(letters))

    torch.testing.assert_close(streamed, in_memory, atol=1e-12, rtol=0)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_each_block_is_tokenised_alone_between_the_special_tokens(
    make: Make, tokenizer: str
) -> None:
    step, letters = step_of(make(tokenizer=tokenizer)), random_letters(75, 3)
    words = step.tokenizer.tokenizer

    rows = step.tokenizer([letters[start : start + 30].encode() for start in (0, 30, 60)])

    expected = [words(letters[start : start + 30])["input_ids"] for start in (0, 30, 60)]
    assert [row.tolist() for row in rows] == expected
    assert rows[0][0] == words.cls_token_id
    assert rows[0][-1] == words.sep_token_id


def test_memory_reaches_later_segments_and_a_reset_cuts_it(make: Make) -> None:
    model, (codes, lengths) = make(pooling="last"), batch(90)
    twin = with_memory_reset(model)
    changed = codes.clone()
    changed[:, 30:60] = (changed[:, 30:60] + 1) % 4  # the middle: the last segment of no strand

    with torch.no_grad():
        change = (model(changed, lengths) - model(codes, lengths)).abs().max()
        cut = (twin(changed, lengths) - twin(codes, lengths)).abs().max()

    assert change > 1e-6
    assert cut == 0


def test_memory_has_the_scale_of_words(make: Make) -> None:
    """ESM does not normalise the sum of words and positions."""
    step = step_of(make("esm"))
    words = step.backbone.get_input_embeddings().weight.detach()

    for memory in (step.memory.read_identity, step.memory.write_identity):
        assert 0.7 < float(memory.detach().std() / words.std()) < 1.4
    torch.testing.assert_close(
        step.memory_scale.detach(), words.std().expand(16), rtol=1e-6, atol=0
    )


def test_a_block_of_n_has_no_more_tokens_than_fit(make: Make) -> None:
    # Three times as many tokens as of a block of known bases.
    model = make(tokenizer="kmers", segment_length=60)
    step = step_of(model)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        empty, runs = step.tokenizer([b"N" * 60, b"ACG" + b"N" * 28 + b"ACG" + b"N" * 26])
        rows = model.predict_proba(["N" * 100, "ACG" + "N" * 200])

    words = step.tokenizer.tokenizer
    assert len(empty) == 2
    assert runs.tolist() == words("ACGNACG")["input_ids"]
    assert np.isfinite(rows).all()


def test_tokens_that_do_not_fit_are_left_out_with_a_warning(make: Make) -> None:
    step = step_of(make(tokenizer="kmers", segment_length=90))

    with pytest.warns(RMTGenomicsWarning, match="of 90 bp makes 90 tokens.*first 60 are read"):
        (row,) = step.tokenizer([b"AN" * 44 + b"AA"])

    assert len(row) == step.tokenizer.max_tokens == 62
    assert row[-1] == step.tokenizer.tokenizer.sep_token_id


def test_lower_case_and_upper_case_are_the_same(make: Make) -> None:
    model, letters = make(), random_letters(70, 1)

    np.testing.assert_array_equal(
        model.predict_proba([letters.lower()]), model.predict_proba([letters])
    )


def test_a_saved_model_is_the_model_without_the_folder_of_its_encoder(tmp_path: Path) -> None:
    source = save_encoder(tmp_path / "encoder")
    model = classifier_of(source).float().eval()
    model.save_pretrained(tmp_path / "model")
    shutil.rmtree(source)

    loaded = RMTClassifier.from_pretrained(tmp_path / "model")
    loaded.save_pretrained(tmp_path / "again")
    again = RMTClassifier.from_pretrained(tmp_path / "again")

    letters = [random_letters(100, 1), random_letters(40, 2)]
    for one in (loaded, again):
        np.testing.assert_array_equal(one.predict_proba(letters), model.predict_proba(letters))
        assert one.config == model.config
    assert "tokenizer" not in json.loads((tmp_path / "model/config.json").read_text())


def test_a_tokenizer_of_another_model_is_refused(make: Make, tmp_path: Path) -> None:
    make().float().save_pretrained(tmp_path / "a")
    make(tokenizer="kmers").float().save_pretrained(tmp_path / "b")
    shutil.copyfile(tmp_path / "b/backbone.json", tmp_path / "a/backbone.json")

    with pytest.raises(CheckpointError, match=r"backbone\.json: does not belong to config\.json"):
        RMTClassifier.from_pretrained(tmp_path / "a")


def test_settings_that_a_backbone_does_not_read_are_refused(make: Make) -> None:
    for changes in ({"stem_width": 3}, {"tokenizer_kind": "kmer", "k": 3, "stride": 3}):
        with pytest.raises(ConfigError, match="where there is a backbone"):
            make(**changes)


def test_memory_that_leaves_no_position_for_tokens_is_refused(make: Make) -> None:
    positions = SIZES["max_position_embeddings"]

    with pytest.raises(ConfigError, match=f"has {positions} positions for memory and tokens"):
        make(num_memory_tokens=32)
