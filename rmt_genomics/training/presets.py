"""Model sizes with a name, and what sizes must be. An explicit key wins over the preset."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rmt_genomics.errors import ConfigError


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


def check_sizes(sizes: Mapping[str, Any]) -> None:
    """Raise ConfigError, by the keys that users know, if sizes do not go together."""
    dim, heads, stem_width = sizes["dim"], sizes["heads"], sizes["stem_width"]
    if dim % heads:
        raise ConfigError(
            f"model.dim ({dim}) must be a multiple of model.heads ({heads}). Change one of them."
        )
    if dim // heads % 2:
        raise ConfigError(
            f"model.dim ({dim}) divided by model.heads ({heads}) is {dim // heads}, but must be "
            "even: positions turn pairs of features. Change one of them."
        )
    if stem_width and stem_width % 2 == 0:
        raise ConfigError(
            f"model.stem_width is {stem_width}, but must be odd, or 0 for no stem. "
            f"For example: {stem_width + 1}."
        )
    if sizes["stem_pool"] > 1 and not stem_width:
        raise ConfigError(
            f"model.stem_pool is {sizes['stem_pool']}, but must be 1 where model.stem_width is 0: "
            "it is the stem that merges tokens. Set model.stem_width, to 11 for example."
        )
