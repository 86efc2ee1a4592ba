"""A resumed run must be the same run: same settings, same seed, same data."""

import hashlib
from dataclasses import replace
from pathlib import Path

from rmt_genomics.errors import CheckpointError, ConfigError
from rmt_genomics.training.checkpoints import read_checkpoint
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.config_file import parse_toml, to_toml
from rmt_genomics.training.prepare import Prepared
from rmt_genomics.training.rules import as_toml
from rmt_genomics.training.run_folder import RunFolder

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
