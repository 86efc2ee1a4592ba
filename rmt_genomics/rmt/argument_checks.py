"""Checks of arguments against a model: the message names the argument, its value and the rule.

Dimensions: b batch, n tokens, m memory tokens, d model width, x cached tokens.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rmt_genomics.rmt.config import RMTConfig

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_tensor(name: str, value: Any, dtypes: Sequence[torch.dtype], rule: str) -> None:
    """Raise ValueError unless a value is a tensor of one of these types."""
    found = value.dtype if isinstance(value, Tensor) else f"a {type(value).__name__}"
    if found not in dtypes:
        raise ValueError(f"{name} is {found}, but {rule}")


def check_tokens(
    config: RMTConfig,
    x: Tensor,
    *,
    mask: Tensor | None = None,
    labels: Tensor | None = None,
    many_segments: bool = False,
) -> None:
    """Raise ValueError unless token ids, mask and labels fit the model and each other."""
    check_tensor("x", x, INTEGERS, "token ids must be integers, in a tensor")
    if x.ndim != 2 or not x.shape[0] or not x.shape[1]:
        raise ValueError(f"x has shape {tuple(x.shape)}, but must be (b, n) with b and n above 0")
    if not many_segments and x.shape[1] > config.seq_len:
        raise ValueError(
            f"x has {x.shape[1]} tokens, but a segment holds at most seq_len = {config.seq_len}. "
            "RecurrentMemoryTransformerWrapper cuts longer sequences."
        )
    _check_ids("x", x, config.num_tokens, allowed=None)
    for name, given, dtypes, rule in (
        ("mask", mask, [torch.bool], "must be bool: True where a token is real"),
        ("labels", labels, INTEGERS, "labels must be integers, in a tensor"),
    ):
        if given is None:
            continue
        check_tensor(name, given, dtypes, rule)
        if given.shape != x.shape:
            raise ValueError(
                f"{name} has shape {tuple(given.shape)}, but must be that of x, {tuple(x.shape)}"
            )
    if labels is not None:
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
    """Raise ValueError unless memories and XL memories fit the model, batch and call."""
    if memories is not None:
        check_tensor("read_memories", memories, _FLOATS, "must be a floating-point tensor")
    for tensor in xl_memories or ():
        check_tensor("xl_memories", tensor, _FLOATS, "must be floating-point tensors")
    m, d, b = config.num_memory_tokens, config.dim, x.shape[0]
    if memories is not None and tuple(memories.shape) not in ((b, m, d), (m, d)):
        raise ValueError(
            f"read_memories has shape {tuple(memories.shape)}, but must be {(b, m, d)}: "
            "(batch, num_memory_tokens, dim)"
        )
    if any(config.halo) and not (memories is None and xl_memories is None):
        left, right = config.halo
        raise ValueError(
            f"stem_width is {config.stem_width}, so the stem reads {left} tokens before a segment "
            f"and {right} after it, but memories are handed on without them. Read the sequence in "
            "one call of RecurrentMemoryTransformerWrapper, or set stem_width=0."
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
