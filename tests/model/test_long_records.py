"""A long record in a few bytes: the same answer as both strands in memory (law 5)."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna import Tokenizer, encode
from rmt_genomics.model import (
    bidirectional_encoder as long_records,
)
from rmt_genomics.model import (
    tokenization as tokens,
)
from rmt_genomics.model.batching import pad
from rmt_genomics.model.bidirectional_encoder import encode_long, segment_blocks
from rmt_genomics.model.classifier import RMTClassifier
from tests.model.toys import toy

letters = st.text("ACGTN", min_size=1, max_size=90)
kmers = st.tuples(st.integers(2, 5), st.integers(1, 5)).filter(lambda pair: pair[1] <= pair[0])
tokenizers = kmers.map(lambda pair: Tokenizer("kmer", *pair)) | st.just(Tokenizer())


def model_of(tokenizer: Tokenizer, **changes: Any) -> RMTClassifier:
    settings = {"tokenizer_kind": tokenizer.kind, "k": tokenizer.k, "stride": tokenizer.stride}
    return toy(**settings, segment_length=4, depth=1, **changes)


def in_memory(model: RMTClassifier, sequence: str) -> torch.Tensor:
    with torch.no_grad():
        return model.encode(*pad([encode(sequence)])).concatenated()


@given(sequence=letters, tokenizer=tokenizers, at_once=st.integers(1, 3))
def test_a_long_record_has_the_encoding_it_has_in_memory(
    sequence: str, tokenizer: Tokenizer, at_once: int
) -> None:
    model = model_of(tokenizer, pooling="attention")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_records, "SEGMENTS_AT_ONCE", at_once)
        found = encode_long(model.encoder, encode(sequence))

    torch.testing.assert_close(found, in_memory(model, sequence), atol=1e-12, rtol=0)


def test_rows_merged_by_the_stem_are_the_same_too() -> None:
    model = model_of(Tokenizer(), stem_pool=3)

    found = encode_long(model.encoder, encode("ACGTTGCANNCGTATTACGGACT"))

    torch.testing.assert_close(
        found, in_memory(model, "ACGTTGCANNCGTATTACGGACT"), atol=1e-12, rtol=0
    )


@given(sequence=letters, tokenizer=tokenizers, at_once=st.integers(1, 3))
def test_segments_hold_the_tokens_of_both_strands(
    sequence: str, tokenizer: Tokenizer, at_once: int
) -> None:
    model = model_of(tokenizer)
    codes, lengths = pad([encode(sequence)])
    whole = torch.cat(
        [
            tokens.tokenize(tokenizer, each, lengths)[0]
            for each in (codes, tokens.reverse_complement(codes, lengths))
        ]
    )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_records, "SEGMENTS_AT_ONCE", at_once)
        blocks = list(segment_blocks(model.encoder, encode(sequence)))

    found = [segment for segments, _ in blocks for segment in segments]
    for index, segment in enumerate(found):
        first = index * model.encoder.config.tokens_per_segment - segment.left
        expected = whole[:, first : first + segment.tokens.shape[1]]
        assert torch.equal(segment.tokens.int(), expected.int())
        assert segment.is_start == (index == 0)
    assert sum(each.length for each in found) == whole.shape[1]


@given(sequence=letters, tokenizer=tokenizers)
def test_the_reported_progress_adds_up_to_the_record(sequence: str, tokenizer: Tokenizer) -> None:
    reported: list[int] = []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_records, "SEGMENTS_AT_ONCE", 2)
        encode_long(model_of(tokenizer).encoder, encode(sequence), on_read=reported.append)

    assert sum(reported) == len(sequence)
    assert min(reported) > 0
