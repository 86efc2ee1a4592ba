"""A time budget: what it settles, that training stops in time, and that resuming keeps both."""

import logging
import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch.multiprocessing as mp
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import Example, Split
from rmt_genomics.dna import Interval
from rmt_genomics.errors import ConfigError
from rmt_genomics.evaluation import evaluate_run
from rmt_genomics.reports import write_report
from rmt_genomics.training import TrainingResult, read_config, time_budget, train
from rmt_genomics.training.checkpoints import read_checkpoint
from rmt_genomics.training.config import TrainingSettings
from rmt_genomics.training.module import ClassifierModule
from rmt_genomics.training.time_budget import Costs, Settled, evaluation_seconds, settle
from tests.cli.toys import run as run_command
from tests.training.test_distributed import no_launcher, one_of_two, one_thread
from tests.training.test_train import rows_of
from tests.training.toys import run, settings, write_data

__all__ = ["one_thread"]  # a fixture

Data = tuple[Path, Path]
COSTS = Costs(train_example=0.1, validation_example=0.02, predicted_bp=1e-6)


def settled(
    seconds: float, *, costs: Costs = COSTS, validation: int = 200, **given: Any
) -> Settled:
    """Settle for 1,000 training examples in batches of 10."""
    training = TrainingSettings(**{"batch_size": 10, **given})
    return settle(seconds, costs, training, 1000, validation)


@pytest.mark.parametrize(
    ("seconds", "given", "expected"),
    [
        # A pass takes 100 s, its validation 4 s.
        (1e5, {}, (20, None, None)),
        (1e5, {"max_epochs": 50}, (50, None, None)),
        (730.0, {}, (7, None, None)),
        (730.0, {"max_epochs": 3}, (3, None, None)),
        # Fewer than five passes: eight epochs of samples. All are validated in 4 s.
        (416.0, {}, (8, 480, None)),
        (160.0, {}, (8, 160, 160)),
        (160.0, {"accumulate_batches": 5}, (8, 150, 150)),
        (160.0, {"max_epochs": 2}, (2, 760, None)),
        (100.0, {"max_epochs": 1}, (1, 960, None)),
        # One step takes 1 s, its validation 0.2 s.
        (4.0, {}, (3, 10, 10)),
        (1.2, {}, (1, 10, 10)),
        # What is given stays.
        (160.0, {"examples_per_epoch": 300}, (4, 300, None)),
        (160.0, {"validation_examples": 7}, (8, 190, 7)),
        (730.0, {"validation_examples": 7}, (7, None, 7)),
    ],
)
def test_numbers_are_settled_from_speed_and_time(
    seconds: float, given: dict[str, int], expected: tuple[int, int | None, int | None]
) -> None:
    result = settled(seconds, **given)

    found = (result.max_epochs, result.examples_per_epoch, result.validation_examples)
    assert found == expected


@given(
    seconds=st.floats(1, 1e6),
    train_example=st.floats(1e-4, 10),
    validation_example=st.floats(1e-4, 10),
    max_epochs=st.integers(1, 100),
    validation=st.integers(1, 5000),
)
def test_what_is_settled_ends_in_time(
    seconds: float,
    train_example: float,
    validation_example: float,
    max_epochs: int,
    validation: int,
) -> None:
    costs = Costs(train_example, validation_example, 1e-6)
    try:
        result = settled(seconds, costs=costs, validation=validation, max_epochs=max_epochs)
    except ConfigError:
        assert 10 * train_example + validation_example > 0.8 * seconds
        return
    size = result.examples_per_epoch or 1000
    num_validated = result.validation_examples or validation
    training, validating = size * train_example, num_validated * validation_example

    assert 1 <= result.max_epochs <= max_epochs
    assert result.seconds == pytest.approx(result.max_epochs * (training + validating))
    assert result.seconds <= seconds * (1 + 1e-9)
    assert size % 10 == 0
    assert validating <= 0.2 * training * (1 + 1e-9) or num_validated == 1
    if result.max_epochs < min(5, max_epochs):
        assert size == 10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"0\.5 s are left .*\(10 examples, and the validation after it\) takes about 1\.2 s"),
        ({"examples_per_epoch": 500}, r"\(500 examples, and .*\) takes about 54\.0 s"),
    ],
)
def test_less_time_than_the_shortest_epoch_is_refused(given: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settled(0.5, **given)


@pytest.mark.parametrize("value", ["90", "10 min", "0s", "-5s", "'10'", "1d", "true", "1e3s", "''"])
def test_a_time_without_its_unit_is_refused(value: str) -> None:
    message = r"training\.time_budget is .*, but must be a time above 0 with its unit \(s, min or h"
    with pytest.raises(ConfigError, match=message):
        settings(training__time_budget=value)


def test_the_option_is_the_setting_and_a_wrong_one_leaves_no_folder(tmp_path: Path) -> None:
    fasta, labels = map(str, write_data(tmp_path))
    out = tmp_path / "run"

    result = run_command(
        *("train", fasta, "--labels", labels, "--out", str(out), "--time-budget", "90")
    )

    assert result.exit_code == 1
    assert "training.time_budget is 90, but must be a time above 0 with its unit" in result.stderr
    assert not out.exists()
    assert settings(training__time_budget="1.5h").training.time_budget == "1.5h"


def test_simulated_examples_have_no_time_budget() -> None:
    with pytest.raises(ConfigError, match=r"time_budget is '9min', but cannot be kept with .* sim"):
        settings(simulation__task="order", training__time_budget="9min")


def test_the_evaluation_gets_a_quarter_but_some_seconds_even_of_a_short_budget() -> None:
    part = (Example(Interval("r", 0, 1000), whole=True, labels=("a",)),) * 100
    split = Split(part, part, part)
    slow = Costs(0.1, 0.1, predicted_bp=1e-3, slowdown=1.5)

    assert evaluation_seconds(6000.0, COSTS, split, 2) == pytest.approx(7.65, abs=0.2)
    assert evaluation_seconds(600.0, slow, split, 2) == 150
    few = replace(slow, predicted_bp=1e-5)  # ten examples of the test part, 1,000 bp each
    assert evaluation_seconds(22.0, few, split, 2) == pytest.approx(1.5 * 7 + 0.53)
    assert evaluation_seconds(10.0, few, split, 2) == pytest.approx(5 + 0.53)
    assert evaluation_seconds(10.0, slow, split, 2) == pytest.approx(5 + 53)  # not possible


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return write_data(tmp_path, num_records=60)


class Time:
    """A clock that a test sets, and the costs that are measured; steps take ``step`` seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, costs: Costs) -> None:
        self.now, self.step, self.validation, self.num_measured = 0.0, 0.0, 0.0, 0
        self.costs = costs
        monkeypatch.setattr(time_budget, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(time_budget, "measure", self.measure)
        monkeypatch.setattr(time_budget, "evaluation_seconds", lambda *_: 25.0)
        for name in ("training_step", "validation_step"):
            monkeypatch.setattr(ClassifierModule, name, self.slow(getattr(ClassifierModule, name)))

    def measure(self, *_: Any, **__: Any) -> Costs:
        self.num_measured += 1
        return self.costs

    def slow(self, plain: Any) -> Any:
        def step(module: ClassifierModule, batch: Any, batch_idx: int) -> Any:
            self.now += self.step if module.trainer.training else self.validation
            return plain(module, batch, batch_idx)

        return step

    def train(self, data: Data, out: Path, **options: Any) -> TrainingResult:
        """Train from now on, with 100 s: 75 without the evaluation, of which 67.5 are planned."""
        changes = {"training__time_budget": "100s", "training__max_epochs": 20, **options}
        return run(data, out, started_at=self.now, **changes)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch, Costs(0.3, 0.15, 1e-6))  # an epoch of 48 takes 14.4 s, a step 1.2 s


def test_the_numbers_are_settled_once_and_kept_by_resuming(
    data: Data, tmp_path: Path, clock: Time, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rmt_genomics")
    out = tmp_path / "run"
    result = clock.train(data, out)

    training = read_config(out / "config.toml").training
    numbers = (training.max_epochs, training.examples_per_epoch, training.validation_examples)
    assert numbers == (9, 20, 8)
    assert training.time_budget == "100s"
    assert [row["step"] for row in rows_of(out)] == list(range(5, 46, 5))
    assert rows_of(out)[-1]["learning_rate"] == pytest.approx(0.001)  # a tenth: the end
    assert "training.time_budget 100s: 9 epochs of 20 examples, each validated on 8" in caplog.text
    assert "each epoch trains on 20 of 48 examples" in caplog.messages
    assert result.evaluation_seconds == 100
    caplog.clear()
    clock.train(data, out, resume=True)
    assert clock.num_measured == 1
    assert "Nothing to resume: the run had finished (9 of at most 9 epochs)." in caplog.messages
    assert "9, and was settled by the time budget" in caplog.text  # and 20 is an upper limit
    with pytest.raises(ConfigError, match="time_budget was '100s' when the run started and is now"):
        clock.train(data, out, resume=True, training__time_budget="200s")


def test_slow_steps_end_the_training_in_time_with_the_best_model(
    data: Data, tmp_path: Path, clock: Time, caplog: pytest.LogCaptureFixture
) -> None:
    """Steps take 4 s instead of 1.2, validations 2: after 16 steps and 4 validations, 72 of 75."""
    caplog.set_level(logging.INFO, "rmt_genomics")
    clock.step, clock.validation = 4.0, 1.0
    result = clock.train(data, tmp_path / "run")

    rows = rows_of(tmp_path / "run")
    assert [row["step"] for row in rows] == [5, 10, 15, 16]
    assert clock.now == 16 * 4 + 4 * 2 == 72
    assert "stops in epoch 4, after 1 of 5 batches: steps were slower" in caplog.text
    assert result.model is not None
    assert result.metrics["epoch"] in (1, 2, 3, 4)
    assert result.evaluation_seconds == 28
    caplog.clear()
    clock.train(data, tmp_path / "run", resume=True)
    assert "Nothing to resume: the run had finished (4 of at most 9 epochs)." in caplog.messages
    assert rows_of(tmp_path / "run") == rows


def test_a_step_longer_than_the_budget_ends_it_after_that_step(
    data: Data, tmp_path: Path, clock: Time
) -> None:
    clock.step = 500.0
    result = clock.train(data, tmp_path / "run", training__accumulate_batches=2)

    assert [row["step"] for row in rows_of(tmp_path / "run")] == [1]
    assert result.model is not None


@pytest.mark.slow
def test_with_a_control_training_stops_after_an_epoch(
    data: Data, tmp_path: Path, clock: Time, caplog: pytest.LogCaptureFixture
) -> None:
    """The control has as many epochs as the model, each of them whole."""
    caplog.set_level(logging.INFO, "rmt_genomics")
    clock.step = 4.0
    clock.train(data, tmp_path / "run", control="memory-reset")

    steps = [row["step"] for row in rows_of(tmp_path / "run")]
    assert steps[-1] % steps[0] == 0
    assert clock.now <= 75
    assert f"training stops after epoch {len(steps)} of " in caplog.text
    assert [row["step"] for row in rows_of(tmp_path / "run/control")] == steps


def test_the_time_of_earlier_sessions_counts(
    data: Data, tmp_path: Path, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.step, clock.validation = 4.0, 1.0
    plain = ClassifierModule.training_step

    def interrupted(self: ClassifierModule, batch: Any, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == (1, 2):
            raise KeyboardInterrupt
        return plain(self, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(ClassifierModule, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            clock.train(data, tmp_path / "run", training__checkpoint_minutes=0)
    saved = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["callbacks"]["TimeBudget"]
    assert saved["seconds"] == clock.now == 7 * 4 + 2
    clock.now += 1e6  # not running
    result = clock.train(data, tmp_path / "run", resume=True, training__checkpoint_minutes=0)

    assert [row["step"] for row in rows_of(tmp_path / "run")] == [5, 10, 15, 16]
    assert result.evaluation_seconds == 28


def test_a_budget_shorter_than_a_step_is_refused_with_the_times(
    data: Data, tmp_path: Path, clock: Time
) -> None:
    message = (
        r"training\.time_budget is '26s': 0\.0 s have passed \(start, reading, measuring\), "
        r"25\.0 s are kept for the evaluation, and about 0\.9 s are left for training, but the "
        r"shortest epoch \(4 examples, .*\) takes about 1\.[34] s\. Give more time, or"
    )
    with pytest.raises(ConfigError, match=message):
        clock.train(data, tmp_path / "run", training__time_budget="26s")
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def rank_with_budget(rank: int, port: int, data: Data, out: Path, options: dict[str, Any]) -> None:
    """Train in one of two processes, of which only the first may measure."""

    def measure(*_: Any, **__: Any) -> Costs:
        assert os.environ["LOCAL_RANK"] == "0"
        return Costs(4.0, 1.0, 1e-6)

    time_budget.measure = measure  # type: ignore[assignment]
    one_of_two(rank, port, data, out, options)


@no_launcher
@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_train_with_the_numbers_that_the_first_settled(
    tmp_path: Path, free_port: int
) -> None:
    data = write_data(tmp_path, num_records=28)
    options = {
        "training__time_budget": "120s",
        "training__max_epochs": 20,
        "training__patience": 99,
    }
    mp.spawn(rank_with_budget, (free_port, data, tmp_path / "two", options), nprocs=2)

    training = read_config(tmp_path / "two/config.toml").training
    assert (training.examples_per_epoch, training.validation_examples) == (5, 4)
    assert len(rows_of(tmp_path / "two")) == training.max_epochs < 20


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*near-duplicates", "ignore:The model has collapsed")
def test_training_evaluation_and_report_on_real_data_end_in_time(
    tmp_path: Path,
) -> None:
    """Other programs may slow it down: what cannot be made smaller then takes longer."""
    folder = Path("data/rrna16s")
    fasta, budget = folder / "rrna16s.fasta.gz", 20
    settings = ["model.preset=tiny", "model.features=none", f"training.time_budget={budget}s"]
    config = read_config(None, settings)
    start, start_of_process = time.monotonic(), time.process_time()

    result = train(fasta, folder / "labels.tsv", tmp_path / "run", config, device="cpu")
    trained_at = time.monotonic() - start
    metrics = evaluate_run(
        tmp_path / "run", fasta, trained=result, max_seconds=result.evaluation_seconds
    )
    write_report(tmp_path / "run")

    taken = time.monotonic() - start
    slowdown = max(1.0, taken / (time.process_time() - start_of_process))
    assert trained_at < budget
    assert taken < budget + 8 * slowdown  # (a suite with coverage: everything is slower)
    assert metrics["mcc"] is not None
