"""Which settings of a Recurrent Memory Transformer go together.

Each rule is a line: when it is broken, and what to say. A setting that would have no effect is
refused too, so that nobody trusts in a switch that does nothing.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmt_genomics.rmt.config import RMTConfig

_AT_LEAST_ONE = (
    *("num_tokens", "num_memory_tokens", "dim", "depth", "dim_head", "heads", "seq_len"),
    *("num_residual_streams", "stem_pool"),
)
_SHARES = ("attn_dropout", "ff_dropout", "stem_dropout", "memory_dropout")


def check_config(config: "RMTConfig") -> None:
    """Raise ValueError, naming the setting, its value and the rule, at the first broken rule."""
    for problem in _problems(config):
        raise ValueError(problem)


def _problems(config: "RMTConfig") -> Iterator[str]:
    """Yield what is wrong."""
    yield from _about_counts(config)
    yield from _out_of_range(config)
    yield from _about_positions(config)
    yield from _about_merging(config)
    yield from _without_effect(config)


def _about_counts(config: "RMTConfig") -> Iterator[str]:
    for name in (*_AT_LEAST_ONE, "stem_width"):
        if type(value := getattr(config, name)) is not int:
            yield f"{name} is {value!r}, but must be a whole number"
    for name in _AT_LEAST_ONE:
        if (value := getattr(config, name)) < 1:
            yield f"{name} is {value}, but must be at least 1"


def _out_of_range(config: "RMTConfig") -> Iterator[str]:
    for name in _SHARES:
        if not 0 <= (share := getattr(config, name)) < 1:
            yield f"{name} is {share}, but must be at least 0 and below 1"
    if not 0 < config.emb_gradient_frac <= 1:
        yield f"emb_gradient_frac is {config.emb_gradient_frac}, but must be above 0 and at most 1"
    if config.stem_width < 0 or (config.stem_width and config.stem_width % 2 == 0):
        yield f"stem_width is {config.stem_width}, but must be odd, or 0 for no stem"
    if config.ff_inner < 1:
        yield f"ff_mult is {config.ff_mult}, but must leave dim * ff_mult * 2 / 3 >= 1 feature"
    if config.memory_reset not in ("never", "segment"):
        yield f"memory_reset is {config.memory_reset!r}, but must be 'never' or 'segment'"
    if config.memory_gate not in (False, True, "hard"):
        yield f"memory_gate is {config.memory_gate!r}, but must be False, True or 'hard'"
    if config.xl_mem_len is not None and config.xl_mem_len < 1:
        yield f"xl_mem_len is {config.xl_mem_len}, but must be at least 1"


def _about_positions(config: "RMTConfig") -> Iterator[str]:
    schemes = [
        name
        for name in ("rotary_pos_emb", "abs_pos_emb", "rel_pos_bias", "token_shift")
        if getattr(config, name)
    ]
    if not schemes and not config.stem_width:
        yield (
            "rotary_pos_emb, abs_pos_emb, rel_pos_bias and token_shift are all False and there is "
            "no stem, but without any of them the order of tokens cannot be seen"
        )
    if config.rotary_pos_emb and config.rel_pos_bias:
        yield "rotary_pos_emb and rel_pos_bias are both True, but one scheme of distances is enough"
    if config.use_xl_memories and schemes == ["abs_pos_emb"]:
        yield (
            "abs_pos_emb is the only scheme of positions, but cached tokens of use_xl_memories "
            "stand at the same places as new ones. Use rotary_pos_emb or rel_pos_bias."
        )
    if config.rotary_pos_emb and config.dim_head % 2:
        yield (
            f"dim_head is {config.dim_head}, but must be even with rotary_pos_emb=True: "
            "rotary positions turn pairs of features"
        )


def _about_merging(config: "RMTConfig") -> Iterator[str]:
    if config.stem_pool > 1 and not config.stem_width:
        yield (
            f"stem_pool is {config.stem_pool}, but must be 1 where stem_width is 0: it is the stem "
            "that merges tokens"
        )
    if config.stem_pool > 1 and config.causal:
        yield (
            f"stem_pool is {config.stem_pool}, but must be 1 where causal is True: a merged row "
            "sees tokens that come after its first"
        )


def _without_effect(config: "RMTConfig") -> Iterator[str]:
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
