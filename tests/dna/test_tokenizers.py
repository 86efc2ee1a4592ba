"""Tokens: no base is dropped, and the tokens spell the sequence."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna.alphabet import LETTERS, encode
from rmt_genomics.dna.tokenizers import Tokenizer
from rmt_genomics.errors import ConfigError

kmer_tokenizers = st.integers(1, 6).flatmap(
    lambda k: st.integers(1, k).map(lambda stride: Tokenizer("kmer", k=k, stride=stride))
)
dna = st.text(alphabet=LETTERS, max_size=60)


def spell(tokenizer: Tokenizer, token: int) -> str:
    """Return the letters of one token, the slow way."""
    if token >= 4**tokenizer.k:
        return LETTERS[token - 4**tokenizer.k]
    digits = [token // 4**power % 4 for power in reversed(range(tokenizer.k))]
    return "".join(LETTERS[digit] for digit in digits)


def expected_tokens(tokenizer: Tokenizer, sequence: str) -> list[str]:
    """Cut the sequence by the definition, one token at a time."""
    tokens_as_text, end = [], 0
    for start in range(0, len(sequence) - tokenizer.k + 1, tokenizer.stride):
        end = start + tokenizer.k
        word = sequence[start:end]
        tokens_as_text.append("N" if "N" in word else word)
    return tokens_as_text + list(sequence[end:])


@given(tokenizer=kmer_tokenizers, sequence=dna)
def test_tokens_spell_the_sequence(tokenizer: Tokenizer, sequence: str) -> None:
    tokens = tokenizer.encode(encode(sequence))

    tokens_as_text = [spell(tokenizer, int(token)) for token in tokens]

    assert tokens_as_text == expected_tokens(tokenizer, sequence)


@given(tokenizer=kmer_tokenizers | st.just(Tokenizer()), sequence=dna)
def test_the_number_of_tokens_is_computed_from_the_length(
    tokenizer: Tokenizer, sequence: str
) -> None:
    tokens = tokenizer.encode(encode(sequence))

    assert len(tokens) == tokenizer.num_tokens(len(sequence))
    assert len(tokens) == 0 or 0 <= tokens.min() <= tokens.max() < tokenizer.vocabulary_size


def test_tokens_counted_by_hand() -> None:
    tokenizer = Tokenizer("kmer", k=3, stride=2)

    tokens = tokenizer.encode(encode("AACGNTAT"))  # AAC CGN NTA, then T

    assert tokens.tolist() == [1, 64 + 4, 64 + 4, 64 + 3]


def test_base_tokens_are_the_base_codes() -> None:
    codes = encode("GATTACAN")
    assert Tokenizer().encode(codes).tolist() == codes.tolist()


@pytest.mark.parametrize(
    ("tokenizer", "size", "dtype"),
    [
        (Tokenizer(), 5, np.uint8),
        (Tokenizer("kmer", k=1), 9, np.uint8),
        (Tokenizer("kmer", k=3), 69, np.uint8),
        (Tokenizer("kmer", k=4), 261, np.int32),
        (Tokenizer("kmer", k=6), 4101, np.int32),
    ],
)
def test_the_vocabulary_size_decides_the_dtype(
    tokenizer: Tokenizer, size: int, dtype: type
) -> None:
    assert tokenizer.vocabulary_size == size
    assert tokenizer.encode(encode("GATTACA")).dtype == dtype


@pytest.mark.parametrize(
    ("kind", "k", "stride", "message"),
    [
        ("word", 1, 1, "tokenizer.kind is 'word', but must be one of base, kmer."),
        ("base", 3, 1, "tokenizer.k is 3 and tokenizer.stride is 1, but both must be 1"),
        ("kmer", 0, 1, "tokenizer.k is 0, but must be 1 to 12"),
        ("kmer", 13, 1, "tokenizer.k is 13, but must be 1 to 12"),
        ("kmer", 3, 4, "tokenizer.stride is 4, but must be 1 to 3 (tokenizer.k)"),
        ("kmer", 3, 0, "tokenizer.stride is 0, but must be 1 to 3 (tokenizer.k)"),
    ],
)
def test_contradictory_settings_are_refused(kind: str, k: int, stride: int, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Tokenizer(kind, k, stride)
