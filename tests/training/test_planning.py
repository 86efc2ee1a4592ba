"""Estimates of a plan: memory within 15%, time within a factor of two of the training."""

import logging
import math
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

from rmt_genomics.errors import DataError, RMTGenomicsWarning
from rmt_genomics.training import planning
from rmt_genomics.training.checkpoints import read_checkpoint
from rmt_genomics.training.config_file import read_config
from rmt_genomics.training.planning import (
    BatchChoice,
    Plan,
    Probe,
    choose_batch,
    peak_bytes,
    plan,
)
from tests.training.toys import run, sequence, settings, write_data

CPU = torch.device("cpu")
LARGER = {
    "model__dim": 16,
    "model__depth": 2,
    "model__segment_length": 32,
    "model__num_memory_tokens": 4,
    "training__max_epochs": 1,
}


def write_long(folder: Path, longest_bp: int) -> tuple[Path, Path]:
    """Write 16 records with lengths up to ``longest_bp``."""
    random = np.random.default_rng(0)
    lengths = [longest_bp, *random.integers(longest_bp // 2, longest_bp, size=15).tolist()]
    records = [f">r{n}\n{sequence(random, 0.5, length)}\n" for n, length in enumerate(lengths)]
    labels = [f"r{n}\t{'ab'[n % 2]}\t{'validation' if n > 11 else 'train'}\n" for n in range(16)]
    (folder / "long.fasta").write_text("".join(records))
    (folder / "labels.tsv").write_text("".join(["record\tlabel\tsplit\n", *labels]))
    return folder / "long.fasta", folder / "labels.tsv"


def make_plan(data: tuple[Path, Path], **changes: Any) -> Plan:
    return plan(data[0], settings(**LARGER, **changes), labels=data[1], device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("longest_bp", "changes"),
    [
        (60, {}),
        (280, {"training__replay": "true"}),
        (280, {"model__pooling": "mean"}),
        (280, {"training__bptt_depth": 2}),
    ],
)
def test_the_peak_memory_is_estimated(
    tmp_path: Path, longest_bp: int, changes: dict[str, Any]
) -> None:
    data = write_long(tmp_path, longest_bp)

    estimate = make_plan(data, **changes).choice.peak
    measured = peak_bytes(lambda: run(data, tmp_path / "run", **LARGER, **changes), CPU)

    assert estimate == pytest.approx(measured, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("longest_bp", "changes"),
    [(280, {"training__replay": "true"}), (60, {})],
)
def test_the_time_of_an_epoch_is_estimated(
    tmp_path: Path, longest_bp: int, changes: dict[str, Any]
) -> None:
    """Times on a busy machine are noisy: one of three attempts must be close."""
    data = write_long(tmp_path, longest_bp)
    ratios = []
    for attempt in range(3):
        options = {**LARGER, **changes, "training__max_epochs": 3}
        estimate = make_plan(data, **changes).epoch_seconds
        row = run(data, tmp_path / f"run{attempt}", **options).metrics
        ratios.append(estimate / float(row["seconds"] or 0))
        if 0.5 < ratios[-1] < 2:
            return
    raise AssertionError(ratios)


def test_peak_bytes_counts_tensors_that_exist_at_the_same_time() -> None:
    kept = torch.zeros(500)

    def compute() -> torch.Tensor:
        first = torch.zeros(1000)
        second = torch.cat([first, first])
        del first
        return second.sum() + kept.sum()

    assert peak_bytes(compute, CPU) == pytest.approx(3 * 4000, abs=200)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("data")
    return plan(write_data(folder)[0], settings(), device="cpu")


def test_the_table_has_lengths_memory_speed_and_recommendations(small: Plan) -> None:
    table = {key: value for key, value, _ in small.rows()}

    assert table["examples"] == "16"
    assert int(table["total_length"]) == sum(small.all_bp)
    bins = {key: int(value) for key, value in table.items() if "_to_" in key}
    short = sum(length < 32 for length in small.all_bp)
    assert bins == {"length_16_to_31": short, "length_32_to_63": 16 - short}
    assert table["segments_most"] == str(math.ceil(max(small.all_bp) / 16))
    assert int(table["train_peak_memory"]) > int(table["train_fixed_memory"]) > 0
    assert int(table["predict_peak_memory"]) > 0
    assert float(table["train_speed"]) > 0
    assert table["batch_size"] == "4"
    assert table["chosen_batch_size"] == "8"
    assert table["chosen_precision"] == "fp32"
    assert len(small.validation_bp) == 3
    assert sorted([*small.train_bp, *small.validation_bp]) == sorted(small.all_bp)


def test_the_summary_recommends_settings(small: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BatchChoice, "speed", lambda choice, _: float(choice.batch_size))
    text = "\n".join(small.summary())
    monkeypatch.setattr(BatchChoice, "speed", lambda *_: 1.0)

    assert "an epoch takes about" in text
    assert "--set training.batch_size=8" in text
    assert "too much" not in text
    assert "training.batch_size" not in "\n".join(small.summary())


def test_labels_of_a_regression_are_split_as_in_training(tmp_path: Path) -> None:
    """28 different numbers: as classes, they could not be split."""
    fasta, labels = write_data(tmp_path, num_records=28)
    rows = "".join(f"r{index}\t{index}\n" for index in range(28))
    labels.write_text(f"record\tlabel\n{rows}")

    result = plan(fasta, settings(data__task="'regression'"), labels=labels, device="cpu")

    assert len(result.train_bp) + len(result.validation_bp) == 28
    assert len(result.validation_bp) >= 5
    assert not any("curriculum" in line for line in result.summary())


def test_graphs_are_measured_for_no_more_examples_than_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    monkeypatch.setattr(Probe, "graphs_that_fit", lambda _, count: rows.append(count) or 1)

    result = plan(write_data(tmp_path)[0], settings(training__batch_size=5000), device="cpu")

    assert rows == [len(result.train_bp)]


def test_the_summary_mentions_earlier_stages(small: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    staged = settings(curriculum__segments="[1, 2]", curriculum__shorten="'prefix'")
    monkeypatch.setattr(small.probe, "config", staged.resolved())
    assert any("earlier stages of the curriculum" in line for line in small.summary())


def test_one_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.fasta").write_text(">r\nACGT\n")

    with pytest.raises(DataError, match="has 1 record, but a training part and a validation part"):
        plan(tmp_path / "one.fasta", settings(), device="cpu")


def set_free_memory(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(planning, "free_bytes", lambda _: free)


def choose_auto(lengths_bp: list[int]) -> BatchChoice:
    return choose_batch(Probe(settings(model__dim=16), CPU), "auto", lengths_bp)


@pytest.mark.slow
def test_fewer_examples_at_a_time_where_a_batch_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lengths = [16] * 40
    plenty = choose_auto(lengths)
    set_free_memory(monkeypatch, int(0.5 * plenty.peak / planning.USABLE_FRACTION))
    little = choose_auto(lengths)
    set_free_memory(monkeypatch, 1)
    nothing = choose_auto(lengths)

    assert (plenty.batch_size, plenty.rows, plenty.fits) == (8, 8, True)
    assert little.batch_size == 8
    assert little.rows in (1, 2, 4)
    assert little.peak <= 0.5 * plenty.peak
    assert (nothing.rows, nothing.fits) == (1, False)


@pytest.mark.slow
def test_a_batch_grows_while_it_is_faster_and_an_epoch_has_enough_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(BatchChoice, "speed", lambda choice, _: float(choice.batch_size))
    sizes = [choose_auto([10] * number).batch_size for number in (5, 799, 800)]
    monkeypatch.setattr(BatchChoice, "speed", lambda *_: 1.0)

    assert sizes == [5, 8, 16]
    assert choose_auto([10] * 800).batch_size == 8


@pytest.mark.slow
def test_a_run_chooses_its_batch_size_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rmt_genomics")
    data = write_data(tmp_path)
    run(data, tmp_path / "run", training__batch_size="auto")

    assert read_config(tmp_path / "run/config.toml").training.batch_size == 8
    assert "training.batch_size auto: 8 examples; a step needs about" in caplog.text
    caplog.clear()
    run(data, tmp_path / "run", training__batch_size="auto", resume=True)
    assert "auto" not in caplog.text  # the batch size is read from the run folder


@pytest.mark.slow
def test_a_run_with_little_memory_computes_fewer_examples_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rmt_genomics")
    set_free_memory(monkeypatch, 1)
    with pytest.warns(RMTGenomicsWarning, match="one example at a time needs about"):
        run(write_data(tmp_path), tmp_path / "run", training__batch_size="auto")

    assert "auto: 8 examples, 1 at a time" in caplog.text
    state = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["micro_batches"]
    assert state == {"rows": 1, "must_replay": False}


def test_a_given_batch_size_is_kept() -> None:
    assert choose_batch(Probe(settings(), CPU), 3, [10] * 20).batch_size == 3


class FakeProbe(Probe):
    """Steps that take 1 s and 0.01 s per bp; 400 fixed bytes, 10 per bp, a tenth of it replayed."""

    def __init__(self, **changes: Any) -> None:  # no model is built
        self.config, self.segment_bp, self.device = settings(**changes), 10, CPU
        self.resting_bytes, self.optimizer, self.step_bytes = 400, MagicMock(), 0

    def train(self, lengths_bp: list[int], replay: object) -> None:
        self.step_bytes = (1 if replay is True else 10) * sum(lengths_bp)

    def seconds(self, run: object, lengths_bp: list[int]) -> float:
        del run
        return 1 + 0.01 * sum(lengths_bp)

    def peak_of(self, lengths_bp: list[int], monkeypatch: pytest.MonkeyPatch) -> float:
        """Return the peak of a training step with the replay of the settings."""
        monkeypatch.setattr(planning, "peak_bytes", lambda run, _: run() or self.step_bytes)
        return self.train_peak(lengths_bp, self.config.training.replay)


def test_times_are_those_of_a_line_through_two_steps() -> None:
    probe = FakeProbe()

    assert planning._train_seconds(probe, [80, 40], [50, 30]) == pytest.approx((1.0, 0.01))
    assert planning._train_seconds(probe, [400, 200], [50, 30]) == pytest.approx((1.0, 0.01))
    assert planning._train_seconds(probe, [40, 40], [40, 40]) == pytest.approx((1.0, 0.01))


def test_peaks_of_long_batches_are_extrapolated(monkeypatch: pytest.MonkeyPatch) -> None:
    full, replayed = FakeProbe(training__replay="false"), FakeProbe(training__replay="true")
    auto = FakeProbe()

    assert full.peak_of([80, 40], monkeypatch) == 400 + 10 * 120  # measured: eight segments
    assert full.peak_of([800, 400], monkeypatch) == pytest.approx(400 + 10 * 1200)
    assert replayed.peak_of([800, 400], monkeypatch) == pytest.approx(400 + 1200)
    set_free_memory(monkeypatch, 4000)
    assert auto.peak_of([800, 400], monkeypatch) == pytest.approx(400 + 1200 + 1000)
    set_free_memory(monkeypatch, 10**9)
    assert auto.peak_of([800, 400], monkeypatch) == pytest.approx(400 + 10 * 1200)


@pytest.mark.parametrize(("seconds_of_quick", "names"), [(8, "default fine"), (7, "quick default")])
def test_a_coarser_proposal_that_saves_little_is_left_out(
    seconds_of_quick: int, names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_plan(write_data(tmp_path), model__stem_pool=4, model__stem_width=3)
    quick = MagicMock(epoch_seconds=lambda _: seconds_of_quick)
    made.choice = MagicMock(epoch_seconds=lambda _: 10)
    monkeypatch.setattr(planning, "choose_batch", lambda *_: quick)

    found = [each.name for each in planning._proposals(made)]

    assert " ".join(found).startswith(names)
