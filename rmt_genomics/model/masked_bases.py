"""Masked-language modelling of both strands: which bases are masked, and the loss.

A masked base is read as N. The state of each token, after its segment has been read in both
directions, predicts the bases of that token: ``stem_pool`` of them. What is before the segment is
known from the memory only: on the reverse strand that is what follows it on the forward strand.

The loss of a segment is the output of a step with cache, so ``replay`` and ``unroll`` run it.

Dimensions: b batch, n base pairs, d model width, m memory tokens, r pooled tokens, p bases of a
token; ``active`` batch rows that have not ended.
"""

import zlib
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int, UInt8
from pydantic import Field, model_validator
from torch import Tensor, nn

from rmt_genomics.dna.alphabet import UNKNOWN, Codes
from rmt_genomics.errors import ConfigError
from rmt_genomics.model.bidirectional_encoder import REPLAY_BEYOND, BothStrands, Replay
from rmt_genomics.model.settings import Count, Settings, as_toml
from rmt_genomics.model.tokenization import N, reverse_complement
from rmt_genomics.rmt import (
    KeepSegments,
    Segment,
    Segments,
    SegmentTransformer,
    StepOutput,
    iterate_steps,
    replay_with_outputs,
    unroll_with_outputs,
)
from rmt_genomics.rmt.memory import Cache

NUM_BASES = 4  # A, C, G and T; N is never predicted
_TRAINING, _VALIDATION = 8, 9  # separate the random numbers of two purposes, and from other modules
Flags = npt.NDArray[np.bool_]


class PretrainingSettings(Settings):
    """The bases that ``pretrain`` masks, which the network predicts."""

    section: ClassVar[str] = "pretraining"

    mask_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Fraction of the bases that are masked (read as N) in each pass over an example; a little less
where single bases lie in spans."""

    span_fraction: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Fraction of the masked bases that are masked in spans; the others are single bases."""

    span_bp: Count = 12
    """Length of a span in bp."""

    @model_validator(mode="after")
    def _check_spans(self) -> "PretrainingSettings":
        default = PretrainingSettings.model_fields["span_bp"].default
        if not self.span_fraction and self.span_bp != default:
            raise ConfigError(
                f"pretraining.span_bp is {self.span_bp}, but has no effect: "
                "pretraining.span_fraction is 0. Leave one of them out."
            )
        return self

    def check_unused(self) -> None:
        """Raise ConfigError if one of these would be ignored, in a training with labels."""
        for name, value in self:
            if value != type(self).model_fields[name].default:
                raise ConfigError(
                    f"{self.section}.{name} is {as_toml(value)}, but has no effect in a training "
                    "with labels. Leave it out, or use rmt-genomics pretrain."
                )


class MaskedCodes(NamedTuple):
    """A sequence with masked bases."""

    codes: Codes
    """Base codes, N where a base is masked."""

    targets: Codes
    """The masked bases, and N everywhere else."""

    in_span: Flags
    """True for bases in spans."""


def mask_codes(
    codes: Codes, settings: PretrainingSettings, random: np.random.Generator
) -> MaskedCodes:
    """Mask bases of a sequence, at least one if any is known."""
    single, start = random.random((2, len(codes)))
    masked_in_spans = settings.mask_fraction * settings.span_fraction
    # A base is in no span if none of the span_bp bases up to it begins one.
    begins = 1 - (1 - masked_in_spans) ** (1 / settings.span_bp)
    num_begun = np.cumsum(np.concatenate([np.zeros(settings.span_bp, bool), start < begins]))
    in_span = num_begun[settings.span_bp :] > num_begun[: len(codes)]
    is_masked = in_span | (single < settings.mask_fraction - masked_in_spans)
    is_known = codes < UNKNOWN
    if not (is_masked & is_known).any() and is_known.any():
        is_masked[random.choice(np.flatnonzero(is_known))] = True
    unknown = np.uint8(UNKNOWN)
    masked = np.where(is_masked, unknown, codes)
    return MaskedCodes(masked, np.where(is_masked, codes, unknown), in_span)


def mask_random(seed: int, name: str, epoch: int | None = None) -> np.random.Generator:
    """Return the generator of what is masked of an example in an epoch; None = in validation.

    It depends neither on the batch nor on the process.
    """
    which = [_VALIDATION] if epoch is None else [_TRAINING, epoch]
    return np.random.default_rng([seed, *which, zlib.crc32(name.encode())])


class BaseHead(nn.Linear):
    """From the state of a token to the logits of its bases, ``[base of the token | A C G T]``."""

    def __init__(self, dim: int, token_bp: int) -> None:
        super().__init__(dim, token_bp * NUM_BASES)


class MaskedSegment(NamedTuple):
    """A segment of masked bases, and what was masked in it."""

    segment: Segment
    targets: UInt8[Tensor, "active n"]


class MaskedSegments(Sequence[MaskedSegment]):
    """The segments of both strands of a batch, longest first, cut when asked for.

    Args:
        encoder: Reads single bases.
        codes: Base codes, N where a base is masked and beyond the end of a row.
        targets: The masked bases, N everywhere else.
        lengths: Base pairs of each row.
    """

    def __init__(
        self,
        encoder: BothStrands,
        codes: UInt8[Tensor, "b n"],
        targets: UInt8[Tensor, "b n"],
        lengths: Int[Tensor, " b"],
    ) -> None:
        both = lengths.repeat(2)
        self.order = both.argsort(descending=True, stable=True)
        """Of the rows ``[forward | reverse]``."""

        def strands(bases: Tensor) -> Tensor:
            return torch.cat([bases, reverse_complement(bases, lengths)])[self.order]

        size, halo = encoder.config.tokens_per_segment, encoder.config.halo
        self.segments = Segments(strands(codes), both[self.order].tolist(), size, halo)
        self.targets = strands(targets)

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, index: int | slice) -> Any:
        """Return a segment, of the rows that reach into it; a list for a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        segment: Segment = self.segments[index]
        start = range(len(self))[index] * self.segments.segment_length
        targets = self.targets[: len(segment.tokens), start : start + segment.length]
        return MaskedSegment(segment, targets)


class MaskedBaseStep(nn.Module):
    """A step with cache whose output is the loss of the masked bases of a segment.

    Args:
        transformer: That of an encoder.
        head: A ``BaseHead``.
        per_base: The output is the loss of each base, in nats ``[active, n]``, 0 where none was
            masked; else the sum of each row ``[active]``.
        reset_memory: Each segment reads zeros: what would be known without memory.
    """

    def __init__(
        self,
        transformer: SegmentTransformer,
        head: nn.Module,
        *,
        per_base: bool = False,
        reset_memory: bool = False,
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.head = head
        self.per_base = per_base
        self.reset_memory = reset_memory

    def forward(
        self, segment: MaskedSegment, memory: Float[Tensor, "b m d"], cache: Cache = ()
    ) -> StepOutput:
        """Read a segment; return the memory after it and the loss."""
        if self.reset_memory:
            memory = torch.zeros_like(memory)
        state = self.transformer.read(segment.segment, memory, cache, return_tokens=True)
        assert state.output is not None
        losses = base_losses(self.head(state.output), segment.targets)
        return state._replace(output=losses if self.per_base else losses.sum(dim=1))


def base_losses(
    logits: Float[Tensor, "b r p_bases"], targets: UInt8[Tensor, "b n"]
) -> Float[Tensor, "b n"]:
    """Return the cross-entropy of each masked base in nats, 0 elsewhere; at least float32."""
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    per_base = rearrange(logits, "b r (p base) -> b (r p) base", base=NUM_BASES)
    per_base = per_base[:, : targets.shape[1]]
    losses = F.cross_entropy(
        rearrange(per_base, "b n base -> (b n) base"),
        rearrange(targets, "b n -> (b n)").long(),
        ignore_index=N,
        reduction="none",
    )
    return rearrange(losses, "(b n) -> b n", b=len(targets))


def masked_base_loss(
    encoder: BothStrands,
    head: nn.Module,
    codes: UInt8[Tensor, "b n"],
    targets: UInt8[Tensor, "b n"],
    lengths: Int[Tensor, " b"],
    *,
    replay: Replay = "auto",
    bptt_depth: int | None = None,
) -> Float[Tensor, ""]:
    """Return the sum over the masked bases of a batch, in nats: the mean of both strands.

    Args:
        encoder: Reads single bases.
        head: A ``BaseHead``.
        codes: As for ``MaskedSegments``.
        targets: As for ``MaskedSegments``.
        lengths: Base pairs of each row.
        replay: As for ``RMTClassifier.forward``.
        bptt_depth: As for ``RMTClassifier.forward``.
    """
    step = MaskedBaseStep(encoder.transformer, head)
    segments = MaskedSegments(encoder, codes, targets, lengths)
    memory = encoder.step.memory.initial(2 * len(codes))
    is_long = len(segments) > REPLAY_BEYOND or bptt_depth is not None
    if replay is False or (replay == "auto" and not is_long):
        run = unroll_with_outputs(step, segments, memory, bptt_depth=bptt_depth)
    else:
        keep: KeepSegments = "auto" if replay == "auto" else 1
        run = replay_with_outputs(step, segments, memory, bptt_depth=bptt_depth, keep_segments=keep)
    return torch.cat(run.outputs).sum() / 2


@torch.no_grad()
def masked_base_losses(
    encoder: BothStrands,
    head: nn.Module,
    codes: UInt8[Tensor, "b n"],
    targets: UInt8[Tensor, "b n"],
    lengths: Int[Tensor, " b"],
    *,
    reset_memory: bool = False,
) -> Float[Tensor, "b n"]:
    """Return the loss of each masked base in nats, the mean of both strands; 0 elsewhere.

    Without a gradient; arguments are those of ``masked_base_loss`` and ``MaskedBaseStep``.
    """
    step = MaskedBaseStep(encoder.transformer, head, per_base=True, reset_memory=reset_memory)
    segments = MaskedSegments(encoder, codes, targets, lengths)
    memory = encoder.step.memory.initial(2 * len(codes))
    losses = torch.zeros(2 * len(codes), codes.shape[1], device=codes.device)
    start = 0
    for state in iterate_steps(step, segments, memory):
        assert state.output is not None
        rows, width = state.output.shape
        losses[:rows, start : start + width] = state.output
        start += width
    forward, reverse = losses[segments.order.argsort()].chunk(2)
    column = torch.arange(codes.shape[1], device=codes.device)
    mirrored = (lengths[:, None] - 1 - column).clamp(min=0)
    is_inside = column < lengths[:, None]
    return (forward + reverse.gather(1, mirrored) * is_inside) / 2
