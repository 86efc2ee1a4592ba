"""The moving average of the weights: its formula, and that it is validated and saved."""

from pathlib import Path
from typing import Any

import pytest
import torch

from rmt_genomics.model import RMTClassifier
from rmt_genomics.training.module import ClassifierModule, averaged_copy
from tests.model.toys import toy
from tests.training.toys import run, write_data


def test_the_average_is_the_plain_formula() -> None:
    model = toy()
    average = averaged_copy(model, decay=0.5)
    expected = None
    for num in range(4):
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight))
        now = torch.nn.utils.parameters_to_vector(model.parameters())
        decay = min(0.5, (1 + num) / (10 + num))
        expected = now if expected is None else decay * expected + (1 - decay) * now
        average.update_parameters(model)
    averaged = torch.nn.utils.parameters_to_vector(average.parameters())
    torch.testing.assert_close(averaged, expected)
    assert not any(weight.requires_grad for weight in average.parameters())


def test_the_average_of_the_steps_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches are one step, and the average is updated once per step."""
    states: list[dict[str, torch.Tensor]] = []
    plain = ClassifierModule.optimizer_step

    def spy(self: ClassifierModule, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        states.append({name: w.clone() for name, w in self.model.state_dict().items()})

    monkeypatch.setattr(ClassifierModule, "optimizer_step", spy)
    options = {"training__max_epochs": 1, "training__accumulate_batches": 2}
    run(write_data(tmp_path), tmp_path / "run", training__weight_average=0.9, **options)

    expected = states[0]
    for num, now in enumerate(states[1:], start=1):
        decay = (1 + num) / (10 + num)
        expected = {name: decay * expected[name] + (1 - decay) * now[name] for name in expected}
    assert len(states) == 2
    saved = RMTClassifier.from_pretrained(tmp_path / "run").state_dict()
    torch.testing.assert_close(dict(saved), expected)


def test_the_average_is_what_is_validated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated: set[int] = set()
    modules: list[ClassifierModule] = []
    plain, step = RMTClassifier.forward, ClassifierModule.validation_step

    def forward(self: RMTClassifier, *args: Any, **kwargs: Any) -> torch.Tensor:
        if not self.training:
            evaluated.add(id(self))
        return plain(self, *args, **kwargs)

    def validate(self: ClassifierModule, *args: Any) -> None:
        modules.append(self)
        step(self, *args)

    monkeypatch.setattr(RMTClassifier, "forward", forward)
    monkeypatch.setattr(ClassifierModule, "validation_step", validate)
    run(
        write_data(tmp_path), tmp_path / "run", training__max_epochs=1, training__weight_average=0.9
    )

    average = modules[0].average
    assert average is not None
    assert evaluated == {id(average.module)}
