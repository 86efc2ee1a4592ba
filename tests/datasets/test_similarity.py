"""Sketches: the right k-mers, on both strands; similar pairs: all of them, and no others."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import similarity as module
from rmt_genomics.datasets.similarity import (
    Sketches,
    estimated_identity,
    percent,
    shared_fraction,
    similar_pairs,
    sketch,
)
from rmt_genomics.dna import reverse_complement
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import RMTGenomicsWarning
from tests.datasets.toys import MemoryStore, dna, mutated
from tests.dna.plain_kmers import canonical_numbers

letters = st.text("ACGTN", min_size=1, max_size=80)


def whole(store: MemoryStore) -> list[Interval]:
    return [Interval(name, 0, length) for name, length in store.lengths.items()]


@given(st.lists(letters, min_size=1, max_size=5))
def test_at_scale_one_each_kmer_without_n_is_kept_once_per_sequence(sequences: list[str]) -> None:
    store = MemoryStore({f"r{place}": item for place, item in enumerate(sequences)})

    result = sketch(store, whole(store))

    assert (result.k, result.scale) == (15, 1)
    expected = [
        {kmer for part in item.split("N") for kmer in canonical_numbers(part, 15)}
        for item in sequences
    ]
    assert result.sizes.tolist() == list(map(len, expected))
    assert np.all(result.hashes[1:] >= result.hashes[:-1])
    assert np.bincount(result.owners, minlength=len(sequences)).tolist() == result.sizes.tolist()


@given(letters)
def test_both_strands_have_one_sketch(sequence: str) -> None:
    store = MemoryStore({"r": sequence, "other": reverse_complement(sequence)})

    result = sketch(store, whole(store))

    assert result.sizes[0] == result.sizes[1]
    assert np.array_equal(result.hashes[result.owners == 0], result.hashes[result.owners == 1])


def test_cutting_into_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore(
        {f"r{place}": dna(length, place) for place, length in enumerate((900, 333))}
    )
    whole_pieces = sketch(store, whole(store))
    monkeypatch.setattr(module, "_CHUNK_BP", 50)

    cut = sketch(store, whole(store))

    assert np.array_equal(cut.hashes, whole_pieces.hashes)
    assert np.array_equal(cut.owners, whole_pieces.owners)


def test_chunks_without_overlap_would_lose_kmers() -> None:
    """The test above can fail: pieces that do not overlap lose k - 1 k-mers at each cut."""
    store = MemoryStore({"r": dna(100, 0)})

    assert sketch(store, whole(store)).sizes.tolist() == [86]
    assert sketch(store, [Interval("r", 0, 50), Interval("r", 50, 100)]).sizes.sum() == 86 - 14


def test_long_sequences_have_long_kmers_and_about_two_hundred_hashes() -> None:
    store = MemoryStore({"r": dna(40_000, 0), "s": dna(80_000, 1)})

    result = sketch(store, whole(store))

    assert (result.k, result.scale) == (21, 200)
    assert 150 < result.sizes[0] < 250
    assert 300 < result.sizes[1] < 500


def test_the_scale_limits_the_number_of_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_HASHES", 1000)
    store = MemoryStore({"long": dna(10_000, 0), "short": dna(50, 1)})

    assert sketch(store, whole(store)).scale == 11


def test_a_repeat_counts_once() -> None:
    store = MemoryStore({"r": dna(40, 0) * 3})

    result = sketch(store, whole(store))

    assert result.sizes.tolist() == [40]
    assert len(result.hashes) == 40


def test_sequences_that_are_short_or_unknown_have_no_hash() -> None:
    store = MemoryStore({"short": "ACGT", "unknown": "N" * 50})

    assert sketch(store, whole(store)).sizes.tolist() == [0, 0]


Sets = Sequence[set[int]]
sets = st.lists(st.sets(st.integers(0, 30), max_size=12), min_size=1, max_size=12)


def sketches_of(sets: Sets) -> Sketches:
    """Sketches with these hashes."""
    index = sorted((value, owner) for owner, values in enumerate(sets) for value in values)
    keys = np.array([value << 32 | owner for value, owner in index], dtype=np.uint64)
    sizes = np.array([len(values) for values in sets], dtype=np.int64)
    return Sketches(21, 1, keys, sizes)


def plain_pairs(sets: Sets, identity: float) -> dict[tuple[int, int], float]:
    """The slow twin: every sequence with every other."""
    pairs = {}
    for second, other in enumerate(sets):
        for first, one in enumerate(sets[:second]):
            smaller, shared = min(len(one), len(other)), len(one & other)
            if shared and shared >= max(identity**21 * smaller, min(3, smaller)):
                pairs[first, second] = shared / smaller
    return pairs


def found_pairs(sets: Sets, identity: float) -> dict[tuple[int, int], float]:
    pairs = similar_pairs(sketches_of(sets), identity)
    columns = (pairs.first.tolist(), pairs.second.tolist(), pairs.similarity.tolist())
    return {(first, second): share for first, second, share in zip(*columns, strict=True)}


@pytest.mark.parametrize(
    "changes", [{"_MIN_COMMON": 0}, {"_MIN_COMMON": 3}, {"_MAX_DENSE": 0}], ids=str
)
@given(sets, st.floats(0.85, 1))
def test_pairs_equal_those_of_a_plain_implementation(
    changes: dict[str, int], sets: Sets, identity: float
) -> None:
    """Counted by a matrix product, by both ways, or only by pairs."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in changes.items():
            patch.setattr(module, name, value)
        assert found_pairs(sets, identity) == plain_pairs(sets, identity)


@given(sets, st.floats(0.85, 1), st.randoms(use_true_random=False))
def test_only_pairs_of_different_parts_are_compared(
    sets: Sets, identity: float, dice: random.Random
) -> None:
    part_of = np.array([dice.randrange(2) for _ in sets])

    pairs = similar_pairs(sketches_of(sets), identity, part_of)

    across = {
        pair: shared
        for pair, shared in plain_pairs(sets, 0.01).items()
        if part_of[pair[0]] != part_of[pair[1]]
    }
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert found == {pair for pair, shared in across.items() if shared >= identity**21}
    assert pairs.highest == max(across.values(), default=0.0)


@pytest.mark.parametrize("identity", [0.9, 0.95, 0.99])
def test_the_identity_of_mutated_sequences_is_estimated(identity: float) -> None:
    original = dna(40_000, 0)
    store = MemoryStore({"a": original, "b": mutated(original, 1 - identity, seed=1)})

    pairs = similar_pairs(sketch(store, whole(store)), 0.8)

    assert estimated_identity(pairs.similarity[0], pairs.k) == pytest.approx(identity, abs=0.01)


def test_thresholds_and_estimates_are_inverse() -> None:
    assert estimated_identity(shared_fraction(0.95, 21), 21) == pytest.approx(0.95)
    assert [percent(value) for value in (0.95, 0.9999, 1.0)] == ["95%", "99.9%", "100%"]


def test_a_fragment_is_similar_to_the_whole() -> None:
    assert found_pairs([set(range(100)), set(range(10)), set(range(200, 210))], 1.0) == {
        (0, 1): 1.0
    }


def test_two_shared_kmers_do_not_count_unless_there_are_no_more() -> None:
    assert found_pairs([{1, 2, 3, 4}, {1, 2, 5, 6}], 0.8) == {}
    assert found_pairs([{1, 2, 3, 4}, {1, 2}], 0.8) == {(0, 1): 1.0}


def test_sequences_without_kmers_are_similar_to_none() -> None:
    assert found_pairs([set(), set(), {1, 2, 3}], 0.8) == {}


def test_too_many_pairs_are_limited_with_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MAX_DENSE", 0)
    monkeypatch.setattr(module, "_MAX_PAIRS", 200)
    families = [set(range(5)) | {family * 100 + at for at in range(10)} for family in range(30)]
    everyone = [*families, *families]

    with pytest.warns(RMTGenomicsWarning, match=r"5 k-mers are in more than 2 sequences each"):
        result = found_pairs(everyone, 0.99)

    # What is really alike stands side by side, so it is found all the same.
    assert result == {(family, family + 30): 1.0 for family in range(30)}


def test_limited_pairs_have_the_smaller_index_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_DENSE", 0)
    monkeypatch.setattr(module, "_MAX_PAIRS", 200)
    sizes = np.random.default_rng(0).permutation(36) % 12 + 10
    sets = [set(range(5)) | set(range(100, 100 + size)) for size in sizes.tolist()]

    with pytest.warns(RMTGenomicsWarning, match="similar sequences may be missed"):
        result = found_pairs(sets, 0.96)

    assert result
    assert all(first < second for first, second in result)
