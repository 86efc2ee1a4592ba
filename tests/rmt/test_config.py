"""Invalid settings are refused with name, value and rule."""

import inspect
import math
import re
from fractions import Fraction
from typing import Any

import numpy as np
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
        ({"ff_mult": 1e300}, r"ff_mult is 1e\+300, but must be at most 1000"),
        (
            {"dim": 2**40},
            "dim is 1099511627776 and depth is 6: about 6e.25 weights, but there must",
        ),
        ({"dim": 10**6, "num_tokens": 10**9}, "about 1e.15 weights, but there must be at most 1e"),
        ({"num_memory_tokens": 10**9}, "about 5e.11 weights, .* Lower the largest of dim, depth"),
        ({"stem_width": 999_999_999, "dim": 8}, "about 3e.11 weights, but there must be at most"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RMTConfig(**{"num_tokens": 5, **settings})


WRONG_TYPES: list[tuple[str, Any, str]] = [
    ("causal", "False", "'False', but must be True or False"),
    ("causal", 0, "0, but must be True or False"),
    ("causal", None, "None, but must be True or False"),
    ("qk_norm", np.int64(1), "np.int64(1), but must be True or False"),
    ("heads", True, "True, but must be a whole number"),
    ("heads", 8.0, "8.0, but must be a whole number"),
    ("heads", np.float64(8), "np.float64(8.0), but must be a whole number"),
    ("heads", "8", "'8', but must be a whole number"),
    ("heads", None, "None, but must be a whole number"),
    ("heads", [8], "[8], but must be a whole number"),
    ("heads", Fraction(8), "Fraction(8, 1), but must be a whole number"),
    ("heads", math.inf, "inf, but must be a whole number"),
    ("stem_width", 3.0, "3.0, but must be a whole number"),
    ("ignore_index", "x", "'x', but must be a whole number"),
    ("xl_mem_len", 2.5, "2.5, but must be a whole number"),
    ("xl_mem_len", False, "False, but must be a whole number"),
    ("ff_mult", "4", "'4', but must be a finite number"),
    ("ff_mult", True, "True, but must be a finite number"),
    ("ff_mult", math.nan, "nan, but must be a finite number"),
    ("ff_mult", 4j, "4j, but must be a finite number"),
    ("ff_dropout", None, "None, but must be a finite number"),
    ("ff_dropout", np.float32("inf"), "np.float32(inf), but must be a finite number"),
    ("memory_gate", 1, "1, but must be False, True or 'hard'"),
    ("memory_gate", 0.0, "0.0, but must be False, True or 'hard'"),
    ("memory_gate", None, "None, but must be False, True or 'hard'"),
    ("memory_reset", False, "False, but must be 'never' or 'segment'"),
]


@pytest.mark.parametrize(("name", "value", "found_and_rule"), WRONG_TYPES)
@pytest.mark.usefixtures("unchecked")
def test_a_value_of_another_type_is_refused(name: str, value: Any, found_and_rule: str) -> None:
    for make in (RMTConfig, RecurrentMemoryTransformer):
        with pytest.raises(ValueError, match=f"^{re.escape(f'{name} is {found_and_rule}')}$"):
            make(**{"num_tokens": 5, "use_xl_memories": True, name: value})


@pytest.mark.parametrize("name", ["num_tokens", "dim", "stem_width", "ignore_index", "xl_mem_len"])
@pytest.mark.usefixtures("unchecked")
def test_a_whole_number_too_long_to_print_is_refused(name: str) -> None:
    for value in (10**5000, -(10**5000)):
        with pytest.raises(ValueError, match=f"^{name} is a larger number, but must be a whole nu"):
            RMTConfig(**{"num_tokens": 5, "use_xl_memories": True, name: value})
    for name in ("ff_mult", "ff_dropout"):
        with pytest.raises(ValueError, match=f"^{name} is a larger number, but must be a finite"):
            RMTConfig(**{"num_tokens": 5, name: 10**5000})


@pytest.mark.usefixtures("unchecked")
def test_numbers_of_numpy_are_stored_as_those_of_python() -> None:
    config = RMTConfig(
        num_tokens=np.uint8(5),
        dim=np.int64(16),
        xl_mem_len=np.int32(3),
        use_xl_memories=True,
        ff_mult=np.float64(2),
        ff_dropout=np.float32(0.25),
        attn_dropout=0,
    )

    for name in ("num_tokens", "dim", "xl_mem_len"):
        assert type(getattr(config, name)) is int
    for name in ("ff_mult", "ff_dropout", "attn_dropout"):
        assert type(getattr(config, name)) is float
    assert config == RMTConfig(
        num_tokens=5, dim=16, xl_mem_len=3, use_xl_memories=True, ff_mult=2.0, ff_dropout=0.25
    )


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
