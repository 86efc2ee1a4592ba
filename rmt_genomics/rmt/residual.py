"""How a layer's update joins the rows it came from: added, or through hyper-connections.

``Residual`` adds. ``HyperConnections`` keeps several streams of rows, with learned weights for
what each layer reads from them and writes to them (Zhu et al. 2024, arXiv:2409.19606); they come
from the package ``hyper-connections``, the extra ``hyper``.

Dimensions: b batch, j rows, d model width; ``streams`` is b x the number of residual streams.
"""

from collections.abc import Callable
from typing import Any

from einops import reduce, repeat
from jaxtyping import Float
from torch import Tensor, nn

from rmt_genomics.rmt.config import RMTConfig

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
