"""Invalid arguments are refused by name; no argument is silently ignored."""

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rmt_genomics.rmt import RecurrentMemoryTransformerWrapper, RMTConfig, Segments
from tests.toys import random_tokens, tiny, token_model, token_model_wrapper

X = random_tokens(2, 6)
MEMORY = torch.zeros(2, 2, 8, dtype=torch.float64)


def refused(model: nn.Module, arguments: dict[str, Any], message: str) -> None:
    """Check the message that users see, without the shape checker of the test run."""
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(type(model).forward)(model, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": X[0]}, r"x has shape \(6,\), but must be \(b, n\)"),
        ({"x": X[:, :0]}, r"x has shape \(2, 0\), but must be \(b, n\) with b and n above 0"),
        ({"x": X.float()}, "x is torch.float32, but token ids must be integers"),
        ({"x": random_tokens(1, 7)}, "x has 7 tokens, but a segment holds at most seq_len = 6"),
        ({"x": X + 3}, r"x holds \d, but must lie in 0 to 4 \(num_tokens - 1\)"),
        ({"x": X - 9}, r"x holds -\d, but must lie in 0 to 4"),
        ({"mask": torch.ones(2, 5, dtype=torch.bool)}, r"mask has shape \(2, 5\), but must be"),
        ({"mask": torch.ones(2, 6)}, "mask is torch.float32, but must be bool"),
        ({"labels": X[:, :5]}, r"labels has shape \(2, 5\), but must be that of x, \(2, 6\)"),
        ({"labels": X + 5}, "labels holds .*, or ignore_index -1"),
        ({"read_memories": MEMORY[..., :7]}, r"read_memories has shape \(2, 2, 7\)"),
        ({"read_memories": MEMORY[:1]}, r"read_memories has shape \(1, 2, 8\), but must be \(2, 2"),
        ({"xl_memories": [MEMORY]}, "xl_memories are given, but have no effect"),
        ({"mask_out_read_memories": True}, "mask_out_read_memories is True, but has no effect"),
    ],
)
def test_invalid_arguments_for_one_segment_are_named(
    arguments: dict[str, Any], message: str
) -> None:
    refused(token_model(), {"x": X, **arguments}, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mask": torch.ones(2, 20, dtype=torch.bool)}, r"mask has shape \(2, 20\)"),
        ({"mask": torch.ones(2, 21)}, "mask is torch.float32, but must be bool: True where a tok"),
        ({"mask": torch.ones(2, 21, dtype=torch.uint8)}, "mask is torch.uint8, but must be bool"),
        (
            {"memories": MEMORY[0, :, :7]},
            r"read_memories has shape \(2, 7\), but must be \(2, 2",
        ),
        ({"keep_segments": 3}, "keep_segments and memory_device have no effect without"),
        ({"truncate_at_step": 0}, "bptt_depth is 0, but must be at least 1"),
        ({"memory_replay_backprop": True, "keep_segments": 0}, "keep_segments is 0, but must be"),
    ],
)
def test_invalid_arguments_for_many_segments_are_named(
    arguments: dict[str, Any], message: str
) -> None:
    refused(token_model_wrapper(), {"x": random_tokens(2, 21), **arguments}, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": [[1, 2]]}, "x is a list, but token ids must be integers, in a tensor"),
        ({"x": X > 2}, "x is torch.bool, but token ids must be integers"),
        ({"labels": X > 2}, "labels is torch.bool, but labels must be integers"),
        ({"labels": X.tolist()}, "labels is a list, but labels must be integers"),
        ({"mask": [True] * 6}, "mask is a list, but must be bool"),
        ({"memories": MEMORY.long()}, "read_memories is torch.int64, but must be a floating-point"),
        ({"memories": [[0.0] * 8] * 2}, "read_memories is a list, but must be a floating-point"),
        ({"xl_memories": ["x"]}, "xl_memories is a str, but must be floating-point tensors"),
        ({"return_loss": "False"}, "return_loss is 'False', but must be True or False"),
        ({"return_loss": 0}, "return_loss is 0, but must be True or False"),
        ({"memory_replay_backprop": "no"}, "memory_replay_backprop is 'no', but must be True or F"),
        ({"truncate_at_step": 1.5}, "truncate_at_step is 1.5, but must be a whole number"),
        ({"truncate_at_step": True}, "truncate_at_step is True, but must be a whole number"),
        ({"memory_replay_backprop": True, "keep_segments": 2.5}, "keep_segments is 2.5, but must"),
        ({"memory_replay_backprop": True, "keep_segments": "all"}, "keep_segments is 'all', but"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_arguments_of_another_type_are_refused(arguments: dict[str, Any], message: str) -> None:
    refused(token_model_wrapper(), {"x": X, **arguments}, message)


def test_a_flag_for_one_segment_must_be_a_bool() -> None:
    arguments = {"x": X, "read_memories": MEMORY, "mask_out_read_memories": "no"}
    refused(token_model(), arguments, "mask_out_read_memories is 'no', but must be True or False")


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("length", 9.0, "a whole number"),
        ("length", "9", "a whole number"),
        ("temperature", "1", "a finite number"),
        ("temperature", True, "a finite number"),
        ("temperature", float("nan"), "a finite number"),
        ("filter_thres", None, "a finite number"),
        ("top_p", "0.5", "a finite number"),
    ],
)
def test_options_of_generate_are_numbers(name: str, value: Any, rule: str) -> None:
    generate = inspect.unwrap(RecurrentMemoryTransformerWrapper.generate)
    with pytest.raises(ValueError, match=f"^{name} is .*, but must be {rule}$"):
        generate(token_model_wrapper(), X, **{"length": 9, name: value})


@pytest.mark.usefixtures("unchecked")
def test_numbers_of_numpy_are_arguments_like_any_other() -> None:
    true, false = np.array([True, False])
    loss = token_model_wrapper()(
        X, memory_replay_backprop=true, keep_segments=np.int64(1), truncate_at_step=np.int32(1)
    )
    assert loss.ndim == 0
    assert RMTConfig(num_tokens=np.int8(5), causal=false).causal is False
    assert len(Segments(X, list(np.array([6, 2])), np.int64(3))) == 2


@pytest.mark.parametrize("causal", [True, False])
def test_memories_are_not_handed_on_without_what_the_stem_reads(*, causal: bool) -> None:
    model, tokens = token_model_wrapper(causal=causal, stem_width=5), random_tokens(2, 12)
    message = r"stem_width is 5, so the stem reads \d tokens before a segment and \d after it, but"
    _, memories = model(tokens[:, :6])
    for call in (
        lambda: model(tokens[:, 6:], memories),
        lambda: model.transformer(tokens[:, 6:], memories),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    if causal:
        with pytest.raises(ValueError, match=message):
            model.generate(tokens[:, 6:], length=9, memories=memories)
    token_model(stem_width=1)(tokens[:, :6], memories)  # this stem reads no neighbour


def test_a_bidirectional_model_cannot_be_trained_without_labels() -> None:
    for options in ({"return_loss": True}, {"memory_replay_backprop": True}):
        with pytest.raises(ValueError, match="labels are None, but a model with causal=False"):
            token_model_wrapper(causal=False)(X, **options)


def test_xl_memories_of_another_model_are_refused() -> None:
    model = token_model(use_xl_memories=True)
    xl = model(X).xl_memories
    with pytest.raises(ValueError, match=r"xl_memories has shapes .* must be 2 \(depth\) tensors"):
        model(X, xl_memories=xl[:1])
    with pytest.raises(ValueError, match="xl_memories has shapes"):
        model(X[:1], xl_memories=xl)


def test_the_plain_step_refuses_a_model_with_xl_memories() -> None:
    model = tiny(use_xl_memories=True)
    refused(
        model,
        {"segment": None, "memory": MEMORY},
        "without a cache this step returns the memory only",
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"rotary_pos_emb": False},
            "at least one must be on, or the order of tokens has no effect",
        ),
        ({"rel_pos_bias": True}, "both True, but only one of them may be"),
        (
            {"rotary_pos_emb": False, "abs_pos_emb": True, "use_xl_memories": True},
            "abs_pos_emb is the only position encoding",
        ),
        ({"xl_mem_len": 3}, "xl_mem_len is 3, but has no effect: use_xl_memories is False"),
        ({"use_xl_memories": True, "xl_mem_len": 0}, "xl_mem_len is 0, but must be at least 1"),
        ({"enhanced_xl_recurrence": True}, "enhanced_xl_recurrence is True, but has no effect"),
        (
            {"enhanced_xl_recurrence": True, "use_xl_memories": True, "depth": 1},
            "has no effect with depth 1: no layer is above",
        ),
        ({"value_residual": True, "depth": 1}, "has no effect with depth 1: no layer is below"),
        ({"causal": False, "memory_not_causal": False}, "memory_not_causal is False, but has no"),
        ({"next_write_mem_stop_grad": False}, "next_write_mem_stop_grad is False, but has no"),
        ({"memory_reset": "segment", "memory_dropout": 0.1}, "memory_dropout has no effect"),
        ({"stem_dropout": 0.1}, "stem_dropout is 0.1, but has no effect: stem_width is 0"),
        ({"emb_gradient_frac": 0.0}, "emb_gradient_frac is 0.0, but must be above 0"),
    ],
)
def test_contradictory_or_unused_settings_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RMTConfig(num_tokens=5, **settings)


def test_a_token_model_cannot_pool_tokens() -> None:
    with pytest.raises(
        ValueError, match="stem_pool is 2, but must be 1 here: there is one output per token"
    ):
        token_model(causal=False, stem_width=3, stem_pool=2)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="num_mem_tokens"):
        token_model(num_mem_tokens=3)
