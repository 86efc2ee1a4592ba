"""Rotary positions: where a token stands, as a rotation of its query and key.

Only tokens are turned. Memory tokens have no place in the sequence, so they stay as they are
(angle 0), far from every token. Cached tokens of earlier segments stand just before the segment,
so distances are right across the border. Angles are computed in float64 and the turning is done
in float32 or better: at position 10,000 a bfloat16 angle would be off by whole turns.

(Su et al. 2021, arXiv:2104.09864, section 3.2.)

Dimensions: b batch, h heads, e width of a head, i rows.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from rmt_genomics.rmt.attention_mask import Layout
from rmt_genomics.rmt.config import RMTConfig

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


THETA = 32_768.0
TOKENS_START_AT = 10_000  # memory tokens stand at 0, cached tokens just below


class Rotation(NamedTuple):
    """Cosine and signed sine of each row's angles, ``[i, e]``."""

    cos: Float[Tensor, "i e"]
    sin: Float[Tensor, "i e"]

    def last(self, num_rows: int) -> "Rotation":
        """Return the angles of the last rows."""
        return Rotation(self.cos[-num_rows:], self.sin[-num_rows:])


@lru_cache(maxsize=64)
@torch.inference_mode(mode=False)  # a table made while predicting must serve training too
def rotation_of(
    layout: Layout, dim_head: int, device: torch.device, dtype: torch.dtype
) -> Rotation:
    """Return the rotation of every row of the past and of a wrapped segment.

    Args:
        layout: How many cached, read, token and write rows there are.
        dim_head: Width ``e`` of a head.
        device: Where the tables are needed.
        dtype: float64 keeps float64; anything else gives float32.
    """
    cached = torch.arange(-layout.past, 0, dtype=torch.float64) + TOKENS_START_AT
    tokens = torch.arange(layout.tokens, dtype=torch.float64) + TOKENS_START_AT
    read, write = (torch.zeros(rows, dtype=torch.float64) for rows in (layout.read, layout.write))
    places = torch.cat([cached, read, tokens, write])
    rates = THETA ** -(torch.arange(0, dim_head, 2, dtype=torch.float64) / dim_head)
    angles = torch.outer(places, rates)
    table = torch.float64 if dtype == torch.float64 else torch.float32
    cos = torch.cat([angles.cos(), angles.cos()], dim=-1)
    sin = torch.cat([-angles.sin(), angles.sin()], dim=-1)
    return Rotation(cos.to(device, table), sin.to(device, table))


def rotate(features: Float[Tensor, "b h i e"], rotation: Rotation) -> Float[Tensor, "b h i e"]:
    """Turn each pair of features (k, k + e/2) by the angle of its row."""
    half = features.shape[-1] // 2
    turned = torch.addcmul(features * rotation.cos, features.roll(half, dims=-1), rotation.sin)
    return turned.to(features.dtype)
