"""One step of the recurrence: a segment and the memory read, in; the memory written, out.

``SegmentTransformer.write`` is the step that ``unroll`` and ``replay`` run over segments.
``hidden`` also returns what became of each token, for models that predict tokens.

Dimensions: b batch, n tokens in a segment, m memory tokens, d model width.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.layers import Layers
from rmt_genomics.rmt.memory import Layout, MemoryTokens
from rmt_genomics.rmt.rotary import Rotation, rotation_of
from rmt_genomics.rmt.segments import Segment
from rmt_genomics.rmt.stem import TokenEmbedding


class SegmentTransformer(nn.Module):
    """Embedding, memory and layers: all of the model that one segment passes through.

    Args:
        config: Size and switches.
    """

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = TokenEmbedding(config)
        self.memory = MemoryTokens(config)
        self.layers = Layers(config)

    def forward(self, segment: Segment, memory: Float[Tensor, "b m d"]) -> Float[Tensor, "b m d"]:
        """Read a segment; return the memory after it.

        Rows of ``memory`` beyond those of the segment belong to sequences that have ended: they
        are handed on bit for bit.
        """
        rows = len(segment.tokens)
        read = self.memory.read(memory[:rows])
        out = self._run(segment, read, num_rows=self.config.num_memory_tokens)
        updated = self.memory.update(read, out)
        return updated if rows == len(memory) else torch.cat([updated, memory[rows:]])

    def hidden(
        self, segment: Segment, memory: Float[Tensor, "b m d"]
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b m d"]]:
        """Return the final state of each token, and the memory after the segment."""
        m = self.config.num_memory_tokens
        read = self.memory.read(memory)
        out = self._run(segment, read, num_rows=segment.length + m)
        return out[:, :-m], self.memory.update(read, out[:, -m:])

    def _run(self, segment: Segment, memory: Tensor, *, num_rows: int) -> Tensor:
        """Wrap the segment in memory and return the last ``num_rows`` rows of the last layer."""
        wrapped = self.memory.wrap(self.embed(segment), memory)
        layout = Layout(memory.shape[1], segment.length, memory.shape[1])
        rows: Tensor = self.layers(
            wrapped,
            rotation=self._rotation(layout, wrapped),
            keep=self._keep(layout, segment.keep_inside, wrapped.device),
            num_rows=num_rows,
        )
        return rows

    def _rotation(self, layout: Layout, wrapped: Tensor) -> Rotation | None:
        """Return the rotary angles of all rows."""
        if not self.config.rotary_pos_emb:
            return None
        return rotation_of(layout, self.config.dim_head, wrapped.device, wrapped.dtype)

    def _keep(
        self, layout: Layout, is_token: Bool[Tensor, "b n"] | None, device: torch.device
    ) -> Bool[Tensor, "_ 1 _ j"] | None:
        """Say which row may look at which: memory is always seen, padding never."""
        keep = None
        if is_token is not None:
            seen = is_token.new_ones(len(is_token), layout.memory)
            real = torch.cat([seen[:, : layout.read], is_token, seen], dim=1)
            keep = rearrange(real, "b j -> b 1 1 j")
        if not self.config.causal:
            return keep
        causal = rearrange(_causal(layout, device), "i j -> 1 1 i j")
        return causal if keep is None else causal & keep


def _causal(layout: Layout, device: torch.device) -> Bool[Tensor, "i j"]:
    """Each token sees the read memory and tokens up to itself; the write memory sees all."""
    rows = sum(layout)
    write = rows - layout.memory
    keep = torch.ones(rows, rows, dtype=torch.bool, device=device)
    keep[:write] = keep[:write].tril()
    keep[: layout.read, : layout.read] = True
    return keep
