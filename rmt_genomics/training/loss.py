"""The loss, with weights for classes of unequal size.

Dimensions: b batch, c classes.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from rmt_genomics.datasets.examples import LabelScheme, Targets


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
