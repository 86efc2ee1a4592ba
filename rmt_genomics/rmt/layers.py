"""The stack of pre-norm transformer layers that a wrapped segment goes through.

Only some rows are asked for in the end: for classification the written memory alone. So the last
layer computes queries and feed-forward for those rows only. That is exact, not an approximation,
and saves nearly a layer.

Dimensions: b batch, i rows asked for, j rows, p cached rows, n tokens, d model width.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import reduce, repeat
from jaxtyping import Float
from torch import Tensor, nn

from rmt_genomics.rmt.attention import Attention, Mask
from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.positions import Rotation


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


Join = Callable[[Tensor], Tensor]


class Residual(nn.Module):
    """Read the rows as they are; add the update to the rows it is for."""

    def forward(self, rows: Float[Tensor, "b j d"]) -> tuple[Float[Tensor, "b j d"], Join]:
        """Return what the layer reads, and how its update joins the last rows."""
        return rows, lambda update: update + rows[:, -update.shape[1] :]


def residual_of(config: RMTConfig, index: int) -> nn.Module:
    """Return the connection of the ``index``-th part (attention and feed-forward counted)."""
    if config.num_residual_streams == 1:
        return Residual()
    hyper: Any = _package().HyperConnections
    connection: nn.Module = hyper(config.num_residual_streams, dim=config.dim, layer_index=index)
    return connection


def expand(config: RMTConfig, rows: Float[Tensor, "b j d"]) -> Float[Tensor, "streams j d"]:
    """Copy the rows into as many streams as there are."""
    if config.num_residual_streams == 1:
        return rows
    streams: Tensor = repeat(rows, "b j d -> (b s) j d", s=config.num_residual_streams)
    return streams


def merge(config: RMTConfig, rows: Float[Tensor, "streams j d"]) -> Float[Tensor, "b j d"]:
    """Add the streams up again."""
    if config.num_residual_streams == 1:
        return rows
    return reduce(rows, "(b s) j d -> b j d", "sum", s=config.num_residual_streams)


def _package() -> Any:
    """Import hyper-connections, or say how to get it."""
    try:
        import hyper_connections
    except ImportError as error:
        raise ValueError(
            "num_residual_streams above 1 needs the package hyper-connections, which is not "
            "installed: pip install 'rmt-genomics[hyper]'"
        ) from error
    return hyper_connections


Cache = tuple[Tensor, ...]
"""Keys and values of rows, ``[2, b, p, inner]`` a layer; empty = none."""


class Surroundings(NamedTuple):
    """What rows know beside themselves; the same for all layers, but for the past.

    Attributes:
        rotation: Rotary angles of past and own rows.
        mask: Who may look at whom.
        past: Cached keys and values for each layer.
        tokens: Which rows are tokens; used to shift them by one.
        is_token: True where such a row is real; None = all.
    """

    rotation: Rotation | None = None
    mask: Mask | None = None
    past: Cache = ()
    tokens: slice = slice(0, 0)
    is_token: Tensor | None = None


class Layer(nn.Module):
    """Attention, then feed-forward, each on normalised rows and joined to them.

    Args:
        config: Handed on to both parts.
        index: Place in the stack, from 0.
    """

    def __init__(self, config: RMTConfig, index: int) -> None:
        super().__init__()
        self.shifts = config.token_shift
        self.attention_residual = residual_of(config, 2 * index)
        self.attention_norm = nn.RMSNorm(config.dim)
        self.attention = Attention(config, mixes_values=config.value_residual and index > 0)
        self.feedforward_residual = residual_of(config, 2 * index + 1)
        self.feedforward_norm = nn.RMSNorm(config.dim)
        self.feedforward = FeedForward(config)

    def forward(
        self,
        rows: Float[Tensor, "streams j d"],
        around: Surroundings,
        past: Tensor | None,
        first_values: Tensor | None,
        num_rows: int | None,
    ) -> tuple[Float[Tensor, "streams i d"], Tensor]:
        """Return the last ``num_rows`` rows (None = all) after this layer, and keys and values."""
        hidden, join = self.attention_residual(rows)
        attended = self.attention(
            self._shifted(self.attention_norm(hidden), around),
            rotation=around.rotation,
            mask=_last_rows(around.mask, num_rows),
            num_queries=num_rows,
            past=past,
            first_values=first_values,
        )
        rows = join(attended.rows)
        hidden, join = self.feedforward_residual(rows)
        updated: Tensor = join(
            self.feedforward(self._shifted(self.feedforward_norm(hidden), around))
        )
        return updated, attended.keys_values

    def _shifted(self, hidden: Tensor, around: Surroundings) -> Tensor:
        """Give each token half of the features of the token before; the first gets zeros."""
        tokens = around.tokens
        if not self.shifts or tokens.start == tokens.stop:
            return hidden
        stay, shift = hidden[:, tokens].chunk(2, dim=-1)
        if around.is_token is not None:
            shift = shift * around.is_token[..., None]
        mixed = torch.cat([stay, F.pad(shift, (0, 0, 1, -1))], dim=-1)
        return torch.cat([hidden[:, : tokens.start], mixed, hidden[:, tokens.stop :]], dim=1)


def _last_rows(mask: Tensor | None, num_rows: int | None) -> Tensor | None:
    """Return the mask of the rows asked for."""
    if mask is None or num_rows is None or mask.shape[2] == 1:
        return mask
    return mask[:, :, -num_rows:]


class Layers(nn.Module):
    """All layers and the final norm.

    Args:
        config: ``depth`` layers are made.
    """

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.depth))
        self.norm = nn.RMSNorm(config.dim)

    def forward(
        self, rows: Float[Tensor, "b j d"], around: Surroundings, *, num_rows: int | None = None
    ) -> tuple[Float[Tensor, "b i d"], Cache]:
        """Return the last ``num_rows`` rows (None = all), normalised, and every layer's cache."""
        can_skip = self.config.num_residual_streams == 1 and not self.config.token_shift
        streams = expand(self.config, rows)
        caches: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            is_last = index == len(self.layers) - 1
            streams, keys_values = layer(
                streams,
                around,
                around.past[index] if around.past else None,
                caches[0][1] if caches and self.config.value_residual else None,
                num_rows if is_last and can_skip else None,
            )
            caches.append(keys_values)
        asked = merge(self.config, streams)
        normed: Tensor = self.norm(asked if num_rows is None else asked[:, -num_rows:])
        return normed, tuple(caches)
