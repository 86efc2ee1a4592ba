"""XL memories: keys and values of earlier tokens, which later segments look at too.

Each layer caches the keys (not yet turned by rotary positions) and values of the last
``xl_mem_len`` real tokens, right-aligned, without gradient (Transformer-XL: Dai et al. 2019,
arXiv:1901.02860, section 3.2). Memory tokens and padding are never cached. Where a sequence has
fewer tokens the cache starts with zeros: a key of zeros is no token, and nobody looks at it.

Dimensions: b batch, p cached tokens; a cache tensor is ``[2, b, p, inner]``: keys, values.
"""

import torch
import torch.nn.functional as F
from einops import repeat
from jaxtyping import Bool
from torch import Tensor

from rmt_genomics.rmt.attention_mask import Layout
from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.layers import Cache


def cached_length(cache: Cache) -> int:
    """Return how many tokens are cached."""
    return cache[0].shape[2] if cache else 0


def of_rows(cache: Cache, num_rows: int) -> Cache:
    """Return the cache of the first rows."""
    return tuple(tensor[:, :num_rows] for tensor in cache)


def as_seen(config: RMTConfig, cache: Cache) -> Cache:
    """Return what each layer looks at: its own cache, or that of the layer above it."""
    return (*cache[1:], cache[-1]) if cache and config.enhanced_xl_recurrence else cache


def is_cached(cache: Cache) -> Bool[Tensor, "b p"] | None:
    """True where a token is cached; None if everywhere."""
    if not cache:
        return None
    present = cache[0][0].any(dim=-1)
    return None if bool(present.all()) else present


def next_cache(
    config: RMTConfig,
    layout: Layout,
    is_token: Bool[Tensor, "b n"] | None,
    past: Cache,
    keys_values: Cache,
) -> Cache:
    """Return the cache after a segment: its tokens' keys and values behind those of before."""
    if not config.use_xl_memories:
        return ()
    tokens = slice(layout.read, layout.read + layout.tokens)
    caches = []
    for layer, own in enumerate(keys_values):
        joined = own[:, :, tokens].detach()
        if is_token is not None:
            joined = joined * is_token[..., None]
        if past:
            joined = torch.cat([past[layer], joined], dim=2)
        if is_token is not None:
            joined = _right_aligned(joined)
        caches.append(joined[:, :, -config.xl_length :].clone())  # not a view of all that was
    return tuple(caches)


def _right_aligned(cache: Tensor) -> Tensor:
    """Move cached tokens behind the gaps, in their order."""
    order = cache[0].any(dim=-1).to(torch.uint8).argsort(dim=-1, stable=True)
    return cache.gather(2, repeat(order, "b p -> two b p inner", two=2, inner=cache.shape[-1]))


def with_ended(before: Cache, after: Cache) -> Cache:
    """Give sequences that have ended the cache they had, beside those that went on."""
    if not before or before[0].shape[1] == after[0].shape[1]:
        return after
    joined = []
    for old, new in zip(before, after, strict=True):
        ended = old[:, new.shape[1] :]
        joined.append(torch.cat([new, F.pad(ended, (0, 0, new.shape[2] - ended.shape[2], 0))], 1))
    return tuple(joined)
