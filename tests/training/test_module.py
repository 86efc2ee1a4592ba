from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rmt_genomics.datasets import Batch
from rmt_genomics.errors import ConfigError
from rmt_genomics.model import classification_metrics
from rmt_genomics.training.config import TrainingSettings
from rmt_genomics.training.loss import WeightedLoss
from rmt_genomics.training.module import ClassifierModule, batch_seed
from tests.model.toys import toy


def module(**settings: Any) -> ClassifierModule:
    loss = WeightedLoss(torch.ones(3), is_multilabel=False)
    made = ClassifierModule(
        toy().float(), loss, TrainingSettings(**settings), seed=0, record={"seed": 0}
    )
    made._trainer = SimpleNamespace(current_epoch=2, global_step=7)  # type: ignore[assignment]
    return made


def batch(size: int = 3, *, length_bp: int = 20) -> Batch:
    codes = torch.randint(0, 4, (size, length_bp), dtype=torch.uint8)
    targets = torch.arange(size) % 3
    return Batch(codes, torch.full((size,), length_bp), targets, [f"r{i}" for i in range(size)])


def spoil(made: ClassifierModule) -> None:
    """Let every logit be no number."""
    with torch.no_grad():
        made.model.head.bias.fill_(float("nan"))


def test_a_loss_that_is_no_number_is_named_with_its_examples_and_the_remedy() -> None:
    made = module(learning_rate=0.5, precision="bf16")
    spoil(made)

    with pytest.raises(ConfigError) as error:
        made.training_step(batch(7), 0)

    assert str(error.value) == (
        "epoch 3, step 7 (r0, r1, r2, r3, r4, ...): the loss is nan, but must be a finite number. "
        "Lower training.learning_rate (now 0.5), or set training.precision to fp32."
    )


def test_with_fp32_only_the_learning_rate_can_be_to_blame() -> None:
    made = module()
    spoil(made)

    with pytest.raises(ConfigError, match=r"training\.learning_rate \(now 0\.0005\)\.$"):
        made.training_step(batch(), 0)


def test_outputs_that_are_no_numbers_are_noticed_in_validation() -> None:
    made = module()
    spoil(made)
    made.validation_step(batch(2), 0)

    with pytest.raises(ConfigError, match=r"\(r0, r1\): the validation output is nan"):
        made.on_validation_epoch_end()


def test_the_training_loss_is_a_mean_over_examples_not_batches() -> None:
    made = module()
    small, large = batch(1), batch(5)

    losses = [made.training_step(each, 0).item() for each in (small, large)]

    assert made.train_loss == pytest.approx((losses[0] + 5 * losses[1]) / 6)


def test_validation_is_of_the_whole_set_whatever_the_batches() -> None:
    made, whole = module().eval(), batch(9)
    results = []
    for sizes in ([9], [2, 4, 3]):
        for codes, lengths, targets in zip(*(each.split(sizes) for each in whole[:3]), strict=True):
            names = ["name"] * len(codes)
            with torch.no_grad():
                made.validation_step(Batch(codes, lengths, targets, names), 0)
        made.on_validation_epoch_end()
        results.append(made.validation)

    with torch.no_grad():
        logits = made.model(whole.codes, whole.lengths)
    expected = classification_metrics(
        whole.targets.numpy(),
        logits.softmax(dim=-1).numpy(),
        classes=made.model.classes_,
        task="multiclass",
    )
    assert results[0] == pytest.approx(results[1])
    assert results[0]["val_accuracy"] == expected["accuracy"]
    assert results[0]["val_loss"] == pytest.approx(
        float(torch.nn.functional.cross_entropy(logits, whole.targets))
    )


@pytest.mark.parametrize(
    ("settings", "passed"),
    [
        ({}, {"replay": "auto", "bptt_depth": None}),
        ({"replay": True, "bptt_depth": 2}, {"replay": True, "bptt_depth": 2}),
        ({"replay": False}, {"replay": False, "bptt_depth": None}),
    ],
)
def test_replay_and_depth_reach_the_model(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], passed: dict[str, Any]
) -> None:
    made, seen = module(**settings), {}
    forward = made.model.forward

    def spy(*inputs: Any, **options: Any) -> Any:
        seen.update(options)
        return forward(*inputs, **options)

    monkeypatch.setattr(made.model, "forward", spy)
    made.training_step(batch(), 0)

    assert seen == passed


def test_every_batch_seed_and_process_has_random_numbers_of_its_own() -> None:
    places = list(product(range(4), repeat=4))

    assert len({batch_seed(*place) for place in places}) == len(places)
    assert batch_seed(3, 4, 5, 0) == batch_seed(3, 4, 5, 0)
