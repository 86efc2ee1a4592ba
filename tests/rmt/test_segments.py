"""Cutting into segments: no token is lost or read twice, the halo is included."""

import inspect
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.rmt import Segments

rows_of_lengths = st.lists(st.integers(1, 40), min_size=1, max_size=4).map(
    lambda lengths: sorted(lengths, reverse=True)
)


def numbered(lengths: list[int]) -> torch.Tensor:
    """Tokens numbered by batch row and position; -1 is padding."""
    tokens = torch.full((len(lengths), lengths[0]), -1)
    for row, length in enumerate(lengths):
        tokens[row, :length] = torch.arange(length) + 100 * row
    return tokens


@given(lengths=rows_of_lengths, segment_length=st.integers(1, 12), reach=st.integers(0, 5))
def test_concatenated_segments_are_the_input(
    lengths: list[int], segment_length: int, reach: int
) -> None:
    segments = Segments(numbered(lengths), lengths, segment_length, (reach, reach))
    for row, length in enumerate(lengths):
        own = [
            segment.tokens[row, segment.left : segment.left + segment.length]
            for segment in segments
            if row < len(segment.tokens)
        ]
        joined = torch.cat(own)
        assert joined[joined >= 0].tolist() == [100 * row + position for position in range(length)]
        assert all(len(part) == segment_length for part in own[:-1])


@given(lengths=rows_of_lengths, segment_length=st.integers(1, 12), reach=st.integers(0, 5))
def test_keep_marks_real_tokens_and_ended_batch_rows_are_left_out(
    lengths: list[int], segment_length: int, reach: int
) -> None:
    segments = Segments(numbered(lengths), lengths, segment_length, (reach, reach))
    for index, segment in enumerate(segments):
        reaching = [length for length in lengths if length > index * segment_length]
        assert len(segment.tokens) == len(reaching)
        real = segment.tokens >= 0
        keep = torch.ones_like(real) if segment.keep is None else segment.keep
        assert torch.equal(keep, real)


def test_a_segment_includes_its_halo() -> None:
    segments = Segments(torch.arange(10)[None], [10], 4, halo=(2, 1))
    assert [segment.tokens.tolist() for segment in segments] == [
        [[0, 1, 2, 3, 4]],
        [[2, 3, 4, 5, 6, 7, 8]],
        [[6, 7, 8, 9]],
    ]
    assert [segment.left for segment in segments] == [0, 2, 2]


def test_slices_and_negative_indices_work_as_for_lists() -> None:
    segments = Segments(torch.arange(10)[None], [10], 4)
    assert segments[-1].tokens.tolist() == [[8, 9]]
    assert [segment.tokens.tolist() for segment in segments[1:]] == [[[4, 5, 6, 7]], [[8, 9]]]


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([3], "lengths has 1 entries, but tokens has 2 rows"),
        ([2, 3], "must be sorted, longest first"),
        ([3, 0], "each must be between 1 and 3, the width of tokens"),
        ([4, 3], "each must be between 1 and 3, the width of tokens"),
    ],
)
def test_wrong_lengths_are_named(lengths: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Segments(torch.zeros(2, 3, dtype=torch.long), lengths, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": torch.zeros(2, 3)}, "tokens is torch.float32, but must hold integers"),
        (
            {"tokens": torch.zeros(3, dtype=torch.long)},
            r"tokens has shape \(3,\), but must be \(b, t",
        ),
        ({"lengths": [2.0, 1]}, "a length is 2.0, but must be a whole number"),
        ({"lengths": [True, True]}, "a length is True, but must be a whole number"),
        ({"segment_length": 2.0}, "segment_length is 2.0, but must be a whole number"),
        (
            {"segment_length": 0},
            r"segment_length is 0 and halo is \(0, 0\), but a segment holds at",
        ),
        ({"halo": (0.5, 1)}, "halo is 0.5, but must be a whole number"),
        ({"halo": (-1, 0)}, r"halo is \(-1, 0\), but a segment holds at least 1 token, and a halo"),
    ],
)
def test_arguments_of_another_type_or_out_of_range_are_refused(
    arguments: dict[str, Any], message: str
) -> None:
    given = {"tokens": torch.zeros(2, 3, dtype=torch.long), "lengths": [3, 1], "segment_length": 2}
    segments = Segments.__new__(Segments)
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(Segments.__init__)(segments, **{**given, **arguments})
