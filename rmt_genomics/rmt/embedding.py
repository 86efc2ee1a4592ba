"""Token embeddings, and a convolution stem that sees a few neighbouring tokens.

A convolution learns a motif of a dozen bases far faster than attention over single-base embeddings
does. The stem reads raw tokens only, so a *halo* of neighbouring tokens on each side of a segment
makes it exact across segment borders: cutting a sequence into segments never changes what the stem
computes. Beyond the ends of a sequence its input is zero.

With ``stem_pool`` p above 1 each p neighbouring tokens become one pooled token: the maximum of each
filter among them, and the mean of their embeddings. The transformer then reads 1/p of the
positions. Where a sequence ends within such a group, only its real tokens count.

*Soft tokens* are a weight of each token id instead of one id. They are embedded as the weighted sum
of what their ids are: so there is a gradient for what was read.

Dimensions: b batch, n tokens in a segment, r pooled tokens (n / p, rounded up), d model width;
``with_halo`` tokens and their halo, c channels.
"""

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Bool, Float, Integer, Shaped
from torch import Tensor, nn

from rmt_genomics.rmt.config import STEM_CHANNELS, RMTConfig
from rmt_genomics.rmt.segments import Segment


class TokenEmbedding(nn.Module):
    """One vector per (pooled) token: its embedding, the stem's output and its position's vector."""

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        self.gradient_fraction = config.emb_gradient_frac
        self.pool_size = config.stem_pool
        self.embedding = nn.Embedding(config.num_tokens, config.dim)
        # "place" is the name of this weight in saved models
        self.place = nn.Embedding(config.seq_len, config.dim) if config.abs_pos_emb else None
        self.stem = ConvolutionStem(config) if config.stem_width else None

    def forward(self, segment: Segment, *, starts_at: int = 0) -> Float[Tensor, "b r d"]:
        """Embed a segment, or the part that begins at a position of it; the halo gets no vector."""
        inside = slice(segment.left, segment.left + segment.length)
        tokens = segment.tokens[:, inside]
        embedded = pooled_embedding(self.embedding, tokens, segment.keep_inside, self.pool_size)
        if self.stem is not None:
            embedded = embedded + self.stem(segment)
        if self.place is not None:
            embedded = embedded + self.place.weight[starts_at : starts_at + embedded.shape[1]]
        if self.gradient_fraction < 1:
            embedded = torch.lerp(embedded.detach(), embedded, self.gradient_fraction)
        return embedded


class ConvolutionStem(nn.Module):
    """Small embeddings, a wide convolution, a maximum over pooled tokens, GELU and a linear map."""

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        channels = min(config.num_tokens, STEM_CHANNELS)
        self.halo = config.halo
        self.pool_size = config.stem_pool
        self.embedding = nn.Embedding(config.num_tokens, channels)
        self.convolution = nn.Conv1d(channels, config.dim, config.stem_width)
        self.dropout = nn.Dropout(config.stem_dropout)
        self.project = nn.Linear(config.dim, config.dim, bias=False)
        is_small = config.num_tokens <= STEM_CHANNELS
        self.convolve = self.convolve_one_hot if is_small else self.convolve_embeddings

    def forward(self, segment: Segment) -> Float[Tensor, "b r d"]:
        """Return one vector per (pooled) token of the segment, without its halo."""
        # A convolution is the faster one for the gradient of soft tokens, and in ONNX.
        is_plain = segment.tokens.is_floating_point() or torch.compiler.is_exporting()
        convolved = self.convolve_embeddings(segment) if is_plain else self.convolve(segment)
        pooled = pooled_max(convolved, segment.keep_inside, self.pool_size)
        projected: Tensor = self.project(self.dropout(F.gelu(pooled)))
        return projected

    def convolve_embeddings(self, segment: Segment) -> Float[Tensor, "b n d"]:
        """Convolve the embeddings of the tokens."""
        embedded = _masked(_vectors(self.embedding.weight, segment.tokens), segment)
        padded = F.pad(rearrange(embedded, "b n c -> b c n"), self._padding(segment))
        convolved: Tensor = self.convolution(padded)
        return rearrange(convolved, "b d n -> b n d")

    def convolve_one_hot(self, segment: Segment) -> Float[Tensor, "b n d"]:
        """Compute the same as one matrix product, with embedding and filters multiplied first.

        For a small vocabulary this takes half the time, since no gradient goes back to tokens.
        """
        weight = self.embedding.weight
        width = self.convolution.kernel_size[0]
        filters = torch.einsum("v c, d c w -> w v d", weight, self.convolution.weight)
        identity = torch.eye(len(weight), dtype=weight.dtype, device=weight.device)
        one_hot = _masked(_vectors(identity, segment.tokens), segment)
        padded = F.pad(one_hot, (0, 0, *self._padding(segment)))
        windows = padded.flatten(1).unfold(1, width * len(weight), len(weight))
        return F.linear(windows, rearrange(filters, "w v d -> d (w v)"), self.convolution.bias)

    def _padding(self, segment: Segment) -> tuple[int, int]:
        """Return how many neighbours lie beyond the ends of the sequence."""
        right = segment.tokens.shape[1] - segment.left - segment.length
        return self.halo[0] - segment.left, self.halo[1] - right


def _vectors(
    weight: Float[Tensor, "v c"], tokens: Integer[Tensor, "*b n"] | Float[Tensor, "*b n v"]
) -> Float[Tensor, "*b n c"]:
    """Return the rows of ``weight`` that tokens name; of soft tokens the weighted sums."""
    if tokens.is_floating_point():
        return tokens @ weight
    return F.embedding(tokens.long(), weight)


def _masked(vectors: Float[Tensor, "b n c"], segment: Segment) -> Float[Tensor, "b n c"]:
    """Set the vectors of padding to zero."""
    return vectors if segment.keep is None else vectors * rearrange(segment.keep, "b n -> b n 1")


def pooled_mask(keep: Bool[Tensor, "b n"] | None, p: int) -> Bool[Tensor, "b r"] | None:
    """Return True where a pooled token holds a real one; None = all."""
    if keep is None or p == 1:
        return keep
    return reduce(_groups(keep, p), "b r p -> b r", "any")


def pooled_embedding(
    embedding: nn.Embedding,
    tokens: Shaped[Tensor, "b n"] | Float[Tensor, "b n v"],
    keep: Bool[Tensor, "b n"] | None,
    p: int,
) -> Float[Tensor, "b r d"]:
    """Return the mean embedding of each p neighbouring tokens, of real ones only; zero if none."""
    weight = embedding.weight
    if p == 1:
        return _vectors(weight, tokens)
    is_real = tokens.new_ones(tokens.shape[:2], dtype=torch.bool) if keep is None else keep
    shares = _groups(is_real.to(weight.dtype), p)
    shares = shares / shares.sum(dim=2, keepdim=True).clamp(min=1)
    if tokens.is_floating_point():
        padded = F.pad(tokens, (0, 0, 0, -tokens.shape[1] % p))
        grouped = rearrange(padded, "b (r p) v -> b r p v", p=p)
        return torch.einsum("b r p v, b r p -> b r v", grouped, shares) @ weight
    if torch.compiler.is_exporting():  # ONNX has no embedding_bag, but would loop over the bags
        return torch.einsum("b r p d, b r p -> b r d", _vectors(weight, _groups(tokens, p)), shares)
    bags, weights = (rearrange(x, "b r p -> (b r) p") for x in (_groups(tokens.long(), p), shares))
    means = F.embedding_bag(bags, weight, mode="sum", per_sample_weights=weights)
    return rearrange(means, "(b r) d -> b r d", b=tokens.shape[0])


def pooled_max(
    features: Float[Tensor, "b n d"], keep: Bool[Tensor, "b n"] | None, p: int
) -> Float[Tensor, "b r d"]:
    """Return the maximum of each p neighbouring tokens, of real ones only; zero if none."""
    if p == 1:
        return features
    if keep is not None:
        features = features.masked_fill(~rearrange(keep, "b n -> b n 1"), -torch.inf)
    as_image = rearrange(features, "b n d -> b d n 1")  # its memory layout has a fast kernel
    largest = rearrange(F.max_pool2d(as_image, (p, 1), ceil_mode=True), "b d r 1 -> b r d")
    return largest if keep is None else largest.masked_fill(largest.isneginf(), 0.0)


def _groups(x: Shaped[Tensor, "b n"], p: int) -> Shaped[Tensor, "b r p"]:
    """Split tokens into groups of p, the last one padded with zeros."""
    return rearrange(F.pad(x, (0, -x.shape[1] % p)), "b (r p) -> b r p", p=p)
