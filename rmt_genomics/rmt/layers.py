"""The stack of pre-norm transformer layers that a wrapped segment goes through.

Only some rows are asked for in the end: for classification the written memory alone. So the last
layer computes queries and feed-forward for those rows only. That is exact, not an approximation,
and saves nearly a layer.

Dimensions: b batch, i rows asked for, j rows, d model width.
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from rmt_genomics.rmt.attention import Attention
from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.feedforward import FeedForward
from rmt_genomics.rmt.rotary import Rotation


class Layer(nn.Module):
    """Attention, then feed-forward, each on normalised rows and added to them.

    Args:
        config: Handed on to both parts.
    """

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.dim)
        self.attention = Attention(config)
        self.feedforward_norm = nn.RMSNorm(config.dim)
        self.feedforward = FeedForward(config)

    def forward(
        self,
        rows: Float[Tensor, "b j d"],
        *,
        rotation: Rotation | None,
        keep: Bool[Tensor, "#b 1 _ j"] | None,
        num_rows: int | None = None,
    ) -> Float[Tensor, "b i d"]:
        """Return the last ``num_rows`` rows (None = all) after this layer."""
        attended = self.attention(
            self.attention_norm(rows), rotation=rotation, keep=keep, num_queries=num_rows
        )
        rows = attended + (rows if num_rows is None else rows[:, -num_rows:])
        updated: Tensor = rows + self.feedforward(self.feedforward_norm(rows))
        return updated


class Layers(nn.Module):
    """All layers and the final norm.

    Args:
        config: ``depth`` layers are made.
    """

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.depth))
        self.norm = nn.RMSNorm(config.dim)

    def forward(
        self,
        rows: Float[Tensor, "b j d"],
        *,
        rotation: Rotation | None,
        keep: Bool[Tensor, "#b 1 _ j"] | None,
        num_rows: int | None = None,
    ) -> Float[Tensor, "b i d"]:
        """Return the last ``num_rows`` rows (None = all) after all layers, normalised."""
        *early, last = self.layers
        for layer in early:
            rows = layer(rows, rotation=rotation, keep=keep)
        if keep is not None and num_rows is not None and keep.shape[2] > 1:
            keep = keep[:, :, -num_rows:]
        normed: Tensor = self.norm(last(rows, rotation=rotation, keep=keep, num_rows=num_rows))
        return normed
