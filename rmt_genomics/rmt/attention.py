"""Multi-head attention over one wrapped segment, and its plain twin.

``fused`` is PyTorch's ``scaled_dot_product_attention``; ``explicit`` writes the softmax out. They
give the same answer: ``tests/rmt`` holds them together in float64.

(Vaswani et al. 2017, arXiv:1706.03762, section 3.2.)

Dimensions: b batch, h heads, i query rows, j own rows, p cached rows, e width of a head, d model
width; ``inner`` is h x e; ``two`` is keys, then values.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.positions import Rotation, rotate

_REPEATABLE = [
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]
"""Kernels that are chosen alike with a gradient and without. cuDNN is not: it takes no bias that
wants a gradient, so that replay's second run could drop other weights than its first."""

Mask = Bool[Tensor, "_ _ _ _"] | Float[Tensor, "_ _ _ _"]
"""True where a query may look at a key, or a bias added to its score (-inf = may not)."""


class Attended(NamedTuple):
    """What attention gives: the rows asked for, and the keys and values it used for its rows."""

    rows: Float[Tensor, "b i d"]
    keys_values: Float[Tensor, "two b j inner"]


class Attention(nn.Module):
    """Let rows look at each other, and at cached rows.

    Args:
        config: Sizes, dropout and switches.
        mixes_values: Whether this layer mixes in the values of the first (value residual).
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
        hidden: Float[Tensor, "b j d"],
        *,
        rotation: Rotation | None = None,
        mask: Mask | None = None,
        num_queries: int | None = None,
        past: Float[Tensor, "two b p inner"] | None = None,
        first_values: Float[Tensor, "b j inner"] | None = None,
    ) -> Attended:
        """Attend from the last ``num_queries`` rows (None = all) to all rows and the past.

        Args:
            hidden: Normalised rows.
            rotation: Rotary angles of past and own rows.
            mask: Who may look at whom; None = everybody at everybody.
            num_queries: How many of the last rows are asked for; the others are not computed.
            past: Keys, not yet turned, and values of earlier rows.
            first_values: The first layer's values of these rows, where they are mixed in.
        """
        asking = hidden if num_queries is None else hidden[:, -num_queries:]
        q = rearrange(self.to_q(asking), "b i (h e) -> b h i e", h=self.heads)
        own = self._keys_values(hidden, first_values)
        seen = own if past is None else torch.cat([past, own], dim=2)
        k, v = rearrange(seen, "two b j (h e) -> two b h j e", h=self.heads)
        q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None:
            q, k = rotate(q, rotation.last(q.shape[2])), rotate(k, rotation)
        k, v, mask = self._with_null(k, v, mask)
        out = self.attend(q, k, v, mask=mask, dropout=self.dropout if self.training else 0.0)
        return Attended(self.to_out(rearrange(out, "b h i e -> b i (h e)")), own)

    def _keys_values(
        self, hidden: Tensor, first_values: Tensor | None
    ) -> Float[Tensor, "two b j inner"]:
        """Return keys and values of the rows, the values mixed with the first layer's."""
        own: Tensor = rearrange(self.to_kv(hidden), "b j (two inner) -> two b j inner", two=2)
        if self.to_mix is None:
            return own
        assert first_values is not None
        share = rearrange(self.to_mix(hidden).sigmoid(), "b j h -> b j h 1")
        here, first = (
            rearrange(v, "b j (h e) -> b j h e", h=self.heads) for v in (own[1], first_values)
        )
        mixed = rearrange(torch.lerp(here, first, share), "b j h e -> b j (h e)")
        return torch.stack([own[0], mixed])

    def _with_null(
        self, k: Tensor, v: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Add the learned key and value that stand for nothing, which everybody may see."""
        if self.null is None:
            return k, v, mask
        null_k, null_v = repeat(self.null, "two h e -> two b h 1 e", b=len(k)).to(k.dtype)
        if mask is not None:
            mask = F.pad(mask, (1, 0), value=1 if mask.dtype == torch.bool else 0)
        return torch.cat([null_k, k], dim=2), torch.cat([null_v, v], dim=2), mask


def fused(
    q: Float[Tensor, "b h i e"],
    k: Float[Tensor, "b h j e"],
    v: Float[Tensor, "b h j e"],
    *,
    mask: Mask | None,
    dropout: float,
) -> Float[Tensor, "b h i e"]:
    """Attend with PyTorch's fused kernel; without a mask it can take its flash path."""
    with _kernels(q, dropout):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


def _kernels(q: Tensor, dropout: float) -> AbstractContextManager[None]:
    """Leave the choice of the kernel to PyTorch, unless random numbers must come again."""
    return sdpa_kernel(_REPEATABLE) if dropout and q.is_cuda else nullcontext()


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
