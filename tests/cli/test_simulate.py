"""``rmt-genomics simulate`` on the command line."""

import json
from pathlib import Path

import pytest

from rmt_genomics.datasets import read_labels
from rmt_genomics.dna import read_records
from tests.cli.toys import fail, run, succeed
from tests.datasets.toys import dna
from tests.prediction.toys import write_fasta, write_table

FASTA = "sequences.fasta"
FILES = {FASTA, "labels.tsv", "simulation.json"}


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


@pytest.fixture
def genomes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RMT_GENOMICS_CACHE", str(tmp_path / "cache"))
    return write_fasta(tmp_path / "genomes.fa", {f"r{n}": dna(300, n) for n in range(6)})


def mosaics(genomes: Path, out: Path, *more: object) -> tuple[object, ...]:
    return (
        *("simulate", "--task", "mosaic", "--genomes", genomes, "--length", 100),
        *("--number", 60, "--out", out, *more),
    )


def test_mosaics_are_written_with_their_split_and_breakpoints(
    genomes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "sim"

    result = succeed(*mosaics(genomes, out))

    assert result.stdout == "label\tsequences\nintact\t20\ninsertion\t20\njoin\t20\n"
    assert {path.name for path in out.iterdir()} == FILES | {"breakpoints.bed"}
    records = {record.name: len(record.sequence) for record in read_records(out / FASTA)}
    assert set(records.values()) == {100}
    examples = read_labels(out / "labels.tsv", records)
    splits = [example.split for example in examples]
    assert {split: splits.count(split) for split in splits} == {
        "train": 42,
        "validation": 9,
        "test": 9,
    }
    lines = (out / "breakpoints.bed").read_text().splitlines()
    assert {line.split("\t")[0] for line in lines} == records.keys()


def test_groups_of_mosaics_come_from_a_table_and_genomes_from_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RMT_GENOMICS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "genomes"
    folder.mkdir()
    for file in "ab":
        write_fasta(folder / f"{file}.fa", {f"{file}{n}": dna(300, n) for n in range(6)})
    rows = [f"{file}{n} g{n}" for file in "ab" for n in range(6)]
    groups = write_table(tmp_path / "groups.tsv", "record group", *rows)
    out = tmp_path / "sim"

    succeed(*mosaics(folder, out, "--groups", groups))

    description = json.loads((out / "simulation.json").read_text())
    assert sorted(map(len, description["groups_of_part"].values())) == [2, 2, 2]
    for line in (out / "breakpoints.bed").read_text().splitlines():
        assert line.split("\t")[3][0] in "ab"


def test_the_same_seed_writes_the_same_mosaics(genomes: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        succeed(*mosaics(genomes, tmp_path / name, "--seed", seed))

    one, two, three = (
        [path.read_bytes() for path in sorted((tmp_path / name).iterdir())]
        for name in ("one", "two", "three")
    )
    assert one == two
    assert all(a != b for a, b in zip(one, three, strict=True))


def test_another_simulation_replaces_mosaics_with_their_breakpoints(
    genomes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "sim"
    succeed(*mosaics(genomes, out))

    make(out, "--overwrite")

    assert {path.name for path in out.iterdir()} == FILES


@pytest.mark.parametrize(
    ("task", "option", "words"),
    [
        ("mosaic", "--distance=9", "--distance is 9, but has no effect: --task mosaic plants no"),
        ("mosaic", "--motif-length=12", "--motif-length is 12, but has no effect: --task mosaic"),
        ("mosaic", "--background=g.fa", "--background is g.fa, but has no effect: --task mosaic"),
        ("mosaic", "--groups=g.tsv", "--genomes is missing, but --task mosaic is made of your"),
        ("order", "--genomes=g.fa", "--genomes is g.fa, but has no effect: --task order makes no"),
        ("detect", "--groups=g.tsv", "--groups is g.tsv, but has no effect: --task detect makes"),
    ],
)
def test_options_of_other_tasks_are_refused(
    tmp_path: Path, task: str, option: str, words: str
) -> None:
    out = tmp_path / "sim"

    assert words in fail("simulate", "--task", task, "--length", 100, "--out", out, option)
    assert not out.exists()


def test_genomes_of_which_no_mosaic_can_be_made_are_refused(tmp_path: Path, genomes: Path) -> None:
    out, same = tmp_path / "sim", tmp_path / "same.fa"
    same.write_text(">a\nACGT\n>a\nACGT\n")
    few = write_fasta(tmp_path / "few.fa", {"a": dna(300, 1)})

    cases = {
        "--length=301": "genomes.fa: the longest record has 300 bp, but sequences of 301 bp",
        "--length=7": "a length of 7 bp is too short: the parts of a mosaic are eighths of it",
        f"--genomes={few}": "few.fa: there is 1 group with a record of at least 100 bp, but",
        f"--genomes={same}": "same.fa:3: record 'a'",
        f"--groups={tmp_path / 'none.tsv'}": "none.tsv: ",
    }
    for option, words in cases.items():
        assert words in fail(*mosaics(genomes, out, option))
        assert not out.exists()


def test_names_that_are_twice_are_numbered_as_the_error_says(genomes: Path, tmp_path: Path) -> None:
    with genomes.open("a") as file:
        file.write(f">r0\n{dna(300, 9)}\n")
    command, number = mosaics(genomes, tmp_path / "sim"), ("--duplicate-names", "number")
    planted = ("simulate", "--task", "order", "--length", 100, "--number", 4)

    assert "Pass --duplicate-names number" in fail(*command)
    assert "a repeat of 'r0'" in succeed(*command, *number).stderr
    assert "r0_2" in (tmp_path / "sim" / "simulation.json").read_text()
    planted = (*planted, "--background", genomes, "--out", tmp_path / "planted")
    assert "a repeat of 'r0'" in succeed(*planted, *number).stderr


def test_options_on_names_without_records_are_refused(tmp_path: Path) -> None:
    words = fail(
        *("simulate", "--task", "order", "--length", 300, "--out", tmp_path / "sim"),
        "--full-names",
    )

    assert "--full-names is given, but has no effect: without --background no records" in words
