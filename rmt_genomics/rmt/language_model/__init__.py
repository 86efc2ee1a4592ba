"""The token model that users of the published PyTorch RMT know: one segment, or many."""

from rmt_genomics.rmt.language_model.published_weights import load_published_weights
from rmt_genomics.rmt.language_model.recurrent_memory_transformer import RecurrentMemoryTransformer
from rmt_genomics.rmt.language_model.wrapper import RecurrentMemoryTransformerWrapper

__all__ = [
    "RecurrentMemoryTransformer",
    "RecurrentMemoryTransformerWrapper",
    "load_published_weights",
]
