"""The running average of the weights: what it is, and that it is what is judged and saved."""

from pathlib import Path
from typing import Any

import pytest
import torch

from rmt_genomics.model import RMTClassifier
from rmt_genomics.training.module import ClassifierModule, average_of
from tests.model.toys import toy
from tests.training.toys import run, write_data


def test_the_average_is_the_plain_formula() -> None:
    model = toy()
    average = average_of(model, decay=0.5)
    wanted = None
    for num in range(4):
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight))
        now = torch.nn.utils.parameters_to_vector(model.parameters())
        stays = min(0.5, (1 + num) / (10 + num))
        wanted = now if wanted is None else stays * wanted + (1 - stays) * now
        average.update_parameters(model)
    found = torch.nn.utils.parameters_to_vector(average.parameters())
    torch.testing.assert_close(found, wanted)
    assert not any(weight.requires_grad for weight in average.parameters())


def test_the_average_of_the_steps_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches are one step; only after a step is there something to average."""
    seen: list[dict[str, torch.Tensor]] = []
    plain = ClassifierModule.optimizer_step

    def spy(self: ClassifierModule, *given: Any, **named: Any) -> None:
        plain(self, *given, **named)
        seen.append({name: each.clone() for name, each in self.model.state_dict().items()})

    monkeypatch.setattr(ClassifierModule, "optimizer_step", spy)
    options = {"training__max_epochs": 1, "training__accumulate_batches": 2}
    run(write_data(tmp_path), tmp_path / "run", training__weight_average=0.9, **options)

    wanted = seen[0]
    for num, now in enumerate(seen[1:], start=1):
        stays = (1 + num) / (10 + num)
        wanted = {name: stays * wanted[name] + (1 - stays) * now[name] for name in wanted}
    assert len(seen) == 2
    saved = RMTClassifier.from_pretrained(tmp_path / "run").state_dict()
    torch.testing.assert_close(dict(saved), wanted)


def test_the_average_is_what_is_validated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: set[int] = set()
    modules: list[ClassifierModule] = []
    plain, step = RMTClassifier.forward, ClassifierModule.validation_step

    def forward(self: RMTClassifier, *given: Any, **named: Any) -> torch.Tensor:
        if not self.training:
            judged.add(id(self))
        return plain(self, *given, **named)

    def validate(self: ClassifierModule, *given: Any) -> None:
        modules.append(self)
        step(self, *given)

    monkeypatch.setattr(RMTClassifier, "forward", forward)
    monkeypatch.setattr(ClassifierModule, "validation_step", validate)
    run(
        write_data(tmp_path), tmp_path / "run", training__max_epochs=1, training__weight_average=0.9
    )

    average = modules[0].average
    assert average is not None
    assert judged == {id(average.module)}
