"""``rmt-genomics train`` as a user meets it."""

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
from tests.training.toys import TINY, write_data

Data = tuple[Path, Path]


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return write_data(tmp_path)


def arguments(data: Data, out: Path, *more: str, **changes: Any) -> list[str]:
    settings = {**TINY, **{name.replace("__", "."): value for name, value in changes.items()}}
    changed = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    places = [str(data[0]), "--labels", str(data[1]), "--out", str(out)]
    return ["train", *places, "--device", "cpu", *changed, *more]


def train(data: Data, out: Path, *more: str, **changes: Any) -> Result:
    return CliRunner().invoke(main, arguments(data, out, *more, **changes))


def test_metrics_of_model_and_baseline_go_to_stdout_and_talk_to_stderr(
    data: Data, tmp_path: Path
) -> None:
    result = train(data, tmp_path / "run")

    assert result.exit_code == 0, result.output
    header, *lines = (line.split("\t") for line in result.stdout.splitlines())
    assert header == ["metric", "model", "majority", "kmer_logistic", "chunk_average"]
    assert {line[0] for line in lines} >= {"accuracy", "mcc", "auroc", "auprc"}
    assert "epoch 1/2" in result.stderr
    assert "The model is in" in result.stderr


def test_the_run_folder_has_metrics_and_baseline(data: Data, tmp_path: Path) -> None:
    train(data, tmp_path / "run", training__max_epochs=1)

    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["split"] == "validation"
    assert metrics["baselines"]["kmer_logistic"]["n"] == metrics["n"]
    assert "<html" in (tmp_path / "run/report.html").read_text()
    assert json.loads((tmp_path / "run/calibration.json").read_text())["n"] == metrics["n"]


def test_a_file_of_settings_is_used_and_changed(data: Data, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[training]\nmax_epochs = 9\npatience = 7\n")

    result = train(data, tmp_path / "run", "--config", str(file), training__max_epochs=1)

    assert result.exit_code == 0, result.output
    used = (tmp_path / "run/config.toml").read_text()
    assert "max_epochs = 1\n" in used
    assert "patience = 7\n" in used


def test_resuming_takes_the_settings_of_the_run(data: Data, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(data, out, training__max_epochs=1)
    places = ["train", str(data[0]), "--labels", str(data[1]), "--out", str(out)]

    result = CliRunner().invoke(main, [*places, "--device", "cpu", "--resume"])

    assert result.exit_code == 0, result.output
    told = "Nothing was left to do: the run had finished (1 of at most 1 epochs)."
    assert told in result.stderr.splitlines()


def test_stopping_says_how_to_go_on(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(*_: Any) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("rmt_genomics.training.module.ClassifierModule.training_step", press)
        stopped = train(data, out)
    resumed = train(data, out, "--resume")

    told = f"Stopped by Ctrl-C. Go on with: rmt-genomics train ... --out {out} --resume"
    assert (stopped.exit_code, stopped.stderr.splitlines()[-1]) == (130, told)
    assert resumed.exit_code == 0, resumed.output
    assert "Nothing was left" not in resumed.stderr


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
    ("more", "message"),
    [
        (["--set", "model.num_mem_tokens=3"], "Did you mean 'model.num_memory_tokens'?"),
        (["--config", "none.toml"], "none.toml: cannot be read: No such file or directory"),
        (["--resume"], "has no config.toml, but --resume needs the folder of an earlier run"),
        (["--labels", "none.tsv"], "none.tsv: there is no such file"),
        (["--set", "training.learning_rate=1e30"], "but must be a finite number. Lower training."),
    ],
)
def test_a_mistake_is_one_plain_message(
    data: Data, tmp_path: Path, more: list[str], message: str
) -> None:
    result = train(data, tmp_path / "run", *more, training__gradient_clip=0)

    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_a_folder_in_use_is_refused_until_overwriting_is_asked_for(
    data: Data, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "notes.txt").write_text("mine")

    refused = train(data, out, training__max_epochs=1)
    allowed = train(data, out, "--overwrite", training__max_epochs=1)

    assert (refused.exit_code, allowed.exit_code) == (1, 0)
    assert "the folder is not empty" in refused.stderr
    assert (out / "notes.txt").read_text() == "mine"


def test_the_options_are_few_and_known() -> None:
    assert {name for option in command.params for name in option.opts} == {
        *("fasta", "--labels", "--label-pattern", "--out", "--config", "--set"),
        *("--device", "--seed", "--resume", "--overwrite", "--strict"),
        *("--devices", "--num-nodes", "--batch-size", "--list-settings"),
    }


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a child process")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_a_signal_ends_the_run_with_its_code_and_the_run_can_go_on(
    data: Data, tmp_path: Path, number: int, code: int
) -> None:
    out = tmp_path / "run"
    asked = arguments(data, out, training__max_epochs=5000, training__patience=5000)
    process = subprocess.Popen(
        [sys.executable, "-m", "rmt_genomics.cli", *asked],
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
    talk = {line.split()[0] for line in stderr.splitlines()}
    assert talk <= {"epoch", "Stopped"}, stderr
    assert (out / "checkpoints/last.ckpt").exists()
    assert not list(out.rglob(".*"))
