"""The Recurrent Memory Transformer, with no genomics in it: can be lifted out as it is."""

from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.language_model import (
    RecurrentMemoryTransformer,
    RecurrentMemoryTransformerWrapper,
)
from rmt_genomics.rmt.replay import KeepSegments, replay, replay_trail
from rmt_genomics.rmt.segment_transformer import Reading, SegmentTransformer
from rmt_genomics.rmt.segments import Segment, Segments
from rmt_genomics.rmt.unroll import Trail, Written, each_memory, unroll, unroll_trail

__all__ = [
    "KeepSegments",
    "RMTConfig",
    "Reading",
    "RecurrentMemoryTransformer",
    "RecurrentMemoryTransformerWrapper",
    "Segment",
    "SegmentTransformer",
    "Segments",
    "Trail",
    "Written",
    "each_memory",
    "replay",
    "replay_trail",
    "unroll",
    "unroll_trail",
]
