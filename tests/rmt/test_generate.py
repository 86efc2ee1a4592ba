"""Generation with cached keys equals generation without a cache."""

from typing import Any

import pytest
import torch
from torch import Tensor

from rmt_genomics.rmt import RecurrentMemoryTransformer
from rmt_genomics.rmt.language_model.generate import Decoder, choose
from tests.toys import random_tokens, token_model, token_model_wrapper


def uncached_logits(model: RecurrentMemoryTransformer, tokens: Tensor) -> Tensor:
    """Logits after each token, by the model over all segments."""
    from rmt_genomics.rmt import RecurrentMemoryTransformerWrapper

    return RecurrentMemoryTransformerWrapper(model)(tokens)[0]


SWITCHES: list[dict[str, Any]] = [
    {},
    {"stem_width": 5},
    {"use_xl_memories": True},
    {"use_xl_memories": True, "xl_mem_len": 3, "enhanced_xl_recurrence": True},
    {"memory_not_causal": False},
    {"always_have_read_memories": False},
    {"abs_pos_emb": True},
    {"rotary_pos_emb": False, "rel_pos_bias": True, "use_xl_memories": True},
    {"token_shift": True},
    {"value_residual": True, "null_key_value": True, "qk_norm": True, "ff_norm": True},
    {"memory_gate": True, "add_write_to_next_write_mem": True, "memory_norm": True},
    {"memory_reset": "segment"},
    {"use_flash_attn": False},
]


@pytest.mark.parametrize("changes", SWITCHES)
def test_cached_logits_are_the_uncached_ones(changes: dict[str, Any]) -> None:
    model = token_model(**changes).eval()
    tokens = random_tokens(2, 20)
    expected = uncached_logits(model, tokens)
    with torch.no_grad():
        decoder = Decoder(model, 2, None, None)
        first = decoder.extend(tokens[:, :8])
        results = [first, *(decoder.extend(tokens[:, i : i + 1]) for i in range(8, 20))]
    torch.testing.assert_close(torch.stack(results, 1), expected[:, 7:], rtol=1e-10, atol=1e-12)


def test_most_likely_tokens_equal_the_uncached_loop() -> None:
    model, tokens = token_model_wrapper(use_xl_memories=True, stem_width=3), random_tokens(2, 9)
    grown = tokens
    for _ in range(14):
        grown = torch.cat([grown, model.eval()(grown)[0][:, -1:].argmax(-1)], dim=1)
    assert torch.equal(model.generate(tokens, length=23, temperature=0.0), grown[:, 9:])


def test_generation_continues_from_given_memories() -> None:
    model, tokens = token_model_wrapper(use_xl_memories=True).eval(), random_tokens(1, 15)
    whole = model.generate(tokens, length=22, temperature=0.0)
    _, memories, xl = model.transformer(tokens[:, :6])
    _, memories, xl = model.transformer(tokens[:, 6:12], memories, xl_memories=xl)
    rest = model.generate(
        tokens[:, 12:], length=10, temperature=0.0, memories=memories, xl_memories=xl
    )
    assert torch.equal(whole, rest)


def test_the_training_mode_is_restored_and_no_graph_is_kept() -> None:
    model = token_model_wrapper(ff_dropout=0.5).train()
    assert not model.generate(random_tokens(1, 3), length=5).requires_grad
    assert model.training
    assert model.transformer.training


def test_a_prime_of_full_length_gives_no_new_token() -> None:
    assert token_model_wrapper().generate(random_tokens(2, 7), length=7).shape == (2, 0)


def test_rare_tokens_are_filtered() -> None:
    logits = torch.tensor([[5.0, 4.0, 0.0, -1.0, -2.0]]).expand(200, 5)
    assert set(choose(logits, 1.0, 0.6, None).flatten().tolist()) <= {0, 1}
    assert set(choose(logits, 1.0, 0.0, 0.5).flatten().tolist()) == {0}
    assert set(choose(logits, 100.0, 0.0, None).flatten().tolist()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 3}, "length is 3, but must be at least 6, the tokens of prime"),
        ({"length": 9, "filter_thres": 1.0}, "filter_thres is 1.0, but must be"),
        ({"length": 9, "top_p": 0.0}, "top_p is 0.0, but must be above 0 and at most 1"),
        ({"length": 9, "temperature": -0.5}, "temperature is -0.5, but must be at least 0"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        token_model_wrapper().generate(random_tokens(1, 6), **options)


def test_a_bidirectional_model_cannot_generate() -> None:
    with pytest.raises(ValueError, match="causal=False, but only a causal one can generate"):
        token_model_wrapper(causal=False).generate(random_tokens(1, 6), length=9)
