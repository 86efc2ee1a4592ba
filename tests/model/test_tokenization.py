"""Tokens and strands of a batch: the twin of the NumPy tokenizer, row by row."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna import Tokenizer, decode, encode, reverse_complement
from rmt_genomics.model import tokenization as tokens
from rmt_genomics.model.batching import pad

dna = st.lists(st.text(alphabet="ACGTN", min_size=1, max_size=40), min_size=1, max_size=4)
kmers = st.tuples(st.integers(2, 6), st.integers(1, 6)).filter(lambda pair: pair[1] <= pair[0])
tokenizers = kmers.map(lambda pair: Tokenizer("kmer", *pair)) | st.just(Tokenizer())


@given(sequences=dna, tokenizer=tokenizers)
def test_a_batch_is_tokenised_as_each_sequence_alone(
    sequences: list[str], tokenizer: Tokenizer
) -> None:
    codes = [encode(sequence) for sequence in sequences]
    ids, lengths = tokens.tokenize(tokenizer, *pad(codes))
    for row, each in enumerate(codes):
        expected = tokenizer.encode(each)
        assert int(lengths[row]) == len(expected) == tokenizer.num_tokens(len(each))
        np.testing.assert_array_equal(ids[row, : len(expected)].numpy(), expected)


@given(sequences=dna)
def test_only_the_valid_part_is_reverse_complemented(sequences: list[str]) -> None:
    codes, lengths = pad([encode(sequence) for sequence in sequences])
    reverse = tokens.reverse_complement(codes, lengths)
    for row, sequence in enumerate(sequences):
        assert decode(reverse[row, : len(sequence)].numpy()) == reverse_complement(sequence)
        assert (reverse[row, len(sequence) :] == tokens.N).all()


@given(sequences=dna, at_once=st.integers(1, 50))
def test_a_long_row_is_reverse_complemented_in_pieces(sequences: list[str], at_once: int) -> None:
    batch = pad([encode(sequence) for sequence in sequences])
    whole = tokens.reverse_complement(*batch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "BP_AT_ONCE", at_once)
        assert torch.equal(tokens.reverse_complement(*batch), whole)


def test_a_kmer_by_hand() -> None:
    ids, lengths = tokens.tokenize(
        Tokenizer(kind="kmer", k=2, stride=2), *pad([encode("ACGTN"), encode("GN")])
    )
    assert ids.tolist() == [[1, 11, 16 + 4], [16 + 4, *ids[1, 1:].tolist()]]
    assert lengths.tolist() == [3, 1]
    assert ids.dtype == torch.int32
