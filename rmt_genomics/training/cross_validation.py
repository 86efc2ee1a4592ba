"""Cross-validation: a run for each fold, in folders ``fold-1``, ``fold-2`` and so on.

Each fold is an ordinary run whose test part is the fold. ``folds.json`` says how many there are and
of which data; a finished fold is not trained again, and an interrupted one is resumed.
"""

import hashlib
import json
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rmt_genomics.datasets import Example, LabelSource, SequenceStore
from rmt_genomics.datasets.folds import Fold
from rmt_genomics.datasets.label_checks import in_file
from rmt_genomics.errors import CheckpointError, ConfigError, RMTGenomicsWarning
from rmt_genomics.locks import is_unused
from rmt_genomics.model.fold_ensemble import read_folds
from rmt_genomics.model.pretrained import FOLDS, choose_device
from rmt_genomics.model.settings import as_toml
from rmt_genomics.parsing import as_path
from rmt_genomics.prediction.training_range import FILE_NAME as TRAINING_RANGE
from rmt_genomics.training import checkpoints, runtime
from rmt_genomics.training.automatic import (
    Choice,
    TrainingPart,
    choose,
    patience,
    read_initial,
    settled,
)
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.config_file import to_toml
from rmt_genomics.training.control import TrainingJob
from rmt_genomics.training.curriculum import Curriculum
from rmt_genomics.training.data_module import describe_environment, prepare_data, read_examples
from rmt_genomics.training.distributed import DistributedSetup
from rmt_genomics.training.run_folder import RunFolder
from rmt_genomics.training.saving import training_range
from rmt_genomics.training.train import TrainingResult, run_training

logger = logging.getLogger("rmt_genomics.training")

OnFold = Callable[[Path, TrainingResult | None], object]
_DATA = {  # what must not change between the runs of a cross-validation
    "seed": "the seed",
    "fasta_sha256": "the checksum of the sequences",
    "examples_sha256": "the checksum of the examples and their folds",
}


@runtime.log_to_stderr_by_default()
def cross_validate(  # noqa: PLR0913  # the options of the command line
    fasta: str | Path,
    labels: str | Path | LabelSource | None,
    out: str | Path,
    config: ExperimentConfig,
    *,
    folds: int | None = None,
    device: str = "auto",
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    strict: bool = False,
    window_bp: int | None = None,
    step_bp: int | None = None,
    on_fold: OnFold | None = None,
) -> list[Path]:
    """Train a model for each fold; all settings and data are checked before the first step.

    ``evaluation.evaluate_folds`` then evaluates them.

    Args:
        fasta: As for ``train``, like all arguments that are not explained here.
        labels: They must not name the parts of a split.
        out: Folder of the cross-validation.
        config: Settings.
        folds: Their number, at least 2. With ``resume`` None takes that of the folder.
        device: auto, cpu, cuda or mps.
        seed: Of the folds, and of each training.
        resume: Continue: finished folds are kept, and an interrupted one is resumed.
        overwrite: Replace an earlier run or cross-validation in ``out``.
        strict: Refuse leakage.
        window_bp: The same as the setting ``data.window_bp``.
        step_bp: The same as ``data.step_bp``.
        on_fold: Called after each fold with its run folder and its ``TrainingResult``, which is
            None if it had finished before.

    Returns:
        The run folders of the folds.

    Raises:
        RMTGenomicsError: As ``train`` does; or if there are too few examples or groups.
    """
    config = config.with_windows(window_bp, step_bp)
    if config.simulation.is_on:
        raise ConfigError(
            f"simulation.task is {config.simulation.task!r}, but --folds divides labelled "
            "examples. Leave one of them out."
        )
    if config.training.time_budget is not None:
        raise ConfigError(
            f"training.time_budget is {config.training.time_budget!r}, but --folds trains several "
            "models. Leave one of them out, or set training.max_epochs."
        )
    job = TrainingJob(
        fasta=as_path(fasta),
        labels=LabelSource.of(labels, fasta),
        out=as_path(out, "a folder"),
        config=config,
        device=device,
        seed=seed,
        resume=resume,
        overwrite=overwrite,
        strict=strict,
    )
    with RunFolder(job.out).writing():
        return _run(job, folds, on_fold or (lambda *_: None))


def is_cross_validation(out: Path) -> bool:
    """Whether a folder is that of a cross-validation."""
    return (out / FOLDS).is_file()


def _run(job: TrainingJob, folds: int | None, on_fold: OnFold) -> list[Path]:
    folder, config = RunFolder(job.out), job.config
    if folds is not None or not job.resume:
        Fold(1, folds or 0)  # checks their number
    folder.check_usable(
        inputs=job.inputs,
        resume=job.resume,
        overwrite=job.overwrite,
        is_cross_validation=True,
        num_folds=folds or 0,
    )
    stored = read_folds(folder.path) if job.resume else None
    if stored is not None:
        config = checkpoints.resumed_config(folder, config)
        folds = stored["folds"] if folds is None else folds
        if checkpoints.is_extended(folder, config):
            raise ConfigError(
                f"{folder.config}: training.max_epochs is now {config.training.max_epochs}, more "
                "than at the start, but a cross-validation is not extended. Start a new one."
            )
    all_folds = [Fold(number, folds or 0) for number in range(1, (folds or 0) + 1)]
    assert job.labels is not None, "labels are needed"
    store, examples = read_examples(job.fasta, job.labels, config.resolved())
    config = _with_choices(config, examples, is_new=stored is None)
    content = _describe(job, config, store, examples, all_folds)
    if stored is None:
        _check_trainable(job, config, all_folds)
        _start(folder, content, config, store, job)
    else:
        _check_same(folder, stored, content)
    folders = [folder.path / f"fold-{fold.number}" for fold in all_folds]
    for fold, run in zip(all_folds, map(RunFolder, folders), strict=True):
        logger.info("Fold %d of %d%s.", fold.number, fold.of, _state(run))
        result = None if run.is_finished else _train_fold(job, config, fold, run)
        on_fold(run.path, result)
        del result  # its model and its data
    if not (folder.path / TRAINING_RANGE).is_file():
        composition = training_range(store, examples)
        if composition is not None:
            composition.save(folder.path)
    return folders


def _with_choices(
    config: ExperimentConfig, examples: Sequence[Example], *, is_new: bool
) -> ExperimentConfig:
    """Return settings for all folds, those that are not given chosen by the data.

    But for the features, which each fold chooses by its own validation part.
    """
    lengths_bp = [len(example.interval) for example in examples]
    if is_new:
        config, _ = read_initial(config)
    choices = choose(config, TrainingPart(lengths_bp, len(examples))) if is_new else {}
    if config.model.features == "auto":
        choices["model.features"] = Choice("auto", "each fold chooses")
    elif is_new and config.model.features == "none":
        choices |= patience(config, choices, len(examples))
    return settled(config, choices)


def _check_trainable(job: TrainingJob, config: ExperimentConfig, folds: Sequence[Fold]) -> None:
    """Raise what the training of a fold would, before an earlier run is removed.

    That is what the settings say of the first fold, and with ``strict`` leakage in any.
    """
    runtime.check_compiler(wanted=config.training.compile, device=choose_device(job.device).type)
    with warnings.catch_warnings(action="ignore", category=RMTGenomicsWarning):  # later, once
        for fold in folds if job.strict else folds[:1]:
            data = prepare_data(
                job.fasta, job.labels, config, seed=job.seed, strict=job.strict, fold=fold
            )
            Curriculum.of(config, data.scheme.task, data.train_range_bp[1])


def _state(run: RunFolder) -> str:
    return ": it is trained already" if run.is_finished else ""


def _train_fold(
    job: TrainingJob, config: ExperimentConfig, fold: Fold, run: RunFolder
) -> TrainingResult:
    """Train one fold, or go on with it where it was interrupted."""
    can_resume = job.resume and run.config.is_file()
    try:
        return run_training(
            TrainingJob(
                fasta=job.fasta,
                labels=job.labels,
                out=run.path,
                config=config,
                device=job.device,
                seed=job.seed,
                resume=can_resume,
                # Only what is proved to be of a run; that it may was checked at the start.
                overwrite=not (can_resume or is_unused(run.path)),
                strict=job.strict,
                fold=fold,
            ),
            DistributedSetup(),
        )
    except KeyboardInterrupt as stop:  # its message would name the folder of the fold
        raise KeyboardInterrupt from stop


def _describe(
    job: TrainingJob,
    config: ExperimentConfig,
    store: SequenceStore,
    examples: Sequence[Example],
    folds: Sequence[Fold],
) -> dict[str, Any]:
    """Return the content of ``folds.json``, after checking that each fold can be trained."""
    digest = hashlib.sha256()
    settings = config.data
    for fold in folds:
        with in_file(str(job.labels)):
            split = fold.split(
                examples,
                how=settings.split,
                validation_fraction=settings.validation_fraction,
                seed=job.seed,
                task=settings.task,
            )
        for example in split.test:
            labels = ";".join(example.labels)
            digest.update(f"{fold.number}\t{example.interval}\t{labels}\n".encode())
    return {
        "folds": len(folds),
        "seed": job.seed,
        "fasta_sha256": store.sha256,
        "examples_sha256": digest.hexdigest(),
    }


def _start(
    folder: RunFolder,
    content: dict[str, Any],
    config: ExperimentConfig,
    store: SequenceStore,
    job: TrainingJob,
) -> None:
    """Remove the files of an earlier run, and write what describes this one."""
    folder.clear()
    device = choose_device(job.device).type
    # First what proves that the other files are of a run, in case this process is killed.
    folder.write({"environment.txt": describe_environment(store, device=device, seed=job.seed)})
    folder.write({FOLDS: json.dumps(content, indent=2) + "\n"})
    folder.write({"config.toml": to_toml(config)})


def _check_same(folder: RunFolder, stored: dict[str, Any], content: dict[str, Any]) -> None:
    """Raise CheckpointError if a resumed cross-validation is of other data, or has other folds."""
    for key, what in {"folds": "the number of folds", **_DATA}.items():
        if stored.get(key) != content[key]:
            raise CheckpointError(
                f"{folder.path / FOLDS}: {what} was {as_toml(stored.get(key))} when the "
                f"cross-validation started and is now {as_toml(content[key])}, but a resumed one "
                "must not change. Restore what it started with, or start a new one."
            )
