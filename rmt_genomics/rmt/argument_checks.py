"""Checks of arguments against a model: the message names the argument, its value and the rule.

Dimensions: b batch, n tokens, m memory tokens, d model width, x cached tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from rmt_genomics.rmt.config import RMTConfig


def check_tokens(
    config: RMTConfig,
    x: Tensor,
    *,
    mask: Tensor | None = None,
    labels: Tensor | None = None,
    many_segments: bool = False,
) -> None:
    """Raise ValueError unless token ids, mask and labels fit the model and each other."""
    if x.ndim != 2 or not x.shape[0] or not x.shape[1]:
        raise ValueError(f"x has shape {tuple(x.shape)}, but must be (b, n) with b and n above 0")
    if x.is_floating_point():
        raise ValueError(f"x is {x.dtype}, but token ids must be integers")
    if not many_segments and x.shape[1] > config.seq_len:
        raise ValueError(
            f"x has {x.shape[1]} tokens, but a segment holds at most seq_len = {config.seq_len}. "
            "RecurrentMemoryTransformerWrapper cuts longer sequences."
        )
    _check_ids("x", x, config.num_tokens, allowed=None)
    for name, given in (("mask", mask), ("labels", labels)):
        if given is not None and given.shape != x.shape:
            raise ValueError(
                f"{name} has shape {tuple(given.shape)}, but must be that of x, {tuple(x.shape)}"
            )
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(f"mask is {mask.dtype}, but must be bool: True where a token is real")
    if labels is not None:
        if labels.is_floating_point():
            raise ValueError(f"labels is {labels.dtype}, but labels must be integers")
        _check_ids("labels", labels, config.num_tokens, allowed=config.ignore_index)


def _check_ids(name: str, ids: Tensor, num_tokens: int, *, allowed: int | None) -> None:
    """Raise ValueError if an id is outside the vocabulary; copies one value from the device."""
    if torch.compiler.is_compiling():  # in an exported program the embedding checks them
        return
    ids = ids.long()  # in a small type num_tokens would wrap around
    is_wrong = (ids < 0) | (ids >= num_tokens)
    if allowed is not None:
        is_wrong &= ids != allowed
    if bool(is_wrong.any()):
        value = int(ids[is_wrong][0])
        also = "" if allowed is None else f", or ignore_index {allowed}"
        raise ValueError(
            f"{name} holds {value}, but must lie in 0 to {num_tokens - 1} (num_tokens - 1){also}"
        )


def check_state(
    config: RMTConfig, x: Tensor, memories: Tensor | None, xl_memories: Sequence[Tensor] | None
) -> None:
    """Raise ValueError unless memories and XL memories have the shapes that the model returns."""
    m, d, b = config.num_memory_tokens, config.dim, len(x)
    if memories is not None and tuple(memories.shape) not in ((b, m, d), (m, d)):
        raise ValueError(
            f"read_memories has shape {tuple(memories.shape)}, but must be {(b, m, d)}: "
            "(batch, num_memory_tokens, dim)"
        )
    if xl_memories is None:
        return
    if not config.use_xl_memories:
        raise ValueError("xl_memories are given, but have no effect: use_xl_memories is False")
    inner = config.heads * config.dim_head
    shapes = [tuple(tensor.shape) for tensor in xl_memories]
    do_fit = all(shape[:2] == (2, b) and shape[3:] == (inner,) for shape in shapes)
    if len(shapes) != config.depth or not do_fit or len({shape[2] for shape in shapes}) != 1:
        raise ValueError(
            f"xl_memories has shapes {shapes}, but must be {config.depth} (depth) tensors of shape "
            f"(2, {b}, x, {inner}): (keys and values, batch, cached tokens, heads * dim_head)"
        )
