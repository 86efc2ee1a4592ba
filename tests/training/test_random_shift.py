"""Randomly shifted sequences keep their order of bases and their lengths."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.training.module import shift_randomly

N = 4


@given(length=st.integers(1, 12), max_shift=st.integers(1, 15), seed=st.integers(0, 99))
def test_a_sequence_is_shifted_and_nothing_else_changes(
    *, length: int, max_shift: int, seed: int
) -> None:
    torch.manual_seed(seed)
    codes = torch.randint(0, 4, (1, 12), dtype=torch.uint8)
    before = codes.clone()
    shifted = shift_randomly(codes, torch.tensor([length]), max_shift)[0]

    assert torch.equal(codes, before)
    assert torch.equal(shifted[length:], codes[0, length:])
    inside = torch.cat([torch.full((12,), N), codes[0, :length], torch.full((12,), N)])
    most = min(max_shift, length - 1)
    windows = [inside[12 - shift : 12 - shift + length] for shift in range(-most, most + 1)]
    assert any(torch.equal(shifted[:length].long(), window.long()) for window in windows)


def test_every_shift_occurs() -> None:
    torch.manual_seed(0)
    codes = torch.tensor([[0, 1, 2, 3, N]], dtype=torch.uint8).repeat(200, 1)
    rows = {tuple(row) for row in shift_randomly(codes, torch.full((200,), 4), 2).tolist()}
    assert rows == {
        (2, 3, N, N, N),
        (1, 2, 3, N, N),
        (0, 1, 2, 3, N),
        (N, 0, 1, 2, N),
        (N, N, 0, 1, N),
    }
