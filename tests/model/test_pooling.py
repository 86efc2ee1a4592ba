"""Each pooling, written out by hand."""

import pytest
import torch

from rmt_genomics.model.pooling import POOLINGS

MEMORIES = torch.tensor([[[[1.0], [3.0]], [[5.0], [7.0]]], [[[9.0], [11.0]], [[5.0], [7.0]]]])
IS_READ = torch.tensor([[True, True], [True, False]])  # the second row ended after one segment


@pytest.mark.parametrize(
    ("kind", "expected"), [("last", [10.0, 6.0]), ("mean", [6.0, 6.0]), ("max", [11.0, 7.0])]
)
def test_pooling_by_hand(kind: str, expected: list[float]) -> None:
    pooled = POOLINGS[kind](1)([(MEMORIES, IS_READ)])
    assert pooled.flatten().tolist() == expected


def test_last_keeps_what_a_row_read_last_over_several_chunks() -> None:
    """What follows the end of a row may be anything: a segment has written nothing for it."""
    memories = MEMORIES.clone()
    memories[1, 1] = torch.nan
    chunks = [(each[None], read[None]) for each, read in zip(memories, IS_READ, strict=True)]
    for whole in (chunks, [(memories, IS_READ)]):
        assert POOLINGS["last"](1)(whole).flatten().tolist() == [10.0, 6.0]


def test_attention_weighs_only_what_was_read() -> None:
    pool = POOLINGS["attention"](1)
    torch.nn.init.zeros_(pool.score.weight)
    torch.nn.init.zeros_(pool.score.bias)
    torch.testing.assert_close(pool([(MEMORIES, IS_READ)]).flatten(), torch.tensor([6.0, 6.0]))


def test_attention_survives_large_scores() -> None:
    pool = POOLINGS["attention"](1)
    torch.nn.init.constant_(pool.score.weight, 1e3)
    chunks = [(each[None], read[None]) for each, read in zip(MEMORIES, IS_READ, strict=True)]
    torch.testing.assert_close(pool(chunks).flatten(), torch.tensor([11.0, 7.0]))
