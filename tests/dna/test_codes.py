"""What is not a base code is refused with its place, wherever codes are taken from the caller."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rmt_genomics.dna import Tokenizer, decode, reverse_complement_codes
from rmt_genomics.dna.alphabet import check_codes, pad_codes
from rmt_genomics.dna.kmers import canonical_kmers, count_canonical_kmers, number_kmers

TAKES_CODES: dict[str, Callable[[Any], Any]] = {
    "decode": decode,
    "reverse_complement_codes": reverse_complement_codes,
    "pad_codes": lambda codes: pad_codes([codes]),
    "bases as tokens": Tokenizer().encode,
    "k-mers as tokens": Tokenizer("kmer", k=3, stride=3).encode,
    "number_kmers": lambda codes: number_kmers(codes, 2),
    "canonical_kmers": lambda codes: canonical_kmers(codes, 2),
    "count_canonical_kmers": lambda codes: count_canonical_kmers(codes, 2),
}


@pytest.mark.parametrize("name", TAKES_CODES)
@pytest.mark.parametrize("value", [5, 7, 255])
def test_a_code_that_is_none_is_refused_with_its_place(name: str, value: int) -> None:
    codes = np.array([0, 1, 2, 3, 0, value, value, 1], dtype=np.uint8)

    with pytest.raises(ValueError, match=f"position 5 holds {value}, but base codes are whole num"):
        TAKES_CODES[name](codes)


def test_a_wrong_code_far_into_a_sequence_has_the_place_in_the_whole() -> None:
    codes = np.zeros(3 << 20, dtype=np.uint8)
    codes[(2 << 20) + 7] = 9

    with pytest.raises(ValueError, match="position 2097159 holds 9"):
        count_canonical_kmers(codes, 3)


def test_canonical_kmers_have_no_n() -> None:
    with pytest.raises(ValueError, match=r"position 1 holds 4, but base codes are .* 0 to 3 \(A, "):
        canonical_kmers(np.array([0, 4], dtype=np.uint8), 1)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.array([0.0, 1.5]), r"is an array of float64 of shape \(2,\), but base codes are whole"),
        (np.array([True]), "is an array of bool"),
        (np.array([[0, 1]]), r"is an array of int64 of shape \(1, 2\), but .* in one row"),
        (np.array([0, -1]), "position 1 holds -1, but"),
        (np.array([0, 256]), "position 1 holds 256, but"),
        (["A"], "is an array of <U1"),
    ],
)
def test_other_arrays_are_refused(codes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_codes(codes)


@pytest.mark.parametrize("codes", [[], [0, 4], np.array([0, 4], np.int64)])
def test_whole_numbers_of_any_type_are_base_codes(codes: Any) -> None:
    checked = check_codes(codes)

    assert checked.dtype == np.uint8
    assert checked.tolist() == list(codes)
