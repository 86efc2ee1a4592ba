"""A running average of the weights, which is often a better model than the last weights are.

(Exponential moving average: Polyak and Juditsky 1992; Morales-Brotons et al. 2024,
arXiv:2411.18704.)
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from rmt_genomics.model import RMTClassifier


def average_of(model: RMTClassifier, decay: float) -> AveragedModel:
    """Return a copy of the model whose ``update_parameters`` takes a step towards its weights.

    Args:
        model: What is trained.
        decay: Share of the average that stays at each step. The first steps keep less, so that
            the weights a model starts with do not linger.
    """

    def step(average: Sequence[Tensor], now: Sequence[Tensor], num_averaged: Tensor | int) -> None:
        num = int(num_averaged)
        stays = min(decay, (1 + num) / (10 + num))
        torch._foreach_lerp_(list(average), list(now), 1 - stays)

    average = AveragedModel(model, multi_avg_fn=torch.no_grad()(step))
    return average.requires_grad_(requires_grad=False)
