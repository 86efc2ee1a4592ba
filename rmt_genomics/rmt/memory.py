"""What one segment hands to the next: memory tokens and XL memories.

A segment of n tokens goes through the transformer between two sets of m memory tokens:

    [ read memory: m ][ segment: n ][ write memory: m ]

The read memory holds what earlier segments wrote. The hidden states of the write memory become
the read memory of the next segment (Bulatov et al. 2022, arXiv:2207.06881, section 3).
Every segment adds the *identity* of each memory slot again, so that slots stay distinct however
often they are rewritten.

XL memories are keys and values of earlier tokens, which later segments attend to as well
(Transformer-XL: Dai et al. 2019, arXiv:1901.02860, section 3.2). Each layer caches the keys (before
rotary positions) and values of the last ``xl_mem_len`` real tokens, right-aligned, without
gradient. Memory tokens and padding are never cached. Where a sequence has fewer tokens than others
of its batch, its cache starts with positions that hold no token, as a mask says.

Dimensions: b batch, n tokens in a segment, m memory tokens, d model width, p cached tokens.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.positions import PositionCounts

Cache = tuple[Tensor, ...]
"""XL memories: keys and values, one tensor ``[2, b, p, inner]`` per layer, and a mask
``[1, b, p, 1]``, True where a position holds a token. Empty = none."""

_GATE_BIAS = -6.0  # sigmoid(-6) = 0.0025: far below the identities, so hardly read at first
_HARD_GATE_BIAS = -1.0  # a new hard gate is open by 0.22: a closed one would have no gradient
_HARD_GATE_SLOPE = 1.2  # of the sigmoid around 0.5, before it is cut off at 0 and 1


class MemoryTokens(nn.Module):
    """Put memory around a segment, and compute the new memory from what was written."""

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        self.config = config
        shape = (config.num_memory_tokens, config.dim)
        self.read_identity = nn.Parameter(0.02 * torch.randn(shape))
        self.write_identity = nn.Parameter(0.02 * torch.randn(shape))
        self.gate = nn.Linear(2 * config.dim, config.dim) if config.memory_gate else None
        if self.gate is not None:
            is_hard = config.memory_gate == "hard"
            nn.init.constant_(self.gate.bias, _HARD_GATE_BIAS if is_hard else _GATE_BIAS)

    def initial(self, batch_size: int) -> Float[Tensor, "b m d"]:
        """Return what the first segment reads: zeros."""
        return self.read_identity.new_zeros(batch_size, *self.read_identity.shape)

    def drop_memory(self, memory: Float[Tensor, "b m d"]) -> Float[Tensor, "b m d"]:
        """Return what a segment reads: zeros where ``memory_reset`` or ``memory_dropout`` say."""
        if self.config.memory_reset == "segment":
            return torch.zeros_like(memory)
        if self.training and self.config.memory_dropout:
            drawn = torch.rand(memory.shape[0], 1, 1, device=memory.device)
            return memory * (drawn >= self.config.memory_dropout)
        return memory

    def wrap(
        self,
        segment: Float[Tensor, "b n d"],
        memory: Float[Tensor, "b m d"],
        *,
        has_read_memory: bool = True,
    ) -> Float[Tensor, "b wrapped d"]:
        """Put the read memory before the segment and the write memory after it."""
        write: Tensor = repeat(self.write_identity, "m d -> b m d", b=segment.shape[0])
        if self.config.add_write_to_next_write_mem:
            write = write + (memory.detach() if self.config.next_write_mem_stop_grad else memory)
        read = [memory + self.read_identity] if has_read_memory else []
        return torch.cat([part.to(segment.dtype) for part in (*read, segment, write)], dim=1)

    def update(
        self, memory: Float[Tensor, "b m d"], written: Float[Tensor, "b m d"]
    ) -> Float[Tensor, "b m d"]:
        """Return the new memory: what was written, or a gated step towards it."""
        written = written.to(memory.dtype)
        if self.config.memory_reset == "segment":
            memory = torch.zeros_like(memory)
        if self.gate is not None:
            opening = torch.sigmoid(self.gate(torch.cat([memory, written], dim=-1)))
            if self.config.memory_gate == "hard":
                opening = hard_gate(opening, straight_through=self.training)
            written = torch.lerp(memory, written, opening.to(memory.dtype))
        return F.rms_norm(written, written.shape[-1:]) if self.config.memory_norm else written


def hard_gate(
    opening: Float[Tensor, "*shape"], *, straight_through: bool = True
) -> Float[Tensor, "*shape"]:
    """Make openings below 1/12 exactly 0 and above 11/12 exactly 1; the gradient is unchanged.

    A feature whose gate is closed is handed on bit for bit, over any number of segments; a sigmoid
    changes it a little each time. The stretched and cut sigmoid is that of Louizos et al. 2018
    (arXiv:1712.01312, section 2.2), without its noise. The gradient is that of the plain sigmoid
    (straight-through: Bengio et al. 2013, arXiv:1308.3432), or a closed gate could never open. In
    evaluation mode it is its own: that is how the output depends on the input.
    """
    hard = (_HARD_GATE_SLOPE * (opening - 0.5) + 0.5).clamp(0, 1)
    if not straight_through:
        return hard
    return hard.detach() + (opening - opening.detach())


def detached(cache: Cache) -> Cache:
    """Return a cache without gradient."""
    return tuple(tensor.detach() for tensor in cache)


def cached_length(cache: Cache) -> int:
    """Return how many positions are cached."""
    return cache[0].shape[2] if cache else 0


def is_cached(cache: Cache) -> Bool[Tensor, "b p"] | None:
    """Return True where a token is cached; None without a cache."""
    return rearrange(cache[-1], "1 b p 1 -> b p") if cache else None


def cache_of(xl_memories: Sequence[Tensor] | None) -> Cache:
    """Return the cache that users handed on as XL memories; see ``xl_memories_of``."""
    if not xl_memories:
        return ()
    is_token = ~xl_memories[0][:1].isnan().all(dim=-1, keepdim=True)
    return (*(tensor.masked_fill(~is_token, 0) for tensor in xl_memories), is_token)


def xl_memories_of(cache: Cache) -> list[Tensor]:
    """Return a cache as users hand it on: one tensor per layer, nan where no token is."""
    return [tensor.masked_fill(~cache[-1], torch.nan) for tensor in cache[:-1]]


def attended_cache(config: RMTConfig, cache: Cache) -> Cache:
    """Return what each layer attends to: its own keys and values, or those of the layer above."""
    tensors = cache[:-1]
    return (*tensors[1:], tensors[-1]) if tensors and config.enhanced_xl_recurrence else tensors


def next_cache(
    config: RMTConfig,
    counts: PositionCounts,
    is_token: Bool[Tensor, "b n"] | None,
    cache: Cache,
    keys_values: Cache,
) -> Cache:
    """Return the cache after a segment: its tokens' keys and values behind the earlier ones.

    ``cache`` is what the segment read; ``keys_values`` are those of the segment and its memory.
    """
    if not config.use_xl_memories:
        return ()
    joined = [own[:, :, counts.token_slice].detach() for own in keys_values]
    joined.append(torch.ones_like(joined[0][:1, :, :, :1], dtype=torch.bool))
    if is_token is not None:
        joined[-1] = rearrange(is_token, "b n -> 1 b n 1")
    if cache:
        joined = [torch.cat(pair, dim=2) for pair in zip(cache, joined, strict=True)]
    if is_token is not None:  # move the gaps to the left; tokens keep their order
        order = joined[-1].to(torch.uint8).argsort(dim=2, stable=True)
        joined = [tensor.gather(2, order.expand(tensor.shape)) for tensor in joined]
    # clone: a view would keep the keys and values of all earlier segments in memory
    return tuple(tensor[:, :, -config.xl_length :].clone() for tensor in joined)


def append_ended(cache: Cache, updated: Cache) -> Cache:
    """Append the cache of the batch rows that have ended, unchanged, to that of the others."""
    if not cache or cache[0].shape[1] == updated[0].shape[1]:
        return updated
    tensors = []
    for old, new in zip(cache, updated, strict=True):
        ended = old[:, new.shape[1] :]
        tensors.append(torch.cat([new, F.pad(ended, (0, 0, new.shape[2] - ended.shape[2], 0))], 1))
    return tuple(tensors)
