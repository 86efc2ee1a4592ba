"""Small integer types and half-precision floats: no wrap-around, overflow or rounding."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.rmt import RecurrentMemoryTransformerWrapper
from tests.toys import random_tokens, token_model, token_model_wrapper

SMALL_TYPES = (torch.uint8, torch.int16, torch.int32, torch.int64)
LARGE = 300  # more token ids than a byte can name


def test_bytes_are_read_where_the_vocabulary_is_larger_than_a_byte() -> None:
    """As a byte, 300 is 44: a check in the type of the ids would refuse 44 and above."""
    model = token_model_wrapper(num_tokens=LARGE)
    ids = torch.tensor([[0, 43, 44, 200, 255, 7, 250]])

    logits = model(ids.to(torch.uint8))[0]

    torch.testing.assert_close(logits, model(ids)[0], rtol=0, atol=0)


@given(ids=st.lists(st.integers(0, 255), min_size=2, max_size=15), num_tokens=st.integers(1, 600))
def test_ids_out_of_range_are_refused_for_all_integer_types(
    ids: list[int], num_tokens: int
) -> None:
    model, x = token_model_wrapper(num_tokens=num_tokens), torch.tensor([ids])
    for kind in SMALL_TYPES:
        if max(ids) < num_tokens:
            model(x.to(kind), return_loss=True)
            continue
        with pytest.raises(ValueError, match=f"must lie in 0 to {num_tokens - 1} "):
            model(x.to(kind), return_loss=True)


@pytest.mark.parametrize("kind", SMALL_TYPES)
def test_labels_may_be_of_any_integer_type(kind: torch.dtype) -> None:
    model, x = token_model_wrapper(num_tokens=LARGE), random_tokens(2, 20)
    mask = torch.arange(20) < torch.tensor([20, 13])[:, None]
    expected, _ = model(x, mask=mask, return_loss=True)

    for options in ({"return_loss": True}, {"memory_replay_backprop": True}):
        results = model(x.to(kind), mask=mask, **options)
        torch.testing.assert_close(results[0] if isinstance(results, tuple) else results, expected)
    given_labels, _ = model(x[:, :-1], mask=mask[:, :-1], labels=x[:, 1:].to(kind))
    assert torch.isfinite(given_labels)


@pytest.mark.parametrize("kind", SMALL_TYPES)
@pytest.mark.parametrize("length", [3, 6, 15])
def test_a_prime_may_be_of_any_integer_type(kind: torch.dtype, length: int) -> None:
    model, prime = token_model_wrapper(num_tokens=LARGE, stem_width=3), random_tokens(2, length)

    results = model.generate(prime.to(kind), length=length + 9, temperature=0.0)

    assert results.dtype == torch.int64
    assert torch.equal(results, model.generate(prime, length=length + 9, temperature=0.0))
    assert model.generate(prime.to(kind), length=length).dtype == torch.int64


def test_a_prime_of_bytes_can_be_continued_with_larger_ids() -> None:
    model = token_model_wrapper(num_tokens=LARGE)
    with torch.no_grad():  # token 299 is always the likeliest
        model.transformer.to_logits.weight.zero_()
        model.transformer.to_logits.bias.copy_(torch.arange(LARGE))

    results = model.generate(random_tokens(1, 4).to(torch.uint8), length=20, temperature=0.0)

    assert results.tolist() == [[299] * 16]


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_the_loss_of_a_half_precision_model_is_summed_in_float32(kind: torch.dtype) -> None:
    """By hand: 2,999 tokens at log(5) each; in 16 bits the sum would be off, or infinite."""
    model = token_model_wrapper(seq_len=1000).to(kind)
    for weights in (model.transformer.to_logits.weight, model.transformer.to_logits.bias):
        torch.nn.init.zeros_(weights)
    tokens = random_tokens(1, 3000)

    with torch.no_grad():
        losses = [model(tokens, return_loss=True)[0], model(tokens, memory_replay_backprop=True)]
        losses.append(model.transformer(tokens[:, :1000], labels=tokens[:, :1000]).output)

    for loss in losses:
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, torch.tensor(5.0).log(), rtol=1e-6, atol=0)


def test_the_loss_in_float32_is_that_of_the_logits_in_float32() -> None:
    model, tokens = token_model_wrapper().bfloat16(), random_tokens(2, 20)
    logits, _ = model(tokens[:, :-1])
    expected = F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())

    torch.testing.assert_close(model(tokens, return_loss=True)[0], expected, rtol=1e-6, atol=0)
    replayed = model(tokens, memory_replay_backprop=True)
    replayed.backward()
    torch.testing.assert_close(replayed, expected, rtol=1e-6, atol=0)
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert {gradient.dtype for gradient in gradients} == {torch.bfloat16}


def test_a_float64_loss_stays_float64() -> None:
    model = RecurrentMemoryTransformerWrapper(token_model())
    assert model(random_tokens(1, 9), return_loss=True)[0].dtype == torch.float64
