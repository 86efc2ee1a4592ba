"""The model of the best epoch so far: there while a run lasts, and after it was killed."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rmt_genomics import RMTClassifier
from rmt_genomics.errors import RMTGenomicsWarning
from rmt_genomics.training import saving
from rmt_genomics.training.checkpoints import read_checkpoint
from rmt_genomics.training.module import TrainingModule
from rmt_genomics.training.saving import ModelSaver
from tests.cli.toys import fail, succeed
from tests.training import test_pretraining
from tests.training.test_train import are_equal, rows_of
from tests.training.toys import run, stop_at, weights_of, write_data

Data = tuple[Path, Path]
FEATURES: dict[str, Any] = {"model__features": '["kmer:2"]', "training__weight_average": 0.5}


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return write_data(tmp_path)


def killed_after_an_epoch(action: Callable[[], object]) -> None:
    """Simulate a kill in the first step of the second epoch, after which nothing is written."""
    stop_at(1, 0, action)


@pytest.mark.parametrize("changes", [{}, FEATURES], ids=["network", "features and average"])
def test_a_run_that_was_killed_has_the_model_of_its_best_epoch(
    data: Data, tmp_path: Path, changes: dict[str, Any]
) -> None:
    killed_after_an_epoch(lambda: run(data, tmp_path / "run", **changes))

    with pytest.warns(RMTGenomicsWarning, match=r"not finished. Its best model so far.*--resume"):
        model = RMTClassifier.from_pretrained(tmp_path / "run")
    saved = read_checkpoint(tmp_path / "run/checkpoints/best.ckpt")["state_dict"]
    prefix = "average.module." if changes else "model."
    for name, weight in model.encoder.state_dict(prefix=f"{prefix}encoder.").items():
        assert torch.equal(weight, saved[name]), name
    if changes:
        assert model.regressions is not None
        assert any(bool(each.any()) for each in model.regressions.state_dict().values())


def test_commands_take_it_and_the_run_can_be_resumed(data: Data, tmp_path: Path) -> None:
    fasta, labels = data
    killed_after_an_epoch(lambda: run(data, tmp_path / "run"))

    predicted = succeed("predict", tmp_path / "run", fasta, "--out", tmp_path / "p.tsv")
    words = ["--labels", labels, "--out", tmp_path / "e"]
    evaluated = succeed("evaluate", tmp_path / "run", fasta, *words)

    assert "training has not finished. Its best model so far is used" in predicted.stderr
    assert "were used to train this model" in evaluated.stderr  # the split is beside it
    run(data, tmp_path / "run", resume=True)

    assert not (tmp_path / "run/checkpoints/best").exists()
    with warnings.catch_warnings(action="error"):
        RMTClassifier.from_pretrained(tmp_path / "run")


def test_saving_it_changes_nothing_in_the_run(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    changes = {**FEATURES, "model__dropout": 0.2, "training__threshold": "auto"}
    with caplog.at_level(logging.INFO):
        run(data, tmp_path / "one", **changes)
    assert caplog.text.count("x network + ") == 1  # of the final model
    assert caplog.text.count("Thresholds chosen") <= 1
    monkeypatch.setattr(ModelSaver, "save_so_far", lambda *_: None)
    run(data, tmp_path / "other", **changes)

    assert rows_of(tmp_path / "one") == rows_of(tmp_path / "other")
    assert are_equal(weights_of(tmp_path / "one"), weights_of(tmp_path / "other"))


def test_it_takes_a_twentieth_of_the_time(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, written = [0.0], []

    def finish(_: TrainingModule) -> RMTClassifier:
        now[0] += 10
        written.append(now[0])
        return model

    run(data, tmp_path / "run")
    model = RMTClassifier.from_pretrained(tmp_path / "run")
    monkeypatch.setattr(saving.time, "monotonic", lambda: now[0])
    result = run(data, tmp_path / "again")
    assert result.store is not None
    saver = ModelSaver(
        saving.RunFolder(tmp_path / "again"), result.store, result.split.train, finish
    )
    module = FakeModule()
    for _ in range(100):
        now[0] += 10
        saver.save_so_far(module)

    assert len(written) == 5
    assert np.diff(written).min() >= 200


class FakeModule(TrainingModule):
    """What of a module a saver uses itself."""

    trainer = SimpleNamespace(received_sigterm=False)

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)

    @contextmanager
    def without_hooks(self) -> Iterator[None]:
        yield


def test_a_pretraining_that_was_killed_has_a_model_to_start_from(tmp_path: Path) -> None:
    fasta = test_pretraining.write_records(tmp_path / "toy.fa")
    killed_after_an_epoch(lambda: test_pretraining.run(fasta, tmp_path / "run"))

    with pytest.warns(RMTGenomicsWarning, match="has not finished"):
        assert RMTClassifier.from_pretrained(tmp_path / "run").config.task == "pretraining"


def test_overwriting_removes_it_and_keeps_other_files(data: Data, tmp_path: Path) -> None:
    killed_after_an_epoch(lambda: run(data, tmp_path / "run"))
    best = tmp_path / "run/checkpoints/best"
    (best / "notes.txt").write_text("mine")

    run(data, tmp_path / "run", overwrite=True)

    assert [path.name for path in best.iterdir()] == ["notes.txt"]


def test_before_the_first_epoch_has_ended_there_is_none(data: Data, tmp_path: Path) -> None:
    stop_at(0, 0, lambda: run(data, tmp_path / "run"))

    message = fail("predict", tmp_path / "run", data[0])
    assert "training has not finished, and has no model yet" in message
