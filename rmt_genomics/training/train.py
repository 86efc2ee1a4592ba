"""``train``: from a labelled FASTA file to a folder with the best model found."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl

from rmt_genomics.datasets import LabelSource
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.pretrained import choose_device
from rmt_genomics.training.callbacks import MetricsLog, Row, ShowProgress, best_row
from rmt_genomics.training.checkpoints import (
    KeepCheckpoints,
    Record,
    WholeFiles,
    check_same_config,
    check_same_run,
    read_checkpoint,
    record_of,
    with_settled_batch,
)
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.config_file import to_toml
from rmt_genomics.training.curriculum import Curriculum
from rmt_genomics.training.data_module import Prepared, SplitDataModule, environment, prepare
from rmt_genomics.training.distributed import Processes
from rmt_genomics.training.loss import loss_of, target_scale
from rmt_genomics.training.module import ClassifierModule
from rmt_genomics.training.planning import settle_batch
from rmt_genomics.training.run_folder import RunFolder
from rmt_genomics.training.runtime import (
    check_compiler,
    compile_layers,
    fast_matrix_products,
    quiet,
    stopped_by_signals,
)

_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a finished training leaves."""

    model_dir: Path
    """A model folder, for ``RMTClassifier.from_pretrained``; everything else of the run too."""

    metrics: Row
    """The row of ``metrics.jsonl`` of the best epoch, whose weights the model has."""

    is_first: bool = True
    """Whether this process is the first of those that trained, which is to go on alone."""


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
    devices: int = 1,
    num_nodes: int = 1,
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
        devices: Processes that train together on each machine, one a GPU. Several change the
            time, not the result: a batch is divided among them. Lightning starts them (each runs
            the program that called this), or torchrun or srun has done so.
        num_nodes: Machines, which must share the folders of inputs and run.

    Raises:
        ConfigError: If settings are wrong, or the loss stops being a number.
        DataError: If the data or the folder cannot be used, or no space is left.
        CheckpointError: If there is nothing to resume, or it is of another run.
    """
    folder = RunFolder(out)
    labels = LabelSource.of(labels)
    inputs = [path for path in (fasta, labels.table) if path is not None]
    processes = Processes(devices, num_nodes)
    device, config = choose_device(device).type, config.resolved()
    processes.check(device)
    check_compiler(wanted=config.training.compile, device=device)
    if processes.is_first:  # the others find the folder in use, by the first
        folder.check_usable(inputs=inputs, resume=resume, overwrite=overwrite)
    if resume:
        config = with_settled_batch(folder, config)
        check_same_config(folder, config)
    with processes.said_once():
        prepared = prepare(fasta, labels, config, seed=seed, strict=strict)
        lengths_bp = [len(each.interval) for each in prepared.split.train]
        curriculum = Curriculum.of(config, prepared.scheme.task, max(lengths_bp))
    config, rows = settle_batch(config, lengths_bp, device, processes)
    record = record_of(prepared, config, seed=seed)
    is_started = resume and folder.last.exists()
    if is_started:
        check_same_run(folder.last, record)
    with folder.writing(), processes.together():
        if processes.is_first and not is_started:
            _begin(folder, prepared, config, device=device, seed=seed)
        module = _module(prepared, config, curriculum, seed=seed, record=record)
        module.micro.rows = rows
        data = _data(prepared, config, curriculum, device=device, seed=seed)
        log = MetricsLog(folder, curriculum)
        with quiet(), fast_matrix_products(device), stopped_by_signals():
            _trainer(folder, config, log, device, processes).fit(
                module, data, ckpt_path=folder.last if is_started else None, weights_only=True
            )
        if processes.is_first:
            _save_best(folder, module)
    curriculum.warn_if_unfinished()
    return TrainingResult(folder.path, best_row(log.rows), processes.is_first)


def _begin(
    folder: RunFolder, prepared: Prepared, config: ExperimentConfig, *, device: str, seed: int
) -> None:
    """Clear the folder and write down what the run is."""
    folder.clear()
    folder.write(
        {
            "config.toml": to_toml(config),
            "split.tsv": prepared.split_table(),
            "leakage.json": json.dumps(prepared.audit.to_json(), indent=2) + "\n",
            "environment.txt": environment(prepared, device=device, seed=seed),
        }
    )


def _save_best(folder: RunFolder, module: ClassifierModule) -> None:
    """Write the model folder, with the weights of the best epoch."""
    module.load_state_dict(read_checkpoint(folder.best)["state_dict"])
    module.judged.cpu().eval().save_pretrained(folder.path)


def _data(
    prepared: Prepared, config: ExperimentConfig, curriculum: Curriculum, *, device: str, seed: int
) -> SplitDataModule:
    """Serve both parts as batches."""
    return SplitDataModule(
        prepared.store,
        prepared.split,
        prepared.scheme,
        batch_size=int(config.training.batch_size),  # "auto" has been settled
        seed=seed,
        pin_memory=device == "cuda",
        curriculum=curriculum,
    )


def _module(
    prepared: Prepared,
    config: ExperimentConfig,
    curriculum: Curriculum,
    *,
    seed: int,
    record: Record,
) -> ClassifierModule:
    """Build the model for these labels, with new weights."""
    pl.seed_everything(seed, verbose=False)
    scheme = prepared.scheme
    targets = scheme.targets(prepared.split.train)
    scale = target_scale(targets) if scheme.task == "regression" else {}
    model = RMTClassifier(config.classifier(scheme.classes, scheme.task, **scale))
    if config.training.compile:
        compile_layers(model)
    return ClassifierModule(
        model,
        loss_of(scheme, targets, config.training.class_weights, scale),
        config.training,
        seed=seed,
        record=record,
        curriculum=curriculum,
    )


def _trainer(
    folder: RunFolder,
    config: ExperimentConfig,
    log: MetricsLog,
    device: str,
    processes: Processes,
) -> pl.Trainer:
    """Set Lightning's engine up, with our files and our manner of speaking."""
    settings = config.training
    return pl.Trainer(
        accelerator="gpu" if device == "cuda" else device,
        **processes.trainer_options(),
        precision=_PRECISIONS[settings.precision],  # type: ignore[arg-type]
        max_epochs=settings.max_epochs,
        accumulate_grad_batches=settings.accumulate_batches,
        gradient_clip_val=settings.gradient_clip or None,
        callbacks=[
            log,
            *[ShowProgress(log, settings.max_epochs)] * processes.is_first,
            KeepCheckpoints(
                folder, settings.patience, log.curriculum, minutes=settings.checkpoint_minutes
            ),
        ],
        plugins=[processes.environment(), WholeFiles()],
        default_root_dir=folder.path,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
