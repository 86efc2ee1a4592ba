"""``demo`` from end to end, on a data set that takes seconds."""

import json
from pathlib import Path

import pytest

from rmt_genomics.cli import demo
from rmt_genomics.errors import DataError
from rmt_genomics.model.kmer_regression import FILE_NAME
from tests.cli.toys import fail, succeed
from tests.prediction.toys import dna, write_fasta, write_table

SETTINGS = """[model]
preset = "tiny"
dim = 8
depth = 1
heads = 2

[training]
max_epochs = 2
learning_rate = 1e-2
"""


@pytest.fixture
def small_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for data/: one genome rich in AT, one rich in GC, cut into short intervals."""
    genomes = tmp_path / "data" / "genomes"
    genomes.mkdir(parents=True)
    letters = {"rich_at": dna(2400, letters="AATTC"), "rich_gc": dna(2400, letters="GGCCA")}
    write_fasta(genomes / "genomes.fasta.gz", letters)  # compression is detected by content
    words = ["train"] * 12 + ["validation"] * 4 + ["test"] * 4
    rows = [
        f"{record} {at * 120} {at * 120 + 120} {record[-2:]} {word}"
        for record in letters
        for at, word in enumerate(words)
    ]
    write_table(genomes / "labels.tsv", "record start end label split", *rows)
    (genomes / "config.toml").write_text(SETTINGS)
    monkeypatch.setattr(demo, "data_folder", lambda: tmp_path / "data")
    return tmp_path


@pytest.mark.slow
def test_the_demo_trains_evaluates_predicts_and_suggests_what_works(small_data: Path) -> None:
    out = small_data / "my demo"

    stdout = succeed("demo", "--out", out).stdout

    names = {path.name for path in (out / "run").iterdir()}
    metrics = json.loads((out / "evaluation" / "metrics.json").read_text())
    predicted = (out / "predictions.tsv").read_text().splitlines()
    assert {"config.json", "model.safetensors", "metrics.json", "training.png", FILE_NAME} <= names
    assert metrics["n"] == 8
    assert (out / "evaluation" / "confusion.png").exists()
    assert len(predicted) == 7
    assert "40 labelled intervals, 8 of them held out for testing" in stdout
    assert f"accuracy           {metrics['accuracy']:.4f}" in stdout
    assert f"rmt-genomics predict '{out}/run' '{out}/stretches.fasta'" in stdout
    assert fail("demo", "--out", out).startswith(f"{out}: the folder is not empty")

    repeated = succeed("predict", out / "run", out / "stretches.fasta")
    assert repeated.stdout == (out / "predictions.tsv").read_text()
    assert "6 records, 720 bp" in succeed("inspect", out / "stretches.fasta").stderr
    assert succeed("demo", "--out", out, "--overwrite").stdout == stdout


def test_a_folder_in_use_is_refused_at_once(small_data: Path) -> None:
    (small_data / "demo").mkdir()
    (small_data / "demo" / "notes.txt").touch()

    message = fail("demo", "--out", small_data / "demo")

    assert "the folder is not empty" in message
    assert "--overwrite" in message
    assert [path.name for path in (small_data / "demo").iterdir()] == ["notes.txt"]


def test_files_of_another_program_are_not_replaced(small_data: Path) -> None:
    out = small_data / "demo"
    out.mkdir()
    (out / "predictions.tsv").write_text("mine")

    message = fail("demo", "--out", out, "--overwrite")

    assert message.startswith(f"{out}/predictions.tsv: would be replaced, but no run/environment.t")
    assert [path.name for path in out.iterdir()] == ["predictions.tsv"]
    assert (out / "predictions.tsv").read_text() == "mine"


def test_the_shipped_data_is_found_in_a_clone() -> None:
    assert (demo.data_folder() / "genomes" / "genomes.fasta.gz").exists()


def test_the_shipped_data_is_found_in_the_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "rmt_genomics" / "_data" / "genomes"
    inside.mkdir(parents=True)
    (inside / "labels.tsv").touch()
    monkeypatch.setattr(demo, "PACKAGE", tmp_path / "rmt_genomics")

    assert demo.data_folder() == inside.parent


def test_missing_data_is_an_error_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "PACKAGE", tmp_path / "rmt_genomics")

    with pytest.raises(
        DataError, match=r"_data: the data of the demo is neither here nor in.*Install it again"
    ):
        demo.data_folder()
