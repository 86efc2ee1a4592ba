"""Shares of k-mers are those of a plain count, of bases and of amino acids."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna import encode, reverse_complement
from rmt_genomics.model import kmer_regression as kmer_shares
from rmt_genomics.model.kmer_regression import Kmers, kmer_frequencies
from tests.model.plain_words import by_class, words_of
from tests.prediction.toys import dna

letters_of = st.text("ACGTN", max_size=60)


def plain_frequencies(letters: str, k: int) -> list[float]:
    """The same by a loop over text: canonical k-mers in alphabetical order."""
    kmers = [letters[at : at + k] for at in range(len(letters) - k + 1)]
    counts = Counter(min(kmer, reverse_complement(kmer)) for kmer in kmers if "N" not in kmer)
    all_kmers = [""]
    for _ in range(k):
        all_kmers = [kmer + letter for kmer in all_kmers for letter in "ACGT"]
    canonical = [kmer for kmer in all_kmers if kmer <= reverse_complement(kmer)]
    return [counts[kmer] / max(1, counts.total()) for kmer in canonical]


@given(letters=letters_of, k=st.integers(1, 4))
def test_frequencies_are_those_of_a_plain_count(letters: str, k: int) -> None:
    np.testing.assert_allclose(kmer_frequencies(encode(letters), k), plain_frequencies(letters, k))


@given(letters_of)
def test_both_strands_have_the_same_frequencies(letters: str) -> None:
    other = kmer_frequencies(encode(reverse_complement(letters)))

    assert kmer_frequencies(encode(letters)).tolist() == other.tolist()


@given(letters=letters_of, block=st.integers(1, 20))
def test_the_size_of_blocks_changes_nothing(letters: str, block: int) -> None:
    expected = kmer_frequencies(encode(letters))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rmt_genomics.dna.kmers._BLOCK_BP", block)
        assert kmer_frequencies(encode(letters)).tolist() == expected.tolist()


def test_there_are_136_canonical_4_mers() -> None:
    assert kmer_frequencies(encode("ACGT")).shape == (136,)


@pytest.mark.parametrize("length", [0, 5, 200, 501])
def test_frequencies_of_proteins_are_those_of_a_plain_count(length: int) -> None:
    letters = dna(length, seed=length)
    found = Kmers(2, orf_codons=6).frequencies(encode(letters))

    counts = np.array(by_class(words_of(letters, 2, 6), 2))
    np.testing.assert_allclose(found, counts / max(1, counts.sum()))
    assert found.sum() == pytest.approx(1 if length > 100 else 0)


@pytest.mark.parametrize("kmers", [Kmers(3), Kmers(2, orf_codons=4)])
def test_many_sequences_are_counted_one_by_one(
    kmers: Kmers, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = [encode(dna(90, seed=seed)) for seed in range(3)]

    rows = kmers.shares(codes)

    assert rows.shape == (3, kmers.counted)
    power = 1 if kmers.orf_codons is None else 0.5
    assert rows.tolist() == [(kmers.frequencies(each) ** power).tolist() for each in codes]
    assert kmers.shares(iter(codes), count=3).tolist() == rows.tolist()
    monkeypatch.setattr(kmer_shares, "_LARGE", 2)
    assert kmers.shares(codes).dtype == np.float32
