"""Both strands through one encoder.

The encoder reads each strand 5' to 3' with the same weights; the two strands of a batch of b are
one batch of 2b. The pooled memories are concatenated, forward strand first. So the reverse
complement of a sequence gives the same two halves in the other order.

``BothStrands`` takes a batch of tensors. ``encode_long`` gives the same result for one long
sequence, without a gradient, and holds the tokens of a block of segments at a time.

Dimensions: b batch, n base pairs, d model width, s segments, m memory tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, Integer, UInt8
from torch import Tensor, nn

from rmt_genomics.dna import Tokenizer
from rmt_genomics.dna.alphabet import Codes
from rmt_genomics.model.pooling import POOLINGS
from rmt_genomics.model.tokenization import reverse_complement, tokenize
from rmt_genomics.rmt import (
    KeepSegments,
    RMTConfig,
    Segment,
    Segments,
    SegmentTransformer,
    iterate_memories,
    replay,
    unroll,
)
from rmt_genomics.rmt.segments import borders

REPLAY_BEYOND = 4  # segments: below, keeping all activations is cheaper than running twice
SEGMENTS_AT_ONCE = 64
"""Segments whose memories are pooled together when nothing is kept for backward."""

LONG_BP = 262_144
"""A sequence longer than this is predicted by ``encode_long``."""

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
        """Return the pooled memory of each row, read in the direction given."""
        tokens, num_tokens = tokenize(self.tokenizer, codes, lengths)
        order = num_tokens.argsort(descending=True, stable=True)
        segments = Segments(
            tokens[order],
            num_tokens[order].tolist(),
            self.config.tokens_per_segment,
            self.config.halo,
        )
        pooled: Tensor = self.pool(self._written_memories(segments, replay, bptt_depth))
        return pooled[order.argsort()]

    def _written_memories(
        self, segments: Segments, use_replay: Replay, bptt_depth: int | None
    ) -> Iterator[tuple[Float[Tensor, "s b m d"], Bool[Tensor, "s b"]]]:
        """Yield written memories and which rows wrote them, all at once or a chunk at a time."""
        first = self.step.memory.initial(len(segments.tokens))
        # True where a row reaches into a segment; after its end its memory does not change.
        starts = torch.arange(len(segments), device=first.device) * segments.segment_length
        is_read = starts[:, None] < torch.tensor(segments.lengths, device=first.device)
        if not torch.is_grad_enabled():
            chunks = memory_chunks(self.step, segments, first)
            yield from zip(chunks, torch.split(is_read, SEGMENTS_AT_ONCE), strict=True)
            return
        is_long = len(segments) > REPLAY_BEYOND or bptt_depth is not None
        if use_replay is False or (use_replay == "auto" and not is_long):
            yield unroll(self.step, segments, first, bptt_depth=bptt_depth), is_read
            return
        keep: KeepSegments = "auto" if use_replay == "auto" else 1
        memories = replay(self.step, segments, first, bptt_depth=bptt_depth, keep_segments=keep)
        yield memories, is_read


def encode_long(
    encoder: BothStrands, codes: Codes, *, on_read: Callable[[int], object] = lambda _: None
) -> Float[Tensor, "1 two_d"]:
    """Return the both-strand encoding of one sequence, as ``encoder`` would; without a gradient.

    Args:
        encoder: The encoder, in evaluation mode.
        codes: Base codes (A 0, C 1, G 2, T 3, N 4), forward strand, at least one.
        on_read: Called now and then with the bp read since the last call.
    """
    segments = BothStrandSegments(codes, encoder)

    def memories_and_is_read() -> Iterator[tuple[Tensor, Tensor]]:
        chunks = memory_chunks(encoder.step, segments, encoder.step.memory.initial(2))
        reported_bp = 0
        for index, chunk in enumerate(chunks, start=1):  # both strands read every segment
            yield chunk, torch.ones(chunk.shape[:2], dtype=torch.bool, device=chunk.device)
            read_bp = segments.bp_before(index * SEGMENTS_AT_ONCE)
            on_read(read_bp - reported_bp)
            reported_bp = read_bp

    with torch.no_grad():
        pooled: Tensor = encoder.pool(memories_and_is_read())
    return rearrange(pooled, "strand d -> 1 (strand d)")


def memory_chunks(
    step: SegmentTransformer, segments: Sequence[Segment], memory: Float[Tensor, "b m d"]
) -> Iterator[Float[Tensor, "s b m d"]]:
    """Yield the written memories of up to ``SEGMENTS_AT_ONCE`` segments at a time."""
    written = iterate_memories(step, segments, memory)
    for _ in range(0, len(segments), SEGMENTS_AT_ONCE):
        yield torch.stack(list(islice(written, SEGMENTS_AT_ONCE)))


class BothStrandSegments(Sequence[Segment]):
    """The segments of a sequence, two rows each: forward strand, reverse strand.

    Args:
        codes: Base codes of the forward strand.
        encoder: Its tokenizer, device and segment length are used.
    """

    def __init__(self, codes: Codes, encoder: BothStrands) -> None:
        self.codes = codes
        self.tokenizer: Tokenizer = encoder.tokenizer
        self.device = next(encoder.parameters()).device
        self.halo = encoder.config.halo
        self.segment_length = encoder.config.tokens_per_segment
        self.num_tokens = self.tokenizer.num_tokens(len(codes))
        self._block, self._block_start = torch.empty(2, 0, dtype=torch.uint8), 0

    def __len__(self) -> int:
        return -(-self.num_tokens // self.segment_length)

    def __getitem__(self, index: int | slice) -> Any:
        """Return segment ``index``, with its halo, as ``Segments`` would."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        start, stop, left, right = borders(index, self.segment_length, self.num_tokens, self.halo)
        tokens = self._tokens(start - left, stop + right)
        return Segment(tokens, None, left, stop - start, is_start=index == 0)

    def bp_before(self, index: int) -> int:
        """Count the bases at which the tokens before segment ``index`` begin."""
        if index >= len(self):
            return len(self.codes)
        start = index * self.segment_length
        return self._bases(start, start + 1)[0]

    def _tokens(self, start: int, stop: int) -> Integer[Tensor, "2 with_halo"]:
        """Return tokens ``[start, stop)`` of both strands; make a new block if necessary."""
        block_stop = self._block_start + self._block.shape[1]
        if not self._block_start <= start < stop <= block_stop:
            block_stop = start + max(stop - start, SEGMENTS_AT_ONCE * self.segment_length)
            self._block = self._tokenize(start, min(block_stop, self.num_tokens))
            self._block_start = start
        return self._block[:, start - self._block_start : stop - self._block_start]

    def _tokenize(self, start: int, stop: int) -> Integer[Tensor, "2 t"]:
        """Make tokens ``[start, stop)`` of both strands from their bases."""
        first, end = self._bases(start, stop)
        length = len(self.codes)
        forward = self._on_device(self.codes[first:end])
        opposite = self._on_device(self.codes[length - end : length - first])
        lengths = torch.full((1,), end - first, device=self.device)  # does not wait for a GPU
        both = torch.cat([forward, reverse_complement(opposite, lengths)])
        return tokenize(self.tokenizer, both, lengths.repeat(2))[0]

    def _bases(self, start: int, stop: int) -> tuple[int, int]:
        """Return where the bases of tokens ``[start, stop)`` begin and end.

        Tokenized alone, these bases give exactly those tokens: k-mers are counted from the left,
        and fewer bases than a stride follow the last one.
        """
        k, stride = self.tokenizer.k, self.tokenizer.stride
        num_kmers, covered = self.tokenizer.count_kmers(len(self.codes))
        begin = start * stride if start < num_kmers else covered + start - num_kmers
        if stop > num_kmers:
            return begin, covered + stop - num_kmers
        return begin, max(begin, (stop - 1) * stride + k)

    def _on_device(self, codes: Codes) -> Integer[Tensor, "1 n"]:
        """Copy bases to the device of the model, without waiting for a GPU."""
        row = torch.from_numpy(codes)[None]
        if self.device.type == "cuda":
            return row.pin_memory().to(self.device, non_blocking=True)
        return row.to(self.device)
