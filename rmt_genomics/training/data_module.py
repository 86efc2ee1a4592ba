"""The training and the validation part as batches of similar length."""

from collections.abc import Sequence

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from rmt_genomics.datasets import (
    EncodedStore,
    Example,
    IntervalDataset,
    LabelScheme,
    LengthBuckets,
    Split,
    collate,
)


class SplitDataModule(LightningDataModule):
    """Serves the training part in a new order each epoch, and the validation part in one order.

    The Trainer tells the sampler the epoch's number; the order follows from it and the seed.
    Sequences come from a memory map, which is faster than worker processes that would copy
    them; so there are none.

    Args:
        store: The encoded FASTA file.
        split: Which examples are in which part.
        scheme: The classes.
        batch_size: Examples in a batch.
        seed: Decides the orders.
        pin_memory: Page-lock batches on their way to a GPU.
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
    ) -> None:
        super().__init__()
        self.store = store
        self.split = split
        self.scheme = scheme
        self.batch_size = batch_size
        self.seed = seed
        self.pin_memory = pin_memory

    def train_dataloader(self) -> DataLoader[object]:
        """Return the training part, shuffled."""
        return self._loader(self.split.train, shuffle=True)

    def val_dataloader(self) -> DataLoader[object]:
        """Return the validation part."""
        return self._loader(self.split.validation, shuffle=False)

    def _loader(self, examples: Sequence[Example], *, shuffle: bool) -> DataLoader[object]:
        dataset = IntervalDataset(self.store, examples, self.scheme.targets(examples))
        batches = LengthBuckets(dataset.lengths, self.batch_size, shuffle=shuffle, seed=self.seed)
        return DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=collate,
            pin_memory=self.pin_memory,
        )
