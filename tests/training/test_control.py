"""A control is trained like its model, but without memory, and stops with it."""

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytorch_lightning.utilities.exceptions import SIGTERMException

from rmt_genomics import RMTClassifier
from rmt_genomics.datasets import LabelSource
from rmt_genomics.errors import ConfigError, RMTGenomicsWarning
from rmt_genomics.training import ExperimentConfig, TrainingResult, train
from rmt_genomics.training.callbacks import MetricsLogger
from rmt_genomics.training.config_file import read_config
from rmt_genomics.training.control import Control, ModelProgress, TrainingJob, _name_of
from rmt_genomics.training.distributed import DistributedSetup, num_cores
from rmt_genomics.training.module import ClassifierModule
from rmt_genomics.training.run_folder import RunFolder
from rmt_genomics.training.train import run_training
from tests.cli.toys import succeed
from tests.model.encoders import save_encoder
from tests.training import test_pretraining
from tests.training.test_train import are_equal, rows_of
from tests.training.toys import TINY, run, settings, weights_of, write_data

Data = tuple[Path, Path]
STAGES = {
    "curriculum__segments": [1, 2],
    "curriculum__shorten": "prefix",
    "curriculum__advance_at": 2.0,  # never reached
    "curriculum__patience": 99,
}


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return write_data(tmp_path)


def job(data: Data, out: Path, config: ExperimentConfig, *, resume: bool = False) -> TrainingJob:
    labels = LabelSource.of(data[1])
    flags = {"resume": resume, "overwrite": False, "strict": False}
    return TrainingJob(
        fasta=data[0], labels=labels, out=out, config=config, device="cpu", seed=0, **flags
    )


def follow(
    data: Data, out: Path, model: ModelProgress, *, resume: bool = False, **changes: Any
) -> TrainingResult:
    """Train a control beside a model of this progress."""
    config = settings(model__memory_reset="segment", training__max_epochs=4, **changes)
    return run_training(job(data, out, config, resume=resume), DistributedSetup(), follows=model)


def rising_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ClassifierModule.on_validation_epoch_end

    def rising(self: ClassifierModule) -> None:
        plain(self)
        self.validation["val_loss"] = 1.0 + self.current_epoch

    monkeypatch.setattr(ClassifierModule, "on_validation_epoch_end", rising)


def test_a_control_trains_for_as_many_epochs_as_its_model(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rising_loss(monkeypatch)  # by itself it would stop after two epochs

    follow(data, tmp_path / "run", ModelProgress([0, 0, 0], is_finished=True), training__patience=1)

    assert len(rows_of(tmp_path / "run")) == 3


def test_a_control_changes_its_stage_with_its_model(data: Data, tmp_path: Path) -> None:
    follow(data, tmp_path / "run", ModelProgress([0, 1, 1, 1], is_finished=True), **STAGES)

    assert [row["stage"] for row in rows_of(tmp_path / "run")] == [1, 2, 2, 2]


def test_a_control_that_is_stopped_while_it_waits_resumes_as_if_it_had_not_been(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = ModelProgress([0, 1, 1], is_finished=True)
    plain = ModelProgress.stage_of

    def stop_at_1(self: ModelProgress, epoch: int, *options: Any) -> int | None:
        if epoch == 1:
            raise KeyboardInterrupt
        return plain(self, epoch, *options)

    with monkeypatch.context() as patch:
        patch.setattr(ModelProgress, "stage_of", stop_at_1)
        with pytest.raises(KeyboardInterrupt):
            follow(data, tmp_path / "stopped", ModelProgress([0]), **STAGES)
    follow(data, tmp_path / "stopped", finished, resume=True, **STAGES)
    follow(data, tmp_path / "whole", finished, **STAGES)

    assert rows_of(tmp_path / "stopped") == rows_of(tmp_path / "whole")
    assert are_equal(weights_of(tmp_path / "stopped"), weights_of(tmp_path / "whole"))


def test_the_wait_for_the_model_ends_with_its_report_or_a_signal() -> None:
    progress = ModelProgress([0])

    with pytest.raises(SIGTERMException):
        progress.stage_of(1, lambda: True)
    progress.update([0, 2], is_finished=True)
    assert progress.stage_of(1, lambda: False) == 2
    assert progress.stage_of(2, lambda: False) is None


class Recorded(Control):
    """A control that trains nothing and keeps what it is told."""

    made: "list[Recorded]" = []  # noqa: RUF012

    def _start(self) -> None:
        self.reports: list[Any] = []
        self._connection: Any = SimpleNamespace(send=self.reports.append)
        self._relay = SimpleNamespace(join=lambda: None)
        self._process: Any = SimpleNamespace(terminate=lambda: self.reports.append("stop"))
        self.made.append(self)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    monkeypatch.setattr(sys.modules[run_training.__module__], "Control", Recorded)
    monkeypatch.setattr("rmt_genomics.training.control.num_cores", lambda: 2)
    monkeypatch.setattr(Recorded, "made", [])
    return Recorded.made


def test_the_control_has_the_settings_of_the_model_and_hears_of_its_epochs(
    data: Data, tmp_path: Path, recorded: list[Recorded]
) -> None:
    out = tmp_path / "run"
    run(data, out, control="memory-reset", seed=5, **{**STAGES, "curriculum__advance_at": 0.0})

    (control,) = recorded
    stored = read_config(out / "config.toml")
    assert control.job.config.model.memory_reset == "segment"
    assert control.job.config.replace(model=stored.model) == stored
    assert (control.job.seed, control.job.out) == (5, out / "control")
    stages = [row["stage"] - 1 for row in rows_of(out)]
    *begun, (_, is_finished) = control.reports
    assert {(tuple(stages[: n + 1]), False) for n in range(len(stages))} == set(begun)
    assert control.reports[-1] == (tuple(stages), True)
    assert is_finished


def test_a_model_that_fails_stops_its_control(
    data: Data, tmp_path: Path, recorded: list[Recorded]
) -> None:
    with pytest.raises(ConfigError, match="but must be a finite number"):
        run(
            data,
            tmp_path / "run",
            control="memory-reset",
            training__learning_rate=1e29,
            training__gradient_clip=0,
        )

    assert recorded[0].reports[-1] == "stop"


def test_without_a_second_core_the_control_is_trained_afterwards(
    data: Data, tmp_path: Path, recorded: list[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rmt_genomics.training.control.num_cores", lambda: 1)

    run(data, tmp_path / "run", control="memory-reset")

    assert recorded[0].reports == [((0, 0), True)]


def test_a_resumed_run_continues_its_control_until_that_has_finished(
    data: Data, tmp_path: Path, recorded: list[Recorded], caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "run"
    run(data, out, control="memory-reset")
    control = tmp_path / "run" / "control"
    control.mkdir()
    config = (out / "config.toml").read_text().replace('"never"', '"segment"')
    (control / "config.toml").write_text(config)
    (control / "environment.txt").write_text("rmt-genomics: 1\n")

    run(data, out, resume=True)
    for name in ("config.json", "model.safetensors"):
        (control / name).write_text("")
    run(data, out, resume=True)
    with caplog.at_level(logging.INFO, "rmt_genomics"):
        run(data, out, resume=True, control="memory-reset")

    assert [each.job.resume for each in recorded] == [False, True]
    assert "control: Nothing to resume: it had finished." in caplog.messages


def test_an_overwritten_run_loses_its_control_too(data: Data, tmp_path: Path) -> None:
    out = tmp_path / "run"
    control = out / "control"
    (control / "checkpoints").mkdir(parents=True)
    for folder in (out, control):
        (folder / "environment.txt").write_text("rmt-genomics: 1\n")
    (control / "model.safetensors").write_text("old")
    (control / "notes.txt").write_text("mine")

    run(data, out, overwrite=True)

    assert [path.name for path in control.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("option", ["resume", "overwrite"])
def test_a_control_that_is_not_proved_to_be_ours_is_not_touched(
    data: Data, tmp_path: Path, option: str
) -> None:
    out, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    run(data, out)
    (out / "control").mkdir()
    (out / "control" / "metrics.json").write_text("mine")

    with pytest.raises(ConfigError, match=r"control/metrics\.json: would be replaced, but no con"):
        run(data, out, **{option: True})
    (out / "control").rename(elsewhere)
    (elsewhere / "environment.txt").write_text("rmt-genomics: 1\n")
    (out / "control").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="control: is a link, but only what is in"):
        run(data, out, **{option: True})

    assert (elsewhere / "metrics.json").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        ({"name": "none"}, {}, "control is 'none', but must be 'memory-reset' or 'random-weights'"),
        ({}, {"model__memory_reset": "segment"}, "so the model has no memory, but --control"),
        (
            {"distributed": DistributedSetup(2)},
            {},
            r"needs one process, but --devices 2 and --num-nodes 1 start 2\. Train the control "
            r"with .* --set model\.memory_reset=segment --out .*run/control instead of --control",
        ),
    ],
)
def test_a_control_that_cannot_be_is_refused(
    tmp_path: Path, options: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    arguments = {"name": "memory-reset", "distributed": DistributedSetup(), **options}
    config = settings(**changes)
    paths = tmp_path / "a.fa", tmp_path / "labels.tsv"

    with pytest.raises(ConfigError, match=message):
        Control.of(
            job=job(paths, tmp_path / "run", config), config=config, device="cpu", **arguments
        )


class Ended(BaseProcess):
    """A process that has ended with this exit code."""

    def __init__(self, code: int) -> None:
        self.code = code

    def join(self, timeout: float | None = None) -> None:
        """It has ended."""

    @property
    def exitcode(self) -> int:
        return self.code


def received(messages: list[Any], exitcode: int = 0) -> Control:
    """Return a control that has received these messages from its process."""
    paths = Path("a.fa"), Path("labels.tsv")
    control = Control("memory-reset", job(paths, Path("run"), settings()), "cpu", is_parallel=True)
    ours, theirs = multiprocessing.Pipe()
    for message in messages:
        theirs.send(message)
    theirs.close()
    process = Ended(exitcode)
    control._receive(ours, process)
    control._relay = SimpleNamespace(join=lambda: None)  # type: ignore[assignment]
    control._process = process
    return control


def test_messages_and_warnings_of_the_control_say_that_they_are_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "rmt_genomics"):
        control = received(
            [
                ("log", (logging.INFO, "epoch 1/2")),
                ("warning", "odd"),
                ("warning", "odd"),
                ("end", None),
            ]
        )
    metrics = MetricsLogger(RunFolder(Path("run")))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RMTGenomicsWarning)
        error = control.finish(metrics)

    assert error is None
    assert "control: epoch 1/2" in caplog.messages
    assert [str(each.message) for each in caught] == ["control: odd"]


@pytest.mark.parametrize(
    ("messages", "exitcode", "cause"),
    [
        ([("end", "the loss is nan")], 0, "the loss is nan"),
        ([], -9, "its process has ended with exit code -9 (negative: killed by this signal), but"),
    ],
)
def test_a_failed_control_is_reported_with_its_cause(
    messages: list[Any], exitcode: int, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    control = received(messages, exitcode)

    assert control.error is not None
    assert cause in control.error
    assert f"run/control: the control has failed: {cause}" in caplog.text


def command(data: Data, out: Path, *options: str) -> subprocess.Popen[str]:
    changes = {**TINY, "training.max_epochs": 10, "training.patience": 10, "model.pooling": "mean"}
    changed = [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]
    paths = [str(data[0]), "--labels", str(data[1]), "--out", str(out)]
    train = [sys.executable, "-m", "rmt_genomics.cli", "train", *paths, "--device", "cpu"]
    return subprocess.Popen(
        [*train, *changed, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM for a child process")
@pytest.mark.skipif(num_cores() < 2, reason="one core: the control is trained after the model")
def test_model_and_control_are_stopped_and_resumed_together(data: Data, tmp_path: Path) -> None:
    out = tmp_path / "run"
    stopped = command(data, out, "--control", "memory-reset")
    while not (out / "control/metrics.jsonl").exists() and stopped.poll() is None:
        time.sleep(0.01)

    stopped.send_signal(signal.SIGTERM)
    _, messages = stopped.communicate(timeout=600)

    assert stopped.returncode == 128 + signal.SIGTERM, messages
    assert "Training a control without memory beside the model (1 thread each)." in messages
    assert not list(out.rglob(".*")), "a lock is left"
    assert not RunFolder(out / "control").is_finished

    resumed = command(data, out, "--resume")
    table, messages = resumed.communicate(timeout=600)

    assert resumed.returncode == 0, messages
    assert "control: epoch 10/10" in messages
    assert table.splitlines()[0].endswith("memory_reset_trained")
    assert len(rows_of(out)) == len(rows_of(out / "control")) == 10
    assert RMTClassifier.from_pretrained(out / "control").config.memory_reset == "segment"
    metrics = json.loads((out / "metrics.json").read_text())
    sentence = metrics["differences"]["memory_reset_trained"]["sentence"]
    for name in ("report.html", "README.md"):
        assert "trained without memory" in (out / name).read_text()
    assert sentence in metrics["summary"]["sentence"]
    assert not any("steps, and its control" in note for note in metrics["notes"])


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    folder = tmp_path / "encoder"
    test_pretraining.run(test_pretraining.write_records(tmp_path / "dna.fa"), folder)
    return folder


def test_the_twin_starts_from_random_weights_and_is_a_baseline(
    data: Data, tmp_path: Path, encoder: Path
) -> None:
    words = ["--init-from", encoder, "--device", "cpu", "--set", "model.features=none"]
    words += ["--set", "training.max_epochs=2", "--control", "random-weights"]

    succeed("train", *data[:1], "--labels", data[1], "--out", tmp_path / "run", *words)

    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert "random_weights_trained" in metrics["baselines"]
    assert metrics["summary"]["pretraining"] in ("good", "unsure", "bad")
    assert "pretrained weights" in metrics["summary"]["sentence"]
    twin = read_config(tmp_path / "run/control/config.toml")
    assert twin.training.init_from is None
    scratch = train(data[0], data[1], tmp_path / "scratch", twin, device="cpu")
    assert scratch.model is not None
    assert are_equal(weights_of(tmp_path / "scratch"), weights_of(tmp_path / "run/control"))
    card = (tmp_path / "run/control/README.md").read_text()
    assert "trained from random weights" in card
    assert "whether the pretrained weights help" in card


def test_the_twin_of_a_pretrained_encoder_of_others(data: Data, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra hf: transformers is not installed")
    settings = {
        "model.backbone": save_encoder(tmp_path / "encoder"),
        "model.features": "none",
        "model.num_memory_tokens": 2,
        "model.segment_length": 40,
        "training.max_epochs": 1,
    }
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    words += ["--device", "cpu", "--control", "random-weights"]

    succeed("train", data[0], "--labels", data[1], "--out", tmp_path / "run", *words)

    twin = read_config(tmp_path / "run/control/config.toml")
    assert twin.model.backbone_weights == "random"
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert {"random_weights_trained", "linear_probe"} <= set(metrics["baselines"])


def test_a_resumed_run_continues_its_twin(
    data: Data, tmp_path: Path, encoder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = {key: value for key, value in TINY.items() if key.startswith("training.")}
    config = read_config(None, [f"{k}={v}" for k, v in {**model, "model.features": "none"}.items()])
    config = config.replace(training=config.training.replace(init_from=str(encoder)))
    train(*data, tmp_path / "run", config, device="cpu", control="random-weights")
    (tmp_path / "run/control/model.safetensors").unlink()

    with caplog.at_level(logging.INFO):
        train(*data, tmp_path / "run", config, device="cpu", resume=True)

    assert "Training a control from random weights" in caplog.text
    assert (tmp_path / "run/control/model.safetensors").is_file()


def test_the_twin_of_a_model_without_memory_is_known_when_resumed() -> None:
    model = settings(model__memory_reset="segment", training__init_from="bacteria-small")
    twin = model.replace(training=model.training.replace(init_from=None))

    assert _name_of(twin, model) == "random-weights"
    assert _name_of(settings(model__memory_reset="segment"), settings()) == "memory-reset"
    assert _name_of(settings(), settings()) is None


@pytest.mark.parametrize(
    ("training", "problem"),
    [
        ({}, "the model itself starts from such: neither --init-from nor model.backbone is set"),
        ({"init_from": "bacteria-small", "freeze": "encoder"}, "random weights that stay learn"),
    ],
)
def test_a_twin_of_a_model_without_pretrained_weights_is_refused(
    data: Data, tmp_path: Path, training: dict[str, Any], problem: str
) -> None:
    config = read_config(None, [f"training.{key}={value}" for key, value in training.items()])

    with pytest.raises(ConfigError, match=problem):
        train(*data, tmp_path / "run", config, device="cpu", control="random-weights")
