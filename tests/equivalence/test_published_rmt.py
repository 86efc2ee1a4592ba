"""Same weights, same output as the published PyTorch RMT, where that is correct.

Compared with recurrent-memory-transformer-pytorch 0.7.0: one residual stream, no XL memories.
Skipped where the package is not installed; it is no dependency of ours.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rmt_genomics.rmt import RecurrentMemoryTransformer
from tests.toys import random_tokens

published = pytest.importorskip(
    "recurrent_memory_transformer_pytorch",
    reason="needs: pip install recurrent-memory-transformer-pytorch==0.7.0",
)
SIZES: dict[str, Any] = {
    **{"num_tokens": 5, "num_memory_tokens": 3, "dim": 16, "depth": 3, "dim_head": 8, "heads": 2},
    "seq_len": 6,
}


def both(**choices: bool) -> tuple[nn.Module, RecurrentMemoryTransformer]:
    """Their model and ours with the same weights, in float64."""
    torch.manual_seed(0)
    theirs = published.RecurrentMemoryTransformer(
        **SIZES,
        **choices,
        rotary_pos_emb=False,
        use_xl_memories=False,
        num_residual_streams=1,
        emb_gradient_frac=1.0,
    ).double()
    ours = RecurrentMemoryTransformer(
        **SIZES,
        **choices,
        rotary_pos_emb=False,
        abs_pos_emb=True,
        value_residual=True,
        null_key_value=True,
    ).double()
    ours.load_state_dict(dict(copied(theirs)))
    return theirs, ours


def copied(theirs: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield our name and their tensor for every weight."""
    yield "transformer.embed.embedding.weight", theirs.token_emb.weight
    yield "transformer.embed.place.weight", theirs.pos_emb.weight
    yield "transformer.memory.read_identity", theirs.read_memory_emb
    yield "transformer.memory.write_identity", theirs.memory_tokens
    yield "transformer.layers.norm.weight", theirs.norm.weight
    yield "to_logits.weight", theirs.to_logits.weight
    yield "to_logits.bias", theirs.to_logits.bias
    for index, (attention, feedforward) in enumerate(theirs.layers):
        attention, feedforward = attention.branch, feedforward.branch
        layer = f"transformer.layers.layers.{index}"
        yield f"{layer}.attention_norm.weight", attention.norm.weight
        yield f"{layer}.attention.null", attention.null_kv
        for name in ("to_q", "to_kv", "to_out"):
            yield f"{layer}.attention.{name}.weight", getattr(attention, name).weight
        if index:
            yield f"{layer}.attention.to_mix.weight", attention.learned_value_residual_mix[0].weight
        yield f"{layer}.feedforward_norm.weight", feedforward[0].weight
        yield f"{layer}.feedforward.expand.weight", feedforward[1].weight
        yield f"{layer}.feedforward.contract.weight", feedforward[4].weight


@pytest.mark.parametrize("causal", [True, False])
def test_logits_and_memories_are_equal(*, causal: bool) -> None:
    """Theirs raises a shape error without memory_not_causal, so that case is not compared."""
    theirs, ours = both(causal=causal)
    memories = [None, None]
    for segment in random_tokens(2, 18).split(6, dim=1):
        expected, memories[0], _ = theirs(segment, memories[0])
        logits, memories[1], _ = ours(segment, memories[1])
        torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(memories[1], memories[0], rtol=1e-10, atol=1e-12)
