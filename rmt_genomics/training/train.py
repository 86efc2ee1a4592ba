"""``train``: from a labelled FASTA file to a folder with the best model found."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.lightning import LightningEnvironment

from rmt_genomics.datasets import LabelSource
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.device import choose_device
from rmt_genomics.training.checkpoints import KeepCheckpoints, WholeFiles, read_checkpoint
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.config_file import to_toml
from rmt_genomics.training.data_module import SplitDataModule
from rmt_genomics.training.loss import WeightedLoss, class_weights
from rmt_genomics.training.metrics_log import MetricsLog, Row
from rmt_genomics.training.module import ClassifierModule
from rmt_genomics.training.prepare import Prepared, environment, prepare
from rmt_genomics.training.progress import ShowProgress
from rmt_genomics.training.resume import Record, check_same_config, check_same_run, record_of
from rmt_genomics.training.run_folder import RunFolder
from rmt_genomics.training.surroundings import fast_matrix_products, quiet, stopped_by_signals

_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a finished training leaves."""

    model_dir: Path
    """A model folder, for ``RMTClassifier.from_pretrained``; everything else of the run too."""

    metrics: Row
    """The row of ``metrics.jsonl`` of the best epoch, whose weights the model has."""


def train(  # noqa: PLR0913  # what a user may say, by name
    fasta: Path,
    labels: Path | LabelSource,
    out: Path,
    config: ExperimentConfig,
    *,
    device: str = "auto",
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    strict: bool = False,
) -> TrainingResult:
    """Train a classifier; everything is read and checked before the first step.

    Args:
        fasta: A file of sequences, or a folder of such files (see ``dna.read_records``).
        labels: Labels of records or intervals: a table (see ``datasets.read_labels``), or where
            else they are.
        out: Folder of the run, made if needed. Must be empty but for the next two.
        config: Settings.
        device: auto, cpu, cuda or mps.
        seed: Of everything random: the split, the first weights, the order, dropout.
        resume: Go on with the interrupted run in ``out``, as if it had never stopped.
        overwrite: Replace an earlier run in ``out``; other files there stay.
        strict: Refuse a split that leaks, instead of warning (see ``datasets.leakage``).

    Raises:
        ConfigError: If settings are wrong, or the loss stops being a number.
        DataError: If the data or the folder cannot be used, or no space is left.
        CheckpointError: If there is nothing to resume, or it is of another run.
    """
    folder = RunFolder(out)
    labels = LabelSource.of(labels)
    inputs = [path for path in (fasta, labels.table) if path is not None]
    folder.check_usable(inputs=inputs, resume=resume, overwrite=overwrite)
    device, config = choose_device(device).type, config.resolved()
    if resume:
        check_same_config(folder, config)
    prepared = prepare(fasta, labels, config, seed=seed, strict=strict)
    record = record_of(prepared, config, seed=seed)
    is_started = resume and folder.last.exists()
    if is_started:
        check_same_run(folder.last, record)
    with folder.writing():
        if not is_started:
            folder.clear()
            folder.write(
                {
                    "config.toml": to_toml(config),
                    "split.tsv": prepared.split_table(),
                    "leakage.json": json.dumps(prepared.audit.to_json(), indent=2) + "\n",
                    "environment.txt": environment(prepared, device=device, seed=seed),
                }
            )
        return _fit(prepared, folder, config, device=device, seed=seed, record=record)


def _fit(
    prepared: Prepared,
    folder: RunFolder,
    config: ExperimentConfig,
    *,
    device: str,
    seed: int,
    record: Record,
) -> TrainingResult:
    """Run the Trainer from the start or the last checkpoint, and save the best model."""
    pl.seed_everything(seed, verbose=False)
    module = _module(prepared, config, seed=seed, record=record)
    data = SplitDataModule(
        prepared.store,
        prepared.split,
        prepared.scheme,
        batch_size=config.training.batch_size,
        seed=seed,
        pin_memory=device == "cuda",
    )
    log = MetricsLog(folder)
    with quiet(), fast_matrix_products(device), stopped_by_signals():
        checkpoint = folder.last if folder.last.exists() else None
        _trainer(folder, config, log, device).fit(
            module, data, ckpt_path=checkpoint, weights_only=True
        )
    module.load_state_dict(read_checkpoint(folder.best)["state_dict"])
    module.model.cpu().eval().save_pretrained(folder.path)
    best = min(log.rows, key=lambda row: row["val_loss"] or 0.0)
    return TrainingResult(folder.path, best)


def _module(
    prepared: Prepared, config: ExperimentConfig, *, seed: int, record: Record
) -> ClassifierModule:
    """Build the model for these labels, with new weights."""
    scheme = prepared.scheme
    weights = class_weights(
        scheme.targets(prepared.split.train), scheme, config.training.class_weights
    )
    return ClassifierModule(
        RMTClassifier(config.classifier(scheme.classes, scheme.task)),
        WeightedLoss(weights, is_multilabel=scheme.task == "multilabel"),
        config.training,
        seed=seed,
        record=record,
    )


def _trainer(
    folder: RunFolder, config: ExperimentConfig, log: MetricsLog, device: str
) -> pl.Trainer:
    """Set Lightning's engine up, with our files and our manner of speaking."""
    settings = config.training
    return pl.Trainer(
        accelerator="gpu" if device == "cuda" else device,
        devices=1,
        precision=_PRECISIONS[settings.precision],  # type: ignore[arg-type]
        max_epochs=settings.max_epochs,
        accumulate_grad_batches=settings.accumulate_batches,
        gradient_clip_val=settings.gradient_clip or None,
        callbacks=[
            log,
            ShowProgress(log, settings.max_epochs),
            KeepCheckpoints(folder, settings.patience),
        ],
        plugins=[LightningEnvironment(), WholeFiles()],  # one process, also within a SLURM job
        default_root_dir=folder.path,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
