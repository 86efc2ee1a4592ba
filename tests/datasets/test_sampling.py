"""Samples: epochs are dealt from a shuffled deck, and a sample of a part has all of its classes."""

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import Example, LabelScheme, LengthBuckets
from rmt_genomics.datasets.sampling import describe_sample, indices_of_epoch, stratified_sample
from rmt_genomics.dna import Interval


def example(index: int, *labels: str) -> Example:
    return Example(Interval(f"r{index}", 0, 9), whole=True, labels=labels)


MIXED = [example(n, "rare" if n in (7, 500) else "ab"[n % 4 == 0]) for n in range(1000)]
SCHEME = LabelScheme(("a", "b", "rare"), "multiclass")


@given(num=st.integers(1, 40), size=st.integers(1, 40), seed=st.integers(0, 9))
def test_all_examples_are_drawn_before_one_is_drawn_again(num: int, size: int, seed: int) -> None:
    size = min(size, num)
    epochs = [indices_of_epoch(num, size, epoch=n, seed=seed).tolist() for n in range(2 * num)]
    drawn = [index for epoch in epochs for index in epoch]

    assert all(len(set(epoch)) == size for epoch in epochs)
    for start in range(0, len(drawn) - num + 1, num):
        assert sorted(drawn[start : start + num]) == list(range(num))


def test_seed_and_epoch_determine_what_is_drawn() -> None:
    draws = {
        (seed, epoch): tuple(indices_of_epoch(100, 30, epoch=epoch, seed=seed))
        for seed in (0, 1)
        for epoch in range(7)
    }

    assert len(set(draws.values())) == 14
    assert draws[1, 5] == tuple(indices_of_epoch(100, 30, epoch=5, seed=1))


@pytest.mark.parametrize("size", [None, 10, 99])
def test_an_epoch_of_all_examples_is_what_it_is_without_a_size(size: int | None) -> None:
    buckets = LengthBuckets([5] * 10, 3, shuffle=True, seed=4, epoch_size=size)

    assert list(buckets) == list(LengthBuckets([5] * 10, 3, shuffle=True, seed=4))


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_batches_of_similar_length_have_the_examples_of_the_epoch(num_ranks: int) -> None:
    lengths = list(range(100, 160))
    ranks = [
        LengthBuckets(
            lengths, 4, shuffle=True, seed=2, rank=rank, num_ranks=num_ranks, epoch_size=25
        )
        for rank in range(num_ranks)
    ]
    for epoch in range(3):
        for buckets in ranks:
            buckets.set_epoch(epoch)
        batches = [[*chain(*parts)] for parts in zip(*ranks, strict=True)]

        assert len(batches) == len(ranks[0]) == 7
        assert sorted(chain(*batches)) == sorted(indices_of_epoch(60, 25, epoch=epoch, seed=2))


@pytest.mark.parametrize("count", [3, 10, 99, 998])
def test_a_sample_has_each_class_in_proportion_and_rare_ones_at_least_once(count: int) -> None:
    sample = stratified_sample(MIXED, count, SCHEME, seed=0)
    counts = Counter(each.labels[0] for each in sample)

    assert len(sample) == len(set(sample)) == count
    assert [MIXED.index(each) for each in sample] == sorted(MIXED.index(each) for each in sample)
    assert counts["a"] == pytest.approx(0.75 * count, abs=2)
    assert 1 <= counts["rare"] <= 2
    assert sample == stratified_sample(MIXED, count, SCHEME, seed=0)
    assert sample != stratified_sample(MIXED, count, SCHEME, seed=1)


def test_a_sample_of_all_or_more_is_the_part() -> None:
    for count in (None, 1000, 5000):
        assert stratified_sample(MIXED, count, SCHEME, seed=0) == MIXED
    assert len(stratified_sample(MIXED, 2, SCHEME, seed=0)) == 2  # fewer than there are classes


def test_a_sample_of_numbers_has_small_and_large_ones() -> None:
    examples = [example(n, f"{n / 7:.4f}") for n in range(500)]
    scheme = LabelScheme(("label",), "regression")

    sample = stratified_sample(examples, 10, scheme, seed=3)

    assert sorted(int(7 * float(each.labels[0]) + 0.5) // 50 for each in sample) == list(range(10))
    assert describe_sample(sample, examples, scheme) == "10 of 500 examples"


def test_a_sample_with_several_labels_has_each_of_them() -> None:
    sets = [("a",)] * 80 + [("a", "b")] * 80 + [()] * 39 + [("b", "c")]
    examples = [example(n, *labels) for n, labels in enumerate(sets)]
    scheme = LabelScheme(("a", "b", "c"), "multilabel")

    sample = stratified_sample(examples, 20, scheme, seed=0)

    counts = Counter(label for each in sample for label in each.labels)
    assert counts["c"] == 1
    assert counts["a"] == pytest.approx(16, abs=2)
    assert sum(each.labels == () for each in sample) == pytest.approx(4, abs=1)
    assert describe_sample(sample, examples, scheme) == (
        f"20 of 200 examples (a {counts['a']}, b {counts['b']}, c 1)"
    )


def test_many_classes_are_not_all_named() -> None:
    examples = [example(n, f"c{n:02}") for n in range(30)]
    scheme = LabelScheme.of(examples)

    text = describe_sample(examples[:20], examples, scheme)

    assert text.startswith("20 of 30 examples (c00 1, c01 1, ")
    assert text.endswith(", c09 1 and 20 more classes)")
