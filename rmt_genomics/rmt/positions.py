"""Positions: how many of each kind, which may attend to which, and how far apart they are.

The queries are [ read memory ][ tokens ][ write memory ]. The keys are the same positions and,
before them, the cached tokens of earlier segments.

Rotary positions turn the query and key of a token by an angle (Su et al. 2021, arXiv:2104.09864,
section 3.2). Memory tokens have no position in the sequence, so they are not turned (angle 0), far
from every token. Cached tokens of earlier segments are placed just before the segment, so distances
are right across the border. Angles are computed in float64 and the rotation in float32 or better:
at position 10,000 a bfloat16 angle would be off by whole turns.

The distance bias is that of T5 (Raffel et al. 2020, arXiv:1910.10683, section 2.1).

Dimensions: b batch, n tokens in a segment, p cached tokens, h heads, e width of a head, i queries,
j = p + i keys.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from rmt_genomics.rmt.config import RMTConfig


class PositionCounts(NamedTuple):
    """Numbers of positions of each kind, in the order of the keys."""

    cached: int
    read: int
    tokens: int
    write: int

    @property
    def queries(self) -> int:
        """Positions of the segment and its memory, without cached ones."""
        return self.read + self.tokens + self.write

    @property
    def token_slice(self) -> slice:
        """Where the tokens are among the queries."""
        return slice(self.read, self.read + self.tokens)


def attention_mask(
    config: RMTConfig,
    counts: PositionCounts,
    device: torch.device,
    *,
    is_token: Bool[Tensor, "b n"] | None = None,
    is_cached: Bool[Tensor, "b p"] | None = None,
    hide_read_memory: bool = False,
) -> Bool[Tensor, "_ 1 _ j"] | None:
    """Return True where a query may attend to a key; None if every query may attend to every key.

    Padding is attended to by itself only. So every query has a key, and no softmax is nan.
    ``is_token`` and ``is_cached`` are True where a token is real; None = all. If the read memory is
    hidden, tokens and write memory do not attend to it.
    """
    given = is_token if is_token is not None else is_cached
    is_real = None
    if given is not None:
        b, ones = given.shape[0], given.new_ones
        parts = [
            ones(b, counts.cached) if is_cached is None else is_cached,
            ones(b, counts.read),
            ones(b, counts.tokens) if is_token is None else is_token,
            ones(b, counts.write),
        ]
        is_real = rearrange(torch.cat(parts, dim=1), "b j -> b 1 1 j")
    if not (config.causal or hide_read_memory):
        return is_real  # memory is always real, so every query has a key
    keep = torch.ones(
        counts.queries, counts.cached + counts.queries, dtype=torch.bool, device=device
    )
    own = keep[:, counts.cached :]  # a view: writing to it writes to keep
    if config.causal and config.memory_not_causal:
        # Write memory attends to everything, read memory to itself, tokens to what is before them.
        end = counts.token_slice.stop
        own[:end] = own[:end].tril()
        own[: counts.read, : counts.read] = True
    elif config.causal:
        own.copy_(own.tril())
    if hide_read_memory:
        own[counts.read :, : counts.read] = False
    keep = rearrange(keep, "i j -> 1 1 i j")
    if is_real is None:
        return keep
    itself = torch.zeros_like(keep)
    itself[:, :, :, counts.cached :] = torch.eye(counts.queries, dtype=torch.bool, device=device)
    return itself | (keep & is_real)


THETA = 32_768.0
TOKENS_START_AT = 10_000  # memory tokens are at 0, cached tokens just below


class Rotation(NamedTuple):
    """Cosine and signed sine of the angles of each position, ``[j, e]``."""

    cos: Float[Tensor, "j e"]
    sin: Float[Tensor, "j e"]


def rotation_of(
    counts: PositionCounts, dim_head: int, device: torch.device, dtype: torch.dtype
) -> Rotation:
    """Return the rotation of every key: in float64 for float64, in float32 for anything else."""
    # What torch.export, FakeTensorMode or torch.func make in place of tensors must not be cached.
    if not torch.compiler.is_compiling():
        made = torch.empty(0)
        if type(made) is Tensor and torch.func.debug_unwrap(made) is made:
            return cached_rotation(counts, dim_head, device, dtype)
    return _rotation(counts, dim_head, device, dtype)


def _rotation(
    counts: PositionCounts, dim_head: int, device: torch.device, dtype: torch.dtype
) -> Rotation:
    cached = torch.arange(-counts.cached, 0, dtype=torch.float64) + TOKENS_START_AT
    tokens = torch.arange(counts.tokens, dtype=torch.float64) + TOKENS_START_AT
    read, write = (torch.zeros(m, dtype=torch.float64) for m in (counts.read, counts.write))
    positions = torch.cat([cached, read, tokens, write])
    rates = THETA ** -(torch.arange(0, dim_head, 2, dtype=torch.float64) / dim_head)
    angles = torch.outer(positions, rates)
    table_dtype = torch.float64 if dtype == torch.float64 else torch.float32
    cos = torch.cat([angles.cos(), angles.cos()], dim=-1)
    sin = torch.cat([-angles.sin(), angles.sin()], dim=-1)
    return Rotation(cos.to(device, table_dtype), sin.to(device, table_dtype))


# A table made in inference mode could not be used in training.
cached_rotation = lru_cache(maxsize=64)(torch.inference_mode(mode=False)(_rotation))


def rotate(features: Float[Tensor, "b h i e"], rotation: Rotation) -> Float[Tensor, "b h i e"]:
    """Turn each pair of features (k, k + e/2) of the last positions by the angle of each."""
    cos, sin = (table[-features.shape[2] :] for table in rotation)
    half = features.shape[-1] // 2
    rotated = torch.addcmul(features * cos, features.roll(half, dims=-1), sin)
    return rotated.to(features.dtype)


NUM_BUCKETS = 32
MAX_DISTANCE = 512  # tokens; the last bucket holds all larger distances


class DistanceBias(nn.Module):
    """One bias per head and bucket of distance, shared by all layers."""

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        self.causal = config.causal
        self.bias = nn.Embedding(NUM_BUCKETS, config.heads)

    def forward(self, counts: PositionCounts) -> Float[Tensor, "1 h i j"]:
        """Return the bias of each query towards each key; 0 where one of them is memory."""
        device = self.bias.weight.device
        queries = torch.arange(counts.tokens, device=device)
        keys = torch.arange(-counts.cached, counts.tokens, device=device)
        biases = self.bias(bucket_of(queries[:, None] - keys, causal=self.causal))
        num_keys = counts.cached + counts.queries
        full = biases.new_zeros(counts.queries, num_keys, biases.shape[-1])
        start = counts.cached + counts.read
        full[counts.token_slice, : counts.cached] = biases[:, : counts.cached]
        full[counts.token_slice, start : start + counts.tokens] = biases[:, counts.cached :]
        per_head: Tensor = rearrange(full, "i j h -> 1 h i j")
        return per_head


def bucket_of(distance: Int[Tensor, "i j"], *, causal: bool) -> Int[Tensor, "i j"]:
    """Return the bucket of each distance (tokens from key to query; negative = key is later)."""
    num_buckets = NUM_BUCKETS if causal else NUM_BUCKETS // 2  # per direction
    offset = torch.zeros_like(distance) if causal else (distance < 0) * num_buckets
    distance = distance.clamp(min=0) if causal else distance.abs()
    exact = num_buckets // 2  # one bucket per distance below this, logarithmic ones above
    steps = torch.log(distance.clamp(min=1) / exact) / math.log(MAX_DISTANCE / exact)
    far = (exact + steps * (num_buckets - exact)).long().clamp(max=num_buckets - 1)
    return offset + torch.where(distance < exact, distance, far)
