"""Training around a pretrained encoder: settings, checks before the first step, resume, files."""

import builtins
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rmt_genomics.errors import CheckpointError, ConfigError, RMTGenomicsError
from rmt_genomics.model import RMTClassifier, backbones
from rmt_genomics.model.backbone_step import BackboneStep
from rmt_genomics.reports import write_model_card
from rmt_genomics.rmt.runtime import measure_saved_bytes
from rmt_genomics.training import ExperimentConfig, read_config, train
from rmt_genomics.training.automatic import read_initial
from rmt_genomics.training.backbone import (
    build_model,
    check_encoder,
    merge_adapters,
    with_backbone_sizes,
)
from rmt_genomics.training.module import ClassifierModule
from tests.cli.toys import fail, succeed
from tests.model.encoders import make_tokenizer, save_encoder, with_settings
from tests.training.toys import weights_of, write_data

pytest.importorskip("transformers", reason="needs the extra hf: transformers is not installed")
FAST = (
    *("model.features=none", "training.max_epochs=2", "training.batch_size=8"),
    *("model.num_memory_tokens=2", "model.segment_length=40"),
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_encoder(tmp_path_factory.mktemp("encoder"))


def settings(folder: str, *changes: str) -> ExperimentConfig:
    return read_config(None, [f"model.backbone={folder}", *changes])


def prepare(config: ExperimentConfig) -> RMTClassifier:
    """What a training does before it reads its data, and before its first step."""
    config = with_backbone_sizes(config)
    return build_model(config, config.classifier(("a", "b"), "binary"))


def test_the_sizes_are_those_of_the_encoder_and_a_segment_fills_its_positions(
    encoder: str,
) -> None:
    config = with_backbone_sizes(settings(encoder))
    model = build_model(config, config.classifier(("a", "b"), "binary"))

    assert (config.model.dim, config.model.depth, config.model.heads) == (16, 2, 2)
    assert isinstance(model.encoder.step, BackboneStep)
    tokens = model.encoder.step.tokenizer
    assert config.model.segment_length == tokens.segment_bp
    assert 0.75 * 50 < tokens.count(tokens.segment_bp) <= 50  # 66 positions, 16 of memory


def test_the_weights_are_those_of_the_folder_unless_they_are_to_be_random(encoder: str) -> None:
    saved = load_file(Path(encoder, "model.safetensors"))
    name = "embeddings.word_embeddings.weight"

    pretrained = prepare(settings(encoder)).encoder.step.state_dict()[f"backbone.{name}"]
    drawn = prepare(settings(encoder, "model.backbone_weights=random")).encoder.step.state_dict()

    torch.testing.assert_close(pretrained, saved[f"bert.{name}"], atol=0, rtol=0)
    assert (drawn[f"backbone.{name}"] != pretrained).any()


@pytest.mark.slow
def test_a_trained_model_predicts_without_its_encoder_and_resumes_as_if_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save_encoder(tmp_path / "encoder")
    data = write_data(tmp_path, lengths_bp=(60, 130))
    config, whole, stopped = settings(source, *FAST), tmp_path / "whole", tmp_path / "stopped"
    result = train(*data, whole, config, device="cpu")

    def interrupt(self: ClassifierModule, *options: Any) -> Any:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return plain(self, *options)

    plain = ClassifierModule.training_step
    with monkeypatch.context() as patch:
        patch.setattr(ClassifierModule, "training_step", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(*data, stopped, config, device="cpu")
    train(*data, stopped, config, device="cpu", resume=True)

    for name, tensor in weights_of(whole).items():
        torch.testing.assert_close(weights_of(stopped)[name], tensor, atol=0, rtol=0)
    assert (whole / "model.safetensors").read_bytes() == (
        stopped / "model.safetensors"
    ).read_bytes()

    shutil.rmtree(source)
    card = write_model_card(whole).read_text()
    assert f"a pretrained encoder of others (`{source}`, architecture `bert`)" in card
    assert "(`trust_remote_code` is off)" in card
    assert result.model is not None
    letters = ["ACGTTGCA" * 12, "TTGACC" * 3]
    found = RMTClassifier.from_pretrained(whole).predict_proba(letters)
    np.testing.assert_array_equal(found, result.model.predict_proba(letters))


def gpt(folder: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    words = make_tokenizer("bpe")
    words.save_pretrained(folder)
    GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2)).save_pretrained(
        folder
    )


def without_weights(folder: Path) -> None:
    Path(save_encoder(folder), "model.safetensors").unlink()


def change_weights(folder: Path, change: Any) -> None:
    path = Path(save_encoder(folder), "model.safetensors")
    weights = load_file(path)
    change(weights)
    save_file(weights, path, {"format": "pt"})


def with_nan(weights: dict[str, torch.Tensor]) -> None:
    weights["bert.embeddings.word_embeddings.weight"][0, 0] = torch.nan


def words_of_letters(folder: Path) -> None:
    """A tokenizer that knows k-mers only where blanks separate them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    save_encoder(folder)
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "ACG": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)


def own_code(folder: Path) -> None:
    code = {"AutoModel": "modeling.Own"}
    with_settings(save_encoder(folder), model_type="caduceus", auto_map=code)


LAYERS = tuple(f"encoder.layer.{number}.output.dense.weight" for number in range(2))
LAYER = "bert.encoder.layer.1.output.dense.weight"
BAD_ENCODERS = {
    "a decoder": (gpt, "a decoder (GPT2LMHeadModel), but must be an encoder"),
    "code of its own": (own_code, "'caduceus', but transformers has none of that name. It brings"),
    "no weights": (without_weights, "transformers cannot load it: Error no file named"),
    "a missing weight": (
        lambda folder: change_weights(folder, lambda weights: weights.pop(LAYER)),
        "weights lacks 'encoder.layer.1.output.dense.weight', and 0 more",
    ),
    "another weight": (
        lambda folder: change_weights(
            folder, lambda weights: weights.update({"bert.encoder.gate": torch.zeros(2)})
        ),
        "weights has also 'bert.encoder.gate', and 0 more",
    ),
    "another shape": (
        lambda folder: with_settings(save_encoder(folder), intermediate_size=25),
        "weights has another shape of 'encoder.layer.0.intermediate.dense.bias', and 5 more",
    ),
    "NaN": (lambda folder: change_weights(folder, with_nan), "holds NaN or infinity"),
    "another alphabet": (words_of_letters, "has no tokens for plain DNA letters"),
    "no settings": (
        lambda folder: Path(save_encoder(folder), "config.json").unlink(),
        "config.json",
    ),
    "cut settings": (
        lambda folder: Path(save_encoder(folder), "config.json").write_text('{"model_type": '),
        "config.json: is not valid JSON",
    ),
    "no type": (
        lambda folder: with_settings(save_encoder(folder), model_type=None),
        "has no 'model_type'",
    ),
    "no tokenizer": (
        lambda folder: [each.unlink() for each in Path(save_encoder(folder)).glob("token*")],
        "its tokenizer has no tokens for plain DNA",
    ),
}


@pytest.mark.parametrize("kind", BAD_ENCODERS)
def test_an_encoder_that_does_not_fit_is_refused_in_a_sentence(tmp_path: Path, kind: str) -> None:
    make, words = BAD_ENCODERS[kind]
    make(tmp_path / "encoder")

    with pytest.raises(RMTGenomicsError) as caught:
        prepare(settings(str(tmp_path / "encoder")))

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (("model.dim=32",), "model.dim is 32, but must be 16, as in the encoder"),
        (("model.segment_length=5000",), "a segment has at most 50"),
        (("model.num_memory_tokens=40",), "has 66 positions for memory and tokens"),
        (("model.backbone_frozen_layers=3",), "has 2 layers"),
        (("model.backbone_frozen_layers=1", "model.backbone_lora=2"), "all weights of the encoder"),
        (("model.stem_width=11",), "model.stem_width is 11, but has no effect"),
        (("model.preset=tiny",), "model.preset is 'tiny', but has no effect"),
        (("training.compile=true",), "training.compile is true, but with model.backbone"),
        (("tokenizer.kind=kmer", "tokenizer.k=3"), "tokenizer_kind is 'kmer', but must be 'base'"),
    ],
)
def test_settings_that_contradict_an_encoder_are_refused(
    encoder: str, changes: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        prepare(settings(encoder, *changes))

    assert words in str(caught.value)


def test_settings_of_an_encoder_without_one_are_refused() -> None:
    with pytest.raises(ConfigError, match="backbone_weights is 'random', but has no effect"):
        read_config(None, ["model.backbone_weights=random"])
    with pytest.raises(ConfigError, match="backbone_lora is 4, but has no effect"):
        read_config(None, ["model.backbone_lora=4"])


@pytest.mark.parametrize("source", ["hf://nobody/nothing", "no/such/folder", "hf://"])
def test_an_encoder_that_is_not_there_is_refused(source: str) -> None:
    with pytest.raises(CheckpointError, match=f"model.backbone is '{source}', but"):
        prepare(settings(source))


def test_without_transformers_the_extra_is_named(
    encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = builtins.__import__

    def without(name: str, *options: Any) -> Any:
        if name == "transformers":
            raise ImportError
        return plain(name, *options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'rmt-genomics\[hf\]'"):
        prepare(settings(encoder))


@pytest.mark.slow
def test_the_commands_work_with_an_encoder(encoder: str, tmp_path: Path) -> None:
    fasta, labels = write_data(tmp_path, lengths_bp=(60, 130))
    out, chosen = tmp_path / "run", [part for each in FAST for part in ("--set", each)]
    data = ("--labels", labels, "--device", "cpu")

    succeed("train", fasta, *data, "--out", out, "--set", f"model.backbone={encoder}", *chosen)
    twin = tmp_path / "twin"
    succeed(
        *("train", fasta, *data, "--out", twin, "--random-weights"),
        *("--set", f"model.backbone={encoder}", *chosen),
    )
    predictions = succeed("predict", out, fasta).stdout
    succeed("predict", out, fasta, "--out", tmp_path / "p.tsv")
    embeddings = succeed("embed", out, fasta).stdout
    compared = succeed("compare", out, twin).stdout

    assert (tmp_path / "p.tsv").read_text() == predictions
    assert len(predictions.splitlines()) == len(embeddings.splitlines()) == 17
    assert len(embeddings.splitlines()[0].split("\t")) == 2 + 32
    assert "accuracy" in compared
    for folder in (out, twin):
        baselines = json.loads((folder / "metrics.json").read_text())["baselines"]
        assert baselines["linear_probe"]["encoder"] == encoder
        assert "linear probe" in (folder / "report.html").read_text()
    assert 'backbone_weights = "random"' in (twin / "config.toml").read_text()


def test_the_command_line_refuses_before_it_reads_the_data(tmp_path: Path) -> None:
    message = fail(
        *("train", tmp_path / "a.fa", "--labels", tmp_path / "l.tsv", "--out", tmp_path / "run"),
        *("--set", f"model.backbone={tmp_path / 'none'}"),
    )

    assert "there is no such folder" in message


def gradients(model: RMTClassifier, *, replay: bool) -> dict[str, torch.Tensor | None]:
    model.double().train().zero_grad()
    torch.manual_seed(1)  # of dropout
    codes = torch.randint(0, 4, (2, 130), dtype=torch.uint8, generator=torch.Generator())
    model(codes, [130, 90], replay=replay).pow(2).sum().backward()
    return {name: each.grad for name, each in model.named_parameters()}


TRAINED = {
    "model.backbone_frozen_layers=1": (False, False, True),
    "model.backbone_frozen_layers=all": (False, False, False),
    "model.backbone_lora=2": (False, False, False),
    "model.backbone_checkpointing=true": (True, True, True),
}


@pytest.mark.parametrize("change", TRAINED)
def test_what_is_trained_has_the_same_gradient_by_replay_and_by_unroll(
    encoder: str, change: str
) -> None:
    if "lora" in change:
        pytest.importorskip("peft", reason="needs the package peft, which is not installed")
    model = prepare(settings(encoder, *FAST, change))
    if "lora" in change:  # adapters that add nothing yet would have no gradient to compare
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter)

    found = gradients(model, replay=True)
    expected = gradients(model, replay=False)

    has_gradient = [
        expected[f"encoder.step.backbone.{name}"] is not None
        for name in ("embeddings.word_embeddings.weight", *LAYERS)
        if f"encoder.step.backbone.{name}" in expected
    ]
    assert has_gradient == list(TRAINED[change])[: len(has_gradient)]
    assert ("lora" in change) == any("lora" in name for name in expected)
    for name, gradient in expected.items():
        assert (gradient is None) == (found[name] is None)
        if gradient is not None:
            scale = float(gradient.abs().max())
            torch.testing.assert_close(found[name], gradient, atol=1e-10 * scale, rtol=1e-10)


def test_checkpointed_layers_have_the_gradients_of_layers_that_are_not(encoder: str) -> None:
    plain, checkpointed = (
        prepare(settings(encoder, *FAST, f"model.backbone_checkpointing={value}"))
        for value in ("false", "true")
    )
    checkpointed.load_state_dict(plain.state_dict())

    found, expected = gradients(checkpointed, replay=True), gradients(plain, replay=True)

    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-12, rtol=1e-8)


def test_checkpointed_layers_keep_less_for_backward_and_predict(encoder: str) -> None:
    sizes = []
    codes = torch.zeros(2, 40, dtype=torch.uint8)
    for changes in ((), ("model.backbone_checkpointing=true",)):
        model = prepare(settings(encoder, *FAST, *changes)).train()
        _, size = measure_saved_bytes(lambda model=model: model(codes, [40, 40], replay=False))
        sizes.append(size)

    assert sizes[1] < 0.7 * sizes[0]
    assert np.isfinite(model.predict_proba(["ACGT"])).all()


def test_adapters_are_merged_into_the_saved_weights(encoder: str) -> None:
    pytest.importorskip("peft", reason="needs the package peft, which is not installed")
    model = prepare(settings(encoder, *FAST, "model.backbone_lora=2")).double().eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    before = model.predict_proba(["ACGTTGCA" * 12])

    merge_adapters(model)

    np.testing.assert_allclose(model.predict_proba(["ACGTTGCA" * 12]), before, atol=1e-12)
    assert model.state_dict().keys() == prepare(settings(encoder, *FAST)).state_dict().keys()


@pytest.mark.slow
def test_a_run_with_adapters_trains_them_alone_and_saves_an_ordinary_model(
    encoder: str, tmp_path: Path
) -> None:
    pytest.importorskip("peft", reason="needs the package peft, which is not installed")
    data = write_data(tmp_path, lengths_bp=(60, 100))
    config = settings(encoder, *FAST, "model.backbone_lora=2", "training.max_epochs=1")

    train(*data, tmp_path / "run", config, device="cpu")

    saved = RMTClassifier.from_pretrained(tmp_path / "run").encoder.step.state_dict()
    before = load_file(Path(encoder, "model.safetensors"))
    words = "embeddings.word_embeddings.weight"
    torch.testing.assert_close(saved[f"backbone.{words}"], before[f"bert.{words}"])
    assert (saved[f"backbone.{LAYERS[1]}"] != before[f"bert.{LAYERS[1]}"]).any()


OWN_CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel

class OwnConfig(PretrainedConfig):
    model_type = "own"
    def __init__(self, hidden_size=16, vocab_size=64, **options):
        self.hidden_size, self.vocab_size = hidden_size, vocab_size
        self.num_hidden_layers, self.num_attention_heads = 1, 2
        super().__init__(**options)

class OwnModel(PreTrainedModel):
    config_class = OwnConfig
    def __init__(self, config):
        super().__init__(config)
        self.words = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.layer = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
        self.register_buffer("positions", torch.randn(200, 16).cumsum(0), persistent=True)
        self.post_init()
    def get_input_embeddings(self):
        return self.words
    def forward(self, input_ids=None, attention_mask=None):
        states = self.words(input_ids) + self.positions[: input_ids.shape[1]]
        return (self.layer(states, src_key_padding_mask=attention_mask == 0),)
"""


def save_own_code(folder: Path) -> str:
    from transformers import AutoConfig
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    folder.mkdir()
    (folder / "modeling_own.py").write_text(OWN_CODE)
    classes = {"AutoConfig": "modeling_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"}
    text = json.dumps({"model_type": "own", "auto_map": classes, "pad_token_id": 0})
    (folder / "config.json").write_text(text)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    torch.manual_seed(0)
    model = get_class_from_dynamic_module(classes["AutoModel"], folder)(config)
    save_file(model.state_dict(), folder / "model.safetensors", {"format": "pt"})
    make_tokenizer("bpe").save_pretrained(folder)
    return str(folder)


def test_code_of_an_encoder_is_run_only_where_the_user_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = str(tmp_path / "modules")  # not in the user's cache
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", modules)
    source = save_own_code(tmp_path / "encoder")
    with pytest.raises(ConfigError, match=r"run only with model\.trust_remote_code = true"):
        prepare(settings(source, *FAST))

    model = prepare(settings(source, *FAST, "model.trust_remote_code=true")).eval()
    model.save_pretrained(tmp_path / "model")
    shutil.rmtree(source)
    monkeypatch.setattr(backbones, "_trusted", set())  # as in another process
    with pytest.raises(ConfigError, match=r"set RMT_GENOMICS_TRUST_REMOTE_CODE=1 in the"):
        RMTClassifier.from_pretrained(tmp_path / "model")
    monkeypatch.setenv("RMT_GENOMICS_TRUST_REMOTE_CODE", "1")
    loaded = RMTClassifier.from_pretrained(tmp_path / "model")

    letters = ["ACGTTGCA" * 12, "TTGACC"]
    np.testing.assert_array_equal(loaded.predict_proba(letters), model.predict_proba(letters))
    card = write_model_card(tmp_path / "model").read_text()
    assert "`trust_remote_code` is on" in card
    assert "`modeling_own.py`" in card


def test_trust_without_code_is_refused(encoder: str) -> None:
    with pytest.raises(ConfigError, match=r"trust_remote_code is true, but .* has no code"):
        prepare(settings(encoder, "model.trust_remote_code=true"))


class Broken(torch.nn.Module):
    """The output of an encoder, changed."""

    def __init__(self, plain: torch.nn.Module, change: Any) -> None:
        super().__init__()
        self.plain, self.change, self.config = plain, change, plain.config

    def get_input_embeddings(self) -> Any:
        return self.plain.get_input_embeddings()

    def forward(self, **inputs: Any) -> Any:
        return (self.change(self.plain(**inputs)[0], inputs),)


BROKEN = {
    "memory must depend on the tokens": lambda out, _: (
        out[:, :4].repeat(1, out.shape[1], 1) * 0 + 1
    ),
    "states must depend on memory": lambda out, inputs: (
        out * 0
        + (inputs["input_ids"] * torch.arange(inputs["input_ids"].shape[1])).sum(1)[:, None, None]
    ),
    "must not depend on padding": lambda out, inputs: (
        out * inputs["input_ids"].shape[1] + (inputs["attention_mask"] == 0).sum()
    ),
    "must compute the same when it is called": lambda out, _: out + torch.rand(()),
    "must be finite": lambda out, _: out * torch.inf,
}


@pytest.mark.parametrize("rule", BROKEN)
def test_an_encoder_that_breaks_a_rule_of_the_recurrence_is_refused(
    encoder: str, rule: str
) -> None:
    model = prepare(settings(encoder, "model.num_memory_tokens=2", "model.segment_length=60"))
    step = model.encoder.step
    assert isinstance(step, BackboneStep)
    step.backbone = Broken(step.backbone, BROKEN[rule])

    with pytest.raises(ConfigError, match=rule):
        check_encoder(step, encoder)


def test_an_encoder_in_which_the_order_of_tokens_is_lost_is_refused(encoder: str) -> None:
    model = prepare(settings(encoder))
    step = model.encoder.step
    assert isinstance(step, BackboneStep)
    with torch.no_grad():
        step.backbone.embeddings.position_embeddings.weight.zero_()  # type: ignore[union-attr]

    with pytest.raises(ConfigError, match="on their order"):
        check_encoder(step, encoder)


def test_no_other_training_starts_from_a_model_around_an_encoder(
    encoder: str, tmp_path: Path
) -> None:
    prepare(settings(encoder)).save_pretrained(tmp_path / "model")

    with pytest.raises(CheckpointError, match=r"Set model\.backbone to that encoder instead"):
        read_initial(read_config(None, [f"training.init_from={tmp_path / 'model'}"]))
