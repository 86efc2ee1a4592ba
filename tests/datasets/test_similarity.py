"""Pairs of like sequences: all of them, and no others."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import similarity as module
from rmt_genomics.datasets.similarity import Sketches, alike_pairs
from rmt_genomics.errors import RMTGenomicsWarning

Sets = Sequence[set[int]]

sets = st.lists(st.sets(st.integers(0, 30), max_size=12), min_size=1, max_size=12)


def sketches_of(sets: Sets) -> Sketches:
    """Sketches with these hashes."""
    index = sorted((value, owner) for owner, values in enumerate(sets) for value in values)
    hashes = np.array([value for value, _ in index], dtype=np.uint64)
    owners = np.array([owner for _, owner in index], dtype=np.int64)
    sizes = np.array([len(values) for values in sets], dtype=np.int64)
    return Sketches(21, 1, hashes, owners, sizes)


def plain_pairs(sets: Sets, at_least: float) -> dict[tuple[int, int], float]:
    """The slow twin: every sequence with every other."""
    pairs = {}
    for second, other in enumerate(sets):
        for first, one in enumerate(sets[:second]):
            smaller, shared = min(len(one), len(other)), len(one & other)
            if shared and shared >= max(at_least * smaller, min(3, smaller)):
                pairs[first, second] = shared / smaller
    return pairs


def found_pairs(sets: Sets, at_least: float) -> dict[tuple[int, int], float]:
    pairs = alike_pairs(sketches_of(sets), at_least)
    columns = (pairs.first.tolist(), pairs.second.tolist(), pairs.similarity.tolist())
    return {(first, second): share for first, second, share in zip(*columns, strict=True)}


@given(sets, st.floats(0.05, 1))
def test_pairs_are_those_of_the_slow_twin(sets: Sets, at_least: float) -> None:
    assert found_pairs(sets, at_least) == plain_pairs(sets, at_least)


def test_a_part_is_like_its_whole() -> None:
    assert found_pairs([set(range(100)), set(range(10)), set(range(200, 210))], 1.0) == {
        (0, 1): 1.0
    }


def test_two_shared_kmers_prove_nothing_unless_there_are_no_more() -> None:
    assert found_pairs([{1, 2, 3, 4}, {1, 2, 5, 6}], 0.1) == {}
    assert found_pairs([{1, 2, 3, 4}, {1, 2}], 0.1) == {(0, 1): 1.0}


def test_no_kmer_at_all_is_like_nothing() -> None:
    assert found_pairs([set(), set(), {1, 2, 3}], 0.1) == {}


def test_too_many_meetings_are_cut_with_a_warning_that_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MOST_MEETINGS", 200)
    families = [set(range(5)) | {family * 100 + at for at in range(10)} for family in range(30)]
    everyone = [*families, *families]

    with pytest.warns(RMTGenomicsWarning, match=r"5 k-mers are in more than 2 sequences each"):
        found = found_pairs(everyone, 0.9)

    # What is really alike stands side by side, so it is found all the same.
    assert found == {(family, family + 30): 1.0 for family in range(30)}
