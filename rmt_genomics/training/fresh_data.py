"""Training on fresh simulated examples: the settings ``simulation``, applied to genomes."""

import sys
from pathlib import Path

import torch

from rmt_genomics.datasets import EncodedStore, Example
from rmt_genomics.datasets.batches import Item
from rmt_genomics.datasets.examples import SPLITS
from rmt_genomics.datasets.fresh_examples import FreshExamples, SimulatedStore
from rmt_genomics.datasets.source_records import SourceRecords
from rmt_genomics.dna import Interval
from rmt_genomics.training.config import ExperimentConfig
from rmt_genomics.training.curriculum import StagedDataset, stage_lengths_bp


def open_simulated(genomes: Path, config: ExperimentConfig, *, seed: int) -> SimulatedStore:
    """Read the genomes and their groups, and return the examples that do not change.

    Raises:
        ConfigError: If a length is too short for the task.
        DataError: If the genomes or their groups cannot be used.
    """
    settings = config.simulation
    groups = Path(settings.groups) if settings.groups else None
    store = EncodedStore.open(genomes, progress=sys.stderr.isatty(), names=config.data.names)
    model = config.classifier(("any", "other"), "binary")
    tokens = model.rmt().tokens_per_segment
    return SimulatedStore(
        FreshExamples(
            sources=SourceRecords.of(store, groups, seed=seed),
            task=settings.task,
            length_range_bp=settings.length_range_bp,
            num_examples={
                "train": settings.examples_per_epoch,
                "validation": settings.validation_examples,
                "test": settings.validation_examples,
            },
            seed=seed,
            gc_difference=settings.gc_difference,
            max_epochs=config.training.max_epochs,
            stage_bp=stage_lengths_bp(config.curriculum.segments, tokens, model.tokenizer),
        )
    )


def source_examples(store: SimulatedStore) -> dict[str, tuple[Example, ...]]:
    """Return the source records of each part as examples without a label."""
    sources, longest = store.fresh.sources, store.fresh.length_range_bp[1]
    return {
        part: tuple(
            Example(Interval(record, 0, sources.store.lengths[record]), True, (), group)  # noqa: FBT003
            for record, group in sources.part(part, longest).items()
        )
        for part in SPLITS
    }


class FreshDataset(StagedDataset):
    """Examples that are made anew in each epoch, in the length of the present stage.

    In validation they are the same in all epochs of a stage.
    """

    store: SimulatedStore
    epoch = 0

    def begin_epoch(self, epoch: int) -> None:
        """Choose the examples of an epoch: their lengths now, their bases when they are read."""
        self.epoch = epoch if self.is_training else 0
        self.whole_bp = self.store.fresh.lengths(self._part, self.epoch)
        lengths = self.stage_lengths(self.epoch)
        self.intervals = [
            Interval(example.interval.record, 0, length_bp)
            for example, length_bp in zip(self.examples, lengths.tolist(), strict=True)
        ]

    def __getitem__(self, index: int) -> Item:
        """Make an example."""
        fresh = self.store.fresh
        least = fresh.gc_difference_at(self.epoch) if self.is_training else 0.0
        length_bp = len(self.intervals[index])
        codes = fresh.codes(self._part, self.epoch, index, length_bp, gc_difference=least)
        name = (
            f"example {index + 1} of the epoch" if self.is_training else self.examples[index].name
        )
        return Item(torch.from_numpy(codes), self.targets[index], name)

    @property
    def _part(self) -> str:
        return "train" if self.is_training else "validation"
