"""Batches: every example once, the like with the like, nothing lost to padding."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from rmt_genomics.datasets import batches
from rmt_genomics.datasets.batches import Batch, IntervalDataset, LengthBuckets, collate, deal
from rmt_genomics.datasets.examples import Example, LabelScheme
from rmt_genomics.datasets.sequence_store import EncodedStore
from rmt_genomics.dna.alphabet import decode
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import ConfigError

lengths = st.lists(st.integers(1, 1000), max_size=300)
sizes = st.integers(1, 40)


def order(
    lengths: list[int], size: int, *, shuffle: bool = True, seed: int = 0, epoch: int = 0
) -> list[list[int]]:
    buckets = LengthBuckets(lengths, size, shuffle=shuffle, seed=seed)
    buckets.set_epoch(epoch)
    return list(buckets)


@given(lengths=lengths, size=sizes, shuffle=st.booleans(), epoch=st.integers(0, 9))
def test_every_example_comes_once(
    lengths: list[int], size: int, *, shuffle: bool, epoch: int
) -> None:
    result = order(lengths, size, shuffle=shuffle, epoch=epoch)

    assert sorted(index for batch in result for index in batch) == list(range(len(lengths)))
    assert sorted({len(batch) for batch in result} - {size}) in ([], [len(lengths) % size])
    assert len(LengthBuckets(lengths, size, shuffle=shuffle, seed=0)) == len(result)


@given(lengths=lengths, size=sizes, seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_seed_and_epoch_determine_the_order(
    lengths: list[int], size: int, seed: int, epoch: int
) -> None:
    buckets = LengthBuckets(lengths, size, shuffle=True, seed=seed)
    buckets.set_epoch(epoch + 1)
    list(buckets)
    buckets.set_epoch(epoch)

    expected = order(lengths, size, seed=seed, epoch=epoch)

    assert list(buckets) == list(buckets) == expected


@given(seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_each_epoch_has_its_own_order(seed: int, epoch: int) -> None:
    many = [100] * 64

    assert order(many, 4, seed=seed, epoch=epoch) != order(many, 4, seed=seed, epoch=epoch + 1)
    assert order(many, 4, seed=seed, epoch=epoch) != order(many, 4, seed=seed + 1, epoch=epoch)


def test_each_epoch_has_different_batches() -> None:
    """A new order of the same batches would not be enough, even for a small data set."""
    many = list(range(100, 164))

    first, second = ({frozenset(batch) for batch in order(many, 4, epoch=n)} for n in (0, 1))

    assert len(first & second) < len(first) / 2


@given(lengths=lengths, size=sizes)
def test_without_shuffling_examples_are_sorted_by_length(lengths: list[int], size: int) -> None:
    result = [index for batch in order(lengths, size, shuffle=False) for index in batch]

    assert result == sorted(range(len(lengths)), key=lengths.__getitem__)  # sorted() is stable


def test_there_is_little_padding() -> None:
    many = np.random.default_rng(0).integers(100, 10_000, size=2000).tolist()

    def padding(result: list[list[int]]) -> float:
        padded = sum(max(many[index] for index in batch) * len(batch) for batch in result)
        return padded / sum(many) - 1

    in_file_order = [list(range(start, start + 8)) for start in range(0, 2000, 8)]

    assert padding(order(many, 8)) < 0.05
    assert padding(in_file_order) > 0.5


def test_a_batch_size_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"training\.batch_size is 0, but must be at least 1"):
        LengthBuckets([1, 2], 0, shuffle=True, seed=0)


@pytest.fixture
def dataset(tmp_path: Path) -> IntervalDataset:
    path = tmp_path / "toy.fa"
    path.write_text(">r1\nGATTACA\n>r2\nACGT\n>r3\nAC\n")
    store = EncodedStore.open(path, tmp_path / "cache")
    examples = [
        Example(Interval("r1", 0, 7), whole=True, labels=("a",)),
        Example(Interval("r2", 0, 3, "-"), whole=False, labels=("b",)),
        Example(Interval("r3", 0, 2), whole=True, labels=("a",)),
    ]
    return IntervalDataset(store, examples, LabelScheme.of(examples).targets(examples))


def rows(batch: Batch) -> Iterator[str]:
    return (decode(row.numpy()) for row in batch.codes)


def test_an_item_is_read_from_its_strand(dataset: IntervalDataset) -> None:
    item = dataset[1]

    assert (decode(item.codes.numpy()), int(item.target), item.name) == ("CGT", 1, "r2:0-3(-)")
    assert dataset.lengths == [7, 3, 2]
    assert len(dataset) == 3


def test_examples_are_padded_at_the_end(dataset: IntervalDataset) -> None:
    batch = collate([dataset[1], dataset[0], dataset[2]])

    assert list(rows(batch)) == ["CGTNNNN", "GATTACA", "ACNNNNN"]
    assert batch.lengths.tolist() == [3, 7, 2]
    assert batch.targets.tolist() == [1, 0, 0]
    assert batch.names == ["r2:0-3(-)", "r1", "r3"]
    assert (batch.codes.dtype, batch.lengths.dtype) == (torch.uint8, torch.int64)


def test_several_labels_make_a_matrix(dataset: IntervalDataset) -> None:
    scheme = LabelScheme(("a", "b"), "multilabel")
    several = IntervalDataset(dataset.store, dataset.examples, scheme.targets(dataset.examples))

    batch = collate([several[0], several[1]])

    assert batch.targets.tolist() == [[1, 0], [0, 1]]
    assert batch.targets.dtype == torch.float32


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_reads_everything(dataset: IntervalDataset, num_workers: int) -> None:
    buckets = LengthBuckets(dataset.lengths, 2, shuffle=False, seed=0)
    loader = DataLoader(dataset, batch_sampler=buckets, collate_fn=collate, num_workers=num_workers)

    result = list(loader)

    assert [list(rows(batch)) for batch in result] == [["ACN", "CGT"], ["GATTACA"]]
    assert len(loader) == 2
    assert isinstance(result[0], Batch)


def test_lightning_sets_the_epoch(dataset: IntervalDataset) -> None:
    """The hook the Trainer calls; without it each epoch would have the same order."""
    from lightning_fabric.utilities.data import _set_sampler_epoch

    many = [100] * 64
    buckets = LengthBuckets(many, 4, shuffle=True, seed=0)

    _set_sampler_epoch(DataLoader(dataset, batch_sampler=buckets), 3)

    assert list(buckets) == order(many, 4, epoch=3)


def test_the_package_exports_its_public_names() -> None:
    from rmt_genomics import datasets

    assert datasets.__all__ == sorted(datasets.__all__)
    assert all(hasattr(datasets, name) for name in datasets.__all__)
    assert datasets.LengthBuckets is batches.LengthBuckets
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = datasets.Nothing


@given(lengths=lengths, size=sizes, num_ranks=st.integers(1, 5), shuffle=st.booleans())
def test_ranks_together_have_the_batches_of_one_process(
    lengths: list[int], size: int, num_ranks: int, *, shuffle: bool
) -> None:
    """No example is lost or doubled, and each step is that of one process."""
    parts = [
        list(LengthBuckets(lengths, size, shuffle=shuffle, seed=1, rank=rank, num_ranks=num_ranks))
        for rank in range(num_ranks)
    ]

    together = [sorted(chain(*of_step)) for of_step in zip(*parts, strict=True)]

    assert together == [sorted(batch) for batch in order(lengths, size, shuffle=shuffle, seed=1)]


@given(lengths=st.lists(st.integers(1, 1000), min_size=1), num_ranks=st.integers(2, 5))
def test_ranks_differ_by_at_most_the_longest_example(lengths: list[int], num_ranks: int) -> None:
    parts = deal(range(len(lengths)), lengths, num_ranks)

    loads = [sum(lengths[index] for index in part) for part in parts]
    assert max(loads) - min(loads) <= max(lengths)


def test_the_rank_with_the_longest_example_has_fewer_examples() -> None:
    assert deal([7, 3, 5, 4], [0, 0, 0, 10, 10, 10, 0, 30], 2) == [[7], [3, 5, 4]]


def test_a_rank_without_examples_gets_a_batch_without_rows(dataset: IntervalDataset) -> None:
    batch = dataset.collate([])

    assert batch.codes.shape == (0, 0)
    assert batch.lengths.shape == batch.targets.shape == (0,)
    assert batch.targets.dtype == dataset.targets.dtype
    assert batch.names == []
    assert dataset.collate([dataset[0]]).names == ["r1"]
