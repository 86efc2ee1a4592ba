"""XL memories: which cached positions are tokens is carried, never guessed from keys of zeros."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rmt_genomics.rmt import RecurrentMemoryTransformer, unroll_with_outputs
from tests.toys import ragged, random_memory, random_tokens, tiny, token_model, token_model_wrapper

EXACT = {"rtol": 1e-12, "atol": 1e-12}


def model_with_a_zero_embedding(**changes: Any) -> RecurrentMemoryTransformer:
    """A token model whose token 0 has key and value zero in the first layer."""
    model = token_model(use_xl_memories=True, xl_mem_len=8, **changes)
    with torch.no_grad():
        model.transformer.embed.embedding.weight[0] = 0
    return model


@pytest.mark.parametrize("causal", [True, False])
def test_a_token_with_a_zero_embedding_is_cached_like_any_other(*, causal: bool) -> None:
    model = model_with_a_zero_embedding(causal=causal)
    tokens = torch.tensor([[0, 3, 0, 1, 0, 0]])
    _, memory, xl = model(tokens)

    here = model(tokens, memory, xl_memories=xl).output
    with torch.no_grad():
        model.transformer.embed.embedding.weight[0] = 1e-30
    _, memory, xl = model(tokens)
    there = model(tokens, memory, xl_memories=xl).output

    torch.testing.assert_close(here, there, **EXACT)


def test_a_mask_that_is_true_everywhere_changes_nothing() -> None:
    model, tokens = model_with_a_zero_embedding(), torch.tensor([[1, 0, 2, 0, 3, 0]])
    everywhere = torch.ones(1, 6, dtype=torch.bool)
    results = []
    for mask in (None, everywhere):
        _, memory, xl = model(tokens, mask=mask)
        results.append([*xl, *model(tokens, memory, mask=mask, xl_memories=xl).xl_memories])
    for plain, masked in zip(*results, strict=True):
        torch.testing.assert_close(masked, plain, **EXACT)


@pytest.mark.parametrize("changes", [{}, {"enhanced_xl_recurrence": True}, {"causal": False}])
def test_padding_is_not_cached(changes: dict[str, Any]) -> None:
    """Segment by segment, each row as it would be alone."""
    model, tokens = model_with_a_zero_embedding(**changes), random_tokens(3, 18)
    mask = torch.rand(3, 18, generator=torch.Generator().manual_seed(2)) < 0.6
    mask[2, 5:] = False
    memory = xl = None
    for start in (0, 6, 12):
        window = slice(start, start + 6)
        output, memory, xl = model(tokens[:, window], memory, mask=mask[:, window], xl_memories=xl)
    assert [cached.shape for cached in xl] == [(2, 3, 8, 8)] * 2
    for row in range(3):
        num_cached = min(8, int(mask[row].sum()))
        is_token = ~xl[0][0, row].isnan().all(dim=-1)
        assert is_token.tolist() == [False] * (8 - num_cached) + [True] * num_cached
    wrapped = token_model_wrapper(use_xl_memories=True, xl_mem_len=8, **changes)
    wrapped.load_state_dict({f"transformer.{k}": v for k, v in model.state_dict().items()})
    whole, last = wrapped(tokens, mask=mask)
    torch.testing.assert_close(output[mask[:, 12:]], whole[:, 12:][mask[:, 12:]], **EXACT)
    torch.testing.assert_close(memory, last, **EXACT)


def test_sequences_that_have_ended_keep_their_cache() -> None:
    model = tiny(use_xl_memories=True, xl_mem_len=9)
    cache = unroll_with_outputs(model.read, ragged(model, [18, 5]), random_memory(model, 2)).cache
    *_, is_token = cache
    assert is_token[0, :, :, 0].tolist() == [[True] * 9, [False] * 4 + [True] * 5]


class NoWaiting(TorchDispatchMode):
    """Fails where a value of a tensor is read, for which a GPU would be waited for."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "nonzero", "is_nonzero", "equal"), name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("lengths", [[29, 29], [29, 14, 3]])
@pytest.mark.parametrize("changes", [{}, {"causal": True, "memory_gate": "hard", "stem_width": 3}])
def test_no_segment_waits_for_the_device(changes: dict[str, Any], lengths: list[int]) -> None:
    model = tiny(use_xl_memories=True, xl_mem_len=8, memory_dropout=0.2, **changes)
    segments, memory = ragged(model, lengths), random_memory(model, len(lengths))

    def read(*arguments: Any) -> Any:
        return model.read(*arguments, return_tokens=True)

    with NoWaiting():
        unroll_with_outputs(read, segments, memory)


def test_waiting_would_be_noticed() -> None:
    with NoWaiting(), pytest.raises(AssertionError, match="_local_scalar_dense"):
        bool(torch.ones(3).any())
