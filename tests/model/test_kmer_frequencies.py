"""Frequencies of k-mers are those of a plain count, of bases and of amino acids."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna import encode, reverse_complement
from rmt_genomics.model import kmer_regression
from rmt_genomics.model.kmer_regression import KmerSpec
from tests.model.plain_amino_acid_kmers import amino_acid_kmers_of, by_class
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
    np.testing.assert_allclose(
        KmerSpec(k).frequencies(encode(letters)), plain_frequencies(letters, k)
    )


@given(letters_of)
def test_both_strands_have_the_same_frequencies(letters: str) -> None:
    other = KmerSpec().frequencies(encode(reverse_complement(letters)))

    assert KmerSpec().frequencies(encode(letters)).tolist() == other.tolist()


@given(letters=letters_of, block=st.integers(1, 20))
def test_the_size_of_blocks_changes_nothing(letters: str, block: int) -> None:
    expected = KmerSpec().frequencies(encode(letters))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rmt_genomics.dna.kmers._BLOCK_BP", block)
        assert KmerSpec().frequencies(encode(letters)).tolist() == expected.tolist()


def test_there_are_136_canonical_4_mers() -> None:
    assert KmerSpec().frequencies(encode("ACGT")).shape == (136,)


@pytest.mark.parametrize("length", [0, 5, 200, 501])
def test_frequencies_of_proteins_are_those_of_a_plain_count(length: int) -> None:
    letters = dna(length, seed=length)
    frequencies = KmerSpec(2, orf_codons=6).frequencies(encode(letters))

    counts = np.array(by_class(amino_acid_kmers_of(letters, 2, 6), 2))
    np.testing.assert_allclose(frequencies, counts / max(1, counts.sum()))
    assert frequencies.sum() == pytest.approx(1 if length > 100 else 0)


@pytest.mark.parametrize("kmers", [KmerSpec(3), KmerSpec(2, orf_codons=4)])
def test_features_are_the_frequencies_of_each_sequence(
    kmers: KmerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = [encode(dna(90, seed=seed)) for seed in range(3)]

    rows = kmers.features(codes)

    assert rows.shape == (3, kmers.num_features)
    power = 1 if kmers.orf_codons is None else 0.5
    assert rows.tolist() == [(kmers.frequencies(row) ** power).tolist() for row in codes]
    assert kmers.features(iter(codes), count=3).tolist() == rows.tolist()
    monkeypatch.setattr(kmer_regression, "_LARGE", 2)
    assert kmers.features(codes).dtype == np.float32


@given(letters=letters_of, k=st.integers(1, 3))
def test_stranded_frequencies_are_those_of_a_plain_count_of_the_given_strand(
    letters: str, k: int
) -> None:
    kmers = [letters[at : at + k] for at in range(len(letters) - k + 1)]
    counts = Counter(kmer for kmer in kmers if "N" not in kmer)
    all_kmers = map("".join, product("ACGT", repeat=k))

    frequencies = KmerSpec(k, is_stranded=True).frequencies(encode(letters))

    expected = [counts[kmer] / max(1, counts.total()) for kmer in all_kmers]
    np.testing.assert_allclose(frequencies, expected)


def test_length_and_unknown_bases_are_features() -> None:
    kmers = KmerSpec(1, is_stranded=True, has_length=True)

    rows = kmers.features([encode("AACG" * 20 + "N" * 20), encode("T")])

    expected = [[0.5, 0.25, 0.25, 0, 2, 0.2], [0, 0, 0, 1, 0, 0]]
    np.testing.assert_allclose(rows, expected)
    assert kmers.num_features == 6
