"""AdamW, and a learning rate with linear warm-up and cosine decay."""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

MIN_LR_FRACTION = 0.1  # of the highest learning rate, reached at the last step


def adamw(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    encoder: nn.Module | None = None,
    encoder_lr_factor: float = 1.0,
) -> AdamW:
    """Return the optimiser; weight decay applies only to matrices that multiply features.

    The parameters of ``encoder``, a part of the model, have a learning rate of their own.
    """
    has_own_rate = encoder is not None and encoder_lr_factor != 1
    of_encoder = set(encoder.parameters()) if encoder is not None and has_own_rate else set()
    rates = (learning_rate, encoder_lr_factor * learning_rate) if has_own_rate else (learning_rate,)
    groups = [
        {
            "params": [one for one in parameters if (one in of_encoder) == bool(index)],
            "weight_decay": decay,
            "lr": rate,
        }
        for index, rate in enumerate(rates)
        for parameters, decay in zip(parameter_groups(model), (weight_decay, 0.0), strict=True)
    ]
    return AdamW(groups, lr=learning_rate)


def parameter_groups(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters with weight decay, and those without.

    Biases, norms, embeddings and memory tokens have none: they do not scale other features, and
    pulling them towards zero only makes them more similar to each other.
    """
    decayed: list[nn.Parameter] = []
    not_decayed: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_vector = parameter.ndim < 2
            is_embedding = isinstance(module, nn.Embedding) or name.endswith("_identity")
            (not_decayed if is_vector or is_embedding else decayed).append(parameter)
    return decayed, not_decayed


def warmup_then_cosine(
    optimizer: torch.optim.Optimizer,
    *,
    num_steps: int,
    warmup_fraction: float,
    decay_start: Callable[[], int | None] = lambda: 0,
) -> LambdaLR:
    """Return the schedule over a run of ``num_steps`` optimiser steps.

    The learning rate rises in the first ``warmup_fraction`` of them, and decays from the step that
    ``decay_start`` returns; None = not yet.
    """
    num_warmup = round(warmup_fraction * num_steps)
    return LambdaLR(
        optimizer,
        lambda step: lr_fraction(
            step, num_warmup=num_warmup, num_steps=num_steps, decay_start=decay_start()
        ),
    )


def lr_fraction(
    step: int, *, num_warmup: int, num_steps: int, decay_start: int | None = 0
) -> float:
    """Return the learning rate at a step (the first is 0) as a fraction of the highest."""
    if step < num_warmup:
        return (step + 1) / num_warmup
    if decay_start is None:
        return 1.0
    begin = max(num_warmup, decay_start)
    progress = (step - begin) / max(1, num_steps - 1 - begin)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return MIN_LR_FRACTION + (1 - MIN_LR_FRACTION) * cosine
