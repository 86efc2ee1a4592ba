"""Weights of ``recurrent-memory-transformer-pytorch`` 0.7.0 in our ``RecurrentMemoryTransformer``.

Every weight of the published model has one here of the same shape. One number is changed: with
rotary positions the published model turns its null key to position 9,999, just before the first
token, and ours leaves it as it is. So the key is turned when it is loaded.
"""

import re
from collections.abc import Iterator, Mapping

import torch
from einops import rearrange
from torch import Tensor

from rmt_genomics.rmt.language_model.recurrent_memory_transformer import RecurrentMemoryTransformer
from rmt_genomics.rmt.positions import PositionCounts, rotate, rotation_of

_NAMES = {
    "token_emb.weight": "transformer.embed.embedding.weight",
    "pos_emb.weight": "transformer.embed.place.weight",
    "read_memory_emb": "transformer.memory.read_identity",
    "memory_tokens": "transformer.memory.write_identity",
    "norm.weight": "transformer.layers.norm.weight",
    "to_logits.weight": "to_logits.weight",
    "to_logits.bias": "to_logits.bias",
}
_NAMES_IN_A_LAYER = {
    "0.branch.null_kv": "attention.null",
    "0.branch.norm.weight": "attention_norm.weight",
    "0.branch.to_q.weight": "attention.to_q.weight",
    "0.branch.to_kv.weight": "attention.to_kv.weight",
    "0.branch.to_out.weight": "attention.to_out.weight",
    "0.branch.learned_value_residual_mix.0.weight": "attention.to_mix.weight",
    "1.branch.0.weight": "feedforward_norm.weight",
    "1.branch.1.weight": "feedforward.expand.weight",
    "1.branch.4.weight": "feedforward.contract.weight",
}
_RESIDUALS = {"0": "attention_residual", "1": "feedforward_residual"}
_ROTARY = "rotary_pos_emb.inv_freq"
_LAYERS = "transformer.layers.layers."
_SETTINGS = {  # part of a weight's name: the setting that it depends on
    "embed.place": "abs_pos_emb",
    "attention.null": "null_key_value",
    "attention.to_mix": "value_residual",
    "_residual.": "num_residual_streams",
    "embed.stem": "stem_width",
    "memory.gate": "memory_gate",
    "distance_bias": "rel_pos_bias",
    "q_norm": "qk_norm",
    "k_norm": "qk_norm",
    "feedforward.norm": "ff_norm",
}


def load_published_weights(
    model: RecurrentMemoryTransformer, state_dict: Mapping[str, Tensor]
) -> None:
    """Load the weights of a model of ``recurrent-memory-transformer-pytorch``.

    The published model always mixes values and always has a null key, so ``model`` needs
    ``value_residual=True`` (with more than one layer) and ``null_key_value=True``. Its settings
    that no weight shows must be set by hand: ``causal``, ``seq_len`` and ``xl_mem_len``. Logits
    and memories are then equal to rounding, XL memories apart: those of the published model also
    hold the memory tokens and the null key.

    Args:
        model: Built with the settings of the published model. Its dtype and device are kept.
        state_dict: Of the published ``RecurrentMemoryTransformer`` or of its wrapper.

    Raises:
        ValueError: If a weight is missing, left over, or of another shape; the setting is named.
            The model is then unchanged.
    """
    renamed = dict(_renamed(state_dict))
    has_rotary = any(name.endswith(_ROTARY) for name in state_dict)
    expected, config = model.state_dict(), model.config
    layers = {name.split(".")[3] for name in renamed if name.startswith(_LAYERS)}
    for name, ours, theirs in (
        ("depth", config.depth, len(layers)),
        ("rotary_pos_emb", config.rotary_pos_emb, has_rotary),
    ):
        if ours != theirs:
            raise ValueError(
                f"{name} is {ours}, but the published model has {name}={theirs}. Build the model "
                "with the same."
            )
    for name in sorted(renamed.keys() ^ expected.keys()):
        owner, other = ("state_dict", "model") if name in renamed else ("model", "state_dict")
        setting = next((value for part, value in _SETTINGS.items() if part in name), "settings")
        raise ValueError(
            f"the {owner} has {name}, but the {other} has not. Build the model with the same "
            f"{setting} as the published one; see load_published_weights."
        )
    for name, weight in renamed.items():
        if weight.shape != expected[name].shape:
            raise ValueError(
                f"{name} has shape {tuple(weight.shape)} in the state_dict, but must have "
                f"{tuple(expected[name].shape)}. Build the model with the sizes of the published "
                "one."
            )
    if has_rotary:
        for name in renamed:
            if name.endswith("attention.null"):
                renamed[name] = _with_turned_key(renamed[name])
    model.load_state_dict(renamed)


def _renamed(state_dict: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield our name and the tensor of each weight."""
    for full_name, weight in state_dict.items():
        name = full_name.removeprefix("transformer.")
        in_layer = re.fullmatch(r"layers\.(\d+)\.(([01])\.(.+))", name)
        if name == _ROTARY:
            continue
        if name in _NAMES:
            yield _NAMES[name], weight
        elif in_layer:
            layer, rest, half, parameter = in_layer.groups()
            own = _NAMES_IN_A_LAYER.get(rest, f"{_RESIDUALS[half]}.{parameter}")
            yield f"{_LAYERS}{layer}.{own}", weight
        else:
            raise ValueError(
                f"the state_dict has {full_name!r}, but recurrent-memory-transformer-pytorch 0.7.0 "
                "has no such weight"
            )


def _with_turned_key(null: Tensor) -> Tensor:
    """Turn the null key (of ``[key, value] x heads x e``) to the position before the first token.

    Angles are float64. Published ones are float32, which is off by up to 0.001 there.
    """
    before_first = PositionCounts(cached=1, read=0, tokens=0, write=0)
    rotation = rotation_of(before_first, null.shape[-1], null.device, torch.float64)
    key, value = rearrange(null.double(), "two h e -> two 1 h 1 e")
    turned: Tensor = rearrange([rotate(key, rotation), value], "two 1 h 1 e -> two h e")
    return turned
