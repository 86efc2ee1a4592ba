"""Every kind of input through the commands: windows, intervals, tables, folders, labels."""

import csv
import io
from pathlib import Path

import pytest

from rmt_genomics.dna import reverse_complement
from rmt_genomics.model import RMTClassifier
from tests.cli.toys import fail, run, succeed
from tests.prediction.toys import dna, saved_model, write_fasta
from tests.sequence_files import FILES


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


def first_probabilities(model: Path, sequences: list[str]) -> list[float]:
    return [
        float(each) for each in RMTClassifier.from_pretrained(model).predict_proba(sequences)[:, 0]
    ]


@pytest.mark.parametrize("kind", FILES)
def test_predict_reads_every_kind(tmp_path: Path, kind: str) -> None:
    model = saved_model(tmp_path / "model")
    (tmp_path / "toy").write_bytes(FILES[kind])
    (tmp_path / "toy.fa").write_bytes(FILES["FASTA"])

    found = succeed("predict", model, tmp_path / "toy").stdout

    assert found == succeed("predict", model, tmp_path / "toy.fa").stdout


def test_predict_reads_a_folder(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model")
    (tmp_path / "in").mkdir()
    write_fasta(tmp_path / "in" / "b.fa", {"r1": "ACGT"})
    write_fasta(tmp_path / "in" / "a.fa", {"r2": "ACGT"})

    table = rows(succeed("predict", model, tmp_path / "in").stdout)

    assert [row["record"] for row in table] == ["r2", "r1"]


def test_windows_are_predicted_each_with_its_place(tmp_path: Path) -> None:
    model, letters = saved_model(tmp_path / "model"), dna(25)
    fasta = write_fasta(tmp_path / "toy.fa", {"long": letters, "short": "ACG"})

    result = succeed("predict", model, fasta, "--window", 10, "--step", 8)

    table = rows(result.stdout)
    assert list(table[0])[:6] == ["record", "start", "end", "length", "label", "score"]
    intervals = [(row["record"], int(row["start"]), int(row["end"])) for row in table]
    assert intervals == [("long", 0, 10), ("long", 8, 18), ("long", 15, 25), ("short", 0, 3)]
    assert [row["length"] for row in table] == ["10", "10", "10", "3"]
    expected = first_probabilities(model, [letters[:10], letters[8:18], letters[15:], "ACG"])
    assert [float(row["prob_at"]) for row in table] == pytest.approx(expected, abs=1e-5)
    assert result.stderr.splitlines()[0] == (
        "Warning: 1 of 2 records are shorter than a window of 10 bp; each of them is read as one "
        "window."
    )


def test_without_a_step_windows_lie_side_by_side(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {"long": dna(20)})

    result = succeed("predict", saved_model(tmp_path / "model"), fasta, "--window", 10)

    assert [row["start"] for row in rows(result.stdout)] == ["0", "10"]


def test_intervals_are_read_on_their_strands(tmp_path: Path) -> None:
    model, letters = saved_model(tmp_path / "model"), dna(40)
    fasta = write_fasta(tmp_path / "toy.fa", {"r1": letters})
    bed = tmp_path / "toy.bed"
    bed.write_text("r1\t20\t32\tx\t0\t-\nr1\t5\t15\ty\t0\t+\n")

    table = rows(succeed("predict", model, fasta, "--intervals", bed).stdout)

    assert list(table[0])[:6] == ["record", "start", "end", "strand", "length", "label"]
    assert [(row["start"], row["end"], row["strand"]) for row in table] == [
        ("20", "32", "-"),
        ("5", "15", "+"),
    ]
    expected = first_probabilities(model, [reverse_complement(letters[20:32]), letters[5:15]])
    assert [float(row["prob_at"]) for row in table] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--step", 5], "--step needs --window"),
        (["--window", 5, "--intervals", "x.bed"], "cannot be combined"),
        (["--step", 5, "--intervals", "x.bed"], "cannot be combined"),
        (["--window", 0], "0 is not in the range"),
    ],
)
def test_options_that_contradict_are_a_mistyped_command(
    tmp_path: Path, options: list[object], words: str
) -> None:
    result = run("predict", tmp_path, write_fasta(tmp_path / "toy.fa", {"r": "ACGT"}), *options)

    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--window", 5, "--step", 6], "the windows are 5 bp long with a step of 6 bp, but the"),
        (["--intervals", "none.bed"], "there is no such file, but it must be a file of intervals"),
    ],
)
def test_wrong_windows_and_missing_intervals_are_refused(
    tmp_path: Path, options: list[object], words: str
) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {"r": "ACGT"})
    assert words in fail("predict", saved_model(tmp_path / "model"), fasta, *options)


def test_an_interval_past_the_end_is_refused(tmp_path: Path) -> None:
    fasta, bed = write_fasta(tmp_path / "toy.fa", {"r": "ACGT"}), tmp_path / "toy.bed"
    bed.write_text("r\t0\t9\n")

    message = fail("predict", saved_model(tmp_path / "model"), fasta, "--intervals", bed)

    assert f"{bed}:1: r:0-9 must satisfy start < end <= 4, the length of r." in message


def test_inspect_reads_folders_and_labels_in_the_files(tmp_path: Path) -> None:
    for name, letters in (("at", "AAAT"), ("gc", "GGCC")):
        (tmp_path / "in" / name).mkdir(parents=True)
        write_fasta(tmp_path / "in" / name / "x.fa", {f"{name}1": letters, f"{name}2": letters})

    result = succeed("inspect", tmp_path / "in", "--labels", "folder")

    assert [row["record"] for row in rows(result.stdout)] == ["at1", "at2", "gc1", "gc2"]
    lines = result.stderr.splitlines()
    start = lines.index("4 labelled examples, 2 classes:")
    assert lines[start + 1 : start + 3] == ["  at: 2", "  gc: 2"]


def test_inspect_finds_labels_by_a_pattern(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {"at_1": "AAAT", "gc_1": "GGCC"})

    result = succeed("inspect", fasta, "--labels", "header", "--label-pattern", r"^(\w+)_")

    assert {"  at: 1", "  gc: 1"} <= set(result.stderr.splitlines())
    assert run("inspect", fasta, "--label-pattern", "(x)").exit_code == 2


def test_inspect_puts_the_file_before_a_name_in_two_files(tmp_path: Path) -> None:
    files = [write_fasta(tmp_path / name, {"r": "ACGT"}) for name in ("a.fa", "b.fa")]

    result = run("inspect", *files)

    assert result.exit_code == 0
    assert [row["record"] for row in rows(result.stdout)] == ["a:r", "b:r"]
    assert result.stderr.count("1 record name is in several files") == 1


def test_evaluate_reads_a_table_of_sequences_with_labels(tmp_path: Path) -> None:
    model, table = saved_model(tmp_path / "model"), tmp_path / "toy.csv"
    table.write_text("sequence,label,split\nAAATA,at,test\nGGCCG,gc,test\nAATT,at,train\n")

    result = run("evaluate", model, table, "--labels", "column", "--out", tmp_path / "out")

    assert result.exit_code == 0, result.output
    assert "Evaluated the test rows of --labels column: 2 examples." in result.stderr


@pytest.mark.slow
def test_train_reads_a_folder_of_tables(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for part, count in (("train", 12), ("dev", 6), ("test", 6)):
        lines = [f"{dna(40, seed=n)},{'at' if n % 2 else 'gc'}" for n in range(count)]
        (tmp_path / "in" / f"{part}.csv").write_text("sequence,label\n" + "\n".join(lines))
    settings = ["model.preset=tiny", "model.dim=8", "model.depth=1", "model.heads=2"]
    options = [word for each in [*settings, "training.max_epochs=1"] for word in ("--set", each)]

    result = succeed(
        "train", tmp_path / "in", "--labels", "column", "--out", tmp_path / "run", *options
    )

    assert "on the test part." in result.stderr
    split = rows((tmp_path / "run" / "split.tsv").read_text())
    assert {row["record"].split(":")[0]: row["split"] for row in split} == {
        "train": "train",
        "dev": "validation",
        "test": "test",
    }
