"""Model sizes with a name. A key that is given explicitly wins over the preset."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """The five numbers that make a model's size; see ``ModelSettings`` for their meaning."""

    dim: int
    depth: int
    heads: int
    segment_length: int
    num_memory_tokens: int


PRESETS = {
    "tiny": Preset(dim=64, depth=3, heads=2, segment_length=256, num_memory_tokens=8),
    "small": Preset(dim=128, depth=4, heads=4, segment_length=512, num_memory_tokens=16),
    "base": Preset(dim=256, depth=6, heads=4, segment_length=512, num_memory_tokens=16),
}
