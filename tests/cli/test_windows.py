"""``train --window``: genomes are cut; what is evaluated and resumed are the same windows."""

import json
from pathlib import Path

import numpy as np
import pytest

from rmt_genomics.errors import ConfigError
from rmt_genomics.training import read_config
from tests.cli.toys import fail, run, succeed
from tests.prediction.toys import write_fasta
from tests.training.toys import TINY, sequence
from tests.training.toys import run as train

SETTINGS = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]


@pytest.fixture
def genomes(tmp_path: Path) -> Path:
    """Two folders of four genomes of 90 bp, and one of 30 bp."""
    random = np.random.default_rng(0)
    for label, gc in (("poor", 0.1), ("rich", 0.9)):
        (tmp_path / "genomes" / label).mkdir(parents=True)
        for index in range(4):
            letters = sequence(random, gc, 30 if (label, index) == ("poor", 0) else 90)
            name = f"{label}{index}"
            write_fasta(tmp_path / "genomes" / label / f"{name}.fa", {name: letters})
    return tmp_path / "genomes"


def rows_of(path: Path) -> list[dict[str, str]]:
    header, *rows = (line.split("\t") for line in path.read_text().splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.mark.slow
def test_windows_are_trained_on_and_evaluated(genomes: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--labels", "folder", "--device", "cpu"]

    result = succeed(
        *("train", genomes, *options, "--out", out, *SETTINGS),
        *("--window", 40, "--step", 25, "--set", "data.validation_fraction=0.3"),
    )

    assert "Cut 8 examples of 8 records into 22 windows of 40 bp (step 25 bp; " in result.stderr
    assert "1 of 8 examples are shorter than a window of 40 bp" in result.stderr
    rows = rows_of(out / "split.tsv")
    assert len(rows) == 22
    assert all(row["group"] == row["record"] for row in rows)
    assert len({(row["record"], row["split"]) for row in rows}) == 8
    assert read_config(out / "config.toml").data.window_bp == 40
    metrics = json.loads((out / "metrics.json").read_text())
    records = {row["record"] for row in rows if row["split"] == "validation"}
    counts = {"records": len(records), "groups": len(records)}
    assert metrics["windows"] == {"window_bp": 40, "step_bp": 25, **counts}
    note = metrics["notes"][0]
    assert note.startswith("The examples are windows of 40 bp, step 25 bp, of ")
    assert "Windows of one record are not independent" in note
    assert note.split(".")[0] in (out / "report.html").read_text()
    assert f"in {len(records)} groups" in metrics["differences"]["majority"]["sentence"]

    succeed("evaluate", out, genomes, *options, "--out", tmp_path / "evaluated")

    metrics = json.loads((tmp_path / "evaluated/metrics.json").read_text())
    assert metrics["n"] == 22
    assert metrics["windows"]["records"] == 8
    resume = ("train", genomes, *options, "--out", out, "--resume")
    assert "data.window_bp was 40 when the run started and is now 41" in fail(
        *resume, "--window", 41
    )


def test_python_takes_windows_as_arguments(genomes: Path, tmp_path: Path) -> None:
    result = train(
        (genomes, Path("folder")), tmp_path / "run", training__max_epochs=1, window_bp=30
    )

    assert result.split is not None
    assert {len(example.interval) for example in result.split.train} == {30}
    assert "window_bp = 30" in (tmp_path / "run/config.toml").read_text()


def test_plan_and_inspect_count_windows(genomes: Path) -> None:
    windows = ["--window", 45, *SETTINGS]

    for options in (["--labels", "folder"], []):
        table = succeed("plan", genomes, *options, "--device", "cpu", *windows).stdout
        assert "examples\t15\texamples" in table
        assert "longest\t45\tbp" in table
    result = succeed("inspect", genomes, "--labels", "folder", "--set", "data.window_bp=45")
    assert "into 15 windows of 45 bp" in result.stderr
    assert run("plan", genomes, "--step", 4).exit_code == 2
    assert run("train", genomes, "--labels", "folder", "--out", "x", "--step", 4).exit_code == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.step_bp=4"], "data.step_bp is 4, but has no effect: data.window_bp is 0"),
        (["data.window_bp=4", "data.step_bp=5"], "the windows are 4 bp long with a step of 5 bp"),
        (
            ["data.window_bp=4", "data.split=stratified"],
            "data.split is 'stratified', which divides the windows of a record",
        ),
        (["data.identity=95"], "data.identity is 95, but must be a number above 0 and at most 1"),
    ],
)
def test_settings_that_contradict_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config(None, settings)
