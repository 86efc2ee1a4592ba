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


def make_module(**settings: Any) -> ClassifierModule:
    loss = WeightedLoss(torch.ones(3), is_multilabel=False)
    module = ClassifierModule(
        toy().float(), loss, TrainingSettings(**settings), seed=0, run_record={"seed": 0}
    )
    module._trainer = SimpleNamespace(current_epoch=2, global_step=7)  # type: ignore[assignment]
    return module


def batch(size: int = 3, *, length_bp: int = 20) -> Batch:
    codes = torch.randint(0, 4, (size, length_bp), dtype=torch.uint8)
    targets = torch.arange(size) % 3
    return Batch(codes, torch.full((size,), length_bp), targets, [f"r{i}" for i in range(size)])


def make_logits_nan(module: ClassifierModule) -> None:
    with torch.no_grad():
        module.model.head.bias.fill_(float("nan"))


def test_a_loss_that_is_not_finite_is_reported_with_its_examples_and_a_remedy() -> None:
    module = make_module(learning_rate=0.5, precision="bf16")
    make_logits_nan(module)

    with pytest.raises(ConfigError) as error:
        module.training_step(batch(7), 0)

    assert str(error.value) == (
        "epoch 3, step 7 (r0, r1, r2, r3, r4, ...): the loss is nan, but must be a finite number. "
        "Lower training.learning_rate (now 0.5), or set training.precision to fp32."
    )


def test_with_fp32_the_remedy_is_only_the_learning_rate() -> None:
    module = make_module()
    make_logits_nan(module)

    with pytest.raises(ConfigError, match=r"training\.learning_rate \(now 0\.0005\)\.$"):
        module.training_step(batch(), 0)


def test_validation_outputs_that_are_not_finite_are_reported() -> None:
    module = make_module()
    make_logits_nan(module)
    module.validation_step(batch(2), 0)

    with pytest.raises(ConfigError, match=r"\(r0, r1\): the validation output is nan"):
        module.on_validation_epoch_end()


def test_the_training_loss_is_a_mean_over_examples_not_over_batches() -> None:
    module = make_module()
    small, large = batch(1), batch(5)

    losses = [module.training_step(part, 0).item() for part in (small, large)]

    assert module.train_loss == pytest.approx((losses[0] + 5 * losses[1]) / 6)


def test_validation_metrics_do_not_depend_on_the_batches() -> None:
    module, whole = make_module().eval(), batch(9)
    results = []
    for sizes in ([9], [2, 4, 3]):
        for codes, lengths, targets in zip(
            *(field.split(sizes) for field in whole[:3]), strict=True
        ):
            names = ["name"] * len(codes)
            with torch.no_grad():
                module.validation_step(Batch(codes, lengths, targets, names), 0)
        module.on_validation_epoch_end()
        results.append(module.validation)

    with torch.no_grad():
        logits = module.model(whole.codes, whole.lengths)
    expected = classification_metrics(
        whole.targets.numpy(),
        logits.softmax(dim=-1).numpy(),
        classes=module.model.classes_,
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
def test_replay_and_bptt_depth_reach_the_model(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], passed: dict[str, Any]
) -> None:
    module, seen = make_module(**settings), {}
    forward = module.model.forward

    def spy(*inputs: Any, **options: Any) -> Any:
        seen.update(options)
        return forward(*inputs, **options)

    monkeypatch.setattr(module.model, "forward", spy)
    module.training_step(batch(), 0)

    assert seen == passed


def test_seeds_of_batches_and_processes_differ() -> None:
    arguments = list(product(range(4), repeat=4))

    assert len({batch_seed(*each) for each in arguments}) == len(arguments)
    assert batch_seed(3, 4, 5, 0) == batch_seed(3, 4, 5, 0)
