"""``inspect``: what is in a FASTA file, and whether labels fit it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna.alphabet import reverse_complement
from rmt_genomics.reports import data_summary as inspection
from rmt_genomics.reports.data_summary import DEFAULTS, Inspection
from rmt_genomics.training import read_config
from rmt_genomics.training import train as train_model
from rmt_genomics.training.config import DataSettings
from tests.cli.toys import fail, run, succeed
from tests.prediction.toys import two_kinds, write_fasta, write_table

TOY = {"r1": "GGCAnnRT", "r2": "NN", "r3": "acgT"}


def test_each_record_has_a_row(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", TOY)

    result = succeed("inspect", fasta)

    assert [line.split("\t") for line in result.stdout.splitlines()] == [
        [
            *[
                "record",
                "length",
                "gc",
                "n",
                "ambiguous",
                "lower_case",
                "duplicate_of",
                "duplicate_strand",
            ]
        ],
        ["r1", "8", "0.6000", "0.2500", "1", "0.2500", "", ""],
        ["r2", "2", "", "1.0000", "0", "0.0000", "", ""],
        ["r3", "4", "0.5000", "0.0000", "0", "0.7500", "", ""],
    ]


@pytest.mark.parametrize(
    ("sequences", "lines"),
    [
        (
            TOY,
            [
                "3 records, 14 bp; shortest 2 bp, median 4 bp, longest 8 bp",
                "GC 50.0% to 60.0%, median 55.0%",
                "N: 4 bp (28.57%)",
                "Letters that stand for several bases: 1, read as N",
                "Lower case: 5 bp (35.71%), read as upper case",
            ],
        ),
        (
            {"r": "A" * 1234},
            [
                "1 record, 1,234 bp; shortest 1,234 bp, median 1,234 bp, longest 1,234 bp",
                "GC 0.0% to 0.0%, median 0.0%",
            ],
        ),
    ],
)
def test_the_summary_is_on_stderr(
    tmp_path: Path, sequences: dict[str, str], lines: list[str]
) -> None:
    told = succeed("inspect", write_fasta(tmp_path / "toy.fa", sequences)).stderr

    assert told.splitlines() == lines


def test_a_sequence_that_comes_again_is_found_on_either_strand(tmp_path: Path) -> None:
    again = {"a": "AACGT", "b": "aacgu", "c": "ACGTT", "d": "AACGTA", "e": "ACGT", "f": "acgt"}
    fasta = write_fasta(tmp_path / "toy.fa", again)

    result = succeed("inspect", fasta)

    rows = [line.split("\t") for line in result.stdout.splitlines()[1:]]
    assert [(row[0], row[6], row[7]) for row in rows] == [
        ("a", "", ""),
        ("b", "a", "+"),
        ("c", "a", "-"),
        ("d", "", ""),
        ("e", "", ""),
        ("f", "e", "+"),
    ]
    words = "Duplicates of an earlier record: 3, 1 of them on the other strand (such as b of a,"
    assert words in result.stderr


@given(st.text("ACGTNRacgtnr", min_size=1, max_size=40), st.integers(1, 7))
def test_both_strands_are_one_sequence_whatever_the_pieces(letters: str, piece: int) -> None:
    found = Inspection()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspection, "_PIECE_BP", piece)
        found.look_at("one", letters)
    other = found.look_at("other", reverse_complement(letters))
    third = found.look_at("third", letters + "A")

    assert other.duplicate_of == "one"
    as_read = letters.upper().replace("R", "N")
    is_palindrome = as_read == reverse_complement(as_read)
    assert other.strand == ("+" if is_palindrome else "-")
    assert third.duplicate_of is None


def test_labels_are_counted_by_class_and_split(tmp_path: Path) -> None:
    fasta, labels = two_kinds(tmp_path, per_kind=3, splits="train test")

    told = succeed("inspect", fasta, "--labels", labels).stderr.splitlines()

    start = told.index("6 labelled examples, 2 classes:")
    assert told[start + 1 : start + 3] == ["  at: 3 (train 2, test 1)", "  gc: 3 (train 2, test 1)"]


def test_labels_without_split_are_counted_too(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {"r1": "ACGT", "r2": "ACGA"})
    labels = write_table(tmp_path / "l.tsv", "record label", "r1 a;b", "r2 b")

    told = succeed("inspect", fasta, "--labels", labels).stderr.splitlines()

    assert told[2:5] == ["2 labelled examples, 2 classes:", "  a: 1", "  b: 2"]


def test_records_alike_with_different_labels_are_named(tmp_path: Path) -> None:
    records = {"r1": "AACC", "r2": "GGTT", "r3": "AACC", "r4": "CCCC"}
    fasta = write_fasta(tmp_path / "toy.fa", records)
    labels = write_table(tmp_path / "l.tsv", "record label", "r1 a", "r2 b", "r3 a", "r4 b")

    told = succeed("inspect", fasta, "--labels", labels).stderr

    words = "Duplicates with another label, which nothing can learn: 1 (such as r2 and r1)"
    assert words in told.splitlines()


def test_what_training_would_do_is_what_it_does(tmp_path: Path) -> None:
    fasta, labels = two_kinds(tmp_path, per_kind=10)
    settings = ["data.validation_fraction=0.3", "training.batch_size=4", "model.preset=tiny"]
    settings += ["model.segment_length=16", "training.max_epochs=1", "model.depth=1"]
    options = [word for setting in settings for word in ("--set", setting)]

    told = succeed("inspect", fasta, "--labels", labels, *options).stderr

    folder = tmp_path / "run"
    train_model(fasta, labels, folder, read_config(None, settings), device="cpu")
    rows = [line.split("\t") for line in (folder / "split.tsv").read_text().splitlines()[1:]]
    train, validation = (sum(row[-1] == part for row in rows) for part in ("train", "validation"))
    longest = max(int(row[2]) for row in rows if row[-1] == "train")
    assert f"  parts: train {train}, validation {validation}, test 0 examples" in told.splitlines()
    assert "  task: binary" in told
    assert f"bp in {-(-train // 4)} batches of 4" in told
    assert f"the longest: {longest} in 4 segments" in told
    audit = json.loads((folder / "leakage.json").read_text())
    assert f"in different parts: {audit['near_duplicate_pairs']:,} pairs" in told


def test_by_default_data_are_divided_as_training_does_by_default() -> None:
    defaults = DataSettings()

    assert {name: getattr(defaults, name) for name in DEFAULTS} == DEFAULTS


def test_data_that_training_would_refuse_are_shown_all_the_same(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {"r1": "ACGT", "r2": "ACGA"})
    labels = write_table(tmp_path / "l.tsv", "record label", "r1 a", "r2 a")

    result = succeed("inspect", fasta, "--labels", labels)

    assert "Training would refuse these data: all examples have the label 'a'" in result.stderr
    assert len(result.stdout.splitlines()) == 3


def test_several_files_are_counted_though_training_takes_one(tmp_path: Path) -> None:
    one = write_fasta(tmp_path / "one.fa", {"r1": "ACGT"})
    two = write_fasta(tmp_path / "two.fa", {"r2": "ACGA"})
    labels = write_table(tmp_path / "l.tsv", "record label", "r1 a", "r2 b")

    told = succeed("inspect", one, two, "--labels", labels).stderr

    assert "2 labelled examples, 2 classes:" in told
    assert "What training would do is told of one file or folder only." in told


@pytest.mark.parametrize("with_labels", [True, False])
@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_picture_is_drawn(tmp_path: Path, ending: str, *, with_labels: bool) -> None:
    fasta, labels = two_kinds(tmp_path, per_kind=3)
    picture = tmp_path / f"data.{ending}"

    succeed("inspect", fasta, "--plot", picture, *["--labels", labels] * with_labels)

    assert picture.read_bytes().startswith({"svg": b"<?xml", "png": b"\x89PNG"}[ending])
    assert "the file exists" in fail("inspect", fasta, "--plot", picture)
    succeed("inspect", fasta, "--plot", picture, "--overwrite")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "model.preset=tiny"], "--config and --set are of a training, which needs"),
        (["--config", "a.toml"], "--config and --set are of a training, which needs --labels"),
        (["--label-pattern", "(.)"], "--label-pattern needs --labels header"),
        (["--plot", "a.jpg"], "--plot a.jpg: the name must end in .svg or .png"),
    ],
)
def test_an_option_without_effect_is_refused(
    tmp_path: Path, options: list[str], words: str
) -> None:
    result = run("inspect", write_fasta(tmp_path / "toy.fa", TOY), *options)

    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""


def test_without_settings_torch_is_not_loaded() -> None:
    code = "import rmt_genomics.cli.inspect, rmt_genomics.reports.data_summary, sys; "
    code += "from rmt_genomics.reports.data_summary import Inspection; "
    code += "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"

    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_labels_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {"r1": "ACGT"})
    labels = write_table(tmp_path / "l.tsv", "record label", "R1 a")

    result = run("inspect", fasta, "--labels", labels)

    assert result.exit_code == 1
    assert "l.tsv: the FASTA file lacks 1 of 1 records named here ('R1' (line 2))" in result.stderr


def test_a_file_that_is_wrong_from_the_start_prints_no_row(tmp_path: Path) -> None:
    (tmp_path / "empty.fa").touch()

    assert "empty.fa: the file is empty" in fail("inspect", tmp_path / "empty.fa")
