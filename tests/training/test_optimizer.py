import pytest
import torch

from rmt_genomics.training.optimizer import adamw, lr_fraction, parameter_groups, warmup_then_cosine
from tests.model.toys import toy


def test_the_learning_rate_rises_linearly_and_falls_to_a_tenth() -> None:
    fractions = [lr_fraction(step, num_warmup=2, num_steps=5) for step in range(5)]

    assert fractions == pytest.approx([0.5, 1.0, 1.0, 0.55, 0.1])


def test_without_warmup_the_first_step_is_the_highest() -> None:
    assert lr_fraction(0, num_warmup=0, num_steps=3) == 1
    assert lr_fraction(0, num_warmup=0, num_steps=1) == 1


def test_the_schedule_drives_the_optimizer() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = warmup_then_cosine(optimizer, num_steps=20, warmup_fraction=0.1)
    rates = []

    for _ in range(20):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()

    assert rates[:2] == pytest.approx([1.0, 2.0])
    assert rates[-1] == pytest.approx(0.2)


def test_every_parameter_is_in_one_group() -> None:
    model = toy(memory_gate=True, pooling="attention", strand_head="symmetric")

    decayed, not_decayed = parameter_groups(model)

    assert sorted(map(id, [*decayed, *not_decayed])) == sorted(map(id, model.parameters()))


def test_only_matrices_that_multiply_features_have_weight_decay() -> None:
    model = toy()
    names = {id(parameter): name for name, parameter in model.named_parameters()}

    optimizer = adamw(model, learning_rate=0.1, weight_decay=0.5)

    decayed, not_decayed = (
        {names[id(weight)] for weight in group["params"]} for group in optimizer.param_groups
    )
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]
    assert "head.weight" in decayed
    assert "encoder.step.embed.stem.convolution.weight" in decayed
    assert {
        "head.bias",
        "encoder.step.memory.read_identity",
        "encoder.step.memory.write_identity",
        "encoder.step.embed.embedding.weight",
        "encoder.step.embed.stem.embedding.weight",
    } <= not_decayed
