"""The data of a run: read, checked and split, then served as batches of similar length."""

import logging
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from rmt_genomics import __version__
from rmt_genomics.datasets import (
    Example,
    LabelScheme,
    LabelSource,
    LengthBuckets,
    SequenceStore,
    Split,
    open_sequences,
    split_examples,
)
from rmt_genomics.datasets.batches import describe_sample, stratified_sample
from rmt_genomics.datasets.examples import SPLITS
from rmt_genomics.datasets.folds import Fold
from rmt_genomics.datasets.fresh_examples import SimulatedStore
from rmt_genomics.datasets.label_checks import in_file, warn_of_regression
from rmt_genomics.datasets.leakage import Audit, audit, check_leakage
from rmt_genomics.datasets.make_split import format_table, new_columns
from rmt_genomics.dna.alphabet import UNKNOWN
from rmt_genomics.errors import ConfigError, DataError, counted
from rmt_genomics.training.config import ExperimentConfig, TrainingSettings
from rmt_genomics.training.curriculum import Curriculum, StagedBuckets, StagedDataset
from rmt_genomics.training.distributed import broadcast, rank_and_world_size
from rmt_genomics.training.fresh_data import FreshDataset, open_simulated, source_examples
from rmt_genomics.training.thresholds import check_threshold

logger = logging.getLogger(__name__)

_PACKAGES = ("torch", "pytorch-lightning", "numpy", "scikit-learn", "biopython")


@dataclass(frozen=True, slots=True)
class RunData:
    """The sequences of a run, and which examples are in which part."""

    store: SequenceStore
    split: Split

    @property
    def train_range_bp(self) -> tuple[int, int]:
        """The lengths of the shortest and the longest training example in bp."""
        if isinstance(self.store, SimulatedStore):
            return self.store.fresh.length_range_bp
        return min(self.train_lengths_bp), max(self.train_lengths_bp)

    @property
    def train_lengths_bp(self) -> list[int]:
        """The length of each training example in bp."""
        return [len(example.interval) for example in self.split.train]

    def split_table(self) -> str:
        """Return all examples with their part, as a labels file that ``read_labels`` reads.

        Coordinates are 0-based and half-open. There is a group column if there are groups. If
        examples are simulated, the rows are their source records, without a label.
        """
        parts = {name: getattr(self.split, name) for name in SPLITS}
        if isinstance(self.store, SimulatedStore):
            parts = source_examples(self.store)
        examples = [example for part in parts.values() for example in part]
        columns = new_columns(examples, [name for name, part in parts.items() for _ in part])
        return format_table(examples, columns, intervals=True)


@dataclass(frozen=True, slots=True)
class PreparedData(RunData):
    """The checked data of a run with labels."""

    scheme: LabelScheme
    audit: Audit


def read_and_split(
    fasta: Path,
    labels: LabelSource,
    config: ExperimentConfig,
    *,
    seed: int,
    fold: Fold | None = None,
    cache: Path | None = None,
) -> tuple[SequenceStore, list[Example], Split]:
    """Return the sequences, all examples, and their split, or that of a fold."""
    store, examples = read_examples(fasta, labels, config, cache)
    options: dict[str, Any] = {
        "how": config.data.split,
        "validation_fraction": config.data.validation_fraction,
        "seed": seed,
        "task": config.data.task,
    }
    with in_file(str(labels)):
        if fold is not None:
            return store, examples, fold.split(examples, **options)
        return store, examples, split_examples(examples, **options)


def read_examples(
    fasta: Path, labels: LabelSource, config: ExperimentConfig, cache: Path | None = None
) -> tuple[SequenceStore, list[Example]]:
    """Return the sequences, and the examples, cut into windows if that is set.

    ``cache`` is the folder for encoded sequences, if it is not the default one.
    """
    labels.check()  # before a long FASTA file is read
    settings, task = config.data, config.data.task
    store = open_sequences(
        fasta,
        cache,
        intervals_only=labels.has_intervals(),
        progress=sys.stderr.isatty(),
        names=settings.names,
    )
    examples = labels.read(
        store.records(),
        group_column=settings.group,
        task=task,
        unlabelled=settings.unlabelled,
        min_class_size=settings.min_class_size,
    )
    labels.check_classes(examples)
    if (windows := config.data.windows) is not None:
        with in_file(str(labels)):
            examples = windows.cut(examples)
    return store, examples


def prepare_data(
    fasta: Path,
    labels: LabelSource | None,
    config: ExperimentConfig,
    *,
    seed: int,
    strict: bool = False,
    fold: Fold | None = None,
    cache: Path | None = None,
) -> PreparedData:
    """Read and split the data, and warn of leakage between the parts.

    Without labels, examples are simulated. ``fold`` is that of a cross-validation, and ``cache``
    the folder for encoded sequences, if it is not the default one.

    Raises:
        DataError: At the first thing that breaks a rule; if ``strict``, leakage does.
    """
    if labels is None:
        return _prepare_simulated(fasta, config, seed=seed, strict=strict)
    store, examples, split = read_and_split(
        fasta, labels, config, seed=seed, fold=fold, cache=cache
    )
    check_known_bases(fasta, store, split.train)
    with in_file(str(labels)):
        scheme = LabelScheme.of(examples, config.data.task)
    if scheme.task == "regression" and config.training.class_weights == "none":
        raise ConfigError(
            "training.class_weights is 'none', but has no effect: the labels are numbers, which "
            "have no classes to be weighted. Leave it out."
        )
    check_threshold(config.training.threshold, scheme)
    warn_of_regression(str(labels), scheme.task, config.data.task)
    leakage = audit(store, split, scheme, config.data.identity)
    check_leakage(leakage, strict=strict, remedy=labels.new_split)
    return PreparedData(store, split, scheme, leakage)


def check_known_bases(fasta: object, store: SequenceStore, train: Sequence[Example]) -> None:
    """Raise DataError if no training example has a base; reads until one has."""
    if not any((store.codes(example.interval) < UNKNOWN).any() for example in train):
        raise DataError(
            f"{fasta}: none of the {counted(len(train), 'training example')} has a known base (A, "
            "C, G or T), so there is nothing to learn from. Give other sequences."
        )


def _prepare_simulated(
    genomes: Path, config: ExperimentConfig, *, seed: int, strict: bool
) -> PreparedData:
    store = open_simulated(genomes, config, seed=seed)
    split = store.split()
    scheme = LabelScheme.of([*split.train, *split.validation], "classification")
    check_threshold(config.training.threshold, scheme)
    sources, source_split = store.fresh.sources.store, Split(**source_examples(store))
    leakage = audit(sources, source_split, scheme, config.data.identity, simulated=(store, split))
    check_leakage(leakage, strict=strict)
    return PreparedData(store, split, scheme, leakage)


def describe_environment(store: SequenceStore, *, device: str, seed: int) -> str:
    """Return the content of ``environment.txt``: what is needed to repeat a run."""
    values = {
        "command": shlex.join(sys.argv),
        "date": datetime.now(UTC).isoformat(" ", "seconds"),
        "seed": str(seed),
        "fasta_sha256": store.sha256,
        "python": platform.python_version(),
        "rmt-genomics": __version__,
        **{name: version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "threads": str(torch.get_num_threads()),
        "device": device,
        "gpu": torch.cuda.get_device_name() if device == "cuda" else "none",
    }
    return "".join(f"{name}: {value}\n" for name, value in values.items())


def examples_in_epoch(settings: TrainingSettings, num_train: int) -> int:
    """Return how many of the examples of the training part an epoch has."""
    return min(num_train, settings.examples_per_epoch or num_train)


class RunDataModule(LightningDataModule):
    """Serves the training part in a new order each epoch, and the validation part in one order.

    The Trainer passes the epoch's number to the sampler; the order follows from it and the seed.
    Sequences come from a memory map or by an index, which is faster than worker processes that
    would copy them; so there are none. The settings have a batch size, and say if an epoch, or a
    validation, has a sample of its part.
    """

    validation: Sequence[Example]
    """The validation part, or the sample of it that is evaluated after each epoch."""

    def __init__(
        self,
        data: RunData,
        curriculum: Curriculum,
        settings: TrainingSettings,
        *,
        seed: int,
        device: str,
    ) -> None:
        super().__init__()
        self.data = data
        self.curriculum = curriculum
        self.settings = settings
        self.seed = seed
        self.pin_memory = device == "cuda"

    def setup(self, stage: str) -> None:
        """Take the settings of rank 0, the only process that has measured the batch size."""
        del stage
        self.settings = broadcast(self.settings)
        if rank_and_world_size()[0] == 0:
            self._log_samples()

    @property
    def batch_size(self) -> int:
        """Examples in a batch, over all processes."""
        return int(self.settings.batch_size)  # "auto" has been resolved

    @property
    def examples_per_epoch(self) -> int:
        """Examples that an epoch trains on, over all processes."""
        return examples_in_epoch(self.settings, len(self.data.split.train))

    def dataset(self, examples: Sequence[Example], *, is_training: bool) -> StagedDataset:
        """Return what the examples are read by."""
        raise NotImplementedError

    def describe_validation(self) -> str:
        """Name the sample of the validation part, for a message."""
        return f"{len(self.validation):,} of {counted(len(self.data.split.validation), 'example')}"

    def _log_samples(self) -> None:
        """Log once which examples an epoch has, if not all."""
        split = self.data.split
        for name, part in (
            ("examples_per_epoch", split.train),
            ("validation_examples", split.validation),
        ):
            if (getattr(self.settings, name) or 0) > len(part):
                logger.info(f"training.{name}: there are only {len(part):,}; all are used")
        if self.examples_per_epoch < len(split.train):
            of = f"{self.examples_per_epoch:,} of {len(split.train):,}"
            logger.info(f"each epoch trains on {of} examples")
        if len(self.validation) < len(split.validation):
            sample = self.describe_validation()
            logger.info(f"validation after each epoch: {sample}, always the same")

    def train_dataloader(self) -> DataLoader[object]:
        """Return the training part, shuffled."""
        return self._loader(self.data.split.train, is_training=True)

    def val_dataloader(self) -> DataLoader[object]:
        """Return the validation part, or the sample of it."""
        return self._loader(self.validation, is_training=False)

    def _loader(self, examples: Sequence[Example], *, is_training: bool) -> DataLoader[object]:
        rank, num_ranks = rank_and_world_size()
        dataset = self.dataset(examples, is_training=is_training)
        sampler = StagedBuckets(
            dataset,
            self.batch_size,
            shuffle=is_training,
            seed=self.seed,
            rank=rank,
            num_ranks=num_ranks,
            epoch_size=self.examples_per_epoch if is_training else None,
        )
        return ResumableLoader(
            dataset, batch_sampler=sampler, collate_fn=dataset.collate, pin_memory=self.pin_memory
        )


class SplitDataModule(RunDataModule):
    """Serves examples with labels."""

    data: PreparedData

    @cached_property
    def validation(self) -> list[Example]:  # type: ignore[override]
        """The validation part, or a sample of it with the classes in their proportions."""
        examples, count = self.data.split.validation, self.settings.validation_examples
        return stratified_sample(examples, count, self.data.scheme, seed=self.seed)

    def describe_validation(self) -> str:
        """Name the sample of the validation part, with its classes."""
        return describe_sample(self.validation, self.data.split.validation, self.data.scheme)

    def dataset(self, examples: Sequence[Example], *, is_training: bool) -> StagedDataset:
        """Return examples of the sequences, or simulated ones."""
        make = FreshDataset if isinstance(self.data.store, SimulatedStore) else StagedDataset
        return make(
            self.data.store,
            examples,
            self.data.scheme.targets(examples),
            curriculum=self.curriculum,
            seed=self.seed,
            is_training=is_training,
        )


class ResumableLoader(DataLoader[object]):
    """A loader whose position in an epoch is part of a checkpoint: the Trainer saves its state."""

    batch_sampler: LengthBuckets

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and the number of batches served."""
        return self.batch_sampler.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Skip the batches of that epoch that were served."""
        self.batch_sampler.load_state_dict(state_dict)
