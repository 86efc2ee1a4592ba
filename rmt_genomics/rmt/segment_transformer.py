"""One step of the recurrence: a segment and the memory read, in; the memory written, out.

``SegmentTransformer`` called as a module is the plain step that ``unroll`` and ``replay`` run;
called with a cache it is a step with cache, which hands out what the segment wrote beside the
memory to carry. ``read`` can return the state of each token instead.

Dimensions: b batch, n tokens in a segment, m memory tokens, d model width, p cached tokens.
"""

from typing import overload

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rmt_genomics.rmt.attention import AttentionInputs
from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.embedding import TokenEmbedding, pooled_mask
from rmt_genomics.rmt.layers import Layers
from rmt_genomics.rmt.memory import (
    Cache,
    MemoryTokens,
    append_ended,
    attended_cache,
    cached_length,
    is_cached,
    next_cache,
)
from rmt_genomics.rmt.positions import DistanceBias, PositionCounts, attention_mask, rotation_of
from rmt_genomics.rmt.segments import Segment
from rmt_genomics.rmt.unroll import StepOutput


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

    @overload
    def forward(self, segment: Segment, memory: Tensor) -> Tensor: ...

    @overload
    def forward(self, segment: Segment, memory: Tensor, cache: Cache) -> StepOutput: ...

    def forward(
        self, segment: Segment, memory: Float[Tensor, "b m d"], cache: Cache | None = None
    ) -> Tensor | StepOutput:
        """Read a segment; return the memory after it, or with a cache also what was written.

        Batch rows of ``memory`` beyond those of the segment belong to sequences that have ended:
        their memory is returned bit for bit, and they have written zeros.

        Args:
            segment: The tokens.
            memory: What was written before; zeros at the start.
            cache: XL memories of earlier segments, ``()`` without them or at the start. Makes this
                a step with cache, whose output is what the segment wrote ``[b, m, d]``, before the
                gate.

        Raises:
            ValueError: If the model has XL memories and no cache is given: they would be lost.
        """
        if cache is not None:
            return self.read(segment, memory, cache, return_written=True)
        if self.config.use_xl_memories:
            raise ValueError(
                "use_xl_memories is True, but without a cache this step returns the memory only. "
                "Pass a cache, () at the start, to get the next one too."
            )
        return self.read(segment, memory).memory

    def read(
        self,
        segment: Segment,
        memory: Float[Tensor, "b m d"],
        cache: Cache = (),
        *,
        return_tokens: bool = False,
        return_written: bool = False,
        hide_read_memory: bool = False,
    ) -> StepOutput:
        """Read a segment as a step with cache.

        Args:
            segment: The tokens; a batch row without any real token leaves its memory as it was.
            memory: What was written before; zeros at the start.
            cache: XL memories of earlier segments; empty at the start.
            return_tokens: Return the final states of tokens as the output.
            return_written: Return what the segment wrote as the output, without ``return_tokens``.
            hide_read_memory: Tokens and write memory do not attend to the read memory.

        Returns:
            The memory after the segment; the XL memories after it, empty without them; and as
            output the final states of tokens ``[b, n, d]``, or what the memory tokens wrote
            ``[b, m, d]`` before the gate, or None.
        """
        # not len(): torch.export would make a constant of a dynamic batch size
        b, m = segment.tokens.shape[0], self.config.num_memory_tokens
        read_memory = self.memory.drop_memory(memory[:b])
        read_cache = tuple(tensor[:, :b] for tensor in cache)
        has_read_memory = self.config.always_have_read_memories or not segment.is_start
        embedded = self.embed(segment)
        is_token = pooled_mask(segment.keep_inside, self.config.stem_pool)
        num_tokens = embedded.shape[1]
        counts = PositionCounts(
            cached_length(read_cache), m if has_read_memory else 0, num_tokens, m
        )
        inputs = self.attention_inputs(
            counts, read_cache, embedded.dtype, is_token=is_token, hide_read_memory=hide_read_memory
        )
        wrapped = self.memory.wrap(embedded, read_memory, has_read_memory=has_read_memory)
        out, keys_values = self.layers(
            wrapped, inputs, num_queries=num_tokens + m if return_tokens else m
        )
        written = out[:, -m:]
        updated = self.memory.update(memory[:b], written)
        if segment.may_be_empty:
            assert segment.keep_inside is not None
            has_token = segment.keep_inside.any(dim=1)[:, None, None]
            updated = torch.where(has_token, updated, memory[:b])
        output = out[:, :-m] if return_tokens else None
        if memory.shape[0] > b:
            updated = torch.cat([updated, memory[b:]])
            written = F.pad(written, (0, 0, 0, 0, 0, memory.shape[0] - b))
        return StepOutput(
            updated,
            append_ended(cache, next_cache(self.config, counts, is_token, read_cache, keys_values)),
            written if return_written else output,
        )

    def attention_inputs(
        self,
        counts: PositionCounts,
        cache: Cache,
        dtype: torch.dtype,
        *,
        is_token: Bool[Tensor, "b n"] | None = None,
        hide_read_memory: bool = False,
    ) -> AttentionInputs:
        """Return what all layers share for positions of these numbers."""
        device = self.memory.read_identity.device
        rotation = None
        if self.config.rotary_pos_emb:
            rotation = rotation_of(counts, self.config.dim_head, device, dtype)
        mask = attention_mask(
            self.config,
            counts,
            device,
            is_token=is_token,
            is_cached=is_cached(cache),
            hide_read_memory=hide_read_memory,
        )
        if self.distance_bias is not None:
            bias = self.distance_bias(counts).to(dtype)
            mask = bias if mask is None else bias.masked_fill(~mask, -torch.inf)
        attended = attended_cache(self.config, cache)
        return AttentionInputs(mask, rotation, attended, counts.token_slice, is_token)
