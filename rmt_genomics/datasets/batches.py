"""From examples to batches: a data set, its collation, and batches of similar length.

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
from rmt_genomics.datasets.sequence_store import EncodedStore
from rmt_genomics.dna.alphabet import UNKNOWN
from rmt_genomics.errors import ConfigError

_BATCHES_SORTED_TOGETHER = 50


class Batch(NamedTuple):
    """Several examples side by side."""

    codes: UInt8[Tensor, "b n"]
    """Base codes of the strand asked for, padded with N at the end."""

    lengths: Int64[Tensor, "b"]
    """Bases of each example, padding not counted."""

    targets: Int64[Tensor, "b"] | Float[Tensor, "b c"] | Float[Tensor, "b"]
    """Class indices; for multi-label tasks 1 for each class an example has; for a regression the
    number itself."""

    names: list[str]


class Item(NamedTuple):
    """One example."""

    codes: UInt8[Tensor, "n"]
    target: Int64[Tensor, ""] | Float[Tensor, "c"] | Float[Tensor, ""]
    name: str


class IntervalDataset(Dataset[Item]):
    """Examples with their bases, read when asked for.

    Args:
        store: Where the bases are.
        examples: What to read.
        targets: A row each, as ``LabelScheme.targets`` gives them.
    """

    def __init__(self, store: EncodedStore, examples: Sequence[Example], targets: Targets) -> None:
        assert len(examples) == len(targets), "one target an example"
        self.store = store
        self.examples = tuple(examples)
        self.targets = torch.from_numpy(targets)
        if self.targets.is_floating_point():
            self.targets = self.targets.float()  # some devices have nothing longer

    @property
    def lengths(self) -> list[int]:
        """Bases of each example, for ``LengthBuckets``."""
        return [len(example.interval) for example in self.examples]

    def collate(self, items: Sequence[Item]) -> Batch:
        """Do as ``collate``; of no items make a batch without rows."""
        if items:
            return collate(items)
        no_codes = torch.empty((0, 0), dtype=torch.uint8)
        return Batch(no_codes, torch.empty(0, dtype=torch.int64), self.targets[:0], [])

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Item:
        example = self.examples[index]
        codes = torch.from_numpy(self.store.codes(example.interval))
        return Item(codes, self.targets[index], example.name)


def collate(items: Sequence[Item]) -> Batch:
    """Put examples side by side, padded with N at the end up to the longest."""
    lengths = torch.tensor([len(item.codes) for item in items], dtype=torch.int64)
    codes = torch.full((len(items), int(lengths.max())), UNKNOWN, dtype=torch.uint8)
    for row, item in zip(codes, items, strict=True):
        row[: len(item.codes)] = item.codes
    targets = torch.stack([item.target for item in items])
    return Batch(codes, lengths, targets, [item.name for item in items])


class LengthBuckets:
    """A batch sampler: batches of similar length, so that little is padded.

    With ``shuffle``, examples are shuffled, large groups of them are sorted by length and cut into
    batches, and the batches are shuffled again; all decided by seed and epoch. Without, all
    examples are sorted by length, and those of one length keep their order. Either way every
    example comes exactly once an epoch.

    Several processes that train together (ranks) make the same batches, and each takes its part
    of every one (see ``deal``). So the number of processes changes no step. A part may be empty.

    Args:
        lengths: Length of each example.
        batch_size: Examples in a batch; the last one made may be smaller.
        shuffle: Whether each epoch has an order of its own.
        seed: Decides the orders, where ``shuffle`` asks for them.
        rank: Which of the processes this is, from 0.
        num_ranks: How many processes there are.
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
    ) -> None:
        assert 0 <= rank < num_ranks
        if batch_size < 1:
            raise ConfigError(f"training.batch_size is {batch_size}, but must be at least 1.")
        self.batch_size = batch_size
        self._lengths = np.asarray(lengths, dtype=np.int64)
        self._shuffle = shuffle
        self._seed = seed
        self._rank, self._num_ranks = rank, num_ranks
        self._epoch = 0
        self._begin_at = (0, 0)  # an epoch, and which of its batches comes first
        self._given = 0

    @property
    def sampler(self) -> "LengthBuckets":
        """Itself: Lightning calls ``set_epoch`` on ``batch_sampler.sampler`` only."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass. An epoch has the same order whenever it is run."""
        self._epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """Say how many batches of which epoch have been given out."""
        return {"epoch": self._epoch, "batches": self._given}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Begin that epoch after so many batches, the rest of it; other epochs stay whole."""
        self._begin_at = (state_dict["epoch"], state_dict["batches"])

    def __len__(self) -> int:
        """Count the batches of a whole epoch."""
        return -(-len(self._lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, first = self._begin_at
        self._given = first if epoch == self._epoch else 0
        batches = islice(self._batches(), self._given, None)
        lengths = self._lengths.tolist()  # a curriculum has just settled them
        for batch in batches:
            self._given += 1
            yield deal(batch, lengths, self._num_ranks)[self._rank]

    def _batches(self) -> Iterator[list[int]]:
        """Yield the batches of all processes together."""
        if not self._shuffle:
            yield from self._cut(np.arange(len(self._lengths)))
            return
        random = np.random.default_rng([self._seed, self._epoch])
        places = random.permutation(len(self._lengths))
        # Few batches are sorted together when there are few, or the same examples always meet.
        together = self.batch_size * max(1, min(_BATCHES_SORTED_TOGETHER, len(self) // 4))
        batches = [
            batch
            for start in range(0, len(places), together)
            for batch in self._cut(places[start : start + together])
        ]
        for index in random.permutation(len(batches)):
            yield batches[index]

    def _cut(self, places: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Iterator[list[int]]:
        """Sort examples by length and cut them into batches."""
        by_length = places[np.argsort(self._lengths[places], kind="stable")].tolist()
        for start in range(0, len(by_length), self.batch_size):
            yield by_length[start : start + self.batch_size]


def deal(batch: Sequence[int], lengths: Sequence[int], num_ranks: int) -> list[list[int]]:
    """Divide a batch among processes, so that each has about the same number of bases.

    The longest examples are dealt first, each to the process that has least (Graham 1969,
    doi:10.1137/0117039). So two processes never differ by more than the longest example of the
    batch; they wait for each other once a step.

    Args:
        batch: Indices of examples.
        lengths: Bases of every example.
        num_ranks: Number of processes.

    Returns:
        The part of each process, in the order of the batch.

    Examples:
        >>> deal([0, 1, 2, 3], [10, 40, 20, 20], 2)
        [[0, 1], [2, 3]]
    """
    if num_ranks == 1:
        return [list(batch)]
    loads = [0] * num_ranks
    owners: dict[int, int] = {}
    for index in sorted(batch, key=lambda each: -lengths[each]):
        owners[index] = min(range(num_ranks), key=loads.__getitem__)
        loads[owners[index]] += lengths[index]
    return [[index for index in batch if owners[index] == rank] for rank in range(num_ranks)]
