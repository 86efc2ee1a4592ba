"""Base composition: one case counted by hand, and a plain loop for all others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna.alphabet import Composition, composition_of
from rmt_genomics.errors import DataError

IUPAC = "ACGTUNRYSWKMBDHV"


def test_a_sequence_counted_by_hand() -> None:
    assert composition_of("GGCATnnNRy") == Composition(
        length=10, gc=3 / 5, n=0.3, ambiguous=2, lower_case=0.3
    )


def test_without_known_bases_there_is_no_gc() -> None:
    assert composition_of("NNRR").gc is None


def test_an_empty_sequence_has_zeros() -> None:
    assert composition_of("") == Composition(0, None, 0.0, 0, 0.0)


@given(st.text(alphabet=IUPAC + IUPAC.lower(), min_size=1))
def test_agrees_with_counting_letter_by_letter(sequence: str) -> None:
    upper = sequence.upper()
    known = [letter for letter in upper if letter in "ACGTU"]

    found = composition_of(sequence)

    assert found.length == len(sequence)
    assert found.n == upper.count("N") / len(sequence)
    assert found.ambiguous == sum(letter in "RYSWKMBDHV" for letter in upper)
    assert found.lower_case == sum(map(str.islower, sequence)) / len(sequence)
    if known:
        assert found.gc == sum(letter in "GC" for letter in known) / len(known)


def test_protein_is_refused() -> None:
    with pytest.raises(DataError, match=r"position 1 holds 'E'.*looks like protein"):
        composition_of("AE")
