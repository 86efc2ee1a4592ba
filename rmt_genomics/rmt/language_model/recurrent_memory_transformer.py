"""``RecurrentMemoryTransformer``: one segment of tokens in; logits, memories and XL memories out.

``RecurrentMemoryTransformerWrapper`` runs it over many segments.

Dimensions: b batch, n tokens in a segment, m memory tokens, d model width, v vocabulary, x cached
tokens; ``inner`` is heads x dim_head; ``two`` is keys, then values.
"""

import inspect
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from rmt_genomics.rmt import argument_checks as checks
from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.segment_transformer import SegmentTransformer
from rmt_genomics.rmt.segments import Segment

XLMemories = list[Tensor]


class SegmentOutput(NamedTuple):
    """What one segment gives: logits or loss, memories, and XL memories or None."""

    output: Tensor
    memories: Float[Tensor, "b m d"]
    xl_memories: XLMemories | None


class RecurrentMemoryTransformer(nn.Module):
    """A transformer with memory tokens, for one segment (Bulatov et al. 2022, arXiv:2207.06881).

    Args:
        settings: The fields of ``RMTConfig``, by name; ``num_tokens`` is needed.

    Raises:
        ValueError: If settings are out of range, contradict each other or would have no effect.
    """

    __signature__ = inspect.signature(RMTConfig)

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.config = RMTConfig(**settings)
        if self.config.stem_pool > 1:
            raise ValueError(
                f"stem_pool is {self.config.stem_pool}, but must be 1 here: there is one output a "
                "token. SegmentTransformer takes it, where memories are all that is wanted."
            )
        self.transformer = SegmentTransformer(self.config)
        self.to_logits = nn.Linear(self.config.dim, self.config.num_tokens)

    @property
    def causal(self) -> bool:
        """Whether tokens see only what stands before them."""
        return self.config.causal

    @property
    def seq_len(self) -> int:
        """Tokens in a segment."""
        return self.config.seq_len

    def init_memory(self, batch: int) -> Float[Tensor, "b m d"]:
        """Return what the first segment reads."""
        return self.transformer.memory.initial(batch)

    def forward(
        self,
        x: Integer[Tensor, "b n"],
        read_memories: Float[Tensor, "b m d"] | Float[Tensor, "m d"] | None = None,
        *,
        mask: Bool[Tensor, "b n"] | None = None,
        labels: Integer[Tensor, "b n"] | None = None,
        xl_memories: XLMemories | None = None,
        mask_out_read_memories: bool = False,
    ) -> SegmentOutput:
        """Read one segment.

        Args:
            x: Token ids, at most ``seq_len`` a row.
            read_memories: Memories of the segment before; None = this is the first.
            mask: True where a token is real; padding is seen by nobody.
            labels: What each position should say; gives the mean cross-entropy instead of logits.
                ``ignore_index`` and padding count for nothing; with nothing to count it is 0.
            xl_memories: XL memories of earlier segments.
            mask_out_read_memories: Hide the memory read from tokens and from the write memory.

        Returns:
            Logits ``(b, n, v)`` or the loss; memories ``(b, m, d)``; XL memories, a tensor
            ``(2, b, x, inner)`` a layer, or None when they are off.

        Raises:
            ValueError: If a shape, a token id or a label does not fit; the argument is named.
        """
        checks.check_tokens(self.config, x, mask=mask, labels=labels)
        checks.check_state(self.config, x, read_memories, xl_memories)
        if mask_out_read_memories and read_memories is None:
            raise ValueError("mask_out_read_memories is True, but has no effect: no read_memories")
        memory = self.memory_for(read_memories, len(x))
        segment = Segment(x, mask, 0, x.shape[1], read_memories is None, mask is not None)
        reading = self.transformer.read(
            segment,
            memory,
            tuple(xl_memories or ()),
            wants_tokens=True,
            hides_read_memory=mask_out_read_memories,
        )
        output = self.to_logits(reading.tokens)
        if labels is not None:
            output = self.token_losses(output, labels, mask).sum() / self.num_valid(labels, mask)
        return SegmentOutput(
            output,
            reading.memory,
            list(reading.cache) if self.config.use_xl_memories else None,
        )

    def token_losses(
        self,
        logits: Float[Tensor, "b n v"],
        labels: Integer[Tensor, "b n"],
        mask: Bool[Tensor, "b n"] | None,
    ) -> Float[Tensor, "b n"]:
        """Return the cross-entropy of each position; 0 where a label counts for nothing."""
        labels = self._valid(labels, mask)
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()  # sums of many losses overflow or round in 16 bits
        return F.cross_entropy(
            rearrange(logits, "b n v -> b v n"),
            labels,
            ignore_index=self.config.ignore_index,
            reduction="none",
        )

    def num_valid(
        self, labels: Integer[Tensor, "b n"], mask: Bool[Tensor, "b n"] | None
    ) -> Integer[Tensor, ""]:
        """Return how many labels count, but at least 1."""
        return self._valid(labels, mask).ne(self.config.ignore_index).sum().clamp(min=1)

    def _valid(self, labels: Tensor, mask: Tensor | None) -> Tensor:
        """Return labels with padding ignored."""
        labels = labels.long()
        return labels if mask is None else labels.masked_fill(~mask, self.config.ignore_index)

    def memory_for(self, given: Tensor | None, batch: int) -> Tensor:
        """Return a memory for each row."""
        if given is None:
            return self.init_memory(batch)
        return repeat(given, "m d -> b m d", b=batch) if given.ndim == 2 else given
