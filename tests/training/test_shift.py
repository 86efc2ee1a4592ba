"""Shifted sequences keep their order and their lengths."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.training.module import shifted

N = 4


@given(length=st.integers(1, 12), at_most=st.integers(1, 15), seed=st.integers(0, 99))
def test_a_row_is_moved_and_nothing_else(*, length: int, at_most: int, seed: int) -> None:
    torch.manual_seed(seed)
    codes = torch.randint(0, 4, (1, 12), dtype=torch.uint8)
    before = codes.clone()
    moved = shifted(codes, torch.tensor([length]), at_most)[0]

    assert torch.equal(codes, before)
    assert torch.equal(moved[length:], codes[0, length:])
    inside = torch.cat([torch.full((12,), N), codes[0, :length], torch.full((12,), N)])
    most = min(at_most, length - 1)
    windows = [inside[12 - move : 12 - move + length] for move in range(-most, most + 1)]
    assert any(torch.equal(moved[:length].long(), window.long()) for window in windows)


def test_by_hand_every_move_occurs() -> None:
    torch.manual_seed(0)
    codes = torch.tensor([[0, 1, 2, 3, N]], dtype=torch.uint8).repeat(200, 1)
    rows = {tuple(row) for row in shifted(codes, torch.full((200,), 4), 2).tolist()}
    assert rows == {
        (2, 3, N, N, N),
        (1, 2, 3, N, N),
        (0, 1, 2, 3, N),
        (N, 0, 1, 2, N),
        (N, N, 0, 1, N),
    }
