"""Checkpoints: written atomically, read without running code, resumed exactly.

``last.ckpt`` holds weights, optimiser, schedule, counters and metrics: after each epoch, and every
few minutes within one. States of random generators are not needed: every batch seeds them from the
seed, the epoch and its index.
``best.ckpt`` holds the weights with the lowest validation loss so far; with a curriculum, so far in
its present stage.
"""

import hashlib
import io
import logging
import math
import os
import shlex
import struct
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from rmt_genomics.atomic_io import atomic_file
from rmt_genomics.errors import CheckpointError, ConfigError
from rmt_genomics.model.settings import as_toml
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.config_file import read_config, to_toml
from rmt_genomics.training.curriculum import Curriculum
from rmt_genomics.training.data_module import RunData
from rmt_genomics.training.distributed import broadcast, rank_and_world_size
from rmt_genomics.training.run_folder import RunFolder

logger = logging.getLogger(__name__)

_UNREADABLE = (
    *(UnpicklingError, RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError),
    *(AttributeError, ImportError, AssertionError, ArithmeticError, MemoryError, struct.error),
)
"""What ``torch.load`` raises for damaged files."""

MIN_IMPROVEMENT = 1e-4  # of the validation loss; less does not prolong a training
_SHORT_STEP = 0.1  # seconds; shorter steps are not stopped, since a checkpoint takes 1 ms to make

_PARTS: dict[str, type] = {
    **dict.fromkeys(("state_dict", "callbacks", "loops", "micro_batches"), dict),
    **dict.fromkeys(("optimizer_states", "lr_schedulers"), list),
    "epoch_loss": tuple,
}
"""What must be in a checkpoint that is resumed."""

RunRecord = dict[str, str | int]
"""What identifies a run, as ``run_record`` gives it; part of every checkpoint."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU: tensors and plain values, never code.

    Raises:
        CheckpointError: If it is truncated, or contains anything else.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # advice about pickles that are not ours
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE:
        checkpoint = None
    if not isinstance(checkpoint, dict):
        # Without PyTorch's reason, which is advice to load the file unsafely.
        raise CheckpointError(
            f"{path}: is damaged or of another program, but must be a checkpoint of rmt-genomics. "
            "Restore it from a copy, or start again with --overwrite."
        )
    return checkpoint


def load_weights(module: LightningModule, path: Path) -> None:
    """Load the weights of a checkpoint.

    Raises:
        CheckpointError: If it cannot be read, or its weights are those of another model.
    """
    try:
        module.load_state_dict(read_checkpoint(path)["state_dict"])
    except (RuntimeError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: does not hold the weights of the model in config.toml, but must. Restore it "
            "from a copy, or start again with --overwrite."
        ) from error


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoint files that appear whole or not at all.

    Lightning's own writer uses the system's temporary folder, which may be on another disk: from
    there a file is copied, and an interruption leaves a truncated one.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write a checkpoint atomically."""
        if storage_options is not None:
            raise TypeError("storage_options: not supported for files on a local disk")
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()  # torch.save hides the cause of a failed write; Python does not
        torch.save(checkpoint, content)
        with atomic_file(target) as temporary:
            temporary.write_bytes(content.getbuffer())

    def load_checkpoint(self, path: str | os.PathLike[str], *_: Any, **__: Any) -> dict[str, Any]:
        """Read as ``read_checkpoint`` does; ``weights_only=False`` is not possible."""
        return read_checkpoint(Path(path))


class CheckpointCallback(Checkpoint):
    """Save checkpoints after each epoch and at intervals within it; stop training early.

    ``patience`` and ``minutes`` are those of the settings. Training never stops before the last
    stage of ``curriculum``, and losses are compared within a stage. ``on_best`` gets the module
    after each epoch that is the best one so far.
    """

    state_key = "KeepCheckpoints"  # in checkpoints; must not change: old ones are resumed

    def __init__(
        self,
        folder: RunFolder,
        patience: int,
        curriculum: Curriculum | None = None,
        *,
        minutes: float = 10.0,
        on_best: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self.folder = folder
        self.on_best = on_best
        self.minutes = minutes
        self.saved_at = time.monotonic()
        self.patience = patience
        self.curriculum = curriculum or Curriculum()
        self.best_loss = math.inf
        self.epochs_since_best = 0
        self.step_ended_at = 0.0
        self.last_step: dict[str, Any] | None = None
        """The checkpoint after the last step, not saved; it has the weights themselves, no copy."""

    @property
    def is_done(self) -> bool:
        """Whether the validation loss has not fallen for ``patience`` epochs of the last stage."""
        return self.curriculum.is_in_last_stage and self.epochs_since_best >= self.patience

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Keep a resumed run stopped if it had stopped early."""
        pl_module.may_stop = True
        self.saved_at = self.step_ended_at = time.monotonic()
        trainer.should_stop = trainer.should_stop or self.is_done

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        """Save after ``minutes`` or a SIGTERM; not between steps, nor at the end of an epoch."""
        progress = trainer.fit_loop.epoch_loop.batch_progress
        if progress.is_last_batch or progress.current.ready % trainer.accumulate_grad_batches:
            return
        now, began_at = time.monotonic(), self.step_ended_at
        self.step_ended_at = now
        is_due = now - self.saved_at >= 60 * self.minutes or trainer.received_sigterm
        if broadcast(is_due):  # all processes save at the same time
            self._save(trainer)
        elif trainer.world_size == 1 and now - began_at >= _SHORT_STEP:
            self.last_step = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        pl_module.may_stop = is_due or self.last_step is not None

    def on_before_optimizer_step(self, _: Trainer, pl_module: Any, *__: Any) -> None:
        """Forget the checkpoint of the last step: its weights are about to change."""
        self.last_step, pl_module.may_stop = None, False

    def on_exception(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Save the state after the last step, if SIGTERM has stopped the next one."""
        if trainer.received_sigterm and self.last_step is not None:
            trainer.strategy.save_checkpoint(self.last_step, self.folder.last)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Compare the validation loss with the lowest so far, and save."""
        loss = pl_module.validation["val_loss"]
        self.epochs_since_best += 1
        if loss < self.best_loss:
            if self.best_loss - loss > MIN_IMPROVEMENT:
                self.epochs_since_best = 0
            self.best_loss = loss
            trainer.save_checkpoint(self.folder.best, weights_only=True)
            if rank_and_world_size()[0] == 0:
                self.on_best(pl_module)
        self.stop_or_advance(trainer, pl_module)
        self._save(trainer)
        pl_module.may_stop = True

    def stop_or_advance(self, trainer: Trainer, pl_module: Any) -> None:
        """Stop training early, or begin the next stage of the curriculum, after an epoch."""
        trainer.should_stop = trainer.should_stop or self.is_done
        if self.curriculum.is_stage_finished(pl_module.validation, self.epochs_since_best):
            self.begin_next_stage(trainer)

    def begin_next_stage(self, trainer: Trainer) -> None:
        """Begin the next stage of the curriculum, in which other losses are compared."""
        self.curriculum.advance(trainer.global_step)
        self.best_loss, self.epochs_since_best = math.inf, 0

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.folder.last, weights_only=False)
        self.saved_at, self.last_step = time.monotonic(), None

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {
            "best_loss": self.best_loss,
            "epochs_since": self.epochs_since_best,
            "curriculum": self.curriculum.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from the state in a checkpoint."""
        self.best_loss = state_dict["best_loss"]
        self.epochs_since_best = state_dict["epochs_since"]
        self.curriculum.load_state_dict(state_dict["curriculum"])


def run_record(data: RunData, config: ExperimentConfig, *, seed: int) -> RunRecord:
    """Return what identifies a run: its settings, seed, sequences and split."""
    return {
        "config": to_toml(config),
        "seed": seed,
        "fasta_sha256": data.store.sha256,
        "split_sha256": hashlib.sha256(data.split_table().encode()).hexdigest(),
    }


def resumed_config(folder: RunFolder, config: ExperimentConfig) -> ExperimentConfig:
    """Return the settings of a resumed run: what it started with.

    Settings that are left at their defaults are not compared, since a newer version may have other
    defaults; nor is a batch size, or are features, of "auto". ``training.max_epochs`` may be
    larger: a finished run goes on. From there on its learning rate is that of a run of so many
    epochs, which is logged. With a time budget that is an upper limit, as when the run started.

    Raises:
        ConfigError: At the first other setting given now that differs from what the run started
            with.
    """
    stored = read_config(folder.config).resolved()
    given = config.given()
    for key in ("training.batch_size", "model.features"):
        if given.get(key) == "auto":
            del given[key]
    changes = {}  # what may differ
    if "training.checkpoint_minutes" in given:
        changes["checkpoint_minutes"] = config.training.checkpoint_minutes
    if (
        stored.training.time_budget
        and "training.max_epochs" in given
        and is_extended(folder, config)
    ):
        del given["training.max_epochs"]
        logger.info(
            "training.max_epochs is %s, and was settled by the time budget when the run started; "
            "the %s now given are an upper limit.",
            stored.training.max_epochs,
            config.training.max_epochs,
        )
    elif "training.max_epochs" in given and is_extended(folder, config):
        changes["max_epochs"] = config.training.max_epochs
        logger.info(
            "training.max_epochs was %s and is now %s: from here on the learning rate is that of a "
            "run of %s epochs, so the result is not that of such a run from the start.",
            stored.training.max_epochs,
            *[config.training.max_epochs] * 2,
        )
    for key, value in given.items():
        may_differ = key.removeprefix("training.") in changes
        if value not in (None, old := stored.flat()[key]) and not may_differ:
            setting = f"{key}={as_toml(old)}"
            if isinstance(old, tuple):  # for the shell
                setting = shlex.quote(setting.replace("'", '"'))
            was, remedy = as_toml(old), f"Pass --set {setting}"
            if old is None:
                was, remedy = "not set", "Leave it out"
            raise ConfigError(
                f"{folder.config}: {key} was {was} when the run started and is now "
                f"{as_toml(value)}, but a resumed run must not change. {remedy}, or start a new "
                "run."
            )
    return stored.replace(training=stored.training.replace(**changes))


def is_extended(folder: RunFolder, config: ExperimentConfig) -> bool:
    """Tell whether a resumed run has more epochs than its folder says."""
    return config.training.max_epochs > read_config(folder.config).training.max_epochs


def save_epochs(folder: RunFolder, config: ExperimentConfig, *, writes: bool) -> None:
    """Write the settings of a run that has more epochs now, for the next time it is resumed."""
    if writes and is_extended(folder, config):
        folder.write({"config.toml": to_toml(config)})


def load_weights_of_run(module: LightningModule, checkpoint: Path, record: RunRecord) -> None:
    """Load the weights of a checkpoint of this very run; raise CheckpointError at any other."""
    check_same_run(checkpoint, record)
    load_weights(module, checkpoint)


def check_same_run(checkpoint: Path, record: RunRecord) -> None:
    """Raise CheckpointError if a checkpoint is from another run than that of ``record``."""
    content = read_checkpoint(checkpoint)
    stored = content.get("run")
    is_complete = all(isinstance(content.get(key), kind) for key, kind in _PARTS.items())
    if not (is_complete and isinstance(stored, dict) and stored.keys() == record.keys()):
        raise CheckpointError(
            f"{checkpoint}: does not say which run it is from, or is of an earlier version of "
            "rmt-genomics, but a resumed run must equal one that was never interrupted. "
            "Start again with --overwrite."
        )
    if stored["seed"] != record["seed"]:
        raise CheckpointError(
            f"{checkpoint}: made with seed {stored['seed']}, but the seed is now {record['seed']}. "
            f"Pass --seed {stored['seed']}."
        )
    for key, what in (
        ("fasta_sha256", "the FASTA file differs from the one"),
        ("split_sha256", "the examples or their split differ from those"),
    ):
        if stored[key] != record[key]:
            raise CheckpointError(
                f"{checkpoint}: {what} the run started with, but a resumed run must use the same "
                "data. Restore the files, or start a new run."
            )
