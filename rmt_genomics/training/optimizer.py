"""AdamW with a warm-up and a cosine fall of the learning rate."""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

LOWEST_SHARE = 0.1  # of the highest learning rate, reached at the last step


def adamw(model: nn.Module, *, learning_rate: float, weight_decay: float) -> AdamW:
    """Return the optimiser; weights decay only where they multiply features."""
    decaying, resting = divided(model)
    groups = [
        {"params": decaying, "weight_decay": weight_decay},
        {"params": resting, "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=learning_rate)


def divided(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return parameters that decay, and those that do not.

    Biases, norms, embeddings and memory tokens are what something *is*, not how strongly it
    acts: pulling them towards zero makes them alike.
    """
    decaying: list[nn.Parameter] = []
    resting: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            rests = (
                parameter.ndim < 2 or isinstance(module, nn.Embedding) or name.endswith("_identity")
            )
            (resting if rests else decaying).append(parameter)
    return decaying, resting


def warmup_then_cosine(
    optimizer: torch.optim.Optimizer,
    *,
    num_steps: int,
    warmup_fraction: float,
    falls_from: Callable[[], int | None] = lambda: 0,
) -> LambdaLR:
    """Return the schedule over a run of ``num_steps`` optimiser steps.

    Args:
        optimizer: Whose learning rate is scheduled.
        num_steps: Of the whole run.
        warmup_fraction: Share of them in which the learning rate rises.
        falls_from: Says from which step on it falls; None = not yet.
    """
    num_warmup = round(warmup_fraction * num_steps)
    return LambdaLR(
        optimizer,
        lambda step: share(
            step, num_warmup=num_warmup, num_steps=num_steps, falls_from=falls_from()
        ),
    )


def share(step: int, *, num_warmup: int, num_steps: int, falls_from: int | None = 0) -> float:
    """Return the learning rate at a step (the first is 0) as a share of the highest."""
    if step < num_warmup:
        return (step + 1) / num_warmup
    if falls_from is None:
        return 1.0
    begin = max(num_warmup, falls_from)
    progress = (step - begin) / max(1, num_steps - 1 - begin)
    return LOWEST_SHARE + (1 - LOWEST_SHARE) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
