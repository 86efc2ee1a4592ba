"""The command ``rmt-genomics train``."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rmt_genomics.cli import main
from rmt_genomics.cli.train import train as command
from tests.training.toys import TINY, no_log_handlers, write_data

Data = tuple[Path, Path]


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return write_data(tmp_path)


def arguments(data: Data, out: Path, *options: str, **changes: Any) -> list[str]:
    settings = {**TINY, **{name.replace("__", "."): value for name, value in changes.items()}}
    changed = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    paths = [str(data[0]), "--labels", str(data[1]), "--out", str(out)]
    return ["train", *paths, "--device", "cpu", *changed, *options]


def train(data: Data, out: Path, *options: str, **changes: Any) -> Result:
    return invoke(arguments(data, out, *options, **changes))


def invoke(command_line: list[str]) -> Result:
    with no_log_handlers():  # those of pytest, which the command does not have
        return CliRunner().invoke(main, command_line)


def test_metrics_go_to_stdout_and_messages_to_stderr(data: Data, tmp_path: Path) -> None:
    result = train(data, tmp_path / "run")

    assert result.exit_code == 0, result.output
    header, *lines = (line.split("\t") for line in result.stdout.splitlines())
    baselines = ["majority", "kmer_logistic", "stranded_kmer_logistic", "composition_logistic"]
    assert header == ["metric", "model", *baselines, "chunk_average"]
    assert {line[0] for line in lines} >= {"accuracy", "mcc", "auroc", "auprc"}
    assert "epoch 1/2" in result.stderr
    assert "Evaluated on the validation part. The model is in" in result.stderr


def test_the_run_folder_has_metrics_baselines_and_a_report(data: Data, tmp_path: Path) -> None:
    train(data, tmp_path / "run", training__max_epochs=1)

    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["split"] == "validation"
    assert metrics["baselines"]["kmer_logistic"]["n"] == metrics["n"]
    assert "<html" in (tmp_path / "run/report.html").read_text()
    assert json.loads((tmp_path / "run/calibration.json").read_text())["n"] == metrics["n"]


def test_set_changes_settings_of_the_config_file(data: Data, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[training]\nmax_epochs = 9\npatience = 7\n")

    result = train(data, tmp_path / "run", "--config", str(file), training__max_epochs=1)

    assert result.exit_code == 0, result.output
    used = (tmp_path / "run/config.toml").read_text()
    assert "max_epochs = 1\n" in used
    assert "patience = 7\n" in used


def test_resume_uses_the_settings_of_the_run(data: Data, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(data, out, training__max_epochs=1)
    paths = [str(data[0]), "--labels", str(data[1]), "--out", str(out)]

    result = invoke(["train", *paths, "--device", "cpu", "--resume"])

    assert result.exit_code == 0, result.output
    message = "Nothing to resume: the run had finished (1 of at most 1 epochs)."
    assert message in result.stderr.splitlines()


def test_ctrl_c_prints_how_to_resume(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("rmt_genomics.training.module.ClassifierModule.training_step", interrupt)
        stopped = train(data, out)
    resumed = train(data, out, "--resume")

    message = f"Stopped by Ctrl-C. Resume with the same command: ... --out {out} --resume"
    assert (stopped.exit_code, stopped.stderr.splitlines()[-1]) == (130, message)
    assert resumed.exit_code == 0, resumed.output
    assert "Nothing to resume" not in resumed.stderr


def test_an_example_may_have_none_of_several_labels(data: Data, tmp_path: Path) -> None:
    labels = ["", "poor", "rich", "poor;rich"]
    rows = [f"r{index}\t{labels[index % 4]}" for index in range(16)]
    data[1].write_text("\n".join(["record\tlabel", *rows]) + "\n")

    result = train(data, tmp_path / "run", training__max_epochs=1)

    assert result.exit_code == 0, result.output
    held_out = [
        line.split("\t")[4]
        for line in (tmp_path / "run/split.tsv").read_text().splitlines()
        if line.endswith("validation")
    ]
    assert "" in held_out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "model.num_mem_tokens=3"], "Did you mean 'model.num_memory_tokens'?"),
        (["--config", "none.toml"], "none.toml: cannot be read (No such file or directory)"),
        (["--resume"], "has no config.toml, but --resume needs the folder of an earlier run"),
        (["--labels", "none.tsv"], "none.tsv: there is no such file"),
        (["--set", "training.learning_rate=1e29"], "but must be a finite number. Lower training."),
    ],
)
def test_a_mistake_is_one_line_on_stderr(
    data: Data, tmp_path: Path, options: list[str], message: str
) -> None:
    result = train(data, tmp_path / "run", *options, training__gradient_clip=0)

    assert result.exit_code == 1
    *messages, error = result.stderr.splitlines()
    assert error.startswith("Error: ")
    assert message in error
    assert messages in ([], ["training: at most 2 epochs, 3 batches each"])
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_a_folder_in_use_is_refused_without_overwrite(data: Data, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "notes.txt").write_text("mine")

    refused = train(data, out, training__max_epochs=1)
    allowed = train(data, out, "--overwrite", training__max_epochs=1)

    assert (refused.exit_code, allowed.exit_code) == (1, 0)
    assert "the folder is not empty" in refused.stderr
    assert (out / "notes.txt").read_text() == "mine"


def test_the_options_are_the_documented_ones() -> None:
    assert {name for option in command.params for name in option.opts} == {
        *("fasta", "--labels", "--label-pattern", "--out", "--config", "--set"),
        *("--unlabelled", "--min-class-size", "--duplicate-names", "--full-names"),
        *("--window", "--step"),
        *("--device", "--seed", "--resume", "--overwrite", "--strict"),
        *("--devices", "--num-nodes", "--batch-size", "--list-settings", "--control"),
        *("--folds", "--threshold", "--time-budget"),
        *("--init-from", "--freeze", "--keep-head", "--random-weights"),
    }


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a child process")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_a_signal_ends_the_run_with_its_exit_code_and_a_checkpoint(
    data: Data, tmp_path: Path, number: int, code: int
) -> None:
    out = tmp_path / "run"
    command_line = arguments(data, out, training__max_epochs=5000, training__patience=5000)
    process = subprocess.Popen(
        [sys.executable, "-m", "rmt_genomics.cli", *command_line],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (out / "checkpoints/last.ckpt").exists() and process.poll() is None:
        time.sleep(0.05)

    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)

    assert process.returncode == code, stderr
    assert stdout == ""
    first_words = {line.split()[0] for line in stderr.splitlines()}
    assert first_words <= {"training:", "epoch", "Stopped"}, stderr
    assert (out / "checkpoints/last.ckpt").exists()
    assert not list(out.rglob(".*"))


def test_a_failed_control_is_an_error_after_the_evaluation_of_the_model(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    control = "rmt_genomics.training.control.Control"
    monkeypatch.setattr(f"{control}._start", lambda *_: None)
    monkeypatch.setattr(f"{control}.finish", lambda *_: "the loss is nan.")

    result = train(data, out, "--control", "memory-reset", training__max_epochs=1)

    assert result.exit_code == 1
    assert result.stdout.startswith("metric\tmodel")
    assert (out / "report.html").exists()
    assert result.stderr.splitlines()[-1] == (
        f"Error: {out}/control: the control has failed: the loss is nan. The model in {out} is "
        "complete; --resume continues the control."
    )
