"""Small models and batches for the tests of the core."""

from typing import Any

import torch
from torch import Tensor

from rmt_genomics.rmt import (
    RecurrentMemoryTransformer,
    RecurrentMemoryTransformerWrapper,
    RMTConfig,
    Segments,
    SegmentTransformer,
)

TINY: dict[str, Any] = {
    "num_tokens": 5,
    "num_memory_tokens": 2,
    "dim": 8,
    "depth": 2,
    "dim_head": 4,
    "heads": 2,
    "seq_len": 6,
    "causal": False,
}


def tiny(**changes: Any) -> SegmentTransformer:
    """A seeded two-layer model in float64 with five token ids and segments of six tokens."""
    torch.manual_seed(0)
    return SegmentTransformer(RMTConfig(**{**TINY, **changes})).double()


def ragged(model: SegmentTransformer, lengths: list[int]) -> Segments:
    """Segments of random sequences of these lengths, longest first."""
    torch.manual_seed(1)
    tokens = torch.randint(0, 5, (len(lengths), lengths[0]))
    return Segments(tokens, lengths, model.config.tokens_per_segment, model.config.halo)


def random_memory(model: SegmentTransformer, batch_size: int) -> Tensor:
    """A random initial memory that requires a gradient."""
    torch.manual_seed(2)
    initial = model.memory.initial(batch_size)
    return torch.randn_like(initial).requires_grad_()


def token_model(**changes: Any) -> RecurrentMemoryTransformer:
    """A seeded causal token model of the same size."""
    torch.manual_seed(0)
    return RecurrentMemoryTransformer(**{**TINY, "causal": True, **changes}).double()


def token_model_wrapper(**changes: Any) -> RecurrentMemoryTransformerWrapper:
    """The same, over many segments."""
    return RecurrentMemoryTransformerWrapper(token_model(**changes))


def random_tokens(batch_size: int, length: int) -> Tensor:
    """Random token ids."""
    return torch.randint(0, 5, (batch_size, length), generator=torch.Generator().manual_seed(1))
