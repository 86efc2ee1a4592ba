"""``pretrain``: from DNA without labels to an encoder that predicts masked bases.

Records are split by homology, so that no validation record is similar to one of training, and cut
into windows. In each epoch other bases are masked; in validation they are always the same.
Everything else is as in ``train``: batches, checkpoints, resuming, several processes.
"""

import logging
import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from rmt_genomics.datasets import Batch, EncodedStore, Example, Split
from rmt_genomics.datasets.batches import Item
from rmt_genomics.datasets.clusters import Homology, describe_groups
from rmt_genomics.datasets.similarity import percent
from rmt_genomics.dna import Interval
from rmt_genomics.dna.alphabet import pad_codes
from rmt_genomics.errors import ConfigError, DataError, counted
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.backbones import BackboneSettings
from rmt_genomics.model.config import PRETRAINING
from rmt_genomics.model.initial_weights import InitialModel, initial_files
from rmt_genomics.model.masked_bases import (
    PretrainingSettings,
    mask_codes,
    mask_random,
    masked_base_loss,
    masked_base_losses,
)
from rmt_genomics.model.pretrained import choose_device
from rmt_genomics.model.settings import as_toml
from rmt_genomics.model.tokenization import N
from rmt_genomics.parsing import as_path, as_paths
from rmt_genomics.training import checkpoints, distributed, runtime
from rmt_genomics.training.automatic import (
    Choice,
    TrainingPart,
    choose,
    log_choices,
    read_initial,
    settled,
)
from rmt_genomics.training.callbacks import MetricsLogger, Row, TrainingProgress, best_row
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.config_file import to_toml
from rmt_genomics.training.curriculum import Curriculum, StagedDataset
from rmt_genomics.training.data_module import (
    RunData,
    RunDataModule,
    check_known_bases,
    describe_environment,
)
from rmt_genomics.training.distributed import DistributedSetup
from rmt_genomics.training.module import TrainingModule
from rmt_genomics.training.run_folder import RunFolder
from rmt_genomics.training.saving import ModelSaver
from rmt_genomics.training.train import make_trainer, start_from

logger = logging.getLogger("rmt_genomics.training")

WINDOW_BP, VALIDATION_FRACTION = 16_384, 0.1

_WITHOUT_EFFECT = (
    *("data.split", "data.group", "data.task", "data.unlabelled", "data.min_class_size"),
    *("model.features", "model.feature_head", "model.orf_codons", "model.strand_head"),
    *("model.head_layers", "model.memory_reset", "training.class_weights", "training.threshold"),
    *("training.time_budget", "training.shift_bp", "training.keep_head", "training.freeze"),
    *(f"model.{name}" for name in BackboneSettings.model_fields),
)
"""Settings of a classifier, or of its data. Sections with stages or simulations are refused too."""

_SAMPLE = 7  # separates its random numbers from those of other modules


@dataclass(frozen=True, slots=True)
class PretrainingResult:
    """The result of a finished pretraining; ``data`` and ``model`` are None but on rank 0."""

    model_dir: Path
    metrics: Row
    """The row of ``metrics.jsonl`` of the best epoch, whose weights the model has."""

    config: ExperimentConfig
    data: RunData | None = None
    model: RMTClassifier | None = None


def check_settings(config: ExperimentConfig) -> None:
    """Raise ConfigError at a setting that cannot be used, or has no effect, without labels."""
    values, defaults = config.flat(), ExperimentConfig().flat()
    ignored = ("curriculum.", "simulation.")
    for key, value in values.items():
        if value == defaults[key] or (key == "model.features" and value == "none"):
            continue
        if key in _WITHOUT_EFFECT or key.startswith(ignored):
            raise ConfigError(
                f"{key} is {as_toml(value)}, but has no effect in pretraining, which has no labels "
                "and no stages. Leave it out."
            )
    if config.training.batch_size == "auto":
        raise ConfigError(
            "training.batch_size is 'auto', but must be a number in pretraining. Leave it out, or "
            "give one."
        )
    config.classifier((), PRETRAINING)  # checks the tokenizer


def prepare(
    fasta: Sequence[Path], config: ExperimentConfig, *, seed: int
) -> tuple[RunData, ExperimentConfig, dict[str, Choice]]:
    """Read the sequences, split them by homology and cut them into windows.

    Also returns the settings with windows and validation fraction, and their reasons.

    Raises:
        DataError: If a file cannot be read, or all records are related.
    """
    given, choices = config.given(), dict[str, Choice]()
    changes: dict[str, Any] = {}
    if "data.window_bp" not in given:
        changes["window_bp"] = WINDOW_BP
        choices["data.window_bp"] = Choice(WINDOW_BP, "long records are read in parts")
    if "data.validation_fraction" not in given:
        changes["validation_fraction"] = VALIDATION_FRACTION
        choices["data.validation_fraction"] = Choice(VALIDATION_FRACTION, "of the base pairs")
    given_data = {key[5:]: value for key, value in given.items() if key.startswith("data.")}
    config = config.replace(data=type(config.data)(**{**given_data, **changes}))
    store = EncodedStore.open(fasta, names=config.data.names)
    records = [
        Example(Interval(name, 0, length), True, ())  # noqa: FBT003 (a whole record)
        for name, length in store.lengths.items()
    ]
    split = split_records(store, records, config, seed=seed)
    windows = config.data.windows
    if windows is not None:
        split = Split(tuple(windows.cut(split.train)), tuple(windows.cut(split.validation)), ())
    check_known_bases(", ".join(map(str, fasta)), store, split.train)
    check_known_bases(", ".join(map(str, fasta)), store, split.validation)
    return RunData(store, split), config, choices


def split_records(
    store: EncodedStore, records: Sequence[Example], config: ExperimentConfig, *, seed: int
) -> Split:
    """Hold whole groups of related records out for validation: a fraction of the base pairs.

    The groups are taken in random order, each if it brings the validation part nearer to its size.
    """
    identity, fraction = config.data.identity, config.data.validation_fraction
    groups = Homology.of(store, records, identity).groups(identity)
    sizes: dict[str, int] = {}
    for record, group in zip(records, groups, strict=True):
        sizes[group] = sizes.get(group, 0) + len(record.interval)
    if len(sizes) < 2:
        raise DataError(
            f"{', '.join(map(str, store.paths))}: {counted(len(records), 'record')} in 1 group at "
            f"{percent(identity)} identity, but validation needs records that are unlike those of "
            "training. Add other genomes, or raise data.identity."
        )
    names = sorted(sizes)
    wanted, held_out, chosen = fraction * sum(sizes.values()), 0, set[str]()
    for index in np.random.default_rng(seed).permutation(len(names)).tolist():
        size = sizes[names[index]]
        is_nearer = abs(held_out + size - wanted) < abs(held_out - wanted)
        if is_nearer and len(chosen) + 1 < len(names):
            held_out += size
            chosen.add(names[index])
    chosen = chosen or {min(names, key=lambda name: sizes[name])}
    logger.info("Groups at %s identity: %s.", percent(identity), describe_groups(groups))
    parts: dict[bool, list[Example]] = {True: [], False: []}
    for record, group in zip(records, groups, strict=True):
        parts[group in chosen].append(Example(record.interval, whole=True, labels=(), group=group))
    return Split(tuple(parts[False]), tuple(parts[True]), ())


class MaskedDataset(StagedDataset):
    """Examples with masked bases, others in each epoch; the targets are the masked bases."""

    epoch = 0
    masking = PretrainingSettings()

    def begin_epoch(self, epoch: int) -> None:
        """Choose the bases that an epoch masks."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> Item:
        """Read an example and mask some of its bases."""
        name = self.examples[index].name
        random = mask_random(self.seed, name, self.epoch if self.is_training else None)
        masked = mask_codes(self.store.codes(self.intervals[index]), self.masking, random)
        return Item(torch.from_numpy(masked.codes), torch.from_numpy(masked.targets), name)

    def collate(self, items: Sequence[Item]) -> Batch:
        """Pad masked bases as the sequences are; without items, the batch has no rows."""
        if not items:
            none = torch.empty((0, 0), dtype=torch.uint8)
            return Batch(none, torch.empty(0, dtype=torch.int64), none, [])
        codes, lengths = map(torch.from_numpy, pad_codes([item.codes.numpy() for item in items]))
        targets, _ = pad_codes([item.target.numpy() for item in items])
        return Batch(codes, lengths, torch.from_numpy(targets), [item.name for item in items])


class MaskedDataModule(RunDataModule):
    """Serves windows with masked bases."""

    masking = PretrainingSettings()

    @cached_property
    def validation(self) -> list[Example]:  # type: ignore[override]
        """The validation part, or a random sample of it."""
        examples, count = self.data.split.validation, self.settings.validation_examples
        if count is None or count >= len(examples):
            return list(examples)
        random = np.random.default_rng([self.seed, _SAMPLE])
        return [examples[at] for at in sorted(random.permutation(len(examples))[:count].tolist())]

    def dataset(self, examples: Sequence[Example], *, is_training: bool) -> StagedDataset:
        """Return the examples with masked bases."""
        dataset = MaskedDataset(
            self.data.store,
            examples,
            np.zeros(len(examples), np.int64),
            curriculum=self.curriculum,
            seed=self.seed,
            is_training=is_training,
        )
        dataset.masking = self.masking
        return dataset


class PretrainingModule(TrainingModule):
    """An encoder that learns to predict masked bases: the loss is the mean over them, in nats."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.validation_sums: list[tuple[float, int]] = []

    @property
    def steps(self) -> set[torch.nn.Module]:
        """The embedding: the transformer itself is not called as a module."""
        models = (self.model, self.evaluated_model)
        return {model.encoder.transformer.embed for model in models}

    def count(self, batch: Batch) -> int:
        """Return the number of masked bases."""
        return int((batch.targets != N).sum())

    def loss_of(self, batch: Batch) -> Tensor:
        """Return the sum over the masked bases."""
        codes, targets = batch.codes, batch.targets[:, : batch.codes.shape[1]]
        return masked_base_loss(
            self.model.encoder,
            self.model.head,
            codes,
            targets,
            batch.lengths,
            **self.replay_options(),
        )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add up the loss of the masked bases."""
        del batch_idx
        model = self.evaluated_model

        def sums(parts: list[Batch]) -> float:
            losses = (
                masked_base_losses(
                    model.encoder,
                    model.head,
                    part.codes,
                    part.targets[:, : part.codes.shape[1]],
                    part.lengths,
                )
                for part in parts
            )
            return sum(float(each.double().sum()) for each in losses)

        if batch.names:
            total = self.micro_batches.retry(sums, batch)
            if not math.isfinite(total):
                raise self.not_finite("validation loss", total, batch.names)
            self.validation_sums.append((total, self.count(batch)))

    def on_validation_epoch_end(self) -> None:
        """Compute the mean over all masked bases."""
        sums = distributed.all_gather(self.validation_sums)
        self.validation_sums = []
        loss = sum(total for total, _ in sums) / max(1, sum(count for _, count in sums))
        self.validation = {"val_loss": loss, "val_bits_per_base": loss / math.log(2)}


@runtime.log_to_stderr_by_default()
def pretrain(  # noqa: PLR0913  # the options of the command line
    fasta: str | Path | Sequence[str | Path],
    out: str | Path,
    config: ExperimentConfig,
    *,
    device: str = "auto",
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    devices: int = 1,
    num_nodes: int = 1,
) -> PretrainingResult:
    """Pretrain an encoder on DNA without labels; the folder is a model folder.

    Args:
        fasta: Files of sequences, or folders of such files (see ``dna.read_records``).
        out: As for ``train``.
        config: Settings; ``pretraining`` has those of the masked bases.
        device: As for ``train``, as are the other arguments.
        seed: Of everything random.
        resume: Resume the interrupted run in ``out``.
        overwrite: Replace an earlier run in ``out``.
        devices: Processes per machine.
        num_nodes: Machines.

    Raises:
        ConfigError: If settings are wrong, or the loss is not a finite number.
        DataError: If the data or the folder cannot be used, or the disk is full.
        CheckpointError: If there is nothing to resume, or it is another run.
    """
    folder, paths = RunFolder(as_path(out, "a run folder")), as_paths(fasta)
    processes, kind = DistributedSetup(devices, num_nodes), choose_device(device).type
    processes.check(kind)
    runtime.check_compiler(wanted=config.training.compile, device=kind)
    with folder.writing(locks=processes.is_rank_zero):
        if processes.is_rank_zero:
            inputs = [*paths, *initial_files(config.training.init_from)]
            folder.check_usable(inputs=inputs, resume=resume, overwrite=overwrite)
        if resume:
            config = checkpoints.resumed_config(folder, config)
        check_settings(config)
        checkpoint = folder.last if resume and folder.last.exists() else None
        config, initial = read_initial(config) if checkpoint is None else (config, None)
        with processes.rank_zero_warnings():
            data, config, choices = prepare(paths, config, seed=seed)
        if not resume:
            choices |= _choose(config, data)
            log_choices(choices)
        config = settled(config, choices)
        reasons = {key: choice.reason for key, choice in choices.items()}
        run = _Run(folder, config, data, initial, processes, kind, seed)
        return run.fit(reasons, checkpoint)


def _choose(config: ExperimentConfig, data: RunData) -> dict[str, Choice]:
    """Return the settings that are not given, as for a training on the windows."""
    part = TrainingPart(data.train_lengths_bp, len(data.split.validation))
    choices = choose(config, part)
    choices.pop("training.shift_bp", None)
    if "model.dropout" in choices:
        choices["model.dropout"] = Choice(0.0, "other bases are masked in each epoch")
    return choices


@dataclass(frozen=True, slots=True)
class _Run:
    """One pretraining, all settings known."""

    folder: RunFolder
    config: ExperimentConfig
    data: RunData
    initial: InitialModel | None
    processes: DistributedSetup
    device: str
    seed: int

    def fit(self, reasons: dict[str, str], checkpoint: Path | None) -> PretrainingResult:
        """Train, from a checkpoint if there is one, and save the best model."""
        folder, config, settings = self.folder, self.config, self.config.training
        record = checkpoints.run_record(self.data, config, seed=self.seed)
        metrics = MetricsLogger(folder)
        callbacks: list[pl.Callback] = [metrics]
        if self.processes.is_rank_zero:
            callbacks.append(TrainingProgress(metrics, settings.max_epochs))
        minutes = settings.checkpoint_minutes
        saver = ModelSaver(folder, self.data.store, self.data.split.train, _finished)
        callbacks.append(
            checkpoints.CheckpointCallback(
                folder, settings.patience, minutes=minutes, on_best=saver.save_so_far
            )
        )
        with self.processes.session(), runtime.engine(self.device):
            module = self._module(record)
            loaders = MaskedDataModule(
                self.data, Curriculum(), settings, seed=self.seed, device=self.device
            )
            loaders.masking = config.pretraining
            trainer = make_trainer(folder, config, callbacks, self.device, self.processes)
            if checkpoint is not None:
                checkpoints.load_weights_of_run(module, checkpoint, record)
                checkpoints.save_epochs(folder, config, writes=self.processes.is_rank_zero)
            elif self.processes.is_rank_zero:
                self._start_folder(reasons)
            trainer.fit(module, loaders, ckpt_path=checkpoint, weights_only=True)
            model = saver.save_best(module) if self.processes.is_rank_zero else None
        data = None if model is None else self.data
        return PretrainingResult(folder.path, best_row(metrics.rows), config, data, model)

    def _module(self, record: checkpoints.RunRecord) -> PretrainingModule:
        pl.seed_everything(self.seed, verbose=False)
        lengths = dict(zip(("min_train_bp", "max_train_bp"), self.data.train_range_bp, strict=True))
        model = RMTClassifier(self.config.classifier((), PRETRAINING, **lengths))
        start_from(model, self.initial, self.config.training)
        if self.config.training.compile:
            runtime.compile_layers(model)
        settings = self.config.training
        return PretrainingModule(model, settings, seed=self.seed, run_record=record)

    def _start_folder(self, reasons: dict[str, str]) -> None:
        """Remove the files of an earlier run, and write what describes this one."""
        self.folder.clear()
        store = self.data.store
        environment = describe_environment(store, device=self.device, seed=self.seed)
        self.folder.write({"environment.txt": environment})
        self.folder.write(
            {"config.toml": to_toml(self.config, reasons), "split.tsv": self.data.split_table()}
        )


def _finished(module: TrainingModule) -> RMTClassifier:
    """Return a copy of the encoder as it is saved."""
    return deepcopy(module.evaluated_model).cpu().eval().requires_grad_()
