"""Sampled k-mers: the right ones, the same on both strands, none with an N, none lost at a cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import similarity as module
from rmt_genomics.datasets.similarity import sketch
from rmt_genomics.dna import reverse_complement
from rmt_genomics.dna.record_types import Interval
from tests.datasets.toys import MemoryStore, dna
from tests.dna.plain_kmers import canonical_numbers

letters = st.text("ACGTN", min_size=1, max_size=80)


def whole(store: MemoryStore) -> list[Interval]:
    return [Interval(name, 0, length) for name, length in store.lengths.items()]


@given(st.lists(letters, min_size=1, max_size=5))
def test_each_kmer_without_n_is_kept_once_a_sequence_when_all_are(sequences: list[str]) -> None:
    store = MemoryStore({f"r{place}": each for place, each in enumerate(sequences)})

    found = sketch(store, whole(store))

    assert (found.k, found.scale) == (15, 1)
    expected = [
        {kmer for part in each.split("N") for kmer in canonical_numbers(part, 15)}
        for each in sequences
    ]
    assert found.sizes.tolist() == list(map(len, expected))
    assert np.all(found.hashes[1:] >= found.hashes[:-1])
    assert np.bincount(found.owners, minlength=len(sequences)).tolist() == found.sizes.tolist()


@given(letters)
def test_both_strands_have_one_sketch(sequence: str) -> None:
    store = MemoryStore({"r": sequence, "other": reverse_complement(sequence)})

    found = sketch(store, whole(store))

    assert found.sizes[0] == found.sizes[1]
    assert np.array_equal(found.hashes[found.owners == 0], found.hashes[found.owners == 1])


def test_a_cut_loses_and_adds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore(
        {f"r{place}": dna(length, place) for place, length in enumerate((900, 333))}
    )
    whole_pieces = sketch(store, whole(store))
    monkeypatch.setattr(module, "_PIECE_BP", 50)

    cut = sketch(store, whole(store))

    assert np.array_equal(cut.hashes, whole_pieces.hashes)
    assert np.array_equal(cut.owners, whole_pieces.owners)


def test_a_cut_without_overlap_would_be_seen() -> None:
    """The test above can fail: pieces that do not overlap lose k - 1 k-mers at each cut."""
    store = MemoryStore({"r": dna(100, 0)})

    assert sketch(store, whole(store)).sizes.tolist() == [86]
    assert sketch(store, [Interval("r", 0, 50), Interval("r", 50, 100)]).sizes.sum() == 86 - 14


def test_long_sequences_have_long_kmers_and_about_two_hundred_hashes() -> None:
    store = MemoryStore({"r": dna(40_000, 0), "s": dna(80_000, 1)})

    found = sketch(store, whole(store))

    assert (found.k, found.scale) == (21, 200)
    assert 150 < found.sizes[0] < 250
    assert 300 < found.sizes[1] < 500


def test_many_hashes_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_HASHES", 1000)
    store = MemoryStore({"long": dna(10_000, 0), "short": dna(50, 1)})

    assert sketch(store, whole(store)).scale == 11


def test_a_repeat_counts_once() -> None:
    store = MemoryStore({"r": dna(40, 0) * 3})

    found = sketch(store, whole(store))

    assert found.sizes.tolist() == [40]
    assert len(found.hashes) == 40


def test_what_is_too_short_or_unknown_has_no_hash() -> None:
    store = MemoryStore({"short": "ACGT", "unknown": "N" * 50})

    assert sketch(store, whole(store)).sizes.tolist() == [0, 0]
