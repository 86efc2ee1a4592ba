"""The Recurrent Memory Transformer, with no genomics in it: can be lifted out as it is."""

from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.language_model import (
    RecurrentMemoryTransformer,
    RecurrentMemoryTransformerWrapper,
)
from rmt_genomics.rmt.replay import InputGradients, KeepSegments, replay, replay_with_outputs
from rmt_genomics.rmt.segment_transformer import SegmentTransformer
from rmt_genomics.rmt.segments import Segment, Segments
from rmt_genomics.rmt.unroll import (
    RunOutput,
    StepOutput,
    iterate_steps,
    unroll,
    unroll_with_outputs,
)

__all__ = [
    "InputGradients",
    "KeepSegments",
    "RMTConfig",
    "RecurrentMemoryTransformer",
    "RecurrentMemoryTransformerWrapper",
    "RunOutput",
    "Segment",
    "SegmentTransformer",
    "Segments",
    "StepOutput",
    "iterate_steps",
    "replay",
    "replay_with_outputs",
    "unroll",
    "unroll_with_outputs",
]
