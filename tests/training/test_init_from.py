"""``train --init-from``: sizes, freezing, learning rates, resuming, refusals."""

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rmt_genomics.errors import CheckpointError, ConfigError, DataError
from rmt_genomics.model import ClassifierConfig, RMTClassifier
from rmt_genomics.model.initial_weights import initial_files
from rmt_genomics.training import cross_validate, train
from rmt_genomics.training.automatic import read_initial
from rmt_genomics.training.config_file import read_config
from rmt_genomics.training.module import ClassifierModule
from tests.training.test_train import are_equal, rows_of
from tests.training.toys import TINY, run, settings, weights_of, write_data

Data = tuple[Path, Path]
SIZES: dict[str, Any] = {
    **{"dim": 8, "depth": 1, "heads": 2, "segment_length": 16, "num_memory_tokens": 2},
    **{"stem_width": 3, "stem_pool": 1},
}
OF_SIZES = {f"model.{name}" for name in SIZES}
NO_SIZES = {key: value for key, value in TINY.items() if key not in OF_SIZES}


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return write_data(tmp_path)


@pytest.fixture
def initial(tmp_path: Path) -> Path:
    """A pretrained model with other sizes than the defaults."""
    torch.manual_seed(5)
    config = ClassifierConfig(classes=(), task="pretraining", **{**SIZES, "num_memory_tokens": 3})
    RMTClassifier(config).save_pretrained(tmp_path / "initial")
    return tmp_path / "initial"


def start(data: Data, out: Path, initial: Path | str, **options: Any) -> Any:
    """Train from a model, with no sizes given; options with ``__`` are settings."""
    names = [name for name in options if "__" in name]
    changes = {name.replace("__", "."): options.pop(name) for name in names}
    changes = {**NO_SIZES, "training.init_from": json.dumps(str(initial)), **changes}
    config = read_config(None, [f"{key}={value}" for key, value in changes.items()])
    return train(*data, out, config, device="cpu", **options)


def encoder_of(folder: Path) -> dict[str, torch.Tensor]:
    weights = RMTClassifier.from_pretrained(folder).state_dict()
    return {name: each for name, each in weights.items() if name.startswith("encoder.step.")}


def first_weights(action: Callable[[], object]) -> dict[str, torch.Tensor]:
    """Return the weights of a training before its first step."""
    found: dict[str, torch.Tensor] = {}
    plain = ClassifierModule.on_train_batch_start

    def note(self: ClassifierModule, batch: Any, batch_idx: int) -> None:
        if not found:
            found.update({name: each.clone() for name, each in self.model.state_dict().items()})
        plain(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClassifierModule, "on_train_batch_start", note)
        action()
    return found


def test_a_training_starts_from_the_encoder_and_has_its_sizes(
    data: Data, initial: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    before = first_weights(lambda: start(data, tmp_path / "run", initial))

    assert are_equal({name: before[name] for name in encoder_of(initial)}, encoder_of(initial))
    config = read_config(tmp_path / "run" / "config.toml")
    assert (config.model.dim, config.model.num_memory_tokens) == (8, 3)
    assert config.training.init_from == str(initial)
    (message,) = [each for each in caplog.messages if "tensors loaded" in each]
    assert message.startswith(f"{initial}: ")
    assert "new: 4 tensors (106 weights): hidden.linear.weight" in message
    assert not are_equal(encoder_of(tmp_path / "run"), encoder_of(initial))


def test_a_frozen_encoder_does_not_change(data: Data, initial: Path, tmp_path: Path) -> None:
    start(data, tmp_path / "run", initial, training__freeze="encoder")

    assert are_equal(encoder_of(tmp_path / "run"), encoder_of(initial))
    trained = RMTClassifier.from_pretrained(tmp_path / "run")
    untrained = first_weights(
        lambda: start(data, tmp_path / "other", initial, training__max_epochs=1)
    )
    assert not torch.equal(trained.head.weight, untrained["head.weight"])  # type: ignore[arg-type]


def test_the_encoder_has_its_own_learning_rate(data: Data, initial: Path, tmp_path: Path) -> None:
    slow, fast = tmp_path / "slow", tmp_path / "fast"
    changes = {"training__max_epochs": 1}
    before = first_weights(
        lambda: start(data, slow, initial, training__encoder_lr_factor=1e-3, **changes)
    )
    start(data, fast, initial, training__encoder_lr_factor=1.0, **changes)

    def change(folder: Path, name: str) -> float:
        weights = RMTClassifier.from_pretrained(folder).state_dict()
        return float((weights[name] - before[name]).abs().max())

    name = "encoder.step.layers.layers.0.feedforward.expand.weight"
    assert change(slow, name) < 0.01 * change(fast, name)
    assert change(slow, "head.weight") > 0.5 * change(fast, "head.weight")
    assert rows_of(slow)[0]["learning_rate"] == rows_of(fast)[0]["learning_rate"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model__dim": 16}, "model.dim is 16, but 8 in "),
        ({"model__num_memory_tokens": 2}, "model.num_memory_tokens is 2, but 3 in "),
        ({"model__stem_pool": 2}, "model.stem_pool is 2, but 1 in "),
        ({"model__memory_gate": "false"}, "model.memory_gate is false, but true in "),
        ({"model__preset": "tiny"}, "model.dim is 64, but 8 in "),
        ({"tokenizer__kind": "kmer", "tokenizer__k": 3}, "tokenizer.kind is 'kmer', but 'base' in"),
    ],
)
def test_settings_that_contradict_the_model_are_refused_with_both_values(
    data: Data, initial: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        start(data, tmp_path / "run", initial, **change)

    assert str(caught.value).startswith(message)
    assert "the model of training.init_from, which decides it" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_pretrained_model_has_no_head_to_keep(
    initial: Path, monkeypatch: pytest.MonkeyPatch, data: Data, tmp_path: Path
) -> None:
    training = importlib.import_module("rmt_genomics.training.train")  # not the function
    monkeypatch.setattr(training, "prepare_data", lambda *_, **__: pytest.fail("data were read"))

    with pytest.raises(ConfigError, match="pretrained without labels, but --keep-head needs one"):
        start(data, tmp_path / "run", initial, training__keep_head="true")


def test_settings_that_agree_with_the_model_are_no_contradiction(initial: Path) -> None:
    sizes = {f"model__{name}": value for name, value in {**SIZES, "num_memory_tokens": 3}.items()}
    config = settings(**sizes, training__init_from=f'"{initial}"')

    assert read_initial(config)[0].given().items() >= config.given().items()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training__freeze": "encoder"}, "training.freeze is 'encoder', but there is nothing to"),
        ({"training__keep_head": "true"}, "training.keep_head is true, but there is nothing to"),
        (
            {
                "training__freeze": "encoder",
                "training__encoder_lr_factor": 0.1,
                "training__init_from": "x",
            },
            "training.encoder_lr_factor is 0.1, but has no effect: training.freeze is 'encoder'",
        ),
    ],
)
def test_options_without_effect_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(**change)

    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["", " ", "a\0b"])
def test_a_source_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"is '.*', but must be the name of a model"):
        initial_files(name)


def damage(folder: Path, kind: str) -> str:
    """Damage a model folder; return what the message must say."""
    config = json.loads((folder / "config.json").read_text())
    if kind == "newer":
        (folder / "config.json").write_text(json.dumps({**config, "from_the_future": 1}))
        return "A newer version may have written it"
    if kind == "no weights":
        (folder / "model.safetensors").unlink()
        return "has no model.safetensors"
    if kind == "other sizes":
        (folder / "config.json").write_text(json.dumps({**config, "dim": 16}))
        return "The two files are of different models"
    shutil.rmtree(folder)
    return "there is no such folder"


@pytest.mark.parametrize("kind", ["newer", "no weights", "other sizes", "no folder"])
def test_a_model_that_cannot_be_read_is_refused_before_training(
    data: Data, initial: Path, tmp_path: Path, kind: str
) -> None:
    message = damage(initial, kind)

    with pytest.raises(CheckpointError, match=message):
        start(data, tmp_path / "run", initial)

    assert not (tmp_path / "run").exists()


def test_a_run_does_not_replace_the_model_it_starts_from(data: Data, tmp_path: Path) -> None:
    run(data, tmp_path / "run", training__max_epochs=1)

    with pytest.raises(DataError, match="is an input, but a run in"):
        start(data, tmp_path / "run", tmp_path / "run", overwrite=True)


def test_classes_are_added_to_a_classifier(data: Data, tmp_path: Path) -> None:
    fasta, labels = data
    run(data, tmp_path / "two", training__max_epochs=1)
    three = tmp_path / "three.tsv"
    lines = labels.read_text().splitlines()
    three.write_text("\n".join([*lines[:-4], *(line[:3] + "\tnew" for line in lines[-4:])]) + "\n")
    lines = [line.split("\t") for line in three.read_text().splitlines()]
    three.write_text("".join(f"{record.strip()}\t{label}\n" for record, label in lines))

    before = first_weights(
        lambda: start(
            (fasta, three),
            tmp_path / "run",
            tmp_path / "two",
            training__keep_head="true",
            training__max_epochs=1,
        )
    )

    old = RMTClassifier.from_pretrained(tmp_path / "two").state_dict()
    classes = RMTClassifier.from_pretrained(tmp_path / "run").classes_
    assert classes == ("new", "poor", "rich")
    assert torch.equal(before["head.weight"][1:], old["head.weight"])
    assert torch.equal(before["hidden.linear.weight"], old["hidden.linear.weight"])


@pytest.mark.slow
def test_a_resumed_run_continues_although_the_model_has_vanished(
    data: Data, initial: Path, tmp_path: Path
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    options = {"training__freeze": "encoder", "model__dropout": 0.2}
    start(data, whole, initial, **options)
    plain = ClassifierModule.training_step

    def step(self: ClassifierModule, inputs: Any, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == (1, 1):
            raise KeyboardInterrupt
        return plain(self, inputs, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClassifierModule, "training_step", step)
        with pytest.raises(KeyboardInterrupt):
            start(data, stopped, initial, **options)
    shutil.rmtree(initial)

    config = read_config(stopped / "config.toml")
    train(*data, stopped, config, device="cpu", resume=True)

    assert are_equal(weights_of(stopped), weights_of(whole))
    assert rows_of(stopped) == rows_of(whole)


@pytest.mark.slow
def test_folds_and_a_curriculum_start_from_the_model(
    data: Data, initial: Path, tmp_path: Path
) -> None:
    options = {"training__freeze": "encoder", "training__max_epochs": 1}
    changes = {**NO_SIZES, "training.init_from": f'"{initial}"', "training.freeze": "encoder"}
    changes["training.max_epochs"] = 1
    config = read_config(None, [f"{key}={value}" for key, value in changes.items()])

    cross_validate(
        *data, tmp_path / "folds", config, folds=2, device="cpu", on_fold=lambda *_: None
    )
    start(
        data,
        tmp_path / "staged",
        initial,
        curriculum__segments="[1, 2]",
        curriculum__shorten="prefix",
        curriculum__advance_at=-1.0,
        **{**options, "training__max_epochs": 2},
    )

    for folder in ("folds/fold-1", "folds/fold-2", "staged"):
        assert are_equal(encoder_of(tmp_path / folder), encoder_of(initial)), folder


def test_a_model_and_an_encoder_to_start_from_are_refused_together(
    data: Data, initial: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="a training starts from one of them"):
        start(data, tmp_path / "run", initial, model__backbone="encoder")
