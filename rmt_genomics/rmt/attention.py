"""Multi-head attention over one wrapped segment, and its plain twin.

``fused`` is PyTorch's ``scaled_dot_product_attention``; ``explicit`` writes the softmax out. They
give the same answer: ``tests/equivalence/test_attention.py`` holds them together in float64.

(Vaswani et al. 2017, arXiv:1706.03762, section 3.2.)

Dimensions: b batch, h heads, i query rows, j key rows, e width of a head, d model width.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.rotary import Rotation, rotate


class Attention(nn.Module):
    """Let rows look at each other.

    Args:
        config: ``dim``, ``heads``, ``dim_head``, ``attn_dropout`` and ``use_flash_attn`` are used.
    """

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        inner = config.heads * config.dim_head
        self.heads = config.heads
        self.dropout = config.attn_dropout
        self.attend = fused if config.use_flash_attn else explicit
        self.to_q = nn.Linear(config.dim, inner, bias=False)
        self.to_kv = nn.Linear(config.dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, config.dim, bias=False)

    def forward(
        self,
        hidden: Float[Tensor, "b j d"],
        *,
        rotation: Rotation | None = None,
        keep: Bool[Tensor, "#b 1 _ j"] | None = None,
        num_queries: int | None = None,
    ) -> Float[Tensor, "b i d"]:
        """Attend from the last ``num_queries`` rows (None = all) to all rows.

        Args:
            hidden: Normalised rows.
            rotation: Rotary angles of the rows.
            keep: True where a query may look at a key; None = everywhere.
            num_queries: How many of the last rows are asked for; the others are not computed.
        """
        asking = hidden if num_queries is None else hidden[:, -num_queries:]
        q = rearrange(self.to_q(asking), "b i (h e) -> b h i e", h=self.heads)
        k, v = rearrange(self.to_kv(hidden), "b j (two h e) -> two b h j e", two=2, h=self.heads)
        if rotation is not None:
            asked = q.shape[2]
            q = rotate(q, Rotation(rotation.cos[-asked:], rotation.sin[-asked:]))
            k = rotate(k, rotation)
        out = self.attend(q, k, v, keep=keep, dropout=self.dropout if self.training else 0.0)
        merged: Tensor = self.to_out(rearrange(out, "b h i e -> b i (h e)"))
        return merged


def fused(
    q: Float[Tensor, "b h i e"],
    k: Float[Tensor, "b h j e"],
    v: Float[Tensor, "b h j e"],
    *,
    keep: Bool[Tensor, "#b 1 _ j"] | None,
    dropout: float,
) -> Float[Tensor, "b h i e"]:
    """Attend with PyTorch's fused kernel; without ``keep`` it can take its flash path."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=keep, dropout_p=dropout)


def explicit(
    q: Float[Tensor, "b h i e"],
    k: Float[Tensor, "b h j e"],
    v: Float[Tensor, "b h j e"],
    *,
    keep: Bool[Tensor, "#b 1 _ j"] | None,
    dropout: float,
) -> Float[Tensor, "b h i e"]:
    """Attend by the formula softmax(q k^T / sqrt(e)) v: slow, and easy to check."""
    scores = torch.einsum("b h i e, b h j e -> b h i j", q, k) * q.shape[-1] ** -0.5
    if keep is not None:
        scores = scores.masked_fill(~keep, -torch.inf)
    weights = F.dropout(scores.softmax(dim=-1), p=dropout)
    return torch.einsum("b h i j, b h j e -> b h i e", weights, v)
