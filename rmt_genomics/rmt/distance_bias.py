"""A learned bias on attention for each distance between tokens (T5).

Distances fall into buckets: each of the near ones has its own, far ones share, ever more to a
bucket. Memory tokens have no place, so there is no bias to or from them.

(Raffel et al. 2020, arXiv:1910.10683, section 2.1; buckets as in their code: half exact, half
logarithmic up to ``FARTHEST``, and one set for each direction unless the model is causal.)

Dimensions: h heads, i rows, j columns.
"""

import math

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.layout import Layout

BUCKETS = 32
FARTHEST = 512


class DistanceBias(nn.Module):
    """One bias a head and bucket of distance, shared by all layers.

    Args:
        config: ``heads`` and ``causal`` are used.
    """

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        self.causal = config.causal
        self.bias = nn.Embedding(BUCKETS, config.heads)

    def forward(self, layout: Layout) -> Float[Tensor, "1 h i j"]:
        """Return the bias of each row of a wrapped segment towards each column."""
        device = self.bias.weight.device
        queries = torch.arange(layout.tokens, device=device)
        keys = torch.arange(-layout.past, layout.tokens, device=device)
        biases = self.bias(bucket_of(queries[:, None] - keys, causal=self.causal))
        full = biases.new_zeros(layout.rows, layout.past + layout.rows, biases.shape[-1])
        rows = slice(layout.read, layout.read + layout.tokens)
        start = layout.past + layout.read
        full[rows, : layout.past] = biases[:, : layout.past]
        full[rows, start : start + layout.tokens] = biases[:, layout.past :]
        spread: Tensor = rearrange(full, "i j h -> 1 h i j")
        return spread


def bucket_of(distance: Int[Tensor, "i j"], *, causal: bool) -> Int[Tensor, "i j"]:
    """Number the bucket of each distance (tokens from key to query; negative = key comes later)."""
    buckets = BUCKETS if causal else BUCKETS // 2
    side = torch.zeros_like(distance) if causal else (distance < 0) * buckets
    distance = distance.clamp(min=0) if causal else distance.abs()
    exact = buckets // 2
    steps = torch.log(distance.clamp(min=1) / exact) / math.log(FARTHEST / exact)
    far = (exact + steps * (buckets - exact)).long().clamp(max=buckets - 1)
    return side + torch.where(distance < exact, distance, far)
