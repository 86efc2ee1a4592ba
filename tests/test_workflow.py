"""The Snakemake workflow: one output per sequence file, the same bytes as one predict writes."""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.toys import succeed
from tests.prediction.toys import dna, saved_model, write_fasta

ROOT = Path(__file__).parents[1]
SNAKEFILE = ROOT / "workflows/predict/Snakefile"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("snakemake") is None,
        reason="needs Snakemake: pip install 'rmt-genomics[workflow]'",
    ),
]


def snakemake(folder: Path, *config: str, flags: Sequence[str] = ()) -> tuple[int, str]:
    """Run the workflow in a folder on two cores; return the exit code and what was reported."""
    program = f"command={sys.executable} {ROOT / 'cli.py'}"
    settings = ["model=model", "shards=2", "options=--device cpu", program, *config]
    command = ["-m", "snakemake", "-s", str(SNAKEFILE), "--cores", "2", "--nocolor", *flags]
    finished = subprocess.run(
        [sys.executable, *command, "--config", *settings],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return finished.returncode, finished.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model, and two genomes, the second in a folder below."""
    saved_model(tmp_path / "model")
    (tmp_path / "genomes/more").mkdir(parents=True)
    for number, name in enumerate(("first.fasta", "more/second.fa")):
        records = {f"r{i}": dna(30 + 7 * i, seed=10 * number + i) for i in range(5)}
        write_fasta(tmp_path / "genomes" / name, records)
    return tmp_path


def test_each_file_gets_the_output_that_predict_writes_and_only_new_files_are_predicted(
    folder: Path,
) -> None:
    second = (folder / "genomes/more/second.fa").rename(folder / "second.fa")
    code, output = snakemake(folder)

    assert code == 0, output
    assert not (folder / "predictions/second.tsv").exists()
    before = (folder / "predictions/first.tsv").stat().st_mtime_ns
    second.rename(folder / "genomes/more/second.fa")
    code, output = snakemake(folder)

    assert code == 0, output
    assert (folder / "predictions/first.tsv").stat().st_mtime_ns == before
    for name, file in (("first", "first.fasta"), ("second", "more/second.fa")):
        whole = folder / f"{name}.whole"
        fasta = folder / "genomes" / file
        succeed("predict", folder / "model", fasta, "--device", "cpu", "--out", whole)
        assert (folder / f"predictions/{name}.tsv").read_bytes() == whole.read_bytes()
    assert not list((folder / "predictions").glob("shards/*/*/*")), "shards are removed at the end"
    assert "Nothing to be done" in snakemake(folder, flags=["--dry-run"])[1]


def test_format_and_options_reach_predict(folder: Path) -> None:
    options = "options=--device cpu --window 20 --step 10"
    changes = ("sequences=[genomes/first.fasta]", "shards=1", "format=bed", options)
    code, output = snakemake(folder, *changes)

    assert code == 0, output
    whole = folder / "whole.bed"
    windows = ("--window", 20, "--step", 10, "--format", "bed", "--device", "cpu")
    succeed("predict", folder / "model", folder / "genomes/first.fasta", *windows, "--out", whole)
    assert (folder / "predictions/first.bed").read_bytes() == whole.read_bytes()
    assert not (folder / "predictions/second.bed").exists()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("shards=0", "0 is less than the minimum of 1"),
        ("shard=2", "'shard' was unexpected"),
        ("format=csv", "'csv' is not one of"),
        ("sequences=[]", "[] should be non-empty"),
        ("sequences=[gone.fa]", "gone.fa: there is no such file, but it must be"),
        ("sequences=[genomes, genomes/first.fasta]", "both have the name first"),
    ],
)
def test_a_wrong_configuration_is_refused_before_the_first_job(
    folder: Path, config: str, words: str
) -> None:
    code, output = snakemake(folder, config)

    assert code == 1
    assert words in output
    assert not (folder / "predictions").exists()


def test_a_file_that_cannot_be_read_fails_alone_and_starts_anew_with_other_options(
    folder: Path,
) -> None:
    broken = folder / "genomes/more/second.fa"
    broken.write_text(">r\nACGT!\n")

    code, output = snakemake(folder, "shards=1", flags=["--keep-going", "--show-failed-logs"])

    assert code == 1
    assert "record 'r'" in output
    assert (folder / "predictions/first.tsv").is_file()
    assert not (folder / "predictions/second.tsv").exists()
    assert list(folder.glob("predictions/shards/second/*/*.part")), "would be continued"

    write_fasta(broken, {"r": "ACGT"})
    code, output = snakemake(folder, "shards=1", "options=--device cpu --window 20")

    assert code == 0, output
    assert (folder / "predictions/second.tsv").read_text().splitlines()[1].startswith("r\t0\t4\t")
