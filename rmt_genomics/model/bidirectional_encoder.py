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
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, Integer, UInt8
from torch import Tensor, nn

from rmt_genomics.dna import Tokenizer
from rmt_genomics.dna.alphabet import Codes
from rmt_genomics.model.backbone_step import BackboneStep
from rmt_genomics.model.backbones import Backbone
from rmt_genomics.model.config import Readout
from rmt_genomics.model.pooling import POOLINGS
from rmt_genomics.model.tokenization import reverse_complement, to_device, tokenize
from rmt_genomics.rmt import (
    KeepSegments,
    RMTConfig,
    Segment,
    Segments,
    SegmentTransformer,
    iterate_steps,
    replay_with_outputs,
    unroll_with_outputs,
)
from rmt_genomics.rmt.segments import borders

REPLAY_BEYOND = 4  # segments: below, keeping all activations is cheaper than running twice
SEGMENTS_AT_ONCE = 64
"""Segments whose read-outs are pooled together when nothing is kept for backward."""

LONG_BP = 262_144  # a sequence longer than this is predicted by ``encode_long``
Replay = bool | Literal["auto"]


class BothStrands(nn.Module):
    """Encode sequences as ``[forward | reverse]`` read-outs, pooled by ``POOLINGS[pooling]``.

    The read-out of a segment is what it wrote, before the gate, or the memory carried on from it.
    With a ``backbone`` the step is that pretrained encoder, and reads segments of bases.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: RMTConfig,
        pooling: str,
        readout: Readout = "written",
        backbone: Backbone | None = None,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.config = config
        self.readout = readout
        self.step: SegmentTransformer | BackboneStep = (
            SegmentTransformer(config) if backbone is None else BackboneStep(config, backbone)
        )
        self.pool = POOLINGS[pooling](config.dim)

    @property
    def transformer(self) -> SegmentTransformer:
        """The step, where a pretrained encoder has been refused."""
        assert isinstance(self.step, SegmentTransformer), "segments are read by another encoder"
        return self.step

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
        tokens, num_tokens = tokenize(self.tokenizer, both, lengths.repeat(2))
        order = num_tokens.argsort(descending=True, stable=True)
        size, halo = self.config.tokens_per_segment, self.config.halo
        segments = Segments(tokens[order], num_tokens[order].tolist(), size, halo)
        pooled: Tensor = self.pool(self._readouts(segments, replay, bptt_depth))
        return rearrange(pooled[order.argsort()], "(strand b) d -> b (strand d)", strand=2)

    def _readouts(
        self, segments: Segments, use_replay: Replay, bptt_depth: int | None
    ) -> Iterator[tuple[Float[Tensor, "s b m d"], Bool[Tensor, "s b"]]]:
        """Yield the read-out of segments and which rows read them, all at once or in chunks."""
        first = self.step.memory.initial(len(segments.tokens))
        # True where a row reaches into a segment; after its end its memory does not change.
        starts = torch.arange(len(segments), device=first.device) * segments.segment_length
        is_read = starts[:, None] < torch.tensor(segments.lengths, device=first.device)
        if not torch.is_grad_enabled():
            chunks = (chunk for chunk, _ in readout_chunks(self, segments, first))
            yield from zip(chunks, torch.split(is_read, SEGMENTS_AT_ONCE), strict=True)
            return
        is_long = len(segments) > REPLAY_BEYOND or bptt_depth is not None
        if use_replay is False or (use_replay == "auto" and not is_long):
            run = unroll_with_outputs(self.step, segments, first, bptt_depth=bptt_depth)
        else:
            keep: KeepSegments = "auto" if use_replay == "auto" else 1
            run = replay_with_outputs(
                self.step, segments, first, bptt_depth=bptt_depth, keep_segments=keep
            )
        yield torch.stack(run.outputs) if self.readout == "written" else run.memories, is_read


def readout_chunks(
    encoder: BothStrands, segments: Sequence[Segment], memory: Float[Tensor, "b m d"]
) -> Iterator[tuple[Float[Tensor, "s b m d"], Float[Tensor, "b m d"]]]:
    """Yield the read-out of up to ``SEGMENTS_AT_ONCE`` segments, and the memory after them."""
    states = iterate_steps(encoder.step, segments, memory)
    while block := list(islice(states, SEGMENTS_AT_ONCE)):
        written = [state.output for state in block if state.output is not None]
        carried = [state.memory for state in block]
        yield torch.stack(written if encoder.readout == "written" else carried), carried[-1]


def encode_long(
    encoder: BothStrands, codes: Codes, *, on_read: Callable[[int], object] = lambda _: None
) -> Float[Tensor, "1 two_d"]:
    """Return the both-strand encoding of one sequence, as ``encoder`` would; without a gradient.

    The encoder is in evaluation mode; ``on_read`` is as in ``RMTClassifier.predict_codes``.
    """

    def readouts_and_is_read() -> Iterator[tuple[Tensor, Tensor]]:
        memory = encoder.step.memory.initial(2)
        reported_bp = 0
        for segments, read_bp in segment_blocks(encoder, codes):
            ((chunk, memory),) = readout_chunks(encoder, segments, memory)
            # Both strands read every segment.
            yield chunk, torch.ones(chunk.shape[:2], dtype=torch.bool, device=chunk.device)
            on_read(read_bp - reported_bp)
            reported_bp = read_bp

    with torch.no_grad():
        pooled: Tensor = encoder.pool(readouts_and_is_read())
    return rearrange(pooled, "strand d -> 1 (strand d)")


def segment_blocks(encoder: BothStrands, codes: Codes) -> Iterator[tuple[list[Segment], int]]:
    """Yield up to ``SEGMENTS_AT_ONCE`` segments of a sequence at a time, as ``Segments`` has them.

    Each segment has two rows: forward strand, reverse strand. With each block comes how many bp
    have been read at its end.
    """
    size, num_tokens = encoder.config.tokens_per_segment, encoder.tokenizer.num_tokens(len(codes))
    num_segments = -(-num_tokens // size)
    for first in range(0, num_segments, SEGMENTS_AT_ONCE):
        block = [
            borders(index, size, num_tokens, encoder.config.halo)
            for index in range(first, min(first + SEGMENTS_AT_ONCE, num_segments))
        ]
        start, _, left, _ = block[0]
        _, stop, _, right = block[-1]
        begin = start - left
        tokens = tokenize_both_strands(encoder, codes, begin, stop + right)
        segments = [
            Segment(
                tokens[:, start - left - begin : stop + right - begin],
                None,
                left,
                stop - start,
                is_start=start == 0,
            )
            for start, stop, left, right in block
        ]
        read_bp = len(codes)
        if stop < num_tokens:
            read_bp, _ = bases_of_tokens(encoder.tokenizer, len(codes), stop, stop + 1)
        yield segments, read_bp


def tokenize_both_strands(
    encoder: BothStrands, codes: Codes, start: int, stop: int
) -> Integer[Tensor, "2 t"]:
    """Make tokens ``[start, stop)`` of both strands of one sequence from their bases."""
    first, end = bases_of_tokens(encoder.tokenizer, len(codes), start, stop)
    device = next(encoder.parameters()).device
    forward, opposite = (
        to_device(torch.from_numpy(part)[None], device)
        for part in (codes[first:end], codes[len(codes) - end : len(codes) - first])
    )
    lengths = torch.full((1,), end - first, device=device)  # does not wait for a GPU
    both = torch.cat([forward, reverse_complement(opposite, lengths)])
    return tokenize(encoder.tokenizer, both, lengths.repeat(2))[0]


def bases_of_tokens(tokenizer: Tokenizer, length_bp: int, start: int, stop: int) -> tuple[int, int]:
    """Return where the bases of tokens ``[start, stop)`` of a sequence begin and end.

    Tokenized alone, these bases give exactly those tokens: k-mers are counted from the left, and
    fewer bases than a stride follow the last one.
    """
    k, stride = tokenizer.k, tokenizer.stride
    num_kmers, covered = tokenizer.count_kmers(length_bp)
    begin = start * stride if start < num_kmers else covered + start - num_kmers
    if stop > num_kmers:
        return begin, covered + stop - num_kmers
    return begin, max(begin, (stop - 1) * stride + k)
