import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rmt_genomics.datasets import LabelScheme
from rmt_genomics.training.loss import WeightedLoss, class_weights

THREE = LabelScheme(("a", "b", "c"), "multiclass")
ANY = LabelScheme(("a", "b"), "multilabel")


def test_balanced_classes_have_equal_total_weights_and_a_mean_of_one_per_example() -> None:
    targets = np.array([0] * 6 + [1] * 3 + [2])

    weights = class_weights(targets, THREE, "balanced")

    torch.testing.assert_close(weights * torch.tensor([6, 3, 1]), torch.full((3,), 10 / 3))
    assert float(weights[torch.from_numpy(targets)].mean()) == pytest.approx(1)


def test_balanced_labels_weigh_positive_and_negative_examples_the_same() -> None:
    targets = np.array([[1, 1], [0, 1], [0, 1], [0, 1]], dtype=np.float32)

    weights = class_weights(targets, ANY, "balanced")

    assert weights.tolist() == [3, 0.25]  # a label of all examples still has a small weight


def test_without_weights_the_loss_equals_pytorch() -> None:
    logits, targets = torch.randn(4, 3), torch.tensor([0, 2, 2, 1])
    loss = WeightedLoss(class_weights(targets.numpy(), THREE, "none"), is_multilabel=False)

    torch.testing.assert_close(loss(logits, targets), F.cross_entropy(logits, targets))


def test_without_weights_the_multilabel_loss_equals_pytorch() -> None:
    logits, targets = torch.randn(3, 2), torch.tensor([[1.0, 0], [1, 1], [0, 0]])
    loss = WeightedLoss(class_weights(targets.numpy(), ANY, "none"), is_multilabel=True)

    expected = F.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(loss(logits, targets), expected)


def test_an_example_keeps_its_weight_in_a_batch_of_one() -> None:
    logits, target = torch.randn(1, 3), torch.tensor([1])
    loss = WeightedLoss(torch.tensor([1.0, 5.0, 1.0]), is_multilabel=False)

    torch.testing.assert_close(loss(logits, target), 5 * F.cross_entropy(logits, target))


def test_weights_are_not_saved_with_the_model() -> None:
    assert not WeightedLoss(torch.ones(2), is_multilabel=False).state_dict()
