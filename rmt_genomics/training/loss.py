"""Losses: cross entropy with class weights, and mean squared error of standardised numbers.

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
    """Cross entropy, or binary cross entropy per class for multi-label tasks.

    The mean is over examples, not over weights as in PyTorch: in a batch of one example the weight
    would otherwise cancel out. There is one weight per class: of its examples, or for multi-label
    of its positive labels.
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
    """Mean squared error of numbers, standardised with mean and deviation of the training part.

    Both are in the label's unit. Predicting the mean has a loss of about 1, whatever that is.
    """

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, logits: Float[Tensor, "b 1"], targets: Float[Tensor, " b"]) -> Tensor:
        """Return the mean over the batch, computed in float32; targets are in the label's unit."""
        standardised = (targets - self.mean) / self.std
        return F.mse_loss(logits[:, 0].float(), standardised.float())


def target_scale(targets: Targets) -> dict[str, float]:
    """Return ``target_mean`` and ``target_std`` of the training part, as settings of the model.

    Raises:
        DataError: If all numbers are equal, or differ by less than float32 resolves.
    """
    targets = targets.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(targets.mean()), float(targets.std())
        rounding_error = np.abs(targets - targets.astype(np.float32)).max()
    if (targets == targets[0]).all():
        raise DataError(
            f"all {len(targets)} labels of the training part are {targets[0]:g}, but a regression "
            "needs different ones. Split the examples differently."
        )
    if not (np.isfinite(std) and rounding_error <= 0.001 * std):
        raise DataError(
            f"the labels have mean {mean:g} and standard deviation {std:g}, but must fit into "
            "float32 numbers, with differences of a ten-thousandth of their size or more. Subtract "
            "a constant from them, or rescale them."
        )
    return {"target_mean": mean, "target_std": std}


def make_loss(
    scheme: LabelScheme, targets: Targets, kind: str, scale: Mapping[str, float]
) -> WeightedLoss | RegressionLoss:
    """Return the loss of a task; arguments are those of ``class_weights`` and ``target_scale``."""
    if scheme.task == "regression":
        return RegressionLoss(scale["target_mean"], scale["target_std"])
    weights = class_weights(targets, scheme, kind)
    return WeightedLoss(weights, is_multilabel=scheme.task == "multilabel")


def class_weights(targets: Targets, scheme: LabelScheme, kind: str) -> Float[Tensor, " c"]:
    """Return one weight per class; ``targets`` are those of the training part, in all classes.

    ``none`` = all 1; ``balanced`` gives every class the same total weight, with a mean weight of 1
    per example (multi-label: positive and negative labels weigh the same).
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
