"""Memory tokens: what one segment hands to the next.

A segment of n tokens goes through the transformer between two sets of m memory tokens:

    [ read memory: m ][ segment: n ][ write memory: m ]

The read memory carries what earlier segments wrote. The hidden states at the write rows become
the read memory of the next segment (Bulatov et al. 2022, arXiv:2207.06881, section 3).
Every segment adds the *identity* of each memory slot again, so that slots stay told apart however
often they are rewritten.

Dimensions: b batch, n tokens in a segment, m memory tokens, d model width.
"""

import torch
import torch.nn.functional as F
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn

from rmt_genomics.rmt.config import RMTConfig

_REMEMBER = -4.0  # sigmoid(-4) = 0.018: a new gate keeps 98 % of what it held
_HARD_START = -1.0  # a new hard gate is open by 0.22: a closed one would find nothing to write
_STRETCH = 1.2  # of the sigmoid around 0.5, before it is cut off at 0 and 1


class MemoryTokens(nn.Module):
    """Put memory around a segment, and take the new memory back out.

    Args:
        config: ``num_memory_tokens``, ``dim`` and the memory switches are used.
    """

    def __init__(self, config: RMTConfig) -> None:
        super().__init__()
        self.config = config
        shape = (config.num_memory_tokens, config.dim)
        self.read_identity = nn.Parameter(0.02 * torch.randn(shape))
        self.write_identity = nn.Parameter(0.02 * torch.randn(shape))
        self.gate = nn.Linear(2 * config.dim, config.dim) if config.memory_gate else None
        if self.gate is not None:
            is_hard = config.memory_gate == "hard"
            nn.init.constant_(self.gate.bias, _HARD_START if is_hard else _REMEMBER)

    def initial(self, batch_size: int) -> Float[Tensor, "b m d"]:
        """Return what the first segment reads: nothing yet, so zeros."""
        return self.read_identity.new_zeros(batch_size, *self.read_identity.shape)

    def recall(self, memory: Float[Tensor, "b m d"]) -> Float[Tensor, "b m d"]:
        """Return what a segment may know of earlier ones: all, or in some cases nothing."""
        if self.config.memory_reset == "segment":
            return torch.zeros_like(memory)
        if self.training and self.config.memory_dropout:
            shown = torch.rand(len(memory), 1, 1, device=memory.device)
            return memory * (shown >= self.config.memory_dropout)
        return memory

    def wrap(
        self,
        segment: Float[Tensor, "b n d"],
        memory: Float[Tensor, "b m d"],
        *,
        has_read_rows: bool = True,
    ) -> Float[Tensor, "b wrapped d"]:
        """Place the memory before the segment, to be read, and blank slots after it, to write."""
        write: Tensor = repeat(self.write_identity, "m d -> b m d", b=segment.shape[0])
        if self.config.add_write_to_next_write_mem:
            write = write + (memory.detach() if self.config.next_write_mem_stop_grad else memory)
        read = [memory + self.read_identity] if has_read_rows else []
        return torch.cat([rows.to(segment.dtype) for rows in (*read, segment, write)], dim=1)

    def update(
        self, memory: Float[Tensor, "b m d"], written: Float[Tensor, "b m d"]
    ) -> Float[Tensor, "b m d"]:
        """Return the memory to carry on: what was written, or a gated step towards it."""
        written = written.to(memory.dtype)
        if self.gate is not None:
            opening = torch.sigmoid(self.gate(torch.cat([memory, written], dim=-1)))
            if self.config.memory_gate == "hard":
                opening = hardened(opening)
            written = torch.lerp(memory, written, opening.to(memory.dtype))
        return F.rms_norm(written, written.shape[-1:]) if self.config.memory_norm else written


def hardened(opening: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Make openings below 1/12 exactly 0 and above 11/12 exactly 1; gradients stay as they were.

    A feature whose gate is shut is handed on bit for bit, over any number of segments; a sigmoid
    lets a little through each time. The stretched and cut sigmoid is that of Louizos et al. 2018
    (arXiv:1712.01312, section 2.2), without its noise. The gradient is that of the plain sigmoid
    (straight-through: Bengio et al. 2013, arXiv:1308.3432), or a shut gate could never open again.
    """
    hard = (_STRETCH * (opening - 0.5) + 0.5).clamp(0, 1)
    return hard.detach() + (opening - opening.detach())
