"""``demo`` from end to end, on a data set that takes seconds."""

import json
import re
from pathlib import Path

import numpy as np
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
segment_length = 32
pooling = "mean"

[simulation]
task = "mosaic"
length_bp = 96
examples_per_epoch = 24
validation_examples = 12

[training]
max_epochs = 2
learning_rate = 1e-2
"""


@pytest.fixture
def small_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for data/: six species, rich in AT or in GC, with short genomes."""
    genomes = tmp_path / "data" / "mosaics"
    genomes.mkdir(parents=True)
    letters = {
        f"s{number}_1": dna(400, seed=number, letters=("AATTC", "GGCCA")[number % 2])
        for number in range(6)
    }
    write_fasta(genomes / "genomes.fasta.gz", letters)  # compression is detected by content
    write_table(genomes / "groups.tsv", "record group", *(f"{name} {name[:2]}" for name in letters))
    (genomes / "config.toml").write_text(SETTINGS)
    monkeypatch.setattr(demo, "data_folder", lambda: tmp_path / "data")
    return tmp_path


@pytest.mark.slow
def test_the_demo_compares_model_control_and_k_mers_and_suggests_what_works(
    small_data: Path,
) -> None:
    out = small_data / "my demo"
    (out / "run").mkdir(parents=True)  # an earlier demo, that --overwrite may replace
    (out / "run" / "environment.txt").write_text("rmt-genomics: 0.1\n")
    (out / "predictions.tsv").write_text("old")

    stdout = succeed("demo", "--out", out, "--overwrite").stdout

    names = {path.name for path in (out / "run").iterdir()}
    metrics = json.loads((out / "run" / "metrics.json").read_text())
    assert {"config.json", "model.safetensors", "report.html", "training.png", FILE_NAME} <= names
    assert (metrics["split"], metrics["n"]) == ("test", 12)
    assert "memory_reset_trained" in metrics["baselines"]
    assert "6 species, 0.0 Mb; 2 for training, 2 for validation, 2 for testing:" in stdout
    table = [line.split() for line in stdout.splitlines() if re.search(r"\d\.\d{3}  ", line)]
    assert [row[0] for row in table] == ["model", "trained", "counts"]
    assert f"rmt-genomics predict '{out}/run' '{out}/contigs.fasta'" in stdout
    repeated = succeed("predict", out / "run", out / "contigs.fasta")
    assert repeated.stdout == (out / "predictions.tsv").read_text()
    assert "6 records, 576 bp" in succeed("inspect", out / "contigs.fasta").stderr
    assert fail("demo", "--out", out).startswith(f"{out}: the folder is not empty")


def test_aurocs_are_those_of_the_labels_that_are_asked_about() -> None:
    of_label = {
        "intact": np.array([0.9, 0.1, 0.0, 0.2]),
        "insertion": np.array([0.1, 0.3, 0.6, 0.4]),
        "join": np.array([0.0, 0.6, 0.4, 0.4]),
    }
    labels = np.array(["intact", "join", "insertion", "insertion"])

    order, foreign = (demo._auroc(of_label, labels, *each) for each in demo._QUESTIONS.values())

    assert (order, foreign) == (1.0, 1.0)
    swapped = np.array(["intact", "insertion", "join", "insertion"])
    assert demo._auroc(of_label, swapped, ("join",), ("insertion",)) == 0.0


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
    assert (demo.data_folder() / "mosaics" / "genomes.fasta.gz").exists()


def test_the_shipped_data_is_found_in_the_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "rmt_genomics" / "_data" / "mosaics"
    inside.mkdir(parents=True)
    (inside / "groups.tsv").touch()
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
