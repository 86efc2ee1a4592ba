"""Epochs and validations that are samples: steps, schedule, resuming, processes, plan."""

import logging
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from rmt_genomics.datasets import EncodedStore, LabelSource
from rmt_genomics.errors import ConfigError
from rmt_genomics.reports.data_summary import training_preview
from rmt_genomics.training.module import ClassifierModule
from rmt_genomics.training.planning import plan
from tests.training.test_distributed import (
    CHANGES,
    assert_same_run,
    no_launcher,
    one_thread,
    rows_of,
    train_in_two,
)
from tests.training.test_train import are_equal
from tests.training.toys import run, settings, weights_of, write_data

__all__ = ["one_thread"]  # a fixture

Data = tuple[Path, Path]
SAMPLES: dict[str, Any] = {
    "training__examples_per_epoch": 5,
    "training__validation_examples": 2,
    "training__batch_size": 2,
    "training__max_epochs": 4,
}


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return write_data(tmp_path)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, int], list[str]]:
    """Record the names of the examples of each training epoch and validation."""
    records: dict[tuple[str, int], list[str]] = {}

    def recording(name: str, plain: Any) -> Any:
        def step(self: Any, batch: Any, index: int) -> Any:
            records.setdefault((name, self.current_epoch), []).extend(batch.names)
            return plain(self, batch, index)

        return step

    for name in ("training_step", "validation_step"):
        plain = getattr(ClassifierModule, name)
        monkeypatch.setattr(ClassifierModule, name, recording(name, plain))
    return records


def test_each_epoch_trains_on_a_sample_and_all_are_seen_in_turn(
    data: Data,
    tmp_path: Path,
    read: dict[tuple[str, int], list[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "rmt_genomics")
    run(data, tmp_path / "run", **SAMPLES)

    epochs = [read["training_step", epoch] for epoch in range(4)]
    validations = [sorted(read["validation_step", epoch]) for epoch in range(4)]
    train = (tmp_path / "run/split.tsv").read_text().count("\ttrain\n")
    assert [len(set(epoch)) for epoch in epochs] == [5] * 4
    assert len(set(chain(*epochs[:2]))) == 10
    assert len(set(chain(*epochs[:3]))) == train == 12
    assert [len(names) for names in validations] == [2] * 4
    assert len(set(map(tuple, validations))) == 1
    assert f"each epoch trains on 5 of {train} examples" in caplog.messages
    sample = "validation after each epoch: 2 of 4 examples (poor 1, rich 1), always the same"
    assert caplog.messages.count(sample) == 1
    assert "training: at most 4 epochs, 3 batches each" in caplog.messages
    rows = rows_of(tmp_path / "run")
    assert [row["step"] for row in rows] == [3, 6, 9, 12]
    assert rows[-1]["learning_rate"] == pytest.approx(0.001)  # a tenth of the highest


@pytest.mark.slow
def test_a_run_resumed_within_such_an_epoch_is_the_same_bit_for_bit(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the epoch in which one pass ends and the next begins."""
    stops_at = (2, 1)
    stages = {"curriculum__segments": "[1, 4]", "curriculum__shorten": "random_window"}
    options = {**SAMPLES, **stages, "training__checkpoint_minutes": 0, "curriculum__patience": 2}
    run(data, tmp_path / "whole", **options)
    plain = ClassifierModule.training_step

    def interrupted(self: ClassifierModule, batch: Any, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == stops_at:
            raise KeyboardInterrupt
        return plain(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(ClassifierModule, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(data, tmp_path / "stopped", **options)
    run(data, tmp_path / "stopped", resume=True, **options)

    assert are_equal(weights_of(tmp_path / "whole"), weights_of(tmp_path / "stopped"))
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "stopped")


@no_launcher
@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_train_on_the_same_samples_as_one(tmp_path: Path) -> None:
    data = write_data(tmp_path, num_records=28)
    options = {"training__examples_per_epoch": 9, "training__validation_examples": 3}
    train_in_two(data, tmp_path / "two", **options)
    run(data, tmp_path / "one", **{**CHANGES, **options})

    assert_same_run(tmp_path / "one", tmp_path / "two")
    assert [row["step"] for row in rows_of(tmp_path / "two")] == [2, 4, 6]


def test_more_examples_than_there_are_means_all_and_is_said(
    data: Data, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rmt_genomics")
    many = {"training__examples_per_epoch": 900, "training__validation_examples": 800}
    run(data, tmp_path / "many", **many)
    run(data, tmp_path / "all")

    assert are_equal(weights_of(tmp_path / "many"), weights_of(tmp_path / "all"))
    assert "training.examples_per_epoch: there are only 12; all are used" in caplog.messages
    assert "training.validation_examples: there are only 4; all are used" in caplog.messages
    assert "each epoch trains" not in caplog.text


def test_samples_of_another_size_are_refused_by_a_resumed_run(data: Data, tmp_path: Path) -> None:
    run(data, tmp_path / "run", **SAMPLES)
    run(data, tmp_path / "all")

    with pytest.raises(ConfigError, match=r"examples_per_epoch was 5 when .* and is now 6"):
        run(data, tmp_path / "run", resume=True, **{**SAMPLES, "training__examples_per_epoch": 6})
    with pytest.raises(ConfigError, match=r"was not set when .* is now 6.* Leave it out, or"):
        run(data, tmp_path / "all", resume=True, training__examples_per_epoch=6)


@pytest.mark.parametrize("name", ["examples_per_epoch", "validation_examples"])
def test_simulated_training_has_settings_of_its_own(name: str) -> None:
    message = rf"training\.{name} is 9, but .*simulation\.{name} says \(\d+\)\. Set that instead"
    with pytest.raises(ConfigError, match=message):
        settings(simulation__task="order", **{f"training__{name}": 9})


def test_a_plan_and_an_inspection_are_of_such_epochs(data: Data) -> None:
    labels = LabelSource(data[1])
    whole = plan(data[0], settings(training__batch_size=2), labels=labels, device="cpu")
    part = plan(data[0], settings(**SAMPLES), labels=labels, device="cpu")

    table = {key: value for key, value, _ in part.rows()}
    assert (table["examples_per_epoch"], table["validation_examples"]) == ("5", "2")
    assert {key: value for key, value, _ in whole.rows()}["examples_per_epoch"] == "12"
    assert part.epoch_seconds < part.choice.epoch_seconds(part.train_bp)
    examples = labels.read(EncodedStore.open(data[0]).records())
    text = "\n".join(training_preview(data[0], labels, examples, settings(**SAMPLES)))
    assert "one epoch: 5 of 12 examples, about " in text
    assert " bp in 3 batches of 2" in text
