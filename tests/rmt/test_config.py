"""Invalid settings are refused with name, value and rule."""

import inspect
from typing import Any

import pytest

from rmt_genomics.rmt import RecurrentMemoryTransformer, RMTConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 0}, "dim is 0, but must be at least 1"),
        ({"num_memory_tokens": -1}, "num_memory_tokens is -1, but must be at least 1"),
        ({"attn_dropout": 1.0}, "attn_dropout is 1.0, but must be at least 0 and below 1"),
        ({"dim_head": 7}, "dim_head is 7, but must be even with rotary_pos_emb=True"),
        ({"stem_width": 4}, "stem_width is 4, but must be odd"),
        ({"heads": True}, "heads is True, but must be a whole number"),
        ({"stem_pool": 0}, "stem_pool is 0, but must be at least 1"),
        ({"stem_pool": 2}, "stem_pool is 2, but must be 1 where stem_width is 0"),
        ({"stem_pool": 2, "stem_width": 3, "causal": True}, "must be 1 where causal is True"),
        ({"memory_gate": "soft"}, "memory_gate is 'soft', but must be "),
        ({"memory_reset": "often"}, "memory_reset is 'often', but must be 'never' or 'segment'"),
        ({"dim": 1, "ff_mult": 0.5}, "ff_mult is 0.5, but must give"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RMTConfig(num_tokens=5, **settings)


def test_the_halo_is_on_the_left_only_when_the_model_is_causal() -> None:
    assert RMTConfig(num_tokens=5, causal=True, stem_width=11).halo == (10, 0)
    assert RMTConfig(num_tokens=5, causal=False, stem_width=11).halo == (5, 5)
    assert RMTConfig(num_tokens=5).halo == (0, 0)


def test_the_constructor_of_the_token_model_has_the_arguments_of_the_config() -> None:
    constructor, config = (
        [(argument.name, argument.kind, argument.default) for argument in parameters]
        for parameters in (
            inspect.signature(RecurrentMemoryTransformer).parameters.values(),
            inspect.signature(RMTConfig).parameters.values(),
        )
    )
    assert constructor == config


def test_every_argument_of_the_constructor_reaches_the_config() -> None:
    settings: dict[str, Any] = {"num_tokens": 7, "dim": 24, "xl_mem_len": 5, "ignore_index": -7}
    model = RecurrentMemoryTransformer(**settings, use_xl_memories=True)
    assert model.config == RMTConfig(**settings, use_xl_memories=True)
