"""The gated feed-forward layer (GEGLU: Shazeer 2020, arXiv:2002.05202).

Dimensions: b batch, i rows, d model width.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from rmt_genomics.rmt.config import RMTConfig


class FeedForward(nn.Module):
    """Each row by itself: expand, gate, contract.

    Args:
        config: ``dim``, ``ff_inner``, ``ff_dropout`` and ``ff_norm`` are used.
    """

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        self.expand = nn.Linear(config.dim, 2 * config.ff_inner, bias=False)
        self.norm = nn.RMSNorm(config.ff_inner) if config.ff_norm else nn.Identity()
        self.dropout = nn.Dropout(config.ff_dropout)
        self.contract = nn.Linear(config.ff_inner, config.dim, bias=False)

    def forward(self, hidden: Float[Tensor, "b i d"]) -> Float[Tensor, "b i d"]:
        """Return the update of each row."""
        value, gate = self.expand(hidden).chunk(2, dim=-1)
        contracted: Tensor = self.contract(self.dropout(self.norm(value * F.gelu(gate))))
        return contracted
