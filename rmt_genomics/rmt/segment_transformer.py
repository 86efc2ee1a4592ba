"""One step of the recurrence: a segment and the memory read, in; the memory written, out.

``SegmentTransformer`` is the plain step that ``unroll`` and ``replay`` run over segments;
``read`` is the rich one, with XL memories and with what became of each token.

Dimensions: b batch, n tokens in a segment, m memory tokens, d model width, p cached tokens.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rmt_genomics.rmt.attention_mask import Layout, Sight, who_sees_whom
from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.layers import Cache, Layers, Surroundings
from rmt_genomics.rmt.memory import MemoryTokens
from rmt_genomics.rmt.positions import DistanceBias, rotation_of
from rmt_genomics.rmt.segments import Segment
from rmt_genomics.rmt.stem import TokenEmbedding, merged_mask
from rmt_genomics.rmt.xl_memory import (
    as_seen,
    cached_length,
    is_cached,
    next_cache,
    of_rows,
    with_ended,
)


class Reading(NamedTuple):
    """What one segment leaves.

    Attributes:
        tokens: Final state of each token; None unless asked for.
        memory: Memory after the segment.
        cache: XL memories after the segment; empty without them.
    """

    tokens: Float[Tensor, "b n d"] | None
    memory: Float[Tensor, "b m d"]
    cache: Cache


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
        self.distance_bias = DistanceBias(config) if config.rel_pos_bias else None
        self.layers = Layers(config)

    def forward(self, segment: Segment, memory: Float[Tensor, "b m d"]) -> Float[Tensor, "b m d"]:
        """Read a segment; return the memory after it.

        Rows of ``memory`` beyond those of the segment belong to sequences that have ended: they
        are handed on bit for bit.

        Raises:
            ValueError: If the model has XL memories, which would be lost here.
        """
        if self.config.use_xl_memories:
            raise ValueError(
                "use_xl_memories is True, but this step hands on the memory alone. "
                "Use SegmentTransformer.read, which hands on the cache too."
            )
        return self.read(segment, memory).memory

    def read(
        self,
        segment: Segment,
        memory: Float[Tensor, "b m d"],
        cache: Cache = (),
        *,
        wants_tokens: bool = False,
        hides_read_memory: bool = False,
    ) -> Reading:
        """Read a segment; return what it leaves.

        Args:
            segment: The tokens; a row without any real token leaves its memory as it was.
            memory: What was written before; zeros at the start.
            cache: XL memories of earlier segments, one tensor a layer; empty at the start.
            wants_tokens: Whether the final states of tokens are asked for.
            hides_read_memory: Whether tokens and write memory are kept from seeing what is read.
        """
        rows, m = len(segment.tokens), self.config.num_memory_tokens
        known = self.memory.recall(memory[:rows])
        past = of_rows(cache, rows)
        is_start = segment.is_start and not self.config.always_have_read_memories
        embedded = self.embed(segment)
        is_token = merged_mask(segment.keep_inside, self.config.stem_pool)
        num_tokens = embedded.shape[1]
        layout = Layout(cached_length(past), 0 if is_start else m, num_tokens, m)
        wrapped = self.memory.wrap(embedded, known, has_read_rows=not is_start)
        num_rows = num_tokens + m if wants_tokens else m
        sight = Sight(
            self.config.causal,
            self.config.memory_not_causal,
            hides_read_memory,
            is_token,
            is_cached(past),
        )
        around = self.surroundings(layout, sight, as_seen(self.config, past), wrapped)
        out, keys_values = self.layers(wrapped, around, num_rows=num_rows)
        updated = self._unless_empty(segment, memory, self.memory.update(known, out[:, -m:]))
        return Reading(
            out[:, :-m] if wants_tokens else None,
            updated,
            with_ended(cache, next_cache(self.config, layout, is_token, past, keys_values)),
        )

    def surroundings(self, layout: Layout, sight: Sight, past: Cache, rows: Tensor) -> Surroundings:
        """Gather what all layers need to know of rows laid out like this."""
        rotation = None
        if self.config.rotary_pos_emb:
            rotation = rotation_of(layout, self.config.dim_head, rows.device, rows.dtype)
        mask = who_sees_whom(layout, sight, rows.device)
        if self.distance_bias is not None:
            bias = self.distance_bias(layout).to(rows.dtype)
            mask = bias if mask is None else bias.masked_fill(~mask, -torch.inf)
        tokens = slice(layout.read, layout.read + layout.tokens)
        return Surroundings(rotation, mask, past, tokens, sight.is_token)

    @staticmethod
    def _unless_empty(segment: Segment, memory: Tensor, updated: Tensor) -> Tensor:
        """Leave the memory of sequences that have no token here as it was."""
        if segment.may_be_empty:
            assert segment.keep_inside is not None
            has_token = segment.keep_inside.any(dim=1)[:, None, None]
            updated = torch.where(has_token, updated, memory[: len(updated)])
        ended = memory[len(updated) :]
        return torch.cat([updated, ended]) if len(ended) else updated
