"""``inspect``: what is in a FASTA file, and whether labels fit it."""

from pathlib import Path

import pytest

from tests.cli.toys import fail, succeed
from tests.inference.toys import two_kinds, write_fasta, write_table

TOY = {"r1": "GGCAnnRT", "r2": "NN", "r3": "acgT"}


def test_each_record_has_a_row(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", TOY)

    result = succeed("inspect", fasta)

    assert [line.split("\t") for line in result.stdout.splitlines()] == [
        ["record", "length", "gc", "n", "ambiguous", "lower_case"],
        ["r1", "8", "0.6000", "0.2500", "1", "0.2500"],
        ["r2", "2", "", "1.0000", "0", "0.0000"],
        ["r3", "4", "0.5000", "0.0000", "0", "0.7500"],
    ]


@pytest.mark.parametrize(
    ("sequences", "words"),
    [
        (TOY, "3 records, 14 bp; shortest 2 bp, median 4 bp, longest 8 bp\n"),
        (
            {"r": "A" * 1234},
            "1 record, 1,234 bp; shortest 1,234 bp, median 1,234 bp, longest 1,234 bp\n",
        ),
    ],
)
def test_the_summary_is_on_stderr(tmp_path: Path, sequences: dict[str, str], words: str) -> None:
    assert succeed("inspect", write_fasta(tmp_path / "toy.fa", sequences)).stderr == words


def test_labels_are_counted_by_class_and_split(tmp_path: Path) -> None:
    fasta, labels = two_kinds(tmp_path, per_kind=3, splits="train test")

    summary = succeed("inspect", fasta, "--labels", labels).stderr.splitlines()

    assert summary[1:] == [
        "6 labelled examples, 2 classes:",
        "  at: 3 (train 2, test 1)",
        "  gc: 3 (train 2, test 1)",
    ]


def test_labels_without_split_are_counted_too(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {"r1": "ACGT", "r2": "ACGT"})
    labels = write_table(tmp_path / "l.tsv", "record label", "r1 a;b", "r2 b")

    summary = succeed("inspect", fasta, "--labels", labels).stderr.splitlines()

    assert summary[1:] == ["2 labelled examples, 2 classes:", "  a: 1", "  b: 2"]


def test_labels_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    from tests.cli.toys import run

    fasta = write_fasta(tmp_path / "toy.fa", {"r1": "ACGT"})
    labels = write_table(tmp_path / "l.tsv", "record label", "R1 a")

    result = run("inspect", fasta, "--labels", labels)

    assert result.exit_code == 1
    assert "l.tsv: 1 of 1 records named here ('R1' (line 2)) are not in the FASTA" in result.stderr


def test_a_file_that_is_wrong_from_the_start_prints_no_row(tmp_path: Path) -> None:
    (tmp_path / "empty.fa").touch()

    assert "empty.fa: the file is empty" in fail("inspect", tmp_path / "empty.fa")
