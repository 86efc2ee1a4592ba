"""Checkpoints: written in one step, read without running code, resumed as if never stopped.

``last.ckpt`` holds weights, optimiser, schedule, counters and metrics: after each epoch, and every
few minutes within one. Random numbers need no place there, since every batch starts them anew from
the seed and its place.
``best.ckpt`` holds the weights with the lowest validation loss so far; with a curriculum, so far in
its present stage.
"""

import hashlib
import io
import math
import os
import time
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from rmt_genomics.atomic_io import atomic_file
from rmt_genomics.errors import CheckpointError, ConfigError
from rmt_genomics.training.config import ExperimentConfig, as_toml
from rmt_genomics.training.config_file import parse_toml, to_toml
from rmt_genomics.training.curriculum import Curriculum
from rmt_genomics.training.data_module import Prepared
from rmt_genomics.training.distributed import of_the_first
from rmt_genomics.training.run_folder import RunFolder


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU: tensors and plain values, never code.

    Raises:
        CheckpointError: If it is cut, or holds anything else.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: is no whole checkpoint of rmt-genomics ({reason}). Restore it from a copy, "
            "or start again with --overwrite."
        ) from error
    return checkpoint


class WholeFiles(TorchCheckpointIO):
    """Checkpoint files that appear whole or not at all.

    Lightning's own writer passes through the system's temporary folder, which may be another
    disk: from there a file is copied, and a stop in between leaves half of it.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write a checkpoint atomically."""
        if storage_options is not None:
            raise TypeError("storage_options: there are none for files on a disk")
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()  # torch.save hides the cause of a failed write; Python does not
        torch.save(checkpoint, content)
        with atomic_file(target) as temporary:
            temporary.write_bytes(content.getbuffer())

    def load_checkpoint(self, path: str | os.PathLike[str], *_: Any, **__: Any) -> dict[str, Any]:
        """Read as ``read_checkpoint`` does, whatever the caller would allow."""
        return read_checkpoint(Path(path))


class KeepCheckpoints(Checkpoint):
    """Save after each epoch and now and then, and stop when the validation loss no longer falls.

    Args:
        folder: Where.
        patience: Epochs without a lower loss before training stops.
        curriculum: Before its last stage nothing stops; losses are compared within a stage.
        minutes: Between two checkpoints, at most (0 = one after each optimiser step).
    """

    def __init__(
        self,
        folder: RunFolder,
        patience: int,
        curriculum: Curriculum | None = None,
        *,
        minutes: float = 10.0,
    ) -> None:
        self.folder = folder
        self.minutes = minutes
        self.saved_at = time.monotonic()
        self.patience = patience
        self.curriculum = curriculum or Curriculum()
        self.best_loss = math.inf
        self.epochs_since = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that had stopped by itself stays stopped when it is resumed."""
        del pl_module
        self.saved_at = time.monotonic()
        trainer.should_stop = self.is_done

    def on_train_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Save if that was long ago, or SIGTERM came; not amid a step, nor as an epoch ends."""
        progress = trainer.fit_loop.epoch_loop.batch_progress
        if progress.is_last_batch or progress.current.ready % trainer.accumulate_grad_batches:
            return
        is_late = time.monotonic() - self.saved_at >= 60 * self.minutes
        is_due = is_late or trainer.received_sigterm
        if of_the_first(is_due):  # all processes save together
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.folder.last, weights_only=False)
        self.saved_at = time.monotonic()

    @property
    def is_done(self) -> bool:
        """Whether nothing has become better for long."""
        return self.curriculum.is_in_last_stage and self.epochs_since >= self.patience

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Compare with the best so far, and save."""
        loss = pl_module.validation["val_loss"]
        self.epochs_since += 1
        if loss < self.best_loss:
            self.best_loss, self.epochs_since = loss, 0
            trainer.save_checkpoint(self.folder.best, weights_only=True)
        trainer.should_stop = self.is_done
        if self.curriculum.has_learned(pl_module.validation, self.epochs_since):
            self.curriculum.advance(trainer.global_step)
            self.best_loss, self.epochs_since = math.inf, 0
        self._save(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must remember."""
        return {
            "best_loss": self.best_loss,
            "epochs_since": self.epochs_since,
            "curriculum": self.curriculum.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.best_loss = state_dict["best_loss"]
        self.epochs_since = state_dict["epochs_since"]
        self.curriculum.load_state_dict(state_dict["curriculum"])


Record = dict[str, str | int]


def record_of(prepared: Prepared, config: ExperimentConfig, *, seed: int) -> Record:
    """Return what makes a run this run; every checkpoint carries it."""
    return {
        "config": to_toml(config),
        "seed": seed,
        "fasta_sha256": prepared.store.sha256,
        "split_sha256": hashlib.sha256(prepared.split_table().encode()).hexdigest(),
    }


def with_settled_batch(folder: RunFolder, config: ExperimentConfig) -> ExperimentConfig:
    """Put the batch size that a run began with where the settings say "auto"."""
    if config.training.batch_size != "auto":
        return config
    text = folder.config.read_text(encoding="utf-8")
    before = parse_toml(text, str(folder.config)).training.batch_size
    return replace(config, training=replace(config.training, batch_size=before))


def check_same_config(folder: RunFolder, config: ExperimentConfig) -> None:
    """Raise ConfigError at the first setting that is not what the run started with.

    Args:
        folder: The run's.
        config: The present settings, resolved.
    """
    text = folder.config.read_text(encoding="utf-8")
    started_with = parse_toml(text, str(folder.config)).resolved().flat()
    for key, value in config.flat().items():
        if value != (old := started_with[key]) and key != "training.checkpoint_minutes":
            raise ConfigError(
                f"{folder.config}: {key} was {as_toml(old)} when the run started and is now "
                f"{as_toml(value)}, but a resumed run must not change. "
                f"Pass --set {key}={as_toml(old)}, or start a new run."
            )


def check_same_run(checkpoint: Path, now: Record) -> None:
    """Raise CheckpointError if a checkpoint is of another run.

    Args:
        checkpoint: The run's last.
        now: What ``record_of`` says of the present one.
    """
    held = read_checkpoint(checkpoint)
    before = held.get("run")
    if not isinstance(before, dict) or before.keys() != now.keys():
        raise CheckpointError(
            f"{checkpoint}: does not say which run it is of, but every checkpoint of this version "
            "of rmt-genomics does. Start again with --overwrite."
        )
    if "epoch_loss" not in held:
        raise CheckpointError(
            f"{checkpoint}: was written by an earlier version of rmt-genomics, which drew its "
            "random numbers otherwise, so that the run cannot go on as if it had never stopped. "
            "Start again with --overwrite."
        )
    if before["seed"] != now["seed"]:
        raise CheckpointError(
            f"{checkpoint}: made with seed {before['seed']}, but the seed is now {now['seed']}. "
            f"Pass --seed {before['seed']}."
        )
    for key, what in (
        ("fasta_sha256", "the FASTA file differs from the one"),
        ("split_sha256", "the examples or their split differ from those"),
    ):
        if before[key] != now[key]:
            raise CheckpointError(
                f"{checkpoint}: {what} the run started with, but a resumed run must go on with "
                "the same data. Bring the files back, or start a new run."
            )
