"""From examples to batches: a dataset, its collation, and batches of similar length.

Dimensions: b batch, n bases of the longest example of the batch, c classes.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from rmt_genomics.datasets.examples import Example, Targets
from rmt_genomics.datasets.sampling import indices_of_epoch
from rmt_genomics.datasets.sequence_store import SequenceStore
from rmt_genomics.dna.alphabet import pad_codes
from rmt_genomics.errors import ConfigError

_BATCHES_SORTED_TOGETHER = 50


class Batch(NamedTuple):
    """A batch of examples."""

    codes: UInt8[Tensor, "b n"]  # base codes of each example's strand, padded with N at the end
    lengths: Int64[Tensor, "b"]  # length of each example in bp, without padding
    targets: Int64[Tensor, "b"] | Float[Tensor, "b c"] | Float[Tensor, "b"]
    """Class indices; for multi-label tasks 1 for each class an example has and 0 elsewhere; for a
    regression the numbers."""

    names: list[str]


class Item(NamedTuple):
    """One example."""

    codes: UInt8[Tensor, "n"]
    target: Int64[Tensor, ""] | Float[Tensor, "c"] | Float[Tensor, ""]
    name: str


class IntervalDataset(Dataset[Item]):
    """Examples with their base codes, read from the store on access.

    There is one target per example, as ``LabelScheme.targets`` returns them.
    """

    def __init__(self, store: SequenceStore, examples: Sequence[Example], targets: Targets) -> None:
        assert len(examples) == len(targets), "one target per example"
        self.store = store
        self.examples = tuple(examples)
        self.intervals = [example.interval for example in examples]
        self.targets = torch.from_numpy(targets)
        if self.targets.is_floating_point():
            self.targets = self.targets.float()  # some devices have no float64

    @property
    def lengths(self) -> list[int]:
        """Length of each example in bp, for ``LengthBuckets``."""
        return [len(interval) for interval in self.intervals]

    def collate(self, items: Sequence[Item]) -> Batch:
        """Collate items; without items, the batch has no rows."""
        if items:
            return collate(items)
        no_codes = torch.empty((0, 0), dtype=torch.uint8)
        return Batch(no_codes, torch.empty(0, dtype=torch.int64), self.targets[:0], [])

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Item:
        codes = torch.from_numpy(self.store.codes(self.intervals[index]))
        return Item(codes, self.targets[index], self.examples[index].name)


def collate(items: Sequence[Item]) -> Batch:
    """Make a batch of examples, padded with N at the end up to the longest."""
    codes, lengths = map(torch.from_numpy, pad_codes([item.codes.numpy() for item in items]))
    targets = torch.stack([item.target for item in items])
    return Batch(codes, lengths, targets, [item.name for item in items])


class LengthBuckets:
    """A batch sampler: batches of similar length, so that there is little padding.

    With ``shuffle``, examples are shuffled, large groups of them are sorted by length and cut into
    batches, and the batches are shuffled again; seed and epoch determine the order. Without, all
    examples are sorted by length, and those of the same length keep their order. Either way every
    example comes exactly once per epoch; with ``shuffle`` and ``epoch_size``, so many of them do,
    others in each epoch (see ``sampling.indices_of_epoch``).

    In distributed training all ranks make the same batches, and each takes its part of every
    batch (see ``deal``). So the number of ranks does not change the steps. A part may be empty.

    ``batch_size`` is that of all ranks together; one batch of an epoch may be smaller.
    """

    drop_last = False

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        *,
        shuffle: bool,
        seed: int,
        rank: int = 0,
        num_ranks: int = 1,
        epoch_size: int | None = None,
    ) -> None:
        assert 0 <= rank < num_ranks
        assert shuffle or epoch_size is None
        if batch_size < 1:
            raise ConfigError(f"training.batch_size is {batch_size}, but must be at least 1.")
        self.batch_size = batch_size
        self._lengths = np.asarray(lengths, dtype=np.int64)
        self._shuffle = shuffle
        self._epoch_size = min(len(lengths), epoch_size or len(lengths))
        self._seed = seed
        self._rank, self._num_ranks = rank, num_ranks
        self._epoch = 0
        self._resume_at = (0, 0)  # epoch, and number of its batches to skip
        self._num_yielded = 0

    @property
    def sampler(self) -> "LengthBuckets":
        """Itself: Lightning calls ``set_epoch`` on ``batch_sampler.sampler`` only."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration, which determines its order."""
        self._epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and how many of its batches have been yielded."""
        return {"epoch": self._epoch, "batches": self._num_yielded}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Skip the batches of that epoch that have been yielded; other epochs are complete."""
        self._resume_at = (state_dict["epoch"], state_dict["batches"])

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-self._epoch_size // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, skipped = self._resume_at
        self._num_yielded = skipped if epoch == self._epoch else 0
        batches = islice(self._batches(), self._num_yielded, None)
        lengths = self._lengths.tolist()  # a curriculum changes them from epoch to epoch
        for batch in batches:
            self._num_yielded += 1
            yield deal(batch, lengths, self._num_ranks)[self._rank]

    def _batches(self) -> Iterator[list[int]]:
        """Yield the batches of all ranks together."""
        if not self._shuffle:
            yield from self._cut(np.arange(len(self._lengths)))
            return
        random = np.random.default_rng([self._seed, self._epoch])
        num_examples, size = len(self._lengths), self._epoch_size
        if size == num_examples:
            order = random.permutation(num_examples)
        else:
            order = indices_of_epoch(num_examples, size, epoch=self._epoch, seed=self._seed)
        # With few batches, small groups are sorted, or the same examples always share a batch.
        group_size = self.batch_size * max(1, min(_BATCHES_SORTED_TOGETHER, len(self) // 4))
        batches = [
            batch
            for start in range(0, len(order), group_size)
            for batch in self._cut(order[start : start + group_size])
        ]
        for index in random.permutation(len(batches)):
            yield batches[index]

    def _cut(self, indices: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Iterator[list[int]]:
        """Sort examples by length and cut them into batches."""
        by_length = indices[np.argsort(self._lengths[indices], kind="stable")].tolist()
        for start in range(0, len(by_length), self.batch_size):
            yield by_length[start : start + self.batch_size]


def deal(batch: Sequence[int], lengths: Sequence[int], num_ranks: int) -> list[list[int]]:
    """Divide a batch among ranks, so that each has about the same number of bases.

    The longest examples are dealt first, each to the rank with the least bases so far (Graham
    1969, doi:10.1137/0117039). So the ranks, which wait for each other in every step, never differ
    by more than the longest example of the batch. Each part is in the order of the batch.

    Examples:
        >>> deal([0, 1, 2, 3], [10, 40, 20, 20], 2)
        [[0, 1], [2, 3]]
    """
    loads = [0] * num_ranks
    owners: dict[int, int] = {}
    for index in sorted(batch, key=lambda index: -lengths[index]):
        owners[index] = min(range(num_ranks), key=loads.__getitem__)
        loads[owners[index]] += lengths[index]
    return [[index for index in batch if owners[index] == rank] for rank in range(num_ranks)]
