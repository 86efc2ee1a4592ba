"""Token embeddings, and a convolution stem that sees a few neighbouring tokens.

A motif of a dozen bases is found by a convolution far sooner than by attention over single-base
embeddings (``docs/LOG.md``). The stem sees raw tokens only, so a *halo* of neighbouring tokens on
each side of a segment makes it exact across segment borders: cutting a sequence into segments
never changes what the stem sees. Beyond the ends of a sequence there is nothing: zeros.

Dimensions: b batch, n tokens in a segment, d model width; ``with_halo`` tokens and their halo.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.segments import Segment

_MAX_CHANNELS = 32


class TokenEmbedding(nn.Module):
    """One vector a token, plus what the stem finds around it and what its place adds.

    Args:
        config: ``num_tokens``, ``dim``, ``stem_width``, ``abs_pos_emb`` and ``emb_gradient_frac``
            are used.
    """

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        self.gradient_share = config.emb_gradient_frac
        self.embedding = nn.Embedding(config.num_tokens, config.dim)
        self.place = nn.Embedding(config.seq_len, config.dim) if config.abs_pos_emb else None
        self.stem = ConvolutionStem(config) if config.stem_width else None

    def forward(self, segment: Segment, *, starts_at: int = 0) -> Float[Tensor, "b n d"]:
        """Embed a segment; its halo is seen by the stem and then cut off.

        Args:
            segment: Tokens and their halo.
            starts_at: Place in the segment of the first token, where only a part is given.
        """
        inside = slice(segment.left, segment.left + segment.length)
        embedded: Tensor = self.embedding(segment.tokens[:, inside].long())
        if self.stem is not None:
            embedded = embedded + self.stem(segment)[:, inside]
        if self.place is not None:
            embedded = embedded + self.place.weight[starts_at : starts_at + segment.length]
        if self.gradient_share < 1:
            embedded = torch.lerp(embedded.detach(), embedded, self.gradient_share)
        return embedded


class ConvolutionStem(nn.Module):
    """Small embeddings, a wide convolution, a nonlinearity, a projection.

    Args:
        config: As for TokenEmbedding.
    """

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        channels = min(config.num_tokens, _MAX_CHANNELS)
        self.reach = config.halo
        self.embedding = nn.Embedding(config.num_tokens, channels)
        self.convolution = nn.Conv1d(channels, config.dim, config.stem_width)
        self.project = nn.Linear(config.dim, config.dim, bias=False)

    def forward(self, segment: Segment) -> Float[Tensor, "b with_halo d"]:
        """Return one vector a token of the segment and its halo; halo vectors lack neighbours."""
        embedded = self.embedding(segment.tokens.long())
        if segment.keep is not None:
            embedded = embedded * rearrange(segment.keep, "b n -> b n 1")
        padded = F.pad(rearrange(embedded, "b n c -> b c n"), self.reach)
        found = F.gelu(rearrange(self.convolution(padded), "b d n -> b n d"))
        projected: Tensor = self.project(found)
        return projected
