"""``rmt-genomics simulate`` on the command line."""

import json
from pathlib import Path

import pytest

from rmt_genomics.datasets import read_labels
from rmt_genomics.dna import read_records
from tests.cli.toys import fail, run, succeed
from tests.datasets.toys import dna
from tests.prediction.toys import write_fasta

FILES = {"sequences.fasta", "labels.tsv", "simulation.json"}


def make(out: Path, *more: object) -> str:
    return succeed(
        "simulate", "--task", "order", "--length", 300, "--number", 5, "--out", out, *more
    ).stdout


def test_train_can_read_what_was_written(tmp_path: Path) -> None:
    out = tmp_path / "sim"

    printed = make(out)

    assert printed == "label\tsequences\nA_first\t2\nB_first\t3\n"
    assert {path.name for path in out.iterdir()} == FILES
    records = list(read_records(out / "sequences.fasta"))
    assert [len(record.sequence) for record in records] == [300] * 5
    examples = read_labels(out / "labels.tsv", {record.name: 300 for record in records})
    assert [example.labels[0] for example in examples].count("A_first") == 2
    description = json.loads((out / "simulation.json").read_text())
    assert description["motifs"]["A"] in records[0].sequence
    assert (description["task"], description["distance_bp"], description["number"]) == (
        "order",
        138,
        5,
    )


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        make(tmp_path / name, "--seed", seed)

    one, two, three = (
        [(tmp_path / name / file).read_bytes() for file in sorted(FILES)]
        for name in ("one", "two", "three")
    )
    assert one == two
    assert one[1] != three[1]


def test_backgrounds_come_from_a_genome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RMT_GENOMICS_CACHE", str(tmp_path / "cache"))
    genome = write_fasta(tmp_path / "genome.fa", {"g": dna(1000, 1)})

    make(tmp_path / "sim", "--background", genome, "--distance", 0)

    letters = next(read_records(genome)).sequence
    (record, *_) = read_records(tmp_path / "sim" / "sequences.fasta")
    pieces = [record.sequence[at : at + 20] for at in range(0, 280, 20)]
    assert sum(piece in letters for piece in pieces) >= 10

    short = tmp_path / "short"
    words = fail(
        "simulate", "--task", "detect", "--length", 1001, "--background", genome, "--out", short
    )
    assert "genome.fa: the longest record of the background has 1000 bp" in words
    assert not short.exists()


def test_existing_files_are_kept_without_overwrite(tmp_path: Path) -> None:
    out = tmp_path / "sim"
    make(out)

    words = fail("simulate", "--task", "detect", "--length", 100, "--out", out)
    assert "the folder is not empty" in words

    succeed("simulate", "--task", "detect", "--length", 100, "--out", out, "--overwrite")
    assert "absent" in (out / "labels.tsv").read_text()


def test_files_that_no_simulation_has_written_are_never_replaced(tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "labels.tsv").write_text("mine")

    words = fail("simulate", "--task", "detect", "--length", 100, "--out", out, "--overwrite")

    assert "labels.tsv: would be replaced, but no simulation.json of rmt-genomics" in words
    assert (out / "labels.tsv").read_text() == "mine"


def test_the_background_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "sim"
    make(out)
    genome = out / "sequences.fasta"
    before = genome.read_bytes()

    words = fail(
        *("simulate", "--task", "detect", "--length", 100, "--out", out, "--overwrite"),
        *("--background", genome),
    )

    assert "sequences.fasta: is also an input, but an input must not be overwritten" in words
    assert genome.read_bytes() == before


def test_impossible_settings_leave_no_files(tmp_path: Path) -> None:
    out = tmp_path / "sim"

    words = fail("simulate", "--task", "order", "--length", 20, "--out", out)

    assert "a length of 20 bp is too short" in words
    assert not out.exists()
    assert run("simulate", "--length", 20, "--out", out).exit_code == 2
