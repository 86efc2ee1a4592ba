"""Continue a sequence token by token, with the keys and values of the segment cached.

``Decoder`` extends one segment; at its end the whole segment is read once more to write the memory.
``RecurrentMemoryTransformerWrapper.generate`` runs it. The logits are those of reading the whole
segment for every token, which ``tests/rmt/test_generate.py`` checks.

Dimensions: b batch, n tokens, v vocabulary.
"""

import math

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from rmt_genomics.rmt.language_model.recurrent_memory_transformer import RecurrentMemoryTransformer
from rmt_genomics.rmt.memory import attended_cache, cache_of, cached_length
from rmt_genomics.rmt.positions import PositionCounts
from rmt_genomics.rmt.segments import Segment
from rmt_genomics.rmt.unroll import StepOutput


def choose(
    logits: Float[Tensor, "b v"], temperature: float, filter_thres: float, top_p: float | None
) -> Integer[Tensor, "b 1"]:
    """Draw one token per batch row from the filtered distribution."""
    if temperature == 0:
        return logits.argmax(dim=-1, keepdim=True)
    keep = max(1, math.ceil((1 - filter_thres) * logits.shape[-1]))
    smallest = logits.topk(keep, dim=-1).values[:, -1:]
    probabilities = logits.masked_fill(logits < smallest, -torch.inf)
    probabilities = (probabilities / temperature).softmax(dim=-1)
    if top_p is not None:
        ranked, order = probabilities.sort(dim=-1, descending=True)
        before = ranked.cumsum(dim=-1) - ranked
        ranked = ranked.masked_fill(before >= top_p, 0)
        probabilities = torch.zeros_like(probabilities).scatter(-1, order, ranked)
    return torch.multinomial(probabilities, 1)


class Decoder:
    """Read tokens one after the other, with the keys and values of the segment so far cached."""

    def __init__(
        self,
        model: RecurrentMemoryTransformer,
        batch: int,
        memories: Tensor | None,
        xl_memories: list[Tensor] | None,
    ) -> None:
        self.model = model
        self.is_start = memories is None
        memory = model.init_memory(batch) if memories is None else memories
        self.memory = memory.expand(batch, *memory.shape[-2:])
        self.cache = cache_of(xl_memories)
        self.earlier = torch.zeros(batch, 0, dtype=torch.long, device=self.memory.device)
        self._start_segment()

    def extend(self, tokens: Integer[Tensor, "b n"]) -> Float[Tensor, "b v"]:
        """Read more tokens; return the logits of what comes after the last."""
        hidden = self.memory[:, :0]
        while tokens.shape[1]:
            if self.segment.shape[1] == self.model.seq_len:
                # Read the full segment once more, to write the memory.
                self.memory, self.cache, _ = self._whole_segment()
                self.earlier = self._halo(torch.cat([self.earlier, self.segment], dim=1))
                self.is_start = False
                self._start_segment()
            part = tokens[:, : self.model.seq_len - self.segment.shape[1]]
            hidden, tokens = self._read(part), tokens[:, part.shape[1] :]
        logits: Tensor = self.model.to_logits(hidden[:, -1])
        return logits

    def _start_segment(self) -> None:
        """Begin a segment with the keys and values of XL memories and read memory."""
        config, memory = self.model.config, self.model.transformer.memory
        self.segment = self.earlier[:, :0]
        self.num_read = 0
        # keys and values of XL memories, read memory, then tokens so far
        self.keys_values = attended_cache(config, self.cache)
        if config.always_have_read_memories or not self.is_start:
            self.num_read = config.num_memory_tokens
            self._run(memory.drop_memory(self.memory) + memory.read_identity)

    def _read(self, tokens: Tensor) -> Tensor:
        """Return the final states of tokens that still fit into the segment."""
        starts_at = self.segment.shape[1]
        halo = self._halo(torch.cat([self.earlier, self.segment], dim=1))
        self.segment = torch.cat([self.segment, tokens.long()], dim=1)
        if self.model.config.token_shift:  # a token needs its neighbour in every layer
            states = self._whole_segment().output
            assert states is not None
            return states
        segment = Segment(torch.cat([halo, tokens], dim=1), None, halo.shape[1], tokens.shape[1])
        return self._run(self.model.transformer.embed(segment, starts_at=starts_at))

    def _run(self, hidden: Tensor) -> Tensor:
        """Run new positions through the layers; they attend to all positions before them."""
        transformer = self.model.transformer
        counts = PositionCounts(
            cached_length(self.cache), self.num_read, self.segment.shape[1], write=0
        )
        inputs = transformer.attention_inputs(counts, self.cache, hidden.dtype)
        mask = None if inputs.mask is None else inputs.mask[:, :, -hidden.shape[1] :]
        out: Tensor
        out, new = transformer.layers(hidden, inputs._replace(mask=mask, cache=self.keys_values))
        if self.keys_values:
            new = tuple(torch.cat(pair, dim=2) for pair in zip(self.keys_values, new, strict=True))
        self.keys_values = new
        return out

    def _whole_segment(self) -> StepOutput:
        halo = self._halo(self.earlier)
        tokens = torch.cat([halo, self.segment], dim=1)
        segment = Segment(tokens, None, halo.shape[1], self.segment.shape[1], self.is_start)
        return self.model.transformer.read(segment, self.memory, self.cache, return_tokens=True)

    def _halo(self, tokens: Tensor) -> Tensor:
        """Return the last tokens, as many as the stem reads before a segment."""
        left = self.model.config.halo[0]
        return tokens[:, -left:] if left else tokens[:, :0]
