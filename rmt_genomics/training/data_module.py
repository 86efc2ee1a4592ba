"""The training and the validation part as batches of similar length."""

from collections.abc import Sequence
from typing import Any

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from rmt_genomics.datasets import (
    EncodedStore,
    Example,
    IntervalDataset,
    LabelScheme,
    LengthBuckets,
    Split,
)
from rmt_genomics.training.curriculum import Curriculum, StagedBuckets, StagedDataset
from rmt_genomics.training.processes import of_the_first, this_rank


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
