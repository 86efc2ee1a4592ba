"""The loss: with weights for classes of unequal size, or of numbers on a common scale.

Dimensions: b batch, c classes.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from rmt_genomics.datasets.examples import LabelScheme, Targets
from rmt_genomics.errors import DataError


class WeightedLoss(nn.Module):
    """Cross entropy, or binary cross entropy a class for multi-label tasks.

    The mean is over examples, not over weights as in PyTorch: a batch of one example would
    otherwise lose its weight.

    Args:
        weights: One a class: of its examples, or for multi-label of its positive answers.
        is_multilabel: Which of the two losses.
    """

    weights: Tensor

    def __init__(self, weights: Float[Tensor, " c"], *, is_multilabel: bool) -> None:
        super().__init__()
        self.register_buffer("weights", weights, persistent=False)
        self.is_multilabel = is_multilabel

    def forward(
        self, logits: Float[Tensor, "b c"], targets: Shaped[Tensor, "b *c"]
    ) -> Float[Tensor, ""]:
        """Return the mean over the batch, computed in float32."""
        logits = logits.float()
        if self.is_multilabel:
            return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=self.weights)
        return F.cross_entropy(logits, targets, weight=self.weights, reduction="none").mean()


class RegressionLoss(nn.Module):
    """Mean squared error of numbers on the scale of the training part.

    Knowing nothing but the mean costs about 1, whatever the unit.

    Args:
        mean: Of the training part, in the label's unit.
        std: Its standard deviation.
    """

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, logits: Float[Tensor, "b 1"], targets: Float[Tensor, " b"]) -> Tensor:
        """Return the mean over the batch, computed in float32; targets are in the label's unit."""
        wanted = (targets - self.mean) / self.std
        return F.mse_loss(logits[:, 0].float(), wanted.float())


def target_scale(targets: Targets) -> dict[str, float]:
    """Return ``target_mean`` and ``target_std`` of the training part, as a model keeps them.

    Raises:
        DataError: If all numbers are the same, or differ by less than float32 can tell.
    """
    targets = targets.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(targets.mean()), float(targets.std())
        lost = np.abs(targets - targets.astype(np.float32)).max()
    if (targets == targets[0]).all():
        raise DataError(
            f"all {len(targets)} labels of the training part are {targets[0]:g}, but a regression "
            "needs different ones. Divide the examples differently."
        )
    if not (np.isfinite(std) and lost <= 0.001 * std):
        raise DataError(
            f"the labels lie around {mean:g} and differ by about {std:g}, but must fit into "
            "float32 numbers, with differences of a ten-thousandth of their size or more. Subtract "
            "a constant from them, or rescale them."
        )
    return {"target_mean": mean, "target_std": std}


def loss_of(
    scheme: LabelScheme, targets: Targets, kind: str, scale: Mapping[str, float]
) -> WeightedLoss | RegressionLoss:
    """Return the loss of a task.

    Args:
        scheme: The task and its classes.
        targets: Those of the training part.
        kind: As for ``class_weights``.
        scale: As ``target_scale`` gives it, for a regression.
    """
    if scheme.task == "regression":
        return RegressionLoss(scale["target_mean"], scale["target_std"])
    weights = class_weights(targets, scheme, kind)
    return WeightedLoss(weights, is_multilabel=scheme.task == "multilabel")


def class_weights(targets: Targets, scheme: LabelScheme, kind: str) -> Float[Tensor, " c"]:
    """Return one weight a class.

    Args:
        targets: Those of the training part, as ``LabelScheme.targets`` gives them.
        scheme: The classes; each occurs in the training part.
        kind: ``none`` = 1 each; ``balanced`` makes every class count the same in total, with
            a mean weight of 1 an example (multi-label: positive as much as negative answers).
    """
    num_classes = len(scheme.classes)
    if kind == "none":
        return torch.ones(num_classes)
    if scheme.task == "multilabel":
        positive = targets.sum(axis=0)
        weights = np.maximum(len(targets) - positive, 1) / positive
    else:
        weights = len(targets) / (num_classes * np.bincount(targets, minlength=num_classes))
    return torch.from_numpy(weights).float()
