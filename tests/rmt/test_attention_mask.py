"""Attention masks by hand: True where a query (row) may attend to a key (column)."""

import torch

from rmt_genomics.rmt import RMTConfig
from rmt_genomics.rmt.positions import PositionCounts, attention_mask

CPU = torch.device("cpu")
COUNTS = PositionCounts(cached=1, read=1, tokens=2, write=1)


def drawn(mask: torch.Tensor | None) -> list[str]:
    assert mask is not None
    return ["".join(".x"[int(keep)] for keep in query) for query in mask[0, 0].tolist()]


def config(**changes: bool) -> RMTConfig:
    return RMTConfig(num_tokens=5, **{"causal": False, **changes})


def test_without_padding_a_bidirectional_model_needs_no_mask() -> None:
    assert attention_mask(config(), COUNTS, CPU) is None


def test_padding_is_hidden_from_every_query() -> None:
    is_token = torch.tensor([[True, False]])
    assert drawn(attention_mask(config(), COUNTS, CPU, is_token=is_token)) == ["xxx.x"]


def test_a_causal_token_attends_to_earlier_keys_and_write_memory_to_all() -> None:
    mask = attention_mask(config(causal=True), COUNTS, CPU)
    assert drawn(mask) == ["xx...", "xxx..", "xxxx.", "xxxxx"]


def test_causal_padding_attends_to_itself_so_that_no_query_is_without_a_key() -> None:
    none = torch.zeros(1, 2, dtype=torch.bool)
    mask = attention_mask(
        config(causal=True), COUNTS, CPU, is_token=none, is_cached=torch.tensor([[False]])
    )
    assert drawn(mask) == [".x...", ".xx..", ".x.x.", ".x..x"]


def test_a_hidden_read_memory_is_attended_to_by_itself_only() -> None:
    mask = attention_mask(config(), COUNTS, CPU, hide_read_memory=True)
    assert drawn(mask) == ["xxxxx", "x.xxx", "x.xxx", "x.xxx"]
