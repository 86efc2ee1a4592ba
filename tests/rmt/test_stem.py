"""The stem: segmenting never changes what it sees."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.rmt import Segments
from tests.toys import tiny


@given(
    length=st.integers(1, 40),
    segment_length=st.integers(1, 15),
    width=st.sampled_from([1, 3, 7, 11]),
    causal=st.booleans(),
)
def test_segmenting_never_changes_what_the_stem_sees(
    *, length: int, segment_length: int, width: int, causal: bool
) -> None:
    embed = tiny(stem_width=width, causal=causal).embed
    halo = tiny(stem_width=width, causal=causal).config.halo
    tokens = torch.randint(0, 5, (2, length))
    lengths = [length, max(1, length - 5)]

    whole = embed(Segments(tokens, lengths, length, halo)[0])
    pieces = [embed(segment) for segment in Segments(tokens, lengths, segment_length, halo)]

    for row, real in enumerate(lengths):
        joined = torch.cat([piece[row] for piece in pieces if row < len(piece)])[:real]
        torch.testing.assert_close(joined, whole[row, :real], rtol=1e-12, atol=1e-12)


def test_without_a_halo_the_check_fails() -> None:
    model = tiny(stem_width=5)
    tokens = torch.randint(0, 5, (1, 12))
    whole = model.embed(Segments(tokens, [12], 12, (2, 2))[0])
    cut = torch.cat([model.embed(each) for each in Segments(tokens, [12], 6, (0, 0))], dim=1)
    assert not torch.allclose(cut, whole)
