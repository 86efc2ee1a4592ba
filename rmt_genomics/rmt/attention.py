"""Multi-head attention over a segment and its memory, and its reference implementation.

``fused`` is PyTorch's ``scaled_dot_product_attention``; ``explicit`` writes the softmax out. Tests
compare them in float64.

(Vaswani et al. 2017, arXiv:1706.03762, section 3.2.)

Dimensions: b batch, h heads, i queries, j keys, ``wrapped`` (w) the segment and its memory,
p cached positions, e width of a head, d model width; ``inner`` is h x e; ``two`` is keys, values.
"""

from contextlib import nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.memory import Cache
from rmt_genomics.rmt.positions import Rotation, rotate

_REPRODUCIBLE = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""Kernels that PyTorch selects in the same way with a gradient and without. cuDNN is not one: it
takes no bias that needs a gradient, so replay's second run could drop other weights than the
first."""

Mask = Bool[Tensor, "_ _ _ _"] | Float[Tensor, "_ _ _ _"]
"""True where a query may attend to a key, or a bias added to its score (-inf = may not)."""


class AttentionInputs(NamedTuple):
    """What all layers share when they attend to one segment.

    Attributes:
        mask: Which query may attend to which key; None = all to all.
        rotation: Rotary angles of the keys, cached ones first; None = no rotary positions.
        cache: Cached keys and values of earlier tokens that each layer attends to.
        tokens: Which positions of the segment and its memory are tokens; used to shift them by one.
        is_token: True where such a token is real; None = all.
    """

    mask: Mask | None
    rotation: Rotation | None
    cache: Cache
    tokens: slice
    is_token: Bool[Tensor, "b n"] | None


class Attention(nn.Module):
    """Attend from a segment and its memory to themselves and to cached tokens.

    ``mixes_values`` says whether this layer mixes in the values of the first (value residual).
    """

    def __init__(self, config: RMTConfig, *, mixes_values: bool = False) -> None:
        super().__init__()
        inner = config.heads * config.dim_head
        self.heads = config.heads
        self.dropout = config.attn_dropout
        self.attend = fused if config.use_flash_attn else explicit
        self.to_q = nn.Linear(config.dim, inner, bias=False)
        self.to_kv = nn.Linear(config.dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, config.dim, bias=False)
        self.to_mix = nn.Linear(config.dim, config.heads, bias=False) if mixes_values else None
        self.null = (
            nn.Parameter(torch.randn(2, config.heads, config.dim_head))
            if config.null_key_value
            else None
        )
        self.q_norm, self.k_norm = (
            nn.RMSNorm(config.dim_head) if config.qk_norm else nn.Identity() for _ in range(2)
        )

    def forward(
        self,
        hidden: Float[Tensor, "b wrapped d"],
        inputs: AttentionInputs,
        *,
        num_queries: int | None = None,
        cached: Float[Tensor, "two b p inner"] | None = None,
        first_values: Float[Tensor, "b wrapped inner"] | None = None,
    ) -> tuple[Float[Tensor, "b i d"], Float[Tensor, "two b wrapped inner"]]:
        """Attend from the last ``num_queries`` positions (None = all) to all and the cached ones.

        ``cached`` are keys, not yet rotated, and values of earlier tokens for this layer;
        ``first_values`` are those of the first layer, where they are mixed in. Return the update of
        each query, and the keys and values of the segment and its memory.
        """
        mask = inputs.mask
        queries = hidden
        if num_queries is not None:
            queries = hidden[:, -num_queries:]
            if mask is not None and mask.shape[2] > 1:
                mask = mask[:, :, -num_queries:]
        q = rearrange(self.to_q(queries), "b i (h e) -> b h i e", h=self.heads)
        own = self._keys_values(hidden, first_values)
        keys_values = own if cached is None else torch.cat([cached, own], dim=2)
        k, v = rearrange(keys_values, "two b j (h e) -> two b h j e", h=self.heads)
        q, k = self.q_norm(q), self.k_norm(k)
        if inputs.rotation is not None:
            q, k = rotate(q, inputs.rotation), rotate(k, inputs.rotation)
        if self.null is not None:  # a learned key and value that every query may attend to
            null_k, null_v = repeat(self.null, "two h e -> two b h 1 e", b=k.shape[0]).to(k.dtype)
            k, v = torch.cat([null_k, k], dim=2), torch.cat([null_v, v], dim=2)
            if mask is not None:
                mask = F.pad(mask, (1, 0), value=1 if mask.dtype == torch.bool else 0)
        out = self.attend(q, k, v, mask=mask, dropout=self.dropout if self.training else 0.0)
        return self.to_out(rearrange(out, "b h i e -> b i (h e)")), own

    def _keys_values(
        self, hidden: Tensor, first_values: Tensor | None
    ) -> Float[Tensor, "two b wrapped inner"]:
        """Return keys and values, the values mixed with the first layer's."""
        own: Tensor = rearrange(self.to_kv(hidden), "b w (two inner) -> two b w inner", two=2)
        if self.to_mix is None:
            return own
        assert first_values is not None
        weight = rearrange(self.to_mix(hidden).sigmoid(), "b w h -> b w h 1")
        values, first = (
            rearrange(v, "b w (h e) -> b w h e", h=self.heads) for v in (own[1], first_values)
        )
        mixed = rearrange(torch.lerp(values, first, weight), "b w h e -> b w (h e)")
        return torch.stack([own[0], mixed])


def fused(
    q: Float[Tensor, "b h i e"],
    k: Float[Tensor, "b h j e"],
    v: Float[Tensor, "b h j e"],
    *,
    mask: Mask | None,
    dropout: float,
) -> Float[Tensor, "b h i e"]:
    """Attend with PyTorch's fused kernel; without a mask it can take its flash path."""
    # Without dropout any kernel will do, so PyTorch chooses.
    with sdpa_kernel(_REPRODUCIBLE) if dropout and q.is_cuda else nullcontext():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


def explicit(
    q: Float[Tensor, "b h i e"],
    k: Float[Tensor, "b h j e"],
    v: Float[Tensor, "b h j e"],
    *,
    mask: Mask | None,
    dropout: float,
) -> Float[Tensor, "b h i e"]:
    """Attend by the formula softmax(q k^T / sqrt(e)) v: slow, and easy to check."""
    scores = torch.einsum("b h i e, b h j e -> b h i j", q, k) * q.shape[-1] ** -0.5
    if mask is not None:
        is_bias = mask.dtype != torch.bool
        scores = scores + mask if is_bias else scores.masked_fill(~mask, -torch.inf)
    weights = F.dropout(scores.softmax(dim=-1), p=dropout)
    return torch.einsum("b h i j, b h j e -> b h i e", weights, v)
