"""The Recurrent Memory Transformer, with no genomics in it: can be lifted out as it is."""

from rmt_genomics.rmt.config import RMTConfig
from rmt_genomics.rmt.replay import replay
from rmt_genomics.rmt.segment_transformer import SegmentTransformer
from rmt_genomics.rmt.segments import Segment, Segments
from rmt_genomics.rmt.unroll import each_memory, unroll

__all__ = [
    "RMTConfig",
    "Segment",
    "SegmentTransformer",
    "Segments",
    "each_memory",
    "replay",
    "unroll",
]
