"""Letters, base codes and the reverse complement: laws that hold for every sequence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna.alphabet import (
    LETTERS,
    check_letters,
    decode,
    encode,
    reverse_complement,
    reverse_complement_codes,
)
from rmt_genomics.errors import DataError

IUPAC = "ACGTUNRYSWKMBDHV"
plain = st.text(alphabet=LETTERS, max_size=200)
dna = st.text(alphabet=IUPAC + IUPAC.lower(), max_size=200)


def test_codes_are_the_indices_of_the_letters() -> None:
    assert encode("ACGTNacgtnUuRyswkmbdhv").tolist() == [0, 1, 2, 3, 4] * 2 + [3, 3] + [4] * 10


def test_a_byte_that_is_not_utf8_is_named_as_a_byte() -> None:
    text = b"AC\xff".decode(errors="surrogateescape")
    with pytest.raises(DataError, match=r"position 2 holds '\u00ff', but a DNA letter is one of"):
        encode(text)


def test_bytes_are_read_like_text() -> None:
    assert encode(b"GATTACA").tolist() == encode("GATTACA").tolist() == [2, 0, 3, 3, 0, 1, 0]


def test_codes_may_be_written_to() -> None:
    codes = encode("AAA")

    codes[1] = 3

    assert decode(codes) == "ATA"


@given(plain)
def test_decoding_undoes_encoding(sequence: str) -> None:
    assert decode(encode(sequence)) == sequence


@given(plain)
def test_the_reverse_complement_of_the_reverse_complement_is_the_sequence(sequence: str) -> None:
    assert reverse_complement(reverse_complement(sequence)) == sequence


@given(left=dna, right=dna)
def test_the_reverse_complement_of_joined_parts_has_them_in_reverse_order(
    left: str, right: str
) -> None:
    expected = reverse_complement(right) + reverse_complement(left)
    assert reverse_complement(left + right) == expected


@given(dna)
def test_reverse_complement_and_encoding_commute(sequence: str) -> None:
    expected = reverse_complement_codes(encode(sequence))
    np.testing.assert_array_equal(encode(reverse_complement(sequence)), expected)


@given(dna.map(lambda sequence: sequence.replace("U", "T").replace("u", "t")))
def test_agrees_with_biopython(sequence: str) -> None:
    from Bio.Seq import Seq

    assert reverse_complement(sequence) == str(Seq(sequence).reverse_complement())


@pytest.mark.parametrize("check", [encode, check_letters, reverse_complement])
@given(
    before=dna,
    # not surrogates: they stand for bytes of a file, and are named as those
    bad=st.characters(exclude_characters=IUPAC + IUPAC.lower(), exclude_categories=["Cs"]),
    after=st.text(),
)
def test_the_error_names_the_first_bad_letter(check, before: str, bad: str, after: str) -> None:
    with pytest.raises(DataError) as caught:
        check(before + bad + after)

    assert str(caught.value).startswith(
        f"position {len(before)} holds {bad!r}, but a DNA letter is one of A, C, G, T, N "
        "or an IUPAC code. "
    )


@pytest.mark.parametrize(
    ("sequence", "hint"),
    [
        ("MKTAYIAKQR", "This looks like protein: DNA is expected."),
        ("ACGX", "Remove this letter, or write N where the base is unknown."),
        ("AC-GT", "This looks like an alignment: unaligned sequences are expected"),
        ("AC.GT", "This looks like an alignment: unaligned sequences are expected"),
        ("AC\x00GT", "This looks like a binary file: FASTA text is expected."),
    ],
)
def test_the_error_guesses_what_the_text_is(sequence: str, hint: str) -> None:
    with pytest.raises(DataError, match=hint):
        encode(sequence)
