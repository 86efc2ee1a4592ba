"""Size, shape and switches of one Recurrent Memory Transformer.

The names are those of the constructor that users of the published PyTorch RMT know
(``seq_len`` is the segment length in tokens). Everything needed to rebuild a saved model is here.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, get_args

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class RMTConfig:
    """Everything needed to rebuild the transformer; checks itself.

    Raises:
        ValueError: If a setting is out of range, contradicts another, or would have no effect.
    """

    num_tokens: int
    """Vocabulary size ``v``."""

    num_memory_tokens: int = 128
    """Memory tokens ``m`` carried from one segment to the next."""

    dim: int = 512
    """Model width ``d``: features per token."""

    depth: int = 6
    """Transformer layers."""

    dim_head: int = 64
    """Width ``e`` of an attention head."""

    heads: int = 8
    """Attention heads ``h``; ``heads * dim_head`` need not be ``dim``."""

    seq_len: int = 1024
    """Tokens ``n`` in a segment, memory tokens not counted."""

    causal: bool = True
    """Tokens attend to earlier tokens only (True), or to the whole segment (False)."""

    memory_not_causal: bool = True
    """In a causal model: read memory attends to all of itself (True), or to earlier slots only."""

    use_flash_attn: bool = True
    """``scaled_dot_product_attention`` (True) or the explicit softmax it is tested against."""

    ff_mult: float = 4.0
    """Hidden width of the feed-forward layer is ``dim * ff_mult * 2 / 3`` (it is gated)."""

    attn_dropout: float = 0.0
    """Fraction of attention weights dropped in training."""

    ff_dropout: float = 0.0
    """Fraction of feed-forward features dropped in training."""

    stem_dropout: float = 0.0
    """Fraction of the convolution stem's features dropped in training."""

    memory_dropout: float = 0.0
    """Fraction of sequences from which a segment hides the memory in training: it reads zeros. What
    a gate keeps of the memory is not lost, and later segments may read it."""

    rotary_pos_emb: bool = True
    """Rotary positions on tokens (Su et al. 2021, arXiv:2104.09864)."""

    abs_pos_emb: bool = False
    """A learned vector for each position in a segment (Vaswani et al. 2017, section 3.5)."""

    rel_pos_bias: bool = False
    """A learned bias for each distance between tokens (T5: Raffel et al. 2020, section 2.1)."""

    token_shift: bool = False
    """Half of each token's features come from the token before (RWKV: Peng et al. 2023)."""

    stem_width: int = 0
    """Width in tokens of the convolution stem; odd, 0 = no stem."""

    stem_pool: int = 1
    """Neighbouring tokens that the stem pools into one, by the maximum of each filter. A segment is
    then ``seq_len * stem_pool`` tokens; only for models without an output per token."""

    use_xl_memories: bool = False
    """Cache keys and values of earlier segments (Transformer-XL: Dai et al. 2019)."""

    xl_mem_len: int | None = None
    """Tokens in that cache; None = ``seq_len``."""

    enhanced_xl_recurrence: bool = False
    """A layer reads the cache of the layer above it (ERNIE-Doc: Ding et al. 2021, section 3.2)."""

    add_write_to_next_write_mem: bool = False
    """The write memory starts from the memory read (Bulatov et al. 2022), not from its identity."""

    next_write_mem_stop_grad: bool = True
    """Cut the gradient from the write memory to the memory it starts from."""

    always_have_read_memories: bool = True
    """The first segment has a read memory too: the identities of the memory slots."""

    memory_gate: bool | str = False
    """A sigmoid gate, biased to keep the memory, between what was read and what was written; a
    ``hard`` gate can close completely, so that a segment leaves the memory bit for bit."""

    memory_norm: bool = False
    """Normalise the new memory to unit root mean square, so that it cannot grow or vanish."""

    memory_reset: str = "never"
    """``segment`` sets the memory to zero before each segment: the control without recurrence."""

    emb_gradient_frac: float = 1.0
    """Fraction of the gradient that reaches the embeddings (CogView: Ding et al. 2021)."""

    ff_norm: bool = False
    """Normalise inside the feed-forward layer (NormFormer: Shleifer et al. 2021)."""

    qk_norm: bool = False
    """Normalise queries and keys, head by head (Henry et al. 2020, arXiv:2010.04245)."""

    value_residual: bool = False
    """Mix the first layer's values into later layers (Zhou et al. 2024, arXiv:2410.17897)."""

    null_key_value: bool = False
    """A learned key and value in each layer, so that a query may attend to nothing."""

    num_residual_streams: int = 1
    """Hyper-connections (Zhu et al. 2024, arXiv:2409.19606); above 1 needs the extra ``hyper``."""

    ignore_index: int = -1
    """A label that is left out of the loss."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = as_declared(field.name, field.type, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        for error in _errors(self):
            raise ValueError(error)

    @property
    def ff_inner(self) -> int:
        """Hidden features of the gated feed-forward layer."""
        return int(self.dim * self.ff_mult * 2 / 3)

    @property
    def tokens_per_segment(self) -> int:
        """Tokens in one segment: ``seq_len`` pooled tokens of ``stem_pool`` each."""
        return self.seq_len * self.stem_pool

    @property
    def xl_length(self) -> int:
        """Tokens in the cache of each layer; 0 without XL memories."""
        return (self.xl_mem_len or self.seq_len) if self.use_xl_memories else 0

    @property
    def halo(self) -> tuple[int, int]:
        """Neighbouring tokens (left, right) of a segment that the stem reads."""
        if not self.stem_width:
            return 0, 0
        return (self.stem_width - 1, 0) if self.causal else (self.stem_width // 2,) * 2


_AT_LEAST_ONE = (
    *("num_tokens", "num_memory_tokens", "dim", "depth", "dim_head", "heads", "seq_len"),
    *("num_residual_streams", "stem_pool", "xl_mem_len"),
)
_DROPOUTS = ("attn_dropout", "ff_dropout", "stem_dropout", "memory_dropout")
_CHOICES = {"memory_gate": (False, True, "hard"), "memory_reset": ("never", "segment")}
_RULES = {int: "a whole number", float: "a finite number", bool: "True or False"}
_MOST_WEIGHTS = 10**10
STEM_CHANNELS = 32  # or fewer, of the tokens that the stem reads
_MOST_BITS = 63  # of a whole number


def as_declared(name: str, annotation: Any, value: Any) -> Any:
    """Return a setting or argument in its declared type: NumPy's numbers become Python's.

    Raises:
        ValueError: If it is of another type, is not finite, or needs more than 64 bits.
    """
    if isinstance(value, np.bool_):
        value = bool(value)
    # A float cannot hold, nor Python format, a whole number of 4,300 digits.
    is_long = isinstance(value, int) and value.bit_length() > _MOST_BITS
    kinds = get_args(annotation) or (annotation,)
    rule = _RULES.get(kinds[0], "")
    if name in _CHOICES:
        if any(type(value) is type(choice) and value == choice for choice in _CHOICES[name]):
            return value
        *others, last = map(repr, _CHOICES[name])
        rule = f"{', '.join(others)} or {last}"
    elif type(value) is bool or not isinstance(value, Real):  # a bool is a Real in Python
        if type(value) in kinds:
            return value
    elif int in kinds and isinstance(value, Integral):
        if not is_long:
            return int(value)
        rule += f" of at most {_MOST_BITS} bits"
    elif float in kinds and not is_long and math.isfinite(value):
        return float(value)
    found = "a larger number" if is_long else repr(value)
    raise ValueError(f"{name} is {found}, but must be {rule}")


def _errors(config: RMTConfig) -> Iterator[str]:
    """Yield a message for each broken rule: the setting, its value and the rule."""
    for name in _AT_LEAST_ONE:
        if (value := getattr(config, name)) is not None and value < 1:
            yield f"{name} is {value}, but must be at least 1"
    yield from _range_errors(config)
    yield from _position_errors(config)
    yield from _unused_switch_errors(config)


def _range_errors(config: RMTConfig) -> Iterator[str]:
    for name in _DROPOUTS:
        if not 0 <= (value := getattr(config, name)) < 1:
            yield f"{name} is {value}, but must be at least 0 and below 1"
    if not 0 < config.emb_gradient_frac <= 1:
        yield f"emb_gradient_frac is {config.emb_gradient_frac}, but must be above 0 and at most 1"
    if config.stem_width < 0 or (config.stem_width and config.stem_width % 2 == 0):
        yield f"stem_width is {config.stem_width}, but must be odd, or 0 for no stem"
    if not config.ff_mult <= 1000:
        yield f"ff_mult is {config.ff_mult}, but must be at most 1000"
    if config.ff_inner < 1:
        yield f"ff_mult is {config.ff_mult}, but must give dim * ff_mult * 2 / 3 >= 1 feature"
    per_layer = 4 * config.heads * config.dim_head + 3 * config.ff_inner
    vectors = config.num_tokens + config.num_memory_tokens + config.stem_width * STEM_CHANNELS
    if (weights := config.dim * (config.depth * per_layer + vectors)) > _MOST_WEIGHTS:
        yield (
            f"dim is {config.dim} and depth is {config.depth}: about {weights:.0e} weights, but "
            f"there must be at most {_MOST_WEIGHTS:.0e}. Lower the largest of dim, depth, heads, "
            "dim_head, ff_mult, num_tokens, num_memory_tokens and stem_width"
        )


def _position_errors(config: RMTConfig) -> Iterator[str]:
    names = ("rotary_pos_emb", "abs_pos_emb", "rel_pos_bias", "token_shift")
    schemes = [name for name in names if getattr(config, name)]
    if not schemes and not config.stem_width:
        yield (
            "rotary_pos_emb, abs_pos_emb, rel_pos_bias and token_shift are all False and there is "
            "no stem, but at least one must be on, or the order of tokens has no effect"
        )
    if config.rotary_pos_emb and config.rel_pos_bias:
        yield "rotary_pos_emb and rel_pos_bias are both True, but only one of them may be"
    if config.use_xl_memories and schemes == ["abs_pos_emb"]:
        yield (
            "abs_pos_emb is the only position encoding, but with use_xl_memories cached tokens "
            "have the same positions as new ones. Use rotary_pos_emb or rel_pos_bias."
        )
    if config.rotary_pos_emb and config.dim_head % 2:
        yield (
            f"dim_head is {config.dim_head}, but must be even with rotary_pos_emb=True: "
            "rotary positions turn pairs of features"
        )
    if config.stem_pool > 1 and not config.stem_width:
        yield (
            f"stem_pool is {config.stem_pool}, but must be 1 where stem_width is 0: the stem "
            "pools the tokens"
        )
    if config.stem_pool > 1 and config.causal:
        yield (
            f"stem_pool is {config.stem_pool}, but must be 1 where causal is True: a pooled token "
            "holds tokens that come after its first"
        )


def _unused_switch_errors(config: RMTConfig) -> Iterator[str]:
    if not config.use_xl_memories:
        if config.xl_mem_len is not None:
            yield f"xl_mem_len is {config.xl_mem_len}, but has no effect: use_xl_memories is False"
        if config.enhanced_xl_recurrence:
            yield "enhanced_xl_recurrence is True, but has no effect: use_xl_memories is False"
    if config.enhanced_xl_recurrence and config.depth < 2:
        yield "enhanced_xl_recurrence is True, but has no effect with depth 1: no layer is above"
    if config.value_residual and config.depth < 2:
        yield "value_residual is True, but has no effect with depth 1: no layer is below"
    if not config.causal and not config.memory_not_causal:
        yield "memory_not_causal is False, but has no effect: the model is not causal"
    if not config.next_write_mem_stop_grad and not config.add_write_to_next_write_mem:
        yield (
            "next_write_mem_stop_grad is False, but has no effect: "
            "add_write_to_next_write_mem is False"
        )
    if config.stem_dropout and not config.stem_width:
        yield f"stem_dropout is {config.stem_dropout}, but has no effect: stem_width is 0"
    if config.memory_reset == "segment" and config.memory_dropout:
        yield "memory_dropout has no effect: memory_reset is 'segment', so nothing is carried"
