import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer

from rmt_genomics.errors import CheckpointError
from rmt_genomics.training.callbacks import MetricsLogger
from rmt_genomics.training.checkpoints import (
    AtomicCheckpointIO,
    CheckpointCallback,
    read_checkpoint,
)
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

    with pytest.raises(CheckpointError, match=r"evil\.ckpt: is not a complete checkpoint"):
        AtomicCheckpointIO().load_checkpoint(Path("evil.ckpt"), weights_only=False)

    assert not Path("pwned").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_truncated_or_foreign_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)

    with pytest.raises(CheckpointError, match=r"last\.ckpt: is not a complete .* --overwrite"):
        read_checkpoint(path)


def test_best_is_saved_when_the_loss_falls_and_last_after_every_epoch(tmp_path: Path) -> None:
    trainer = epochs(CheckpointCallback(RunFolder(tmp_path), patience=9), 0.5, 0.5, 0.4)

    last = "last.ckpt all"
    assert trainer.saved == ["best.ckpt weights", last, last, "best.ckpt weights", last]


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
