import errno
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmt_genomics import RMTClassifier
from rmt_genomics.datasets import EncodedStore, read_labels
from rmt_genomics.errors import CheckpointError, ConfigError, DataError
from rmt_genomics.prediction.training_range import TrainingRange
from rmt_genomics.training import TrainingResult
from rmt_genomics.training.callbacks import COLUMNS
from rmt_genomics.training.checkpoints import read_checkpoint
from rmt_genomics.training.config_file import read_config
from rmt_genomics.training.module import ClassifierModule
from tests.training.toys import no_log_handlers, run, settings, weights_of, write_data

Data = tuple[Path, Path]


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return write_data(tmp_path)


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Simulate Ctrl-C before a batch; training is unchanged afterwards."""

    def stop(epoch: int, batch: int, action: Any) -> None:
        plain = ClassifierModule.training_step

        def step(self: ClassifierModule, inputs: Any, batch_idx: int) -> Any:
            if (self.current_epoch, batch_idx) == (epoch, batch):
                raise KeyboardInterrupt
            return plain(self, inputs, batch_idx)

        with monkeypatch.context() as patch:
            patch.setattr(ClassifierModule, "training_step", step)
            with pytest.raises(KeyboardInterrupt):
                action()

    return stop


def are_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """Return the rows without times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("bp_per_second", "seconds")} for row in rows]


def test_the_run_folder_contains_model_settings_and_metrics(data: Data, tmp_path: Path) -> None:
    out = tmp_path / "run"

    result = run(data, out)

    assert {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()} == {
        *("config.json", "model.safetensors", "README.md", "config.toml", "split.tsv"),
        *("metrics.jsonl", "metrics.csv", "environment.txt", "leakage.json"),
        "training_range.safetensors",
        *("checkpoints/best.ckpt", "checkpoints/last.ckpt"),
    }
    assert result.model_dir == out
    assert tuple(json.loads((out / "metrics.jsonl").read_text().splitlines()[0])) == COLUMNS
    assert (out / "metrics.csv").read_text().count("\n") == 3
    assert read_config(out / "config.toml") == settings().resolved()
    assert "seed: 0\n" in (out / "environment.txt").read_text()
    training_range = TrainingRange.load(out)
    assert training_range is not None
    assert result.store is not None
    assert result.split is not None
    examples = [result.store.codes(example.interval) for example in result.split.train]
    expected = TrainingRange.fit(examples)
    assert expected is not None
    assert (training_range.gc == expected.gc).all()


def test_the_saved_model_has_the_best_weights(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rising_loss(self: ClassifierModule) -> None:
        self.outputs.clear()
        epoch = self.current_epoch
        scores = {"val_mcc": 0.0, "val_accuracy": 0.5, "val_auroc": 0.5}
        self.validation = {"val_loss": 1.0 + epoch, **scores}

    monkeypatch.setattr(ClassifierModule, "on_validation_epoch_end", rising_loss)
    result = run(data, tmp_path / "run")

    best = read_checkpoint(tmp_path / "run/checkpoints/best.ckpt")["state_dict"]
    saved = RMTClassifier.from_pretrained(tmp_path / "run").state_dict()
    assert are_equal({f"model.{name}": value for name, value in saved.items()}, best)
    assert not are_equal(best, weights_of(tmp_path / "run"))
    assert result.metrics["epoch"] == 1


def test_the_result_has_store_split_scheme_and_the_model_as_saved(
    data: Data, tmp_path: Path
) -> None:
    result = run(data, tmp_path / "run", training__weight_average=0.5, model__dropout=0.3)

    assert result.is_rank_zero
    assert result.store is not None
    assert result.split is not None
    assert result.scheme is not None
    assert result.model is not None
    assert result.store.sha256 == EncodedStore.open(data[0]).sha256
    assert result.scheme.classes == ("poor", "rich")
    written = read_labels(tmp_path / "run/split.tsv", result.store.lengths)
    for part in ("train", "validation", "test"):
        examples = [(e.interval, e.labels) for e in written if e.split == part]
        assert [(e.interval, e.labels) for e in getattr(result.split, part)] == examples
    saved = RMTClassifier.from_pretrained(tmp_path / "run")
    assert result.model.config == saved.config
    assert are_equal(dict(result.model.state_dict()), dict(saved.state_dict()))
    assert [p.requires_grad for p in result.model.parameters()] == [
        p.requires_grad for p in saved.parameters()
    ]
    assert not any(module.training for module in result.model.modules())
    sequences = ["ACGTTGCA" * 9, "GGGC"]
    assert (result.model.predict_proba(sequences) == saved.predict_proba(sequences)).all()


@pytest.mark.slow
def test_training_learns(data: Data, tmp_path: Path) -> None:
    result = run(data, tmp_path / "run", training__max_epochs=16, training__learning_rate=0.02)

    assert result.metrics["val_accuracy"] == 1
    random = np.random.default_rng(9)
    model = RMTClassifier.from_pretrained(result.model_dir)
    assert model.predict(["GC" * 20, "AT" * 20, "".join(random.choice(list("GC"), 30))]) == [
        "rich",
        "poor",
        "rich",
    ]


def test_the_split_is_written_as_a_labels_file(data: Data, tmp_path: Path) -> None:
    run(data, tmp_path / "run")

    lengths = EncodedStore.open(data[0]).lengths
    used = read_labels(tmp_path / "run/split.tsv", lengths)
    given = read_labels(data[1], lengths)
    assert {(example.interval, example.labels) for example in used} == {
        (example.interval, example.labels) for example in given
    }
    assert {example.split for example in used} == {"train", "validation"}


def test_any_column_can_be_the_group(data: Data, tmp_path: Path) -> None:
    lines = data[1].read_text().splitlines()
    genus = [f"{line}\tg{number // 2}" for number, line in enumerate(lines[1:])]
    data[1].write_text("\n".join([f"{lines[0]}\tgenus", *genus]) + "\n")

    run(data, tmp_path / "run", data__group="genus")

    used = read_labels(tmp_path / "run/split.tsv", EncodedStore.open(data[0]).lengths)
    parts = {
        group: {e.split for e in used if e.group == group} for group in {e.group for e in used}
    }
    assert len(parts) == 8
    assert all(len(splits) == 1 for splits in parts.values())


def test_a_missing_group_column_is_reported(data: Data, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"labels\.tsv:1: the header lacks 'genus', but data\.group"
    ):
        run(data, tmp_path / "run", data__group="genus")

    assert not (tmp_path / "run").exists()


def test_several_labels_per_record_are_learned(data: Data, tmp_path: Path) -> None:
    text = (
        data[1].read_text().replace("r3\trich", "r3\trich;odd").replace("r5\trich", "r5\trich;odd")
    )
    data[1].write_text(text)

    result = run(data, tmp_path / "run", training__max_epochs=1)

    model = RMTClassifier.from_pretrained(result.model_dir)
    assert (model.classes_, model.config.task) == (("odd", "poor", "rich"), "multilabel")


@pytest.mark.parametrize(
    "changes",
    [
        {"training__precision": "bf16"},
        {"training__replay": "true", "training__bptt_depth": 1},
        {"training__accumulate_batches": 3, "training__gradient_clip": 0},
        {"training__class_weights": "none", "training__weight_decay": 0.0},
        {"tokenizer__kind": "kmer", "tokenizer__k": 3, "tokenizer__stride": 2},
        {"model__memory_gate": "true", "model__pooling": "mean", "model__strand_head": "symmetric"},
    ],
)
def test_settings_work_together(data: Data, tmp_path: Path, changes: dict[str, Any]) -> None:
    result = run(data, tmp_path / "run", training__max_epochs=1, **changes)

    assert np.isfinite(result.metrics["val_loss"])


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    data: Data, tmp_path: Path
) -> None:
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        run(data, tmp_path / name, seed=seed, training__max_epochs=1, model__dropout=0.2)

    assert are_equal(weights_of(tmp_path / "one"), weights_of(tmp_path / "same"))
    assert not are_equal(weights_of(tmp_path / "one"), weights_of(tmp_path / "other"))


@pytest.fixture(scope="module")
def unbalanced(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Four examples of one class, twelve of the other."""
    fasta, labels = write_data(tmp_path_factory.mktemp("unbalanced"))
    lines = labels.read_text().splitlines()
    poor = [
        line.replace("rich", "poor") if int(line.split()[0][1:]) > 7 else line for line in lines[1:]
    ]
    labels.write_text("\n".join([lines[0], *poor]) + "\n")
    return fasta, labels


@pytest.fixture(scope="module")
def plain_weights(
    unbalanced: Data, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, torch.Tensor]:
    out = tmp_path_factory.mktemp("plain") / "run"
    run(unbalanced, out, training__max_epochs=1)
    return weights_of(out)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.learning_rate", 0.001),
        ("training.batch_size", 3),
        ("training.accumulate_batches", 2),
        ("training.precision", "bf16"),
        ("training.bptt_depth", 1),
        ("training.weight_decay", 0.5),
        ("training.warmup_fraction", 0.9),
        ("training.gradient_clip", 0.01),
        ("training.class_weights", "none"),
        ("training.weight_average", 0.9),
        ("training.shift_bp", 3),
        ("model.stem_pool", 2),
        ("model.dropout", 0.5),
        ("model.memory_reset", "segment"),
        ("model.features", "kmer:2"),
        ("model.features", "stranded-kmer:2"),
        ("model.features", "protein:1"),
        ("model.features", "wide:2,5"),
        ("data.validation_fraction", 0.4),
    ],
)
def test_no_setting_is_ignored(
    unbalanced: Data,
    plain_weights: dict[str, torch.Tensor],
    tmp_path: Path,
    key: str,
    value: object,
) -> None:
    changes = {"training__max_epochs": 1, key.replace(".", "__"): value}

    run(unbalanced, tmp_path / "run", **changes)

    assert not are_equal(weights_of(tmp_path / "run"), plain_weights)


@pytest.mark.parametrize("replay", ["true", "false"])
def test_replay_does_not_change_the_weights(
    unbalanced: Data, plain_weights: dict[str, torch.Tensor], tmp_path: Path, replay: str
) -> None:
    run(unbalanced, tmp_path / "run", training__max_epochs=1, training__replay=replay)

    torch.testing.assert_close(weights_of(tmp_path / "run"), plain_weights, rtol=1e-3, atol=1e-5)


def test_each_epoch_reads_every_example_once_in_a_new_order(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: dict[int, list[str]] = {}
    plain = ClassifierModule.training_step

    def step(self: ClassifierModule, batch: Any, batch_idx: int) -> Any:
        orders.setdefault(self.current_epoch, []).extend(batch.names)
        return plain(self, batch, batch_idx)

    monkeypatch.setattr(ClassifierModule, "training_step", step)
    run(data, tmp_path / "run", training__max_epochs=3)

    used = read_labels(tmp_path / "run/split.tsv", EncodedStore.open(data[0]).lengths)
    train = sorted(example.interval.record for example in used if example.split == "train")
    assert [sorted(order) for order in orders.values()] == [train] * 3
    assert len({tuple(order) for order in orders.values()}) == 3


RANDOM: dict[str, Any] = {
    "model__dropout": 0.3,
    "training__weight_average": 0.7,
    "training__max_epochs": 3,
    "seed": 5,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """A run with random numbers that was not interrupted."""
    folder = tmp_path_factory.mktemp("finished")
    return run(write_data(folder), folder / "run", **RANDOM)


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "batch"), [(1, 0), (1, 1), (0, 1)])
def test_a_resumed_run_equals_one_without_interruption(
    data: Data, tmp_path: Path, stop_at: Any, finished: TrainingResult, epoch: int, batch: int
) -> None:
    whole, stopped = Path(finished.model_dir), tmp_path / "stopped"

    stop_at(epoch, batch, lambda: run(data, stopped, **RANDOM))
    epochs_before = len(rows_of(stopped))
    resumed = run(data, stopped, resume=True, **RANDOM)

    assert epochs_before == epoch
    assert are_equal(weights_of(stopped), weights_of(whole))
    assert (stopped / "model.safetensors").read_bytes() == (
        whole / "model.safetensors"
    ).read_bytes()
    assert rows_of(stopped) == rows_of(whole)
    assert resumed.metrics["epoch"] == finished.metrics["epoch"]


@pytest.mark.slow
@pytest.mark.parametrize(("accumulate", "stop", "resumes_at"), [(1, 2, 2), (2, 3, 2), (2, 1, 0)])
def test_checkpoints_within_an_epoch_are_resumed_at_their_batch(
    data: Data,
    tmp_path: Path,
    stop_at: Any,
    monkeypatch: pytest.MonkeyPatch,
    accumulate: int,
    stop: int,
    resumes_at: int,
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    options: dict[str, Any] = {**RANDOM, "training__shift_bp": 2, "training__batch_size": 2}
    options["training__accumulate_batches"] = accumulate
    run(data, whole, training__checkpoint_minutes=0, **options)
    steps: list[tuple[int, int]] = []
    plain = ClassifierModule.training_step

    def step(self: ClassifierModule, batch: Any, batch_idx: int) -> Any:
        steps.append((self.current_epoch, batch_idx))
        return plain(self, batch, batch_idx)

    stop_at(1, stop, lambda: run(data, stopped, training__checkpoint_minutes=0, **options))
    monkeypatch.setattr(ClassifierModule, "training_step", step)
    run(data, stopped, training__checkpoint_minutes=0, resume=True, **options)

    num_batches = max(batch for _, batch in steps) + 1
    rest = [(1, batch) for batch in range(resumes_at, num_batches)]
    assert steps == rest + [(2, batch) for batch in range(num_batches)]
    assert num_batches > 4
    assert are_equal(weights_of(stopped), weights_of(whole))
    assert rows_of(stopped) == rows_of(whole)
    assert (stopped / "model.safetensors").read_bytes() == (
        whole / "model.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_a_resumed_run_with_other_random_numbers_differs(
    data: Data,
    tmp_path: Path,
    stop_at: Any,
    finished: TrainingResult,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop_at(1, 0, lambda: run(data, tmp_path / "stopped", **RANDOM))

    monkeypatch.setattr("rmt_genomics.training.module.batch_seed", lambda *_: 99)
    run(data, tmp_path / "stopped", resume=True, **RANDOM)

    assert not are_equal(weights_of(tmp_path / "stopped"), weights_of(Path(finished.model_dir)))


def test_resuming_a_finished_run_changes_nothing(data: Data, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(data, out, training__max_epochs=1)
    before = {name: (out / name).read_bytes() for name in ("model.safetensors", "metrics.jsonl")}

    run(data, out, training__max_epochs=1, resume=True)

    assert {name: (out / name).read_bytes() for name in before} == before


@pytest.mark.slow
def test_resuming_removes_half_a_line_and_an_unfinished_epoch(
    data: Data, tmp_path: Path, stop_at: Any
) -> None:
    out = tmp_path / "run"
    stop_at(1, 0, lambda: run(data, out))
    for name in ("metrics.jsonl", "metrics.csv"):
        with (out / name).open("a") as file:
            file.write('{"epoch": 2, "st')

    run(data, out, resume=True)

    assert [row["epoch"] for row in rows_of(out)] == [1, 2]
    assert len((out / "metrics.csv").read_text().splitlines()) == 3


def test_resuming_with_other_settings_seed_or_sequences_is_refused(
    data: Data, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(data, out, training__max_epochs=1)

    with pytest.raises(
        ConfigError, match=r"config\.toml: training\.batch_size was 4 when .* now 2"
    ):
        run(data, out, training__max_epochs=1, training__batch_size=2, resume=True)
    with pytest.raises(CheckpointError, match=r"made with seed 0, .* now 7\. Pass --seed 0"):
        run(data, out, training__max_epochs=1, resume=True, seed=7)
    data[0].write_text(data[0].read_text() + "A")
    with pytest.raises(
        CheckpointError, match="the FASTA file differs from the one the run started"
    ):
        run(data, out, training__max_epochs=1, resume=True)


@pytest.mark.slow
def test_a_finished_run_goes_on_with_more_epochs(
    data: Data, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "run"
    run(data, out, training__max_epochs=2)
    before = rows_of(out)

    caplog.set_level("INFO")
    run(data, out, training__max_epochs=4, resume=True)

    rows = rows_of(out)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[:2] == before
    assert "training.max_epochs was 2 and is now 4" in caplog.text
    assert "max_epochs = 4" in (out / "config.toml").read_text()
    # From there on the learning rate is that of a run of four epochs.
    whole = tmp_path / "whole"
    run(data, whole, training__max_epochs=4)
    rates = [[row["learning_rate"] for row in rows_of(folder)] for folder in (out, whole)]
    assert rates[0][2:] == rates[1][2:]
    assert rates[0][1] < rates[1][1]
    with pytest.raises(ConfigError, match=r"training\.max_epochs was 4 when .* now 3"):
        run(data, out, training__max_epochs=3, resume=True)


def test_resuming_with_other_labels_is_refused(data: Data, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(data, out, training__max_epochs=1)
    data[1].write_text(data[1].read_text().replace("r0\tpoor", "r0\trich"))

    with pytest.raises(CheckpointError, match="the examples or their split differ from those"):
        run(data, out, training__max_epochs=1, resume=True)


def test_a_checkpoint_of_another_program_is_refused(data: Data, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(data, out, training__max_epochs=1)
    torch.save({"state_dict": {}}, out / "checkpoints/last.ckpt")

    with pytest.raises(CheckpointError, match=r"last\.ckpt: does not say which run it is from"):
        run(data, out, training__max_epochs=1, resume=True)


@pytest.mark.slow
def test_training_stops_when_the_validation_loss_no_longer_falls(
    data: Data, tmp_path: Path
) -> None:
    options = {"training__max_epochs": 30, "training__patience": 1, "training__learning_rate": 1.0}

    run(data, tmp_path / "run", **options)
    stopped_after = rows_of(tmp_path / "run")
    run(data, tmp_path / "run", resume=True, **options)

    assert len(stopped_after) < 30
    assert stopped_after[-1]["val_loss"] >= min(row["val_loss"] for row in stopped_after)
    assert rows_of(tmp_path / "run") == stopped_after


def test_a_loss_that_is_not_finite_stops_the_run(data: Data, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"epoch 1, step \d+ \(r\d+, .*must be a finite number"):
        run(data, tmp_path / "run", training__learning_rate=1e29, training__gradient_clip=0)

    assert not (tmp_path / "run/model.safetensors").exists()


@pytest.mark.parametrize("times", [0, 1])
def test_a_full_disk_is_reported_and_the_last_checkpoint_remains(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    out, sync, synced = tmp_path / "run", os.fsync, []

    def disk_full(file: int) -> None:
        where = Path(f"/proc/self/fd/{file}").resolve().name if Path("/proc").exists() else ""
        if "last.ckpt" in where:
            synced.append(where)
            if len(synced) > times:
                raise OSError(errno.ENOSPC, "No space left on device")
        sync(file)

    monkeypatch.setattr("rmt_genomics.atomic_io.os.fsync", disk_full)
    with pytest.raises(DataError, match=r"run: no space is left on the disk, but .* --resume"):
        run(data, out)

    assert (out / "checkpoints/last.ckpt").exists() is bool(times)
    assert not list(out.rglob(".*"))


def test_without_log_handlers_epochs_go_to_stderr_and_nothing_to_stdout(
    data: Data, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("rmt_genomics")
    with no_log_handlers():
        run(data, tmp_path / "run")

    printed = capfd.readouterr()
    assert printed.out == ""
    first, *epochs = printed.err.splitlines()
    assert first == "training: at most 2 epochs, 3 batches each"
    assert [line.split("  ")[0] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    assert (logger.handlers, logger.level) == ([], logging.NOTSET)


def test_a_program_that_configures_logging_gets_the_epochs_only_there(
    data: Data,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with caplog.at_level(logging.INFO, "rmt_genomics"):
        run(data, tmp_path / "run")

    first, *epochs = caplog.messages
    assert first == "training: at most 2 epochs, 3 batches each"
    assert [line.split("  ")[0] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    assert capfd.readouterr().err == ""


def test_a_folder_in_use_is_not_changed(data: Data, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.toml").write_text("mine")

    with pytest.raises(DataError, match="the folder is not empty"):
        run(data, tmp_path / "run")

    assert [file.read_text() for file in (tmp_path / "run").iterdir()] == ["mine"]


def test_overwrite_replaces_an_earlier_run_and_keeps_other_files(
    data: Data, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(data, out, training__max_epochs=2)
    (out / "notes.txt").write_text("mine")

    run(data, out, training__max_epochs=1, overwrite=True)

    assert [row["epoch"] for row in rows_of(out)] == [1]
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("record\tlabel\nr0\tpoor\n", "records"),
        ("record\tlabel\n" + "".join(f"r{i}\tpoor\n" for i in range(16)), "at least two classes"),
        ("record\tlabel\tsplit\n" + "".join(f"r{i}\tc{i % 2}\ttest\n" for i in range(16)), "train"),
    ],
)
def test_wrong_labels_fail_before_anything_is_written(
    data: Data, tmp_path: Path, labels: str, message: str
) -> None:
    data[1].write_text(labels)

    with pytest.raises(DataError, match=message):
        run(data, tmp_path / "run")

    assert not (tmp_path / "run").exists()


def test_missing_labels_are_reported_before_the_fasta_is_read(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data[1].unlink()
    monkeypatch.setattr(
        "rmt_genomics.training.data_module.open_sequences",
        lambda *_, **__: pytest.fail("the FASTA file was read"),
    )

    with pytest.raises(DataError, match=r"labels\.tsv: there is no such file"):
        run(data, tmp_path / "run")


def test_sequences_without_a_known_base_are_refused(tmp_path: Path) -> None:
    fasta, labels = write_data(tmp_path)
    lines = fasta.read_text().splitlines()
    text = "\n".join(line if line[0] == ">" else "N" * len(line) for line in lines)
    fasta.write_text(text + "\n")

    with pytest.raises(DataError, match=r"none of the 12 training examples has a known base"):
        run((fasta, labels), tmp_path / "run")
    assert not (tmp_path / "run").exists()
