"""Both strands through one encoder.

The encoder reads each strand 5' to 3' with the same weights; the two strands of a batch of b are
one batch of 2b. The pooled memories are placed side by side, forward strand first. So the reverse
complement of a sequence gives the same two halves in the other order, which
``tests/model/test_strands.py`` checks.

Dimensions: b batch, n base pairs, d model width, s segments, m memory tokens.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from rmt_genomics.dna import Tokenizer
from rmt_genomics.model.pooling import POOLINGS
from rmt_genomics.model.tokens import reverse_complement, tokenize
from rmt_genomics.rmt import (
    KeepSegments,
    RMTConfig,
    Segments,
    SegmentTransformer,
    each_memory,
    replay,
    unroll,
)

REPLAY_BEYOND = 4  # segments: below, keeping all activations is cheaper than running twice
SEGMENTS_AT_ONCE = 64
"""Segments whose memories are pooled together when nothing is kept for backward."""

Replay = bool | Literal["auto"]


class BothStrands(nn.Module):
    """Encode sequences as ``[forward | reverse]`` pooled memories.

    Args:
        tokenizer: How bases become tokens.
        config: The transformer, shared by both strands.
        pooling: Which memories are read; a key of ``POOLINGS``.
    """

    def __init__(self, tokenizer: Tokenizer, config: RMTConfig, pooling: str) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.config = config
        self.step = SegmentTransformer(config)
        self.pool = POOLINGS[pooling](config.dim)

    def forward(
        self,
        codes: UInt8[Tensor, "b n"],
        lengths: Int[Tensor, " b"],
        *,
        replay: Replay,
        bptt_depth: int | None,
    ) -> Float[Tensor, "b two_d"]:
        """Return the both-strand encoding of each row's first ``lengths`` base pairs."""
        both = torch.cat([codes, reverse_complement(codes, lengths)])
        pooled = self.encode(both, lengths.repeat(2), replay=replay, bptt_depth=bptt_depth)
        return rearrange(pooled, "(strand b) d -> b (strand d)", strand=2)

    def encode(
        self,
        codes: UInt8[Tensor, "b n"],
        lengths: Int[Tensor, " b"],
        *,
        replay: Replay,
        bptt_depth: int | None,
    ) -> Float[Tensor, "b d"]:
        """Return the pooled memory of each row, read as it stands."""
        tokens, num_tokens = tokenize(self.tokenizer, codes, lengths)
        order = num_tokens.argsort(descending=True, stable=True)
        segments = Segments(
            tokens[order],
            num_tokens[order].tolist(),
            self.config.tokens_a_segment,
            self.config.halo,
        )
        pooled: Tensor = self.pool(self._memories(segments, replay, bptt_depth))
        return pooled[order.argsort()]

    def _memories(
        self, segments: Segments, use_replay: Replay, bptt_depth: int | None
    ) -> Iterator[tuple[Float[Tensor, "s b m d"], Bool[Tensor, "s b"]]]:
        """Yield written memories and which rows wrote them, all at once or a chunk at a time."""
        first = self.step.memory.initial(len(segments.tokens))
        is_read = _is_read(segments, first.device)
        if not torch.is_grad_enabled():
            written = each_memory(self.step, segments, first)
            for start in range(0, len(segments), SEGMENTS_AT_ONCE):
                chunk = torch.stack(list(islice(written, SEGMENTS_AT_ONCE)))
                yield chunk, is_read[start : start + SEGMENTS_AT_ONCE]
            return
        is_long = len(segments) > REPLAY_BEYOND or bptt_depth is not None
        if use_replay is False or (use_replay == "auto" and not is_long):
            yield unroll(self.step, segments, first, bptt_depth=bptt_depth), is_read
            return
        keep: KeepSegments = "auto" if use_replay == "auto" else 1
        memories = replay(self.step, segments, first, bptt_depth=bptt_depth, keep_segments=keep)
        yield memories, is_read


def _is_read(segments: Segments, device: torch.device) -> Bool[Tensor, "s b"]:
    """True where a row reaches into a segment; afterwards its memory only rests."""
    starts = torch.arange(len(segments), device=device) * segments.segment_length
    return starts[:, None] < torch.tensor(segments.lengths, device=device)
