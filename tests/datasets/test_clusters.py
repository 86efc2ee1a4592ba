"""Homology groups: a partition, whatever the order and the strand; relatives in, strangers out."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import Example
from rmt_genomics.datasets.clusters import components, homology_groups
from rmt_genomics.dna import reverse_complement
from rmt_genomics.dna.record_types import Interval
from tests.datasets.toys import MemoryStore, dna, mutated, whole

FAMILIES = {
    f"{family}{copy}": mutated(dna(1500, family), 0.01 * copy, seed=copy)
    for family in range(3)
    for copy in range(4)
}


def groups_of(sequences: dict[str, str]) -> dict[str, str]:
    store = MemoryStore(sequences)
    return dict(zip(sequences, homology_groups(store, whole(store)), strict=True))


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(
            st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))
        )
    )
)
def test_components_are_the_finest_partition_that_joins_all_pairs(
    drawn: tuple[int, Sequence[tuple[int, int]]],
) -> None:
    count, pairs = drawn
    sets = [{place} for place in range(count)]
    for one, other in pairs:
        joined = sets[one] | sets[other]
        for member in joined:
            sets[member] = joined
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)

    roots = components(count, ends[:, 0], ends[:, 1])

    assert roots.tolist() == [min(each) for each in sets]


def test_families_are_found_and_named_after_their_first_member() -> None:
    assert groups_of(FAMILIES) == {name: f"{name[0]}0" for name in FAMILIES}


@given(st.permutations(list(FAMILIES)), st.sets(st.sampled_from(list(FAMILIES))))
def test_neither_order_nor_strand_matters(order: list[str], flipped: set[str]) -> None:
    turned = {
        name: reverse_complement(FAMILIES[name]) if name in flipped else FAMILIES[name]
        for name in order
    }

    assert groups_of(turned) == groups_of(FAMILIES)


@pytest.mark.parametrize("length", [100, 300, 1000, 30_000])
def test_a_copy_with_one_base_in_a_hundred_changed_is_found_and_a_stranger_is_not(
    length: int,
) -> None:
    original = dna(length, 0)
    copy = reverse_complement(mutated(original, 0.01, seed=1))

    found = groups_of({"original": original, "copy": copy, "stranger": dna(length, 2)})

    assert found == {"original": "copy", "copy": "copy", "stranger": "stranger"}


def test_half_the_bases_changed_is_a_stranger() -> None:
    original = dna(3000, 0)

    assert len(set(groups_of({"a": original, "b": mutated(original, 0.5, 1)}).values())) == 2


def test_intervals_that_overlap_are_in_one_group_however_little() -> None:
    store = MemoryStore({"chr1": dna(5000, 0)})
    places = [(0, 1500), (1500, 3000), (2999, 4500)]
    examples = [Example(Interval("chr1", *place), whole=False, labels=("a",)) for place in places]

    groups = homology_groups(store, examples)

    assert groups == ["chr1:0-1500(+)", "chr1:1500-3000(+)", "chr1:1500-3000(+)"]
