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
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor, nn

from rmt_genomics.rmt import argument_checks as checks
from rmt_genomics.rmt.config import RMTConfig, as_declared
from rmt_genomics.rmt.memory import cache_of, xl_memories_of
from rmt_genomics.rmt.segment_transformer import SegmentTransformer
from rmt_genomics.rmt.segments import Segment

XLMemories = list[Tensor]


class SegmentOutput(NamedTuple):
    """Logits or loss, memories, and XL memories (None when they are off) after one segment."""

    output: Tensor
    memories: Float[Tensor, "b m d"]
    xl_memories: XLMemories | None


class RecurrentMemoryTransformer(nn.Module):
    """A transformer with memory tokens, for one segment (Bulatov et al. 2022, arXiv:2207.06881).

    The arguments are the fields of ``RMTConfig``, which documents each with its unit and paper:

    - sizes: ``num_tokens`` (vocabulary), ``num_memory_tokens``, ``dim``, ``depth``, ``dim_head``,
      ``heads``, ``ff_mult``, ``seq_len`` (tokens in a segment);
    - attention: ``causal``, ``memory_not_causal``, ``use_flash_attn``, ``null_key_value``;
    - positions: ``rotary_pos_emb``, ``abs_pos_emb``, ``rel_pos_bias``, ``token_shift``, ``stem_*``;
    - memory: ``memory_*``, ``always_have_read_memories``, ``*_next_write_mem*``, ``*xl_*``;
    - training: ``*_dropout``, ``emb_gradient_frac``, ``ff_norm``, ``qk_norm``, ``value_residual``,
      ``num_residual_streams``, ``ignore_index``.

    Raises:
        ValueError: If settings are out of range, contradict each other or would have no effect.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.config = RMTConfig(**settings)
        if self.config.stem_pool > 1:
            raise ValueError(
                f"stem_pool is {self.config.stem_pool}, but must be 1 here: there is one output "
                "per token. Use SegmentTransformer where only memories are needed."
            )
        self.transformer = SegmentTransformer(self.config)
        self.to_logits = nn.Linear(self.config.dim, self.config.num_tokens)

    # Editors and help() show the settings, which RMTConfig defines.
    __init__.__signature__ = inspect.signature(RMTConfig.__init__)  # type: ignore[attr-defined]

    @property
    def causal(self) -> bool:
        """Whether tokens attend to earlier tokens only."""
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
            x: Token ids, at most ``seq_len`` per batch row.
            read_memories: Memories of the segment before; None = this is the first.
            mask: True where a token is real; padding is masked.
            labels: Target of each position; gives the mean cross-entropy instead of logits.
                ``ignore_index`` and padding are left out; with no label left it is 0.
            xl_memories: XL memories of earlier segments.
            mask_out_read_memories: Tokens and write memory do not attend to the read memory.

        Returns:
            Logits ``(b, n, v)`` or the loss; memories ``(b, m, d)``; XL memories, one tensor
            ``(2, b, x, inner)`` per layer, or None when they are off. With a ``mask``, a row that
            has read fewer than x tokens holds nan at its first positions.

        Raises:
            ValueError: If a shape, a token id or a label does not fit; the argument is named.
        """
        checks.check_tokens(self.config, x, mask=mask, labels=labels)
        checks.check_state(self.config, x, read_memories, xl_memories)
        if (
            as_declared("mask_out_read_memories", bool, mask_out_read_memories)
            and read_memories is None
        ):
            raise ValueError("mask_out_read_memories is True, but has no effect: no read_memories")
        memory = self.memory_for(read_memories, x.shape[0])
        segment = Segment(x, mask, 0, x.shape[1], read_memories is None, mask is not None)
        memory, cache, tokens = self.transformer.read(
            segment,
            memory,
            cache_of(xl_memories),
            return_tokens=True,
            hide_read_memory=mask_out_read_memories,
        )
        output = self.to_logits(tokens)
        if labels is not None:
            labels, num_labels = self.valid_labels(labels, mask)
            output = self.loss_sum(output, labels) / num_labels
        return SegmentOutput(
            output, memory, xl_memories_of(cache) if self.config.use_xl_memories else None
        )

    def loss_sum(
        self, logits: Float[Tensor, "b n v"], labels: Integer[Tensor, "b n"]
    ) -> Float[Tensor, ""]:
        """Return the summed cross-entropy of all labels but ``ignore_index``."""
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()  # sums of many losses overflow or round in 16 bits
        return F.cross_entropy(
            rearrange(logits, "b n v -> (b n) v"),
            labels.flatten(),
            ignore_index=self.config.ignore_index,
            reduction="sum",
        )

    def valid_labels(
        self, labels: Integer[Tensor, "b n"], mask: Bool[Tensor, "b n"] | None
    ) -> tuple[Int64[Tensor, "b n"], Int64[Tensor, ""]]:
        """Return labels with ``ignore_index`` at padding; and how many others, but at least 1."""
        ignored = self.config.ignore_index
        labels = labels.long()
        if mask is not None:
            labels = labels.masked_fill(~mask, ignored)
        return labels, labels.ne(ignored).sum().clamp(min=1)

    def memory_for(self, memories: Tensor | None, batch: int) -> Tensor:
        """Return a memory for each batch row: the given one, or the initial one."""
        if memories is None:
            return self.init_memory(batch)
        return repeat(memories, "m d -> b m d", b=batch) if memories.ndim == 2 else memories
