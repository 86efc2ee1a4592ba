"""The training and the validation part as batches of similar length."""

import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from rmt_genomics import __version__
from rmt_genomics.datasets import (
    EncodedStore,
    Example,
    IntervalDataset,
    LabelScheme,
    LabelSource,
    LengthBuckets,
    Split,
    split_examples,
)
from rmt_genomics.datasets.label_checks import in_file, warn_of_regression
from rmt_genomics.datasets.label_table import quote_cell
from rmt_genomics.datasets.leakage import Audit, audit, check_leakage
from rmt_genomics.errors import ConfigError
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.curriculum import Curriculum, StagedBuckets, StagedDataset
from rmt_genomics.training.distributed import of_the_first, this_rank


class ResumableLoader(DataLoader[object]):
    """A loader whose place in an epoch is part of a checkpoint: the Trainer asks for it."""

    batch_sampler: LengthBuckets

    def state_dict(self) -> dict[str, int]:
        """Say which batches of which epoch have been served."""
        return self.batch_sampler.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Leave those out when that epoch is gone on with."""
        self.batch_sampler.load_state_dict(state_dict)


class SplitDataModule(LightningDataModule):
    """Serves the training part in a new order each epoch, and the validation part in one order.

    The Trainer tells the sampler the epoch's number; the order follows from it and the seed.
    Sequences come from a memory map, which is faster than worker processes that would copy
    them; so there are none.

    Args:
        store: The encoded FASTA file.
        split: Which examples are in which part.
        scheme: The classes.
        batch_size: Examples in a batch, over all processes.
        seed: Decides the orders.
        pin_memory: Page-lock batches on their way to a GPU.
        curriculum: Its stages shorten examples.
    """

    def __init__(
        self,
        store: EncodedStore,
        split: Split,
        scheme: LabelScheme,
        *,
        batch_size: int,
        seed: int,
        pin_memory: bool,
        curriculum: Curriculum | None = None,
    ) -> None:
        super().__init__()
        self.store = store
        self.split = split
        self.scheme = scheme
        self.batch_size = batch_size
        self.seed = seed
        self.pin_memory = pin_memory
        self.curriculum = curriculum or Curriculum()

    def setup(self, stage: str) -> None:
        """Take the batch size of the first process: the others have not measured any."""
        del stage
        self.batch_size = of_the_first(self.batch_size)

    @property
    def batches_an_epoch(self) -> int:
        """Count the training batches of all processes together."""
        return -(-len(self.split.train) // self.batch_size)

    def train_dataloader(self) -> DataLoader[object]:
        """Return the training part, shuffled."""
        return self._loader(self.split.train, shuffle=True)

    def val_dataloader(self) -> DataLoader[object]:
        """Return the validation part."""
        return self._loader(self.split.validation, shuffle=False)

    def _loader(self, examples: Sequence[Example], *, shuffle: bool) -> DataLoader[object]:
        dataset = self._dataset(examples, is_training=shuffle)
        rank, num_ranks = this_rank()
        how: dict[str, Any] = {"rank": rank, "num_ranks": num_ranks}
        how |= {"shuffle": shuffle, "seed": self.seed}
        if isinstance(dataset, StagedDataset):
            batches: LengthBuckets = StagedBuckets(dataset, self.batch_size, **how)
        else:
            batches = LengthBuckets(dataset.lengths, self.batch_size, **how)
        return ResumableLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=dataset.collate,
            pin_memory=self.pin_memory,
        )

    def _dataset(self, examples: Sequence[Example], *, is_training: bool) -> IntervalDataset:
        targets = self.scheme.targets(examples)
        if not self.curriculum.is_on:
            return IntervalDataset(self.store, examples, targets)
        return StagedDataset(
            self.store,
            examples,
            targets,
            curriculum=self.curriculum,
            seed=self.seed,
            is_training=is_training,
        )


_PACKAGES = ("torch", "pytorch-lightning", "numpy", "scikit-learn", "biopython")


@dataclass(frozen=True, slots=True)
class Prepared:
    """The data of a run, checked."""

    store: EncodedStore
    split: Split
    scheme: LabelScheme
    audit: Audit

    def split_table(self) -> str:
        """Write how each example is used, as a labels file that ``read_labels`` reads.

        Coordinates are 0-based and half-open. The group column is there if there are groups.
        """
        parts = {name: getattr(self.split, name) for name in ("train", "validation", "test")}
        has_groups = any(each.group is not None for part in parts.values() for each in part)
        columns = ["record", "start", "end", "strand", "label", *["group"] * has_groups, "split"]
        lines = ["\t".join(columns)]
        for name, examples in parts.items():
            for each in examples:
                place = each.interval
                cells = [place.record, str(place.start), str(place.end), place.strand]
                groups = [each.group or ""] * has_groups
                row = [*cells, ";".join(each.labels), *groups, name]
                lines.append("\t".join(map(quote_cell, row)))
        return "\n".join(lines) + "\n"


def prepare(
    fasta: Path,
    labels: LabelSource,
    config: ExperimentConfig,
    *,
    seed: int,
    strict: bool = False,
) -> Prepared:
    """Read the data, divide it, and warn if its parts leak into each other.

    Raises:
        DataError: At the first thing that breaks a rule; if ``strict``, a leak does.
    """
    labels.check()  # at once, not after encoding a long FASTA file
    store = EncodedStore.open(fasta, progress=sys.stderr.isatty())
    task = config.data.task
    examples = labels.read(store.records(), group_column=config.data.group, task=task)
    labels.check_classes(examples)
    with in_file(str(labels)):
        split = split_examples(
            examples,
            how=config.data.split,
            validation_fraction=config.data.validation_fraction,
            seed=seed,
            task=task,
        )
        scheme = LabelScheme.of(examples, task)
    if scheme.task == "regression" and config.training.class_weights == "none":
        raise ConfigError(
            "training.class_weights is 'none', but has no effect: the labels are numbers, which "
            "have no classes to be weighted. Leave it out."
        )
    warn_of_regression(str(labels), scheme.task, task)
    found = audit(store, split, scheme)
    check_leakage(found, strict=strict)
    return Prepared(store, split, scheme, found)


def environment(prepared: Prepared, *, device: str, seed: int) -> str:
    """Describe what a run ran on, for those who want to repeat it."""
    gpu = torch.cuda.get_device_name() if device == "cuda" else "none"
    facts = {
        "command": shlex.join(sys.argv),
        "seed": str(seed),
        "fasta_sha256": prepared.store.sha256,
        "python": platform.python_version(),
        "rmt-genomics": __version__,
        **{name: version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "threads": str(torch.get_num_threads()),
        "device": device,
        "gpu": gpu,
    }
    return "".join(f"{name}: {value}\n" for name, value in facts.items())
