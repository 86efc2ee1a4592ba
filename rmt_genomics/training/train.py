"""``train``: from a labelled FASTA file to a folder with the best model."""

import json
import logging
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_fabric.utilities.rank_zero import rank_zero_only

from rmt_genomics.datasets import LabelScheme, LabelSource, SequenceStore, Split
from rmt_genomics.errors import ConfigError, counted
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.initial_weights import InitialModel
from rmt_genomics.model.pretrained import choose_device
from rmt_genomics.parsing import as_path, read_duration
from rmt_genomics.training import checkpoints, runtime
from rmt_genomics.training.automatic import (
    Choice,
    TrainingPart,
    choose,
    log_choices,
    patience,
    read_initial,
    settled,
)
from rmt_genomics.training.backbone import build_model, with_backbone_sizes
from rmt_genomics.training.callbacks import MetricsLogger, Row, TrainingProgress, best_row
from rmt_genomics.training.config import ExperimentConfig, TrainingSettings
from rmt_genomics.training.config_file import to_toml
from rmt_genomics.training.control import (
    Control,
    ControlCheckpoints,
    ModelProgress,
    ReportToControl,
    TrainingJob,
)
from rmt_genomics.training.curriculum import Curriculum
from rmt_genomics.training.data_module import (
    PreparedData,
    SplitDataModule,
    describe_environment,
    prepare_data,
)
from rmt_genomics.training.distributed import DistributedSetup
from rmt_genomics.training.feature_regressions import FeatureFits, Fit
from rmt_genomics.training.loss import RegressionLoss, WeightedLoss, make_loss, target_scale
from rmt_genomics.training.module import ClassifierModule
from rmt_genomics.training.planning import resolve_batch_size
from rmt_genomics.training.run_folder import RunFolder
from rmt_genomics.training.saving import ModelSaver, finished_classifier
from rmt_genomics.training.time_budget import Clock, TimeBudget, clock_of, resolve_time_budget

logger = logging.getLogger("rmt_genomics.training")

_FEATURE_FRACTION = 0.2  # of a time budget, after which no other feature is tried
_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The result of a finished training.

    The encoded sequences, the examples of each part, the task with its classes, and the model spare
    an evaluation from reading them again. They are None in all processes but rank 0.
    """

    model_dir: Path
    """The run folder, which is a model folder for ``RMTClassifier.from_pretrained``, too."""

    metrics: Row
    """The row of ``metrics.jsonl`` of the best epoch, whose weights the model has."""

    is_rank_zero: bool = True
    """Whether this process has rank 0; only that one should evaluate and print."""

    store: SequenceStore | None = None
    split: Split | None = None
    scheme: LabelScheme | None = None
    model: RMTClassifier | None = None
    """The best model, as saved in ``model_dir``: on the CPU, in evaluation mode, not compiled."""

    evaluation_seconds: float | None = None
    """What is left of the time budget for evaluation and report; None = there is none."""

    control_error: str | None = None
    """Why the training of the control failed; None if it did not, or there is none."""


@runtime.log_to_stderr_by_default()
def train(  # noqa: PLR0913  # the options of the command line
    fasta: str | Path,
    labels: str | Path | LabelSource | None,
    out: str | Path,
    config: ExperimentConfig,
    *,
    device: str = "auto",
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    strict: bool = False,
    devices: int = 1,
    num_nodes: int = 1,
    control: str | None = None,
    window_bp: int | None = None,
    step_bp: int | None = None,
    started_at: float | None = None,
) -> TrainingResult:
    """Train a classifier; everything is read and checked before the first step.

    Messages are logged at INFO level; they go to stderr if the program has not configured logging.

    Args:
        fasta: A file of sequences, or a folder of such files (see ``dna.read_records``).
        labels: Labels of records or intervals: a table (see ``datasets.read_labels``), or another
            source of labels. None = the settings ``simulation`` make examples of the sequences or,
            without them, the column ``label`` of the sequence files.
        out: Run folder, created if needed. Must be empty unless ``resume`` or ``overwrite``.
        config: Settings.
        device: auto, cpu, cuda or mps.
        seed: Seed of everything random: the split, initial weights, order, dropout.
        resume: Resume the interrupted run in ``out``; the result is that of a run without the
            interruption.
        overwrite: Replace an earlier run in ``out``; other files there stay.
        strict: Refuse a split with leakage, instead of warning (see ``datasets.leakage``).
        devices: Processes per machine that train together, one per GPU. They divide each batch:
            their number changes the time, not the result. Lightning starts them (each runs the
            program that called this), unless torchrun or srun has done so.
        num_nodes: Machines, which must share the folders of inputs and run.
        control: ``memory-reset`` also trains the same network without memory, ``random-weights``
            without the pretrained weights that it starts from, in the folder ``out/control`` and in
            a process of its own (see ``training.control``).
        window_bp: The same as the setting ``data.window_bp``, which it replaces.
        step_bp: The same as ``data.step_bp``.
        started_at: ``time.monotonic()`` when the time budget began, if there is one; None = now.

    Raises:
        ConfigError: If settings are wrong, or the loss is not a finite number.
        DataError: If the data or the folder cannot be used, or the disk is full.
        CheckpointError: If there is nothing to resume, or it is another run.
    """
    if labels is not None:
        config.check_no_labels()
    job = TrainingJob(
        fasta=as_path(fasta),
        labels=None if config.simulation.is_on else LabelSource.of(labels, fasta),
        out=as_path(out, "a run folder"),
        config=config.with_windows(window_bp, step_bp),
        device=device,
        seed=seed,
        resume=resume,
        overwrite=overwrite,
        strict=strict,
        started_at=time.monotonic() if started_at is None else started_at,
    )
    return run_training(job, DistributedSetup(devices, num_nodes), control=control)


def run_training(
    job: TrainingJob,
    distributed: DistributedSetup,
    *,
    control: str | None = None,
    follows: ModelProgress | None = None,
) -> TrainingResult:
    """Train a model, or the control of the model whose progress it ``follows``.

    The data of a control have been checked already: there are no warnings.
    """
    folder, device, seed = RunFolder(job.out), choose_device(job.device).type, job.seed
    distributed.check(device)
    runtime.check_compiler(wanted=job.config.training.compile, device=device)
    with folder.writing(locks=distributed.is_rank_zero):
        if distributed.is_rank_zero:  # the other ranks may find files that rank 0 has just written
            folder.check_usable(inputs=job.inputs, resume=job.resume, overwrite=job.overwrite)
        config = checkpoints.resumed_config(folder, job.config) if job.resume else job.config
        checkpoint = folder.last if job.resume and folder.last.exists() else None
        config, initial = read_initial(config) if checkpoint is None else (config, None)
        control_run = Control.of(control, job, config, device=device, distributed=distributed)
        with distributed.rank_zero_warnings(shown=follows is None):
            config, data, fit, reasons = _settle(job, config)
            curriculum = Curriculum.of(config, data.scheme.task, data.train_range_bp[1])
        config, rows, clock = _resolve(job, config, data, device, distributed, control_run, follows)
        record = checkpoints.run_record(data, config, seed=seed)
        metrics = MetricsLogger(folder, curriculum)
        sharing = nullcontext() if control_run is None else control_run.sharing_cores()
        with distributed.session(), runtime.engine(device), sharing:
            module = _make_module(data, config, curriculum, initial, record, seed=seed, rows=rows)
            loaders = SplitDataModule(data, curriculum, config.training, seed=seed, device=device)
            saver = _saver(folder, data, config, fit)
            callbacks = _callbacks(saver, config, metrics, distributed, control_run, follows, clock)
            trainer = make_trainer(folder, config, callbacks, device, distributed)
            if checkpoint is not None:
                checkpoints.load_weights_of_run(module, checkpoint, record)
                checkpoints.save_epochs(folder, config, writes=distributed.is_rank_zero)
            elif distributed.is_rank_zero:  # all has been checked
                _start_folder(folder, data, config, reasons, device=device, seed=seed)
            if control_run is not None:
                control_run.begin(config)
            trainer.fit(module, loaders, ckpt_path=checkpoint, weights_only=True)
            is_saved = distributed.is_rank_zero
            model = saver.save_best(module) if is_saved else None
        error = None if control_run is None else control_run.finish(metrics)
    curriculum.warn_if_unfinished()
    result = TrainingResult(
        folder.path, best_row(metrics.rows), is_rank_zero=model is not None, control_error=error
    )
    if model is None:
        return result
    result = replace(result, store=data.store, split=data.split, scheme=data.scheme, model=model)
    return result if clock is None else replace(result, evaluation_seconds=clock.left_in_all)


def _resolve(
    job: TrainingJob,
    config: ExperimentConfig,
    data: PreparedData,
    device: str,
    distributed: DistributedSetup,
    control_run: Control | None,
    follows: ModelProgress | None,
) -> tuple[ExperimentConfig, int | None, Clock | None]:
    """Measure what the settings leave open: the batch size, and what a time budget settles.

    Also returns the micro-batch size, and the clock of the budget. A resumed run has the numbers
    from its folder, and a control from its model, which it follows.
    """
    clock = None if follows is not None else clock_of(config, job.started_at)
    lengths_bp = [len(example.interval) for example in data.split.train]
    config, rows = resolve_batch_size(config, lengths_bp, device, distributed)
    if job.resume or clock is None:
        return config, rows, clock
    shares_cores = control_run is not None and (
        not control_run.is_parallel or torch.get_num_threads() > 1
    )
    config = resolve_time_budget(
        config,
        data,
        clock,
        rows=rows,
        device=device,
        distributed=distributed,
        num_trainings=2 if shares_cores else 1,
    )
    return config, rows, clock


def _settle(
    job: TrainingJob, config: ExperimentConfig
) -> tuple[ExperimentConfig, PreparedData, Fit | None, dict[str, str]]:
    """Read the data, choose the settings that are not given, and fit the regressions.

    A resumed run has all settings. Also returned are the reasons of the choices.
    """
    config.pretraining.check_unused()
    config = with_backbone_sizes(config)
    choices: dict[str, Choice] = {}
    is_simulated = config.simulation.is_on
    if not job.resume and is_simulated:
        choices = choose(config, TrainingPart.of_simulation(config.simulation))
    whole = settled(config, choices)
    data = prepare_data(
        job.fasta,
        job.labels,
        whole,
        seed=job.seed,
        strict=job.strict,
        fold=job.fold,
        cache=job.cache,
    )
    if not job.resume and not is_simulated:
        choices = choose(config, TrainingPart.of(data))
    fits = FeatureFits(data, _loss_of(data, config), config.model.orf_codons)
    if config.model.features == "auto":
        budget = config.training.time_budget
        seconds = read_duration(budget) if budget is not None else None
        until = None if seconds is None else job.started_at + _FEATURE_FRACTION * seconds
        choices["model.features"] = fits.choose(config, until)
    model = settled(config, choices).classifier(data.scheme.classes, data.scheme.task)
    if not (job.resume or model.features):
        choices |= patience(config, choices, len(data.split.train))
    log_choices(choices)
    config = settled(config, choices)
    regressions = list(model.regression_features.values())
    fit = fits.fit(regressions) if regressions else None
    return config, data, fit, {key: choice.reason for key, choice in choices.items()}


def _loss_of(data: PreparedData, config: ExperimentConfig) -> WeightedLoss | RegressionLoss:
    targets = data.scheme.targets(data.split.train)
    scale = target_scale(targets) if data.scheme.task == "regression" else {}
    return make_loss(data.scheme, targets, config.training.class_weights, scale)


def _start_folder(
    folder: RunFolder,
    data: PreparedData,
    config: ExperimentConfig,
    reasons: dict[str, str],
    *,
    device: str,
    seed: int,
) -> None:
    """Remove the files of an earlier run, and write what describes this one."""
    folder.clear()
    # First what proves that the other files are of a run, in case this process is killed.
    folder.write({"environment.txt": describe_environment(data.store, device=device, seed=seed)})
    folder.write(
        {
            "config.toml": to_toml(config, reasons),
            "split.tsv": data.split_table(),
            "leakage.json": json.dumps(data.audit.to_json(), indent=2) + "\n",
        }
    )


def _make_module(
    data: PreparedData,
    config: ExperimentConfig,
    curriculum: Curriculum,
    initial: InitialModel | None,
    record: checkpoints.RunRecord,
    *,
    seed: int,
    rows: int | None,
) -> ClassifierModule:
    pl.seed_everything(seed, verbose=False)
    scheme = data.scheme
    loss = _loss_of(data, config)
    scale = {}
    if isinstance(loss, RegressionLoss):
        scale = {"target_mean": loss.mean, "target_std": loss.std}
    lengths = dict(zip(("min_train_bp", "max_train_bp"), data.train_range_bp, strict=True))
    model = build_model(config, config.classifier(scheme.classes, scheme.task, **scale, **lengths))
    start_from(model, initial, config.training)
    if config.training.compile:
        runtime.compile_layers(model)
    return ClassifierModule(
        model,
        loss,
        config.training,
        seed=seed,
        run_record=record,
        curriculum=curriculum,
        rows=rows,
    )


def start_from(
    model: RMTClassifier, initial: InitialModel | None, settings: TrainingSettings
) -> None:
    """Load the initial weights, if there are any; freeze the encoder if it is to stay."""
    messages = []
    if initial is not None:
        messages.append(initial.load_into(model, keep_head=settings.keep_head))
    if settings.freeze == "encoder":
        model.encoder.step.requires_grad_(requires_grad=False)
        num_trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
        messages.append(f"The encoder is frozen: {counted(num_trained, 'weight')} are trained.")
    for message in messages:
        rank_zero_only(logger.info)(message)


def _saver(
    folder: RunFolder, data: PreparedData, config: ExperimentConfig, fit: Fit | None
) -> ModelSaver:
    finish = partial(finished_classifier, data=data, config=config, fit=fit)
    quietly = partial(finish, quiet=True)
    return ModelSaver(folder, data.store, data.split.train, finish, quietly)


def _callbacks(
    saver: ModelSaver,
    config: ExperimentConfig,
    metrics: MetricsLogger,
    distributed: DistributedSetup,
    control_run: Control | None,
    follows: ModelProgress | None,
    clock: Clock | None,
) -> list[pl.Callback]:
    settings, folder = config.training, saver.folder
    callbacks: list[pl.Callback] = [metrics]
    if clock is not None:
        budget = str(settings.time_budget)
        callbacks.append(TimeBudget(clock, budget, within_epochs=control_run is None))
    if distributed.is_rank_zero:
        callbacks.append(TrainingProgress(metrics, settings.max_epochs))
    if control_run is not None:
        callbacks.append(ReportToControl(control_run, metrics))
    saving = checkpoints.CheckpointCallback(
        folder,
        settings.patience,
        metrics.curriculum,
        minutes=settings.checkpoint_minutes,
        on_best=saver.save_so_far,
    )
    if follows is not None:
        saving = ControlCheckpoints(
            folder, metrics, model=follows, minutes=settings.checkpoint_minutes
        )
    return [*callbacks, saving]


def make_trainer(
    folder: RunFolder,
    config: ExperimentConfig,
    callbacks: list[pl.Callback],
    device: str,
    distributed: DistributedSetup,
) -> pl.Trainer:
    """Return Lightning's trainer with the settings of a run, or raise ConfigError."""
    settings = config.training
    try:
        return pl.Trainer(
            accelerator="gpu" if device == "cuda" else device,
            **distributed.trainer_options(),
            precision=_PRECISIONS[settings.precision],  # type: ignore[arg-type]
            max_epochs=settings.max_epochs,
            accumulate_grad_batches=settings.accumulate_batches,
            gradient_clip_val=settings.gradient_clip or None,
            callbacks=callbacks,
            plugins=[distributed.cluster_environment(), checkpoints.AtomicCheckpointIO()],
            default_root_dir=folder.path,
            num_sanity_val_steps=0,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"--device {device}, --devices {distributed.devices}: the training engine cannot start "
            f"here: {' '.join(str(error).split())} Run it as a program, not in an interactive "
            "shell or a notebook, or with --devices 1."
        ) from error
