"""Token embeddings, and a convolution stem that sees a few neighbouring tokens.

A motif of a dozen bases is found by a convolution far sooner than by attention over single-base
embeddings (``docs/LOG.md``). The stem sees raw tokens only, so a *halo* of neighbouring tokens on
each side of a segment makes it exact across segment borders: cutting a sequence into segments
never changes what the stem sees. Beyond the ends of a sequence there is nothing: zeros.

With ``stem_pool`` p above 1 each p neighbouring tokens become one row: the strongest answer of each
filter among them, and the mean of their embeddings. The transformer then has 1/p of the rows to
read. Where a sequence ends within such a group, only its real tokens count.

Dimensions: b batch, n tokens in a segment, r rows (n / p, rounded up), d model width;
``with_halo`` tokens and their halo.
"""

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor, nn

from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.segments import Segment

_MAX_CHANNELS = 32


class TokenEmbedding(nn.Module):
    """One vector a row, plus what the stem finds around it and what its place adds.

    Args:
        config: ``num_tokens``, ``dim``, ``stem_width``, ``stem_pool``, ``stem_dropout``,
            ``abs_pos_emb`` and ``emb_gradient_frac`` are used.
    """

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        self.gradient_share = config.emb_gradient_frac
        self.merged = config.stem_pool
        self.embedding = nn.Embedding(config.num_tokens, config.dim)
        self.place = nn.Embedding(config.seq_len, config.dim) if config.abs_pos_emb else None
        self.stem = ConvolutionStem(config) if config.stem_width else None

    def forward(self, segment: Segment, *, starts_at: int = 0) -> Float[Tensor, "b r d"]:
        """Embed a segment; its halo is seen by the stem and then cut off.

        Args:
            segment: Tokens and their halo.
            starts_at: Place in the segment of the first token, where only a part is given.
        """
        inside = slice(segment.left, segment.left + segment.length)
        tokens = segment.tokens[:, inside].long()
        embedded: Tensor
        if self.merged == 1:
            embedded = self.embedding(tokens)
        else:
            embedded = mean_embedding(self.embedding, tokens, segment.keep_inside, self.merged)
        if self.stem is not None:
            embedded = embedded + self.stem(segment)
        if self.place is not None:
            embedded = embedded + self.place.weight[starts_at : starts_at + embedded.shape[1]]
        if self.gradient_share < 1:
            embedded = torch.lerp(embedded.detach(), embedded, self.gradient_share)
        return embedded


class ConvolutionStem(nn.Module):
    """Small embeddings, a wide convolution, a maximum over merged tokens, a nonlinearity, a map.

    Args:
        config: As for TokenEmbedding.
    """

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        channels = min(config.num_tokens, _MAX_CHANNELS)
        self.reach = config.halo
        self.merged = config.stem_pool
        self.embedding = nn.Embedding(config.num_tokens, channels)
        self.convolution = nn.Conv1d(channels, config.dim, config.stem_width)
        self.dropout = nn.Dropout(config.stem_dropout)
        self.project = nn.Linear(config.dim, config.dim, bias=False)
        self.convolve = (
            self.of_one_hot if config.num_tokens <= _MAX_CHANNELS else self.of_embeddings
        )

    def forward(self, segment: Segment) -> Float[Tensor, "b r d"]:
        """Return one vector a row of the segment itself; its halo is only looked at."""
        answers = self.convolve(segment)
        strongest = merged_max(answers, segment.keep_inside, self.merged)
        projected: Tensor = self.project(self.dropout(F.gelu(strongest)))
        return projected

    def of_embeddings(self, segment: Segment) -> Float[Tensor, "b n d"]:
        """Convolve the embeddings of the tokens."""
        embedded = _masked(self.embedding(segment.tokens.long()), segment)
        padded = F.pad(rearrange(embedded, "b n c -> b c n"), self._missing(segment))
        found: Tensor = self.convolution(padded)
        return rearrange(found, "b d n -> b n d")

    def of_one_hot(self, segment: Segment) -> Float[Tensor, "b n d"]:
        """Do the same as one matrix product, with embedding and filters multiplied beforehand.

        For a small vocabulary that takes half the time, since no gradient goes back to tokens.
        """
        weight = self.embedding.weight
        width = self.convolution.kernel_size[0]
        filters = torch.einsum("v c, d c w -> w v d", weight, self.convolution.weight)
        identity = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
        one_hot = _masked(F.embedding(segment.tokens.long(), identity), segment)
        padded = F.pad(one_hot, (0, 0, *self._missing(segment)))
        windows = padded.flatten(1).unfold(1, width * len(weight), len(weight))
        return F.linear(windows, rearrange(filters, "w v d -> d (w v)"), self.convolution.bias)

    def _missing(self, segment: Segment) -> tuple[int, int]:
        """Return how many neighbours lie beyond the ends of the sequence."""
        right = segment.tokens.shape[1] - segment.left - segment.length
        return self.reach[0] - segment.left, self.reach[1] - right


def _masked(vectors: Float[Tensor, "b n c"], segment: Segment) -> Float[Tensor, "b n c"]:
    """Set what stands for no real token to zero."""
    return vectors if segment.keep is None else vectors * rearrange(segment.keep, "b n -> b n 1")


def merged_mask(keep: Bool[Tensor, "b n"] | None, p: int) -> Bool[Tensor, "b r"] | None:
    """Return which rows hold a real token; None = all."""
    if keep is None or p == 1:
        return keep
    return reduce(_groups(keep, p), "b r p -> b r", "any")


def mean_embedding(
    embedding: nn.Embedding, tokens: Int64[Tensor, "b n"], keep: Bool[Tensor, "b n"] | None, p: int
) -> Float[Tensor, "b r d"]:
    """Embed p neighbouring tokens as their mean, of the real ones only; zero without any."""
    weight = embedding.weight
    real = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    share = _groups(real.to(weight.dtype), p)
    share = share / share.sum(dim=2, keepdim=True).clamp(min=1)
    bags, of = (rearrange(each, "b r p -> (b r) p") for each in (_groups(tokens, p), share))
    means = F.embedding_bag(bags, weight, mode="sum", per_sample_weights=of)
    return rearrange(means, "(b r) d -> b r d", b=len(tokens))


def merged_max(
    answers: Float[Tensor, "b n d"], keep: Bool[Tensor, "b n"] | None, p: int
) -> Float[Tensor, "b r d"]:
    """Take the largest of each p neighbouring tokens, the real ones only; zero without any."""
    if p == 1:
        return answers
    if keep is not None:
        answers = answers.masked_fill(~rearrange(keep, "b n -> b n 1"), -torch.inf)
    as_image = rearrange(answers, "b n d -> b d n 1")  # its memory layout has a fast kernel
    largest = rearrange(F.max_pool2d(as_image, (p, 1), ceil_mode=True), "b d r 1 -> b r d")
    return largest if keep is None else largest.masked_fill(largest.isneginf(), 0.0)


def _groups(x: Shaped[Tensor, "b n"], p: int) -> Shaped[Tensor, "b r p"]:
    """Cut the tokens into groups, the last one filled up with zeros."""
    return rearrange(F.pad(x, (0, -x.shape[1] % p)), "b (r p) -> b r p", p=p)
