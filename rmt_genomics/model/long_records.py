"""One sequence of any length through both strands, in the memory of its base codes.

``BothStrands`` makes both strands and all tokens at once: fine for a batch, but many bytes a base.
Here the codes stay as they are, one byte a base; each segment's tokens, and the other strand's,
are made when they are read, a block of segments at a time. The answer is the same
(``tests/model/test_long_records.py``).

Dimensions: n tokens in a segment, d model width, s segments, m memory tokens; strand 2.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import overload

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from rmt_genomics.dna import Tokenizer
from rmt_genomics.dna.alphabet import Codes
from rmt_genomics.model.strands import SEGMENTS_AT_ONCE, BothStrands
from rmt_genomics.model.tokens import reverse_complement, tokenize
from rmt_genomics.rmt import Segment, each_memory
from rmt_genomics.rmt.segments import borders

LONG_BP = 262_144
"""A sequence longer than this is read this way."""


def encode_long(
    encoder: BothStrands, codes: Codes, *, on_read: Callable[[int], object] = lambda _: None
) -> Float[Tensor, "1 two_d"]:
    """Return the both-strand encoding of one sequence, as ``encoder`` would; without a gradient.

    Args:
        encoder: The encoder, in evaluation mode.
        codes: Base codes (A 0, C 1, G 2, T 3, N 4), forward strand, at least one.
        on_read: Called now and then with the bp read since the last time.
    """
    with torch.no_grad():
        segments = BothStrandsOf(codes, encoder)
        pooled: Tensor = encoder.pool(_memories(encoder, segments, on_read))
    return rearrange(pooled, "strand d -> 1 (strand d)")


def _memories(
    encoder: BothStrands, segments: "BothStrandsOf", on_read: Callable[[int], object]
) -> Iterator[tuple[Float[Tensor, "s 2 m d"], Bool[Tensor, "s 2"]]]:
    """Yield written memories a chunk at a time; both strands read every segment."""
    first = encoder.step.memory.initial(2)
    written = each_memory(encoder.step, segments, first)
    told = 0
    for start in range(0, len(segments), SEGMENTS_AT_ONCE):
        chunk = torch.stack(list(islice(written, SEGMENTS_AT_ONCE)))
        yield chunk, torch.ones(chunk.shape[:2], dtype=torch.bool, device=chunk.device)
        read = segments.bp_before(start + SEGMENTS_AT_ONCE)
        on_read(read - told)
        told = read


class BothStrandsOf(Sequence[Segment]):
    """The segments of a sequence, two rows each: forward strand, reverse strand.

    Args:
        codes: Base codes of the forward strand.
        encoder: Says how bases become tokens, and where.
    """

    def __init__(self, codes: Codes, encoder: BothStrands) -> None:
        self.codes = codes
        self.tokenizer: Tokenizer = encoder.tokenizer
        self.device = next(encoder.parameters()).device
        self.halo = encoder.config.halo
        self.segment_length = encoder.config.tokens_a_segment
        self.num_tokens = self.tokenizer.num_tokens(len(codes))
        self._block, self._block_start = torch.empty(2, 0, dtype=torch.uint8), 0

    def __len__(self) -> int:
        return -(-self.num_tokens // self.segment_length)

    @overload
    def __getitem__(self, index: int) -> Segment: ...
    @overload
    def __getitem__(self, index: slice) -> list[Segment]: ...
    def __getitem__(self, index: int | slice) -> Segment | list[Segment]:
        """Return segment ``index``, with its halo, as ``Segments`` would."""
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
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
        """Return tokens ``[start, stop)`` of both strands; cut a new block if need be."""
        block_stop = self._block_start + self._block.shape[1]
        if not self._block_start <= start < stop <= block_stop:
            block_stop = start + max(stop - start, SEGMENTS_AT_ONCE * self.segment_length)
            self._block = self._cut(start, min(block_stop, self.num_tokens))
            self._block_start = start
        return self._block[:, start - self._block_start : stop - self._block_start]

    def _cut(self, start: int, stop: int) -> Integer[Tensor, "2 t"]:
        """Make tokens ``[start, stop)`` of both strands from the bases below them."""
        first, end = self._bases(start, stop)
        length = len(self.codes)
        forward = self._on_device(self.codes[first:end])
        opposite = self._on_device(self.codes[length - end : length - first])
        lengths = torch.full((1,), end - first, device=self.device)  # without a wait for it
        both = torch.cat([forward, reverse_complement(opposite, lengths)])
        return tokenize(self.tokenizer, both, lengths.repeat(2))[0]

    def _bases(self, start: int, stop: int) -> tuple[int, int]:
        """Return where the bases of tokens ``[start, stop)`` begin and end.

        Read by themselves these bases give just those tokens: k-mers are counted from the left,
        and fewer bases than a stride follow the last one.
        """
        k, stride = self.tokenizer.k, self.tokenizer.stride
        num_kmers = max(0, (len(self.codes) - k) // stride + 1)
        covered = (num_kmers - 1) * stride + k if num_kmers else 0
        begin = start * stride if start < num_kmers else covered + start - num_kmers
        if stop > num_kmers:
            return begin, covered + stop - num_kmers
        return begin, max(begin, (stop - 1) * stride + k)

    def _on_device(self, codes: Codes) -> Integer[Tensor, "1 n"]:
        """Copy bases to where the model is, without waiting for them."""
        row = torch.from_numpy(codes)[None]
        if self.device.type == "cuda":
            return row.pin_memory().to(self.device, non_blocking=True)
        return row.to(self.device)
