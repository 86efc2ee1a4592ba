"""``RecurrentMemoryTransformerWrapper``: a token model over as many segments as a sequence has.

Dimensions: b batch, n tokens in all, m memory tokens, d model width, v vocabulary.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from rmt_genomics.rmt import argument_checks as checks
from rmt_genomics.rmt.config import as_declared
from rmt_genomics.rmt.language_model.generate import Decoder, choose
from rmt_genomics.rmt.language_model.recurrent_memory_transformer import (
    RecurrentMemoryTransformer,
    XLMemories,
)
from rmt_genomics.rmt.memory import Cache, cache_of
from rmt_genomics.rmt.replay import KeepSegments, replay_with_outputs
from rmt_genomics.rmt.runtime import evaluating
from rmt_genomics.rmt.segments import Segment, Segments
from rmt_genomics.rmt.unroll import RunOutput, StepOutput, unroll_with_outputs

LabelledSegment = tuple[Segment, Integer[Tensor, "b n"] | None]
"""A segment, and the target of each of its positions."""


class TokenStep(nn.Module):
    """A step with cache; its output is the logits, or the sum of the token losses."""

    def __init__(self, model: RecurrentMemoryTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, labelled: LabelledSegment, memory: Tensor, cache: Cache) -> StepOutput:
        """Read a segment."""
        segment, labels = labelled
        state = self.model.transformer.read(segment, memory, cache, return_tokens=True)
        output = self.model.to_logits(state.output)
        if labels is not None:
            output = self.model.loss_sum(output, labels)
        return state._replace(output=output)


class RecurrentMemoryTransformerWrapper(nn.Module):
    """Cut long sequences into segments and carry the memory from one to the next.

    Args:
        transformer: Reads one segment.
        truncate_at_step: Segments that a gradient crosses, counted from each loss; None = all.
    """

    def __init__(
        self, transformer: RecurrentMemoryTransformer, truncate_at_step: int | None = None
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.truncate_at_step = truncate_at_step

    @property
    def seq_len(self) -> int:
        """Tokens in a segment."""
        return self.transformer.seq_len

    @property
    def step(self) -> TokenStep:
        """The step with cache over segments. (To compile: ``transformer.transformer.layers``.)"""
        return TokenStep(self.transformer)

    def forward(  # noqa: PLR0913  # the arguments users of the published PyTorch RMT know
        self,
        x: Integer[Tensor, "b n"],
        memories: Float[Tensor, "b m d"] | Float[Tensor, "m d"] | None = None,
        *,
        mask: Bool[Tensor, "b n"] | None = None,
        xl_memories: XLMemories | None = None,
        labels: Integer[Tensor, "b n"] | None = None,
        return_loss: bool = False,
        truncate_at_step: int | None = None,
        memory_replay_backprop: bool = False,
        keep_segments: KeepSegments = "auto",
        memory_device: torch.device | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Read a whole sequence.

        Args:
            x: Token ids, of any length.
            memories: Memories to start from; None = none yet.
            mask: True where a token is real. A segment without any leaves the memory as it was.
            xl_memories: XL memories to start from.
            labels: Target of each position; if given, a loss is returned. Without them a causal
                model predicts the next token.
            return_loss: Return the loss: the mean over all labels that are not left out, however
                the sequence is cut.
            truncate_at_step: As for the class, for this call.
            memory_replay_backprop: Return the loss alone, computed with replay: call ``backward``
                on it as on any loss.
            keep_segments: With replay: last segments that keep their graph; "auto" = as many as a
                quarter of the free memory holds, 1 = the least memory.
            memory_device: With replay: where written memories are kept.

        Returns:
            ``(logits, memories)``; ``(loss, memories)`` with ``return_loss`` or ``labels``; or the
            loss alone with ``memory_replay_backprop``.

        Raises:
            ValueError: If an argument does not fit or would have no effect; it is named.
        """
        as_declared("return_loss", bool, return_loss)
        as_declared("memory_replay_backprop", bool, memory_replay_backprop)
        if keep_segments != "auto":
            keep_segments = as_declared("keep_segments", int, keep_segments)
        if not memory_replay_backprop and (keep_segments != "auto" or memory_device is not None):
            raise ValueError(
                "keep_segments and memory_device have no effect without memory_replay_backprop=True"
            )
        config = self.transformer.config
        checks.check_tokens(config, x, mask=mask, labels=labels, many_segments=True)
        checks.check_state(config, x, memories, xl_memories)
        if labels is None and (return_loss or memory_replay_backprop):
            x, mask, labels = self._next_tokens(x, mask)
        if labels is not None:
            labels, num_labels = self.transformer.valid_labels(labels, mask)
        segments = self._segments(x, mask, labels, is_start=memories is None)
        memory = self.transformer.memory_for(memories, len(x))
        depth = self.truncate_at_step if truncate_at_step is None else truncate_at_step
        depth = as_declared("truncate_at_step", int | None, depth)
        cache = cache_of(xl_memories)
        run_segments: Callable[..., RunOutput] = unroll_with_outputs
        if memory_replay_backprop:
            run_segments = partial(
                replay_with_outputs, keep_segments=keep_segments, memory_device=memory_device
            )
        run = run_segments(self.step, segments, memory, cache, bptt_depth=depth)
        if labels is None:
            return torch.cat(run.outputs, dim=1), run.memories[-1]
        loss = torch.stack(run.outputs).sum() / num_labels
        return loss if memory_replay_backprop else (loss, run.memories[-1])

    @torch.no_grad()
    def generate(
        self,
        prime: Integer[Tensor, "b n"],
        *,
        length: int,
        memories: Tensor | None = None,
        xl_memories: XLMemories | None = None,
        temperature: float = 1.0,
        filter_thres: float = 0.9,
        top_p: float | None = None,
    ) -> Integer[Tensor, "b generated"]:
        """Sample tokens after ``prime``, in evaluation mode, until there are ``length`` in all.

        Args:
            prime: Start of the sequence, of any length.
            length: Tokens in all, ``prime`` included.
            memories: Memories to start from.
            xl_memories: XL memories to start from.
            temperature: Below 1 sharpens the distribution; 0 takes the most likely token.
            filter_thres: Fraction of the vocabulary, the least likely, that is never sampled
                (top-k).
            top_p: Sample only from the most likely tokens that together reach this probability.

        Returns:
            The new tokens (int64), without ``prime``.

        Raises:
            ValueError: If the model is not causal or an argument is out of range.
        """
        model = self.transformer
        length = as_declared("length", int, length)
        temperature = as_declared("temperature", float, temperature)
        filter_thres = as_declared("filter_thres", float, filter_thres)
        top_p = as_declared("top_p", float | None, top_p)
        if not model.causal:
            raise ValueError("the model has causal=False, but only a causal one can generate")
        checks.check_tokens(model.config, prime, many_segments=True)
        checks.check_state(model.config, prime, memories, xl_memories)
        if length < prime.shape[1]:
            raise ValueError(
                f"length is {length}, but must be at least {prime.shape[1]}, the tokens of prime"
            )
        if temperature < 0:
            raise ValueError(f"temperature is {temperature}, but must be at least 0")
        if not 0 <= filter_thres < 1:
            raise ValueError(f"filter_thres is {filter_thres}, but must be at least 0 and below 1")
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"top_p is {top_p}, but must be above 0 and at most 1")
        tokens = [prime.long()]
        with evaluating(model):
            decoder = Decoder(model, len(prime), memories, xl_memories)
            for _ in range(length - prime.shape[1]):
                logits = decoder.extend(tokens[-1])
                tokens.append(choose(logits, temperature, filter_thres, top_p))
        return torch.cat(tokens, dim=1)[:, prime.shape[1] :]

    def _next_tokens(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor]:
        """Return inputs and labels for predicting the next token."""
        if not self.transformer.causal:
            raise ValueError(
                "labels are None, but a model with causal=False attends to the next token. "
                "Pass labels=(b, n), the target of each position."
            )
        if x.shape[1] < 2:
            raise ValueError("x has 1 token, but predicting the next one needs at least 2")
        labels = x[:, 1:]
        if mask is not None:
            labels = labels.long().masked_fill(~mask[:, 1:], self.transformer.config.ignore_index)
            mask = mask[:, :-1]
        return x[:, :-1], mask, labels

    def _segments(
        self, x: Tensor, mask: Tensor | None, labels: Tensor | None, *, is_start: bool
    ) -> list[LabelledSegment]:
        """Cut tokens, mask and labels at the same positions."""
        config = self.transformer.config
        cut = Segments(x, [x.shape[1]] * len(x), config.seq_len, config.halo)
        segments = []
        for index, segment in enumerate(cut):
            start = index * config.seq_len
            window = slice(start - segment.left, start - segment.left + segment.tokens.shape[1])
            segment = segment._replace(
                keep=None if mask is None else mask[:, window],
                is_start=is_start and index == 0,
                may_be_empty=mask is not None,
            )
            own = None if labels is None else labels[:, start : start + segment.length]
            segments.append((segment, own))
        return segments
