"""The stack of pre-norm transformer layers that a segment and its memory go through.

Not all positions are needed at the end: for classification only the written memory. So the last
layer computes queries and feed-forward for the last ``num_queries`` positions only. The result is
the same, and nearly a layer is saved.

Dimensions: b batch, ``wrapped`` (w) positions of the segment and its memory, i queries, d model
width.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from einops import reduce, repeat
from jaxtyping import Float
from torch import Tensor, nn

from rmt_genomics.rmt.attention import Attention, AttentionInputs
from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.memory import Cache


class Layers(nn.Module):
    """All layers and the final norm."""

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.depth))
        self.norm = nn.RMSNorm(config.dim)

    def forward(
        self,
        hidden: Float[Tensor, "b wrapped d"],
        inputs: AttentionInputs,
        *,
        num_queries: int | None = None,
    ) -> tuple[Float[Tensor, "b i d"], Cache]:
        """Return the normalised states of the last ``num_queries`` positions (None = all).

        And the keys and values of all positions, one tensor per layer.
        """
        # Shifted tokens need their neighbours, and hyper-connections add to all positions.
        num_streams = self.config.num_residual_streams
        can_skip = num_streams == 1 and not self.config.token_shift
        if num_streams > 1:
            hidden = repeat(hidden, "b w d -> (b s) w d", s=num_streams)
        all_keys_values: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            is_last = index == len(self.layers) - 1
            hidden, keys_values = layer(
                hidden,
                inputs,
                inputs.cache[index] if inputs.cache else None,
                all_keys_values[0][1] if index and self.config.value_residual else None,
                num_queries if is_last and can_skip else None,
            )
            all_keys_values.append(keys_values)
        if num_streams > 1:
            hidden = reduce(hidden, "(b s) w d -> b w d", "sum", s=num_streams)
        normed: Tensor = self.norm(hidden if num_queries is None else hidden[:, -num_queries:])
        return normed, tuple(all_keys_values)


class Layer(nn.Module):
    """Attention, then feed-forward, each on normalised states and added to them."""

    def __init__(self, config: RMTConfig, index: int) -> None:
        super().__init__()
        self.shifts_tokens = config.token_shift
        self.attention_residual = make_residual(config, 2 * index)
        self.attention_norm = nn.RMSNorm(config.dim)
        self.attention = Attention(config, mixes_values=config.value_residual and index > 0)
        self.feedforward_residual = make_residual(config, 2 * index + 1)
        self.feedforward_norm = nn.RMSNorm(config.dim)
        self.feedforward = FeedForward(config)

    def forward(
        self,
        streams: Float[Tensor, "streams wrapped d"],
        inputs: AttentionInputs,
        cached: Tensor | None,
        first_values: Tensor | None,
        num_queries: int | None,
    ) -> tuple[Float[Tensor, "streams i d"], Tensor]:
        """Return the last ``num_queries`` positions (None = all), and keys and values of all."""
        hidden, add = self.attention_residual(streams)
        update, keys_values = self.attention(
            self._shifted(self.attention_norm(hidden), inputs),
            inputs,
            num_queries=num_queries,
            cached=cached,
            first_values=first_values,
        )
        hidden, add = self.feedforward_residual(add(update))
        updated: Tensor = add(
            self.feedforward(self._shifted(self.feedforward_norm(hidden), inputs))
        )
        return updated, keys_values

    def _shifted(self, hidden: Tensor, inputs: AttentionInputs) -> Tensor:
        """Give each token half of the features of the token before; the first gets zeros."""
        tokens = inputs.tokens
        if not self.shifts_tokens or tokens.start == tokens.stop:
            return hidden
        unshifted, shifted = hidden[:, tokens].chunk(2, dim=-1)
        if inputs.is_token is not None:
            shifted = shifted * inputs.is_token[..., None]
        mixed = torch.cat([unshifted, F.pad(shifted, (0, 0, 1, -1))], dim=-1)
        return torch.cat([hidden[:, : tokens.start], mixed, hidden[:, tokens.stop :]], dim=1)


_WIDTH_MULTIPLE = 16
"""Matrix products of other widths are slow on CPUs: 62 instead of 100 GFLOP/s at dim 256, whose
hidden layer has 2 x 682 features."""


class FeedForward(nn.Module):
    """Gated feed-forward layer on each position.

    Its hidden features are padded to a multiple of 16: the same values in less time.
    """

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        self.expand = nn.Linear(config.dim, 2 * config.ff_inner, bias=False)
        self.norm = nn.RMSNorm(config.ff_inner) if config.ff_norm else nn.Identity()
        self.dropout = nn.Dropout(config.ff_dropout)
        self.contract = nn.Linear(config.ff_inner, config.dim, bias=False)

    def forward(self, hidden: Float[Tensor, "b i d"]) -> Float[Tensor, "b i d"]:
        """Return the update of each position."""
        inner = self.contract.in_features
        padding = -inner % _WIDTH_MULTIPLE
        to_value, to_gate = (
            F.pad(weight, (0, 0, 0, padding)) for weight in self.expand.weight.chunk(2)
        )
        product = F.linear(hidden, to_value) * F.gelu(F.linear(hidden, to_gate))
        draws = self.training and self.dropout.p > 0
        if draws or not isinstance(self.norm, nn.Identity):
            # Of the features there are: their mean, and as many random numbers as without padding.
            product, padding = self.dropout(self.norm(product[..., :inner])), 0
        return F.linear(product, F.pad(self.contract.weight, (0, padding)))


class Residual(nn.Module):
    """A plain residual connection, with the interface of hyper-connections."""

    def forward(
        self, hidden: Float[Tensor, "b wrapped d"]
    ) -> tuple[Float[Tensor, "b wrapped d"], Callable[[Tensor], Tensor]]:
        """Return the input of a sub-layer, and how its update is added to the last positions."""
        return hidden, lambda update: update + hidden[:, -update.shape[1] :]


def make_residual(config: RMTConfig, index: int) -> nn.Module:
    """Return the connection of the ``index``-th sub-layer (attention and feed-forward counted)."""
    if config.num_residual_streams == 1:
        return Residual()
    try:
        from hyper_connections import HyperConnections
    except ImportError as error:
        raise ValueError(
            "num_residual_streams above 1 needs the package hyper-connections, which is not "
            "installed: pip install 'rmt-genomics[hyper]'"
        ) from error
    hyper: Any = HyperConnections
    connection: nn.Module = hyper(config.num_residual_streams, dim=config.dim, layer_index=index)
    return connection
