"""Checkpoints within an epoch: when they are written, and which of them can be resumed."""

import os
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer

from rmt_genomics.errors import CheckpointError
from rmt_genomics.rmt import SegmentTransformer
from rmt_genomics.training import checkpoints
from rmt_genomics.training.checkpoints import CheckpointCallback, read_checkpoint
from rmt_genomics.training.module import ClassifierModule
from tests.training.toys import run, write_data

Data = tuple[Path, Path]
OPTIONS: dict[str, Any] = {"training__max_epochs": 2, "training__batch_size": 2}


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return write_data(tmp_path)


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Record the epoch and the optimiser step of each saved checkpoint."""
    records: list[tuple[int, int]] = []
    plain = CheckpointCallback._save

    def save(self: CheckpointCallback, trainer: Trainer) -> None:
        records.append((trainer.current_epoch, trainer.global_step))
        plain(self, trainer)

    monkeypatch.setattr(CheckpointCallback, "_save", save)
    return records


@pytest.mark.parametrize(("minutes", "steps"), [(1, [3, 6]), (10, [6])])
def test_a_checkpoint_is_written_after_the_minutes_in_the_settings(
    data: Data,
    tmp_path: Path,
    saved: list[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
    minutes: int,
    steps: list[int],
) -> None:
    clock = {"now": 0.0}
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: clock["now"])
    plain = ClassifierModule.training_step

    def twenty_seconds(self: ClassifierModule, batch: Any, batch_idx: int) -> Any:
        clock["now"] += 20
        return plain(self, batch, batch_idx)

    monkeypatch.setattr(ClassifierModule, "training_step", twenty_seconds)
    run(data, tmp_path / "run", **OPTIONS, training__checkpoint_minutes=minutes)

    first_epoch = [step for epoch, step in saved if epoch == 0]
    assert first_epoch == steps


SEGMENTS: dict[str, Any] = {"training__replay": "true", "model__segment_length": 10}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Return the folder of a run that steps after so many batches."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    data = write_data(folder)

    @cache
    def train(batches_per_step: int) -> Path:
        out = folder / str(batches_per_step)
        options = {**OPTIONS, **SEGMENTS, "training__accumulate_batches": batches_per_step}
        run(data, out, **options)
        return out

    return train


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to catch")
@pytest.mark.parametrize(
    ("batches_per_step", "run_of_segment", "batch", "lost"),
    [(1, "first", 2, 0), (1, "second", 2, 0), (1, "first", 0, 0), (2, "first", 3, 1)],
)
def test_sigterm_stops_within_a_step_and_loses_no_earlier_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    uninterrupted: Callable[[int], Path],
    batches_per_step: int,
    run_of_segment: str,
    batch: int,
    lost: int,
) -> None:
    """The signal comes in the first segment that is run, or is run again by replay."""
    whole, stopped = uninterrupted(batches_per_step), tmp_path / "stopped"
    data = write_data(tmp_path)
    options = {**OPTIONS, **SEGMENTS, "training__accumulate_batches": batches_per_step}
    plain, calls = SegmentTransformer.forward, []
    plain_step, now = ClassifierModule.training_step, []

    def step(self: ClassifierModule, batch: Any, batch_idx: int) -> Any:
        now[:] = [(self.current_epoch, batch_idx)]
        return plain_step(self, batch, batch_idx)

    def forward(self: SegmentTransformer, *arguments: Any, **more: Any) -> Any:
        if now == [(1, batch)] and torch.is_grad_enabled() == (run_of_segment == "second"):
            if not calls:
                os.kill(os.getpid(), signal.SIGTERM)
            calls.append(now)
        return plain(self, *arguments, **more)

    monkeypatch.setattr(checkpoints, "_SHORT_STEP", 0)
    with monkeypatch.context() as patched:
        patched.setattr(ClassifierModule, "training_step", step)
        patched.setattr(SegmentTransformer, "forward", forward)
        with pytest.raises(SystemExit) as ended:
            run(data, stopped, **options)
    saved = read_checkpoint(stopped / "checkpoints/last.ckpt")
    run(data, stopped, resume=True, **options, training__checkpoint_minutes=3)

    steps_an_epoch = read_checkpoint(whole / "checkpoints/last.ckpt")["global_step"] // 2
    assert ended.value.code == 128 + signal.SIGTERM
    assert len(calls) == 1
    epoch = 1 if batch else 0  # the checkpoint of its end
    assert saved["global_step"] == steps_an_epoch + (batch - lost) // batches_per_step
    assert saved["epoch"] >= epoch
    assert (whole / "model.safetensors").read_bytes() == (
        stopped / "model.safetensors"
    ).read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to catch")
def test_sigterm_in_a_short_step_stops_at_its_end(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint in memory after each step of a few milliseconds would make them slower."""
    plain = ClassifierModule.training_step

    def step(self: ClassifierModule, batch: Any, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == (0, 2):
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, batch, batch_idx)

    monkeypatch.setattr(checkpoints, "_SHORT_STEP", 99)
    monkeypatch.setattr(ClassifierModule, "training_step", step)
    with pytest.raises(SystemExit):
        run(data, tmp_path / "run", **OPTIONS)

    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["global_step"] == 3


def test_a_checkpoint_that_cannot_be_resumed_exactly_is_refused(data: Data, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(data, out, **OPTIONS)
    last = out / "checkpoints/last.ckpt"
    checkpoint = read_checkpoint(last)
    del checkpoint["epoch_loss"]
    torch.save(checkpoint, last)

    with pytest.raises(CheckpointError, match=r"last\.ckpt: .* or is of an earlier version"):
        run(data, out, resume=True, **OPTIONS)
