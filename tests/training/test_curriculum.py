"""A curriculum: lengths of each stage, when it ends, and resuming."""

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import Example
from rmt_genomics.dna import Interval, Tokenizer, encode, reverse_complement_codes
from rmt_genomics.errors import ConfigError, RMTGenomicsWarning
from rmt_genomics.training import TrainingResult
from rmt_genomics.training.checkpoints import read_checkpoint
from rmt_genomics.training.config import CurriculumSettings
from rmt_genomics.training.curriculum import (
    Curriculum,
    StagedBuckets,
    StagedDataset,
    part_of,
    stage_lengths_bp,
)
from rmt_genomics.training.module import ClassifierModule
from rmt_genomics.training.optimizer import lr_fraction
from tests.datasets.toys import MemoryStore, dna
from tests.training.toys import run, settings, write_data

LENGTHS = (10, 25, 40, 90)
STRANDS = "+-+-"
STAGES = {"curriculum__segments": "[1, 2, 4]", "curriculum__shorten": "prefix"}


def make_curriculum(stage: int = 0, **changes: Any) -> Curriculum:
    settings = {"segments": (1, 2, 3), "shorten": "prefix", "mix": 0.0, **changes}
    curriculum = Curriculum(CurriculumSettings(**settings), stage_bp=[20, 40, 60])
    for _ in range(stage):
        curriculum.advance(100)
    return curriculum


def make_dataset(
    curriculum: Curriculum, *, copies: int = 1, is_training: bool = True
) -> StagedDataset:
    """Records of LENGTHS; stages of 20, 40 and 60 bp."""
    names = [f"r{copy}_{length}" for copy in range(copies) for length in LENGTHS]
    lengths = LENGTHS * copies
    store = MemoryStore({n: dna(length, length) for n, length in zip(names, lengths, strict=True)})
    examples = [
        Example(Interval(name, 0, length, strand), True, ("a",))  # noqa: FBT003
        for name, length, strand in zip(names, lengths, STRANDS * copies, strict=True)
    ]
    return StagedDataset(
        store,
        examples,
        np.arange(len(examples)),
        curriculum=curriculum,
        seed=3,
        is_training=is_training,
    )


@pytest.mark.parametrize(
    ("stage", "lengths"), [(0, [10, 20, 20, 20]), (1, [10, 25, 40, 40]), (2, [10, 25, 40, 60])]
)
def test_a_stage_shortens_longer_examples(stage: int, lengths: list[int]) -> None:
    dataset = make_dataset(make_curriculum(stage))

    assert dataset.lengths == lengths
    assert [len(dataset[index].codes) for index in range(4)] == lengths


def test_the_remaining_part_is_counted_on_the_strand_of_the_example() -> None:
    whole = [encode(dna(length, length)) for length in LENGTHS]
    read = [
        reverse_complement_codes(codes) if s == "-" else codes
        for codes, s in zip(whole, STRANDS, strict=True)
    ]

    prefix = make_dataset(make_curriculum())
    around = make_dataset(make_curriculum(shorten="around"))

    for index in range(4):
        assert prefix[index].codes.tolist() == read[index][:20].tolist()
    assert around[3].codes.tolist() == read[3][35:55].tolist()
    assert around[1].codes.tolist() == read[1][2:22].tolist()
    assert prefix[3].name == "r0_90"
    assert prefix[3].target == 3


def test_random_windows_differ_from_epoch_to_epoch_but_not_in_validation() -> None:
    dataset = make_dataset(make_curriculum(shorten="random_window"), copies=200)
    fixed = make_dataset(make_curriculum(shorten="random_window"), copies=200, is_training=False)
    windows = {}
    for epoch in (0, 1, 0):
        dataset.begin_epoch(epoch)
        fixed.begin_epoch(epoch)
        windows.setdefault(epoch, (list(dataset.intervals), list(fixed.intervals)))
        assert windows[epoch] == (dataset.intervals, fixed.intervals)

    assert windows[0][0] != windows[1][0]
    assert windows[0][1] == windows[1][1]
    starts = {part.start for part in windows[0][0] if part.record.endswith("_40")}
    assert starts == set(range(21))


def test_examples_of_earlier_stages_are_mixed_in_for_training_only() -> None:
    dataset = make_dataset(make_curriculum(2, mix=0.5), copies=400)
    longest = dataset.lengths[3::4]

    assert {bp: round(longest.count(bp) / 400, 1) for bp in set(longest)} == {
        20: pytest.approx(0.25, abs=0.1),
        40: pytest.approx(0.25, abs=0.1),
        60: 0.5,
    }
    validation = make_dataset(make_curriculum(2, mix=0.5), copies=9, is_training=False)
    assert validation.lengths == [10, 25, 40, 60] * 9


def test_batches_follow_the_stage_and_contain_every_example_once() -> None:
    dataset = make_dataset(make_curriculum(), copies=3)
    buckets = StagedBuckets(dataset, 4, shuffle=True, seed=1)
    for _ in range(3):
        for epoch in (0, 1):
            buckets.set_epoch(epoch)
            batches = list(buckets)
            assert sorted(index for batch in batches for index in batch) == list(range(12))
            assert batches == list(buckets)
        if not dataset.curriculum.is_in_last_stage:
            dataset.curriculum.advance(1)


@given(st.integers(0, 500), st.integers(1, 60), st.sampled_from("+-."), st.data())
def test_a_part_is_a_slice_of_the_example(
    start: int, length: int, strand: str, data: st.DataObject
) -> None:
    store = MemoryStore({"r": dna(600, 1)})
    whole = Interval("r", start, start + length, strand)
    part_bp = data.draw(st.integers(1, length))
    offset = data.draw(st.integers(0, length - part_bp))

    part = part_of(whole, offset, part_bp)

    assert store.codes(part).tolist() == store.codes(whole)[offset : offset + part_bp].tolist()


@given(st.integers(1, 50), st.integers(1, 9), st.integers(1, 6), st.integers(1, 6))
def test_a_stage_fills_its_segments_with_tokens(
    segment_length: int, segments: int, k: int, stride: int
) -> None:
    tokenizer = Tokenizer("kmer", k=k, stride=min(k, stride))

    (length_bp,) = stage_lengths_bp([segments], segment_length, tokenizer)

    assert tokenizer.num_tokens(length_bp) == segments * segment_length


def test_a_stage_ends_when_it_is_learned_or_after_patience() -> None:
    curriculum = make_curriculum(metric="mcc", advance_at=0.8, patience=3)

    assert curriculum.is_stage_finished({"val_mcc": 0.8, "val_accuracy": 0}, 0)
    assert curriculum.is_stage_finished({"val_mcc": 0.0}, 3)
    assert not curriculum.is_stage_finished({"val_mcc": 0.79, "val_accuracy": 1}, 2)
    assert not curriculum.is_stage_finished({"val_mcc": None}, 2)
    assert not make_curriculum(2).is_stage_finished({"val_accuracy": 1.0}, 99)
    assert not Curriculum().is_stage_finished({}, 99)


def test_the_learning_rate_falls_in_the_last_stage_only() -> None:
    def at(step: int, decay_start: int | None) -> float:
        return lr_fraction(step, num_warmup=10, num_steps=100, decay_start=decay_start)

    assert [at(step, None) for step in (0, 9, 50, 99)] == [0.1, 1, 1, 1]
    assert at(60, 60) == 1
    assert at(99, 60) == pytest.approx(0.1)
    assert at(80, 60) == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * 20 / 39)))
    assert at(5, 3) == 0.6
    assert at(50, 0) == lr_fraction(50, num_warmup=10, num_steps=100)
    assert [make_curriculum(stage).last_began_at for stage in range(3)] == [None, None, 100]
    assert Curriculum().last_began_at == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"segments": (2, 2)}, r"segments is \[2, 2\], but must increase from stage to stage"),
        ({"segments": (0,)}, r"segments is \[0\], but must be a list, each element a whole num"),
        ({"segments": (), "mix": 0.2}, "shorten is 'prefix', but has no effect"),
        ({"segments": (), "shorten": "", "mix": 0.5}, "mix is 0.5, but has no effect"),
    ],
)
def test_contradicting_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_curriculum(**settings)


def test_what_remains_of_a_labelled_example_must_be_said() -> None:
    with pytest.raises(ConfigError, match="shorten is not set, but must say which part"):
        settings(curriculum__segments="[1, 2]")


def test_a_metric_of_another_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="metric is 'r2', but must be one of accuracy, mcc"):
        make_curriculum(metric="r2").check("binary", 90)
    make_curriculum(metric="r2").check("regression", 90)
    Curriculum().check("regression", 90)


def test_stages_that_shorten_nothing_are_warned_of() -> None:
    make_curriculum().check("binary", 61)
    make_curriculum().check("binary", 50)  # the last stage may hold everything
    with pytest.warns(RMTGenomicsWarning, match="has 40 bp, so the stages of .* from 2 on"):
        make_curriculum().check("binary", 40)


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Path]:
    return write_data(tmp_path)


@pytest.fixture
def lengths_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, str, int]]]:
    """Record (epoch, step, longest example) of every batch."""
    records: list[tuple[int, str, int]] = []

    def recording(name: str, plain: Any) -> Any:
        def step(self: Any, batch: Any, index: int) -> Any:
            records.append((self.current_epoch, name, int(batch.lengths.max())))
            return plain(self, batch, index)

        return step

    for name in ("training_step", "validation_step"):
        plain = getattr(ClassifierModule, name)
        monkeypatch.setattr(ClassifierModule, name, recording(name, plain))
    return records


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("bp_per_second", "seconds")} for row in rows]


def test_a_run_goes_through_its_stages(
    data: tuple[Path, Path],
    tmp_path: Path,
    lengths_read: list[tuple[int, str, int]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "rmt_genomics")
    result = run(
        data,
        tmp_path / "run",
        training__max_epochs=4,
        curriculum__advance_at=-1.0,
        curriculum__mix=0,
        **STAGES,
    )

    rows = rows_of(tmp_path / "run")
    assert [row["stage"] for row in rows] == [1, 2, 3, 3]
    epochs = [text for text in caplog.messages if text.startswith("epoch ")]
    assert epochs[1].startswith("epoch 2/4  stage 2  train_loss ")
    for name in ("training_step", "validation_step"):
        longest = [
            max(bp for e, n, bp in lengths_read if (e, n) == (epoch, name)) for epoch in range(4)
        ]
        assert longest[:2] == [16, 32]
        assert 32 < longest[2] == longest[3] <= 60
    best = min(rows[2:], key=lambda row: row["val_loss"])
    assert result.metrics["epoch"] == best["epoch"]
    top = [row["learning_rate"] for row in rows]
    assert top[1] == pytest.approx(0.01)
    assert top[3] < 0.005


def test_the_best_model_is_from_the_last_stage(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rising_loss(self: ClassifierModule) -> None:
        self.outputs.clear()
        loss = 1.0 + self.current_epoch
        scores = {"val_mcc": 0.0, "val_accuracy": 1.0, "val_auroc": 1.0}
        self.validation = {"val_loss": loss, **scores}

    monkeypatch.setattr(ClassifierModule, "on_validation_epoch_end", rising_loss)
    result = run(data, tmp_path / "run", training__max_epochs=9, training__patience=2, **STAGES)

    assert [row["stage"] for row in rows_of(tmp_path / "run")] == [1, 2, 3, 3, 3]
    assert result.metrics["epoch"] == 3
    best = read_checkpoint(tmp_path / "run/checkpoints/best.ckpt")
    assert best["epoch"] == 2


def test_an_unfinished_curriculum_is_warned_of(data: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.warns(
        RMTGenomicsWarning,
        match="training ended in stage 1 of 3: no example longer than 1 segment was",
    ):
        run(data, tmp_path / "run", training__max_epochs=1, curriculum__advance_at=2.0, **STAGES)


RESUMED: dict[str, Any] = {
    "training__max_epochs": 6,
    "model__dropout": 0.3,
    "curriculum__segments": "[1, 2, 4]",
    "curriculum__shorten": "random_window",
    "curriculum__mix": 0.4,
    "curriculum__advance_at": 2.0,
    "curriculum__patience": 1,
}
validation_end = ClassifierModule.on_validation_epoch_end


def constant_loss(self: ClassifierModule) -> None:
    validation_end(self)
    self.validation["val_loss"] = 1.0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """A run with a constant validation loss that was not interrupted."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClassifierModule, "on_validation_epoch_end", constant_loss)
        return run(write_data(folder), folder / "run", **RESUMED)


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "batch"), [(1, 2), (2, 0), (4, 1)])
def test_a_resumed_curriculum_equals_one_without_interruption(
    finished: TrainingResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epoch: int,
    batch: int,
) -> None:
    """Stages change after epochs 2 and 4: interrupted within the first, at a change, and later."""
    data, stopped = write_data(tmp_path), tmp_path / "stopped"
    whole = Path(finished.model_dir)
    monkeypatch.setattr(ClassifierModule, "on_validation_epoch_end", constant_loss)
    step = ClassifierModule.training_step

    def interrupted(self: ClassifierModule, inputs: Any, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == (epoch, batch):
            raise KeyboardInterrupt
        return step(self, inputs, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(ClassifierModule, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(data, stopped, **RESUMED)
    resumed = run(data, stopped, resume=True, **RESUMED)

    assert [row["stage"] for row in rows_of(whole)] == [1, 1, 2, 2, 3, 3]
    assert rows_of(stopped) == rows_of(whole)
    for name in ("last", "best"):
        one, other = (
            read_checkpoint(folder / f"checkpoints/{name}.ckpt")["state_dict"]
            for folder in (whole, stopped)
        )
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert resumed.metrics["epoch"] == finished.metrics["epoch"] == 5
