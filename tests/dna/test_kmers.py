"""k-mer numbers and canonical k-mers are those of a plain loop over the text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna import encode
from rmt_genomics.dna.kmers import (
    canonical_kmers,
    count_canonical_kmers,
    num_canonical_kmers,
    number_kmers,
)
from tests.dna.plain_kmers import canonical_numbers, number_of


@given(st.text("ACGT", max_size=60), st.integers(1, 31))
def test_canonical_kmers_are_those_of_a_plain_loop(sequence: str, k: int) -> None:
    assert canonical_kmers(encode(sequence), k).tolist() == canonical_numbers(sequence, k)


@given(st.text("ACGTN", max_size=60), st.integers(1, 12), st.integers(1, 12))
def test_kmers_are_numbered_as_by_a_plain_loop(sequence: str, k: int, stride: int) -> None:
    numbers, has_unknown = number_kmers(encode(sequence), k, stride=stride)

    kmers = [sequence[start : start + k] for start in range(0, len(sequence) - k + 1, stride)]
    assert has_unknown.tolist() == ["N" in kmer for kmer in kmers]
    assert numbers[~has_unknown].tolist() == [number_of(kmer) for kmer in kmers if "N" not in kmer]


@given(st.text("ACGTN", max_size=60), st.integers(1, 4))
def test_counts_are_those_of_a_plain_loop(sequence: str, k: int) -> None:
    counts = count_canonical_kmers(encode(sequence), k)

    numbers = [number for part in sequence.split("N") for number in canonical_numbers(part, k)]
    every_kmer = "".join("ACGT"[number // 4**i % 4] for number in range(4**k) for i in range(k))
    canonical = sorted(set(canonical_numbers(every_kmer, k)))
    assert counts.tolist() == [numbers.count(number) for number in canonical]


@pytest.mark.parametrize(("k", "number"), [(1, 2), (2, 10), (3, 32), (4, 136), (5, 512)])
def test_the_number_of_canonical_kmers_is_known(k: int, number: int) -> None:
    """An even k has palindromes, which are their own reverse complements: (4**k + 4**(k/2)) / 2."""
    assert num_canonical_kmers(k) == number
