import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer

from rmt_genomics.errors import CheckpointError, ConfigError
from rmt_genomics.training.callbacks import MetricsLogger
from rmt_genomics.training.checkpoints import (
    AtomicCheckpointIO,
    CheckpointCallback,
    check_same_run,
    load_weights,
    read_checkpoint,
    resumed_config,
)
from rmt_genomics.training.config_file import read_config, to_toml
from rmt_genomics.training.run_folder import RunFolder


class FakeTrainer(Trainer):
    """Only records what it should save."""

    def __init__(self) -> None:
        self.should_stop = False
        self.saved: list[str] = []

    def save_checkpoint(self, path: Path, weights_only: bool = False) -> None:  # noqa: FBT001, FBT002
        self.saved.append(f"{path.name} {'weights' if weights_only else 'all'}")


class FakeModule:
    def __init__(self, loss: float) -> None:
        self.validation = {"val_loss": loss}


class Evil:
    """Would run code when unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


def epochs(callback: CheckpointCallback, *losses: float) -> FakeTrainer:
    trainer = FakeTrainer()
    for loss in losses:
        callback.on_train_epoch_end(trainer, FakeModule(loss))
    return trainer


def test_a_saved_checkpoint_is_read_and_no_other_file_remains(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"

    AtomicCheckpointIO().save_checkpoint({"weights": torch.ones(2), "epoch": 3}, path)

    assert read_checkpoint(path)["epoch"] == 3
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        AtomicCheckpointIO().save_checkpoint({"epoch": 2}, path)

    assert read_checkpoint(path)["epoch"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"run": Evil()}, "evil.ckpt")

    with pytest.raises(CheckpointError, match=r"evil\.ckpt: is damaged or of another program"):
        AtomicCheckpointIO().load_checkpoint(Path("evil.ckpt"), weights_only=False)

    assert not Path("pwned").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_truncated_or_foreign_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)

    with pytest.raises(CheckpointError, match=r"last\.ckpt: is damaged .* --overwrite"):
        read_checkpoint(path)


def test_best_is_saved_when_the_loss_falls_and_last_after_every_epoch(tmp_path: Path) -> None:
    trainer = epochs(CheckpointCallback(RunFolder(tmp_path), patience=9), 0.5, 0.5, 0.4)

    last = "last.ckpt all"
    assert trainer.saved == ["best.ckpt weights", last, last, "best.ckpt weights", last]


def test_a_loss_that_hardly_falls_does_not_prolong_a_training(tmp_path: Path) -> None:
    callback = CheckpointCallback(RunFolder(tmp_path), patience=2)

    assert epochs(callback, 0.01, 0.00999, 0.00998).should_stop
    assert callback.best_loss == 0.00998  # the best model is saved all the same


def test_training_stops_after_patience_epochs_without_a_lower_loss(tmp_path: Path) -> None:
    stops = {
        losses: epochs(CheckpointCallback(RunFolder(tmp_path), patience=2), *losses).should_stop
        for losses in [(3, 2, 2.5), (3, 2, 2.5, 2.4), (2, 3, 1, 2)]
    }

    assert stops == {(3, 2, 2.5): False, (3, 2, 2.5, 2.4): True, (2, 3, 1, 2): False}


def test_an_early_stopped_run_stays_stopped_when_resumed(tmp_path: Path) -> None:
    stopped = CheckpointCallback(RunFolder(tmp_path), patience=2)
    epochs(stopped, 1, 2, 3)
    resumed, trainer = CheckpointCallback(RunFolder(tmp_path), patience=2), FakeTrainer()

    resumed.load_state_dict(stopped.state_dict())
    resumed.on_train_start(trainer, LightningModule())

    assert trainer.should_stop
    assert resumed.best_loss == 1


def test_storage_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="storage_options: not supported"):
        AtomicCheckpointIO().save_checkpoint({}, tmp_path / "last.ckpt", storage_options={"a": 1})


def test_callbacks_have_the_keys_of_earlier_versions_in_checkpoints(tmp_path: Path) -> None:
    """Renaming a class must not make older checkpoints lose its state."""
    folder = RunFolder(tmp_path)

    assert CheckpointCallback(folder, patience=1).state_key == "KeepCheckpoints"
    assert MetricsLogger(folder).state_key == "MetricsLog"


def test_a_refused_checkpoint_never_repeats_the_advice_of_pytorch(tmp_path: Path) -> None:
    """Its advice is to load the file in a way that runs code."""
    path = tmp_path / "last.ckpt"
    torch.save({"run": Evil()}, path)

    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert "weights_only" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_checkpoints_are_refused_with_one_sentence(tmp_path: Path) -> None:
    """Each byte of the structure is changed in turn; what remains readable is a dictionary."""
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"weight": torch.ones(2)}, "epoch_loss": (0.5, 2)}, path)
    whole = path.read_bytes()
    messages = []
    for index in range(60, len(whole), 7):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 0x15]) + whole[index + 1 :])
        try:
            assert isinstance(read_checkpoint(path), dict)
        except CheckpointError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert all(message.count("last.ckpt: ") == 1 for message in messages)


@pytest.mark.parametrize(
    "foreign", [[1, 2], {"state_dict": {}}, {"run": 3}, {"run": {}, "epoch_loss": (0.0, 1)}]
)
def test_a_checkpoint_of_another_program_is_not_resumed(tmp_path: Path, foreign: Any) -> None:
    torch.save(foreign, tmp_path / "last.ckpt")
    record = {"config": "", "seed": 0, "fasta_sha256": "", "split_sha256": ""}

    with pytest.raises(CheckpointError, match=r"last\.ckpt: .* Start again with|start again with"):
        check_same_run(tmp_path / "last.ckpt", record)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    module = LightningModule()
    module.layer = torch.nn.Linear(2, 2)
    for content in ({"state_dict": {"layer.weight": torch.ones(3)}}, {"other": 1}):
        torch.save(content, tmp_path / "best.ckpt")

        with pytest.raises(CheckpointError, match=r"best\.ckpt: does not hold the weights of the"):
            load_weights(module, tmp_path / "best.ckpt")


def started_with(folder: Path, *settings: str) -> RunFolder:
    folder.mkdir()
    run = RunFolder(folder)
    run.config.write_text(to_toml(read_config(None, settings).resolved()))
    return run


def test_a_resumed_run_keeps_what_is_not_given_now(tmp_path: Path) -> None:
    """Defaults may be others in a newer version, or were others in the command of the run."""
    settings = ("model.readout=carried", "model.memory_gate=false", "training.max_epochs=3")
    run = started_with(tmp_path / "run", *settings)

    assert resumed_config(run, read_config(None)) == read_config(run.config)
    now = read_config(None, ["training.checkpoint_minutes=1", "training.batch_size=auto"])
    changed = read_config(run.config, ["training.checkpoint_minutes=1"])
    assert resumed_config(run, now) == changed


def test_features_of_a_resumed_run_are_those_of_the_run(tmp_path: Path) -> None:
    hidden = "model.feature_head=hidden"
    run = started_with(tmp_path / "run", 'model.features=["kmer:2", "wide:2-3"]', hidden)

    for setting in ("model.features=auto", 'model.features=["wide:2,3", "kmer:2"]'):
        now = read_config(None, [setting])
        assert resumed_config(run, now).model.features == ("kmer:2", "wide:2-3")
    old_keys = read_config(None, ["model.composition_k=2", "model.wide_k=[2,3]"])
    assert resumed_config(run, old_keys) == read_config(run.config)
    with pytest.raises(ConfigError) as error:
        resumed_config(run, read_config(None, ["model.features=kmer:2"]))
    assert str(error.value).endswith(
        "model.features was ['kmer:2', 'wide:2-3'] when the run started and is now ['kmer:2'], but "
        """a resumed run must not change. Pass --set 'model.features=["kmer:2", "wide:2-3"]', or """
        "start a new run."
    )


def test_a_setting_that_is_given_now_must_be_that_of_the_run(tmp_path: Path) -> None:
    run = started_with(tmp_path / "run", "model.readout=carried")

    with pytest.raises(ConfigError, match=r"model\.readout was 'carried' .* is now 'written'"):
        resumed_config(run, read_config(None, ["model.readout=written"]))
