"""``inspect``: the table of records, the summary, and checks of labels."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna.alphabet import reverse_complement
from rmt_genomics.reports import data_summary
from rmt_genomics.reports.data_summary import SPLIT_DEFAULTS, DataSummary
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
                "Ambiguous IUPAC codes: 1, read as N",
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
    stderr = succeed("inspect", write_fasta(tmp_path / "toy.fa", sequences)).stderr

    assert stderr.splitlines() == lines


def test_duplicates_are_found_on_either_strand(tmp_path: Path) -> None:
    sequences = {"a": "AACGT", "b": "aacgu", "c": "ACGTT", "d": "AACGTA", "e": "ACGT", "f": "acgt"}
    fasta = write_fasta(tmp_path / "toy.fa", sequences)

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
def test_both_strands_have_one_digest_for_any_chunk_size(letters: str, chunk: int) -> None:
    summary = DataSummary()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_summary, "_CHUNK_BP", chunk)
        summary.add("one", letters)
    other = summary.add("other", reverse_complement(letters))
    third = summary.add("third", letters + "A")

    assert other.duplicate_of == "one"
    as_read = letters.upper().replace("R", "N")
    is_palindrome = as_read == reverse_complement(as_read)
    assert other.strand == ("+" if is_palindrome else "-")
    assert third.duplicate_of is None


def test_labels_are_counted_by_class_and_split(tmp_path: Path) -> None:
    fasta, labels = two_kinds(tmp_path, per_kind=3, splits="train test")

    stderr = succeed("inspect", fasta, "--labels", labels).stderr.splitlines()

    start = stderr.index("6 labelled examples, 2 classes:")
    assert stderr[start + 1 : start + 3] == [
        "  at: 3 (train 2, test 1)",
        "  gc: 3 (train 2, test 1)",
    ]


def test_labels_without_split_are_counted_too(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {"r1": "ACGT", "r2": "ACGA"})
    labels = write_table(tmp_path / "l.tsv", "record label", "r1 a;b", "r2 b")

    stderr = succeed("inspect", fasta, "--labels", labels).stderr.splitlines()

    assert stderr[2:5] == ["2 labelled examples, 2 classes:", "  a: 1", "  b: 2"]


def test_duplicates_with_contradictory_labels_are_named(tmp_path: Path) -> None:
    records = {"r1": "AACC", "r2": "GGTT", "r3": "AACC", "r4": "CCCC"}
    fasta = write_fasta(tmp_path / "toy.fa", records)
    labels = write_table(tmp_path / "l.tsv", "record label", "r1 a", "r2 b", "r3 a", "r4 b")

    stderr = succeed("inspect", fasta, "--labels", labels).stderr

    words = "Duplicates with contradictory labels: 1 (such as r2 and r1)"
    assert words in stderr.splitlines()


def test_what_training_would_do_is_what_it_does(tmp_path: Path) -> None:
    fasta, labels = two_kinds(tmp_path, per_kind=10)
    settings = ["data.validation_fraction=0.3", "training.batch_size=4", "model.preset=tiny"]
    settings += ["model.segment_length=16", "training.max_epochs=1", "model.depth=1"]
    options = [word for setting in settings for word in ("--set", setting)]

    stderr = succeed("inspect", fasta, "--labels", labels, *options).stderr

    folder = tmp_path / "run"
    train_model(fasta, labels, folder, read_config(None, settings), device="cpu")
    rows = [line.split("\t") for line in (folder / "split.tsv").read_text().splitlines()[1:]]
    train, validation = (sum(row[-1] == part for row in rows) for part in ("train", "validation"))
    longest = max(int(row[2]) for row in rows if row[-1] == "train")
    assert (
        f"  split: train {train}, validation {validation}, test 0 examples" in stderr.splitlines()
    )
    assert "  task: binary" in stderr
    assert f"bp in {-(-train // 4)} batches of 4" in stderr
    assert f"the longest: {longest} tokens in 4 segments" in stderr
    audit = json.loads((folder / "leakage.json").read_text())
    assert f"in different parts: {audit['near_duplicate_pairs']:,} pairs" in stderr


def test_the_default_split_is_that_of_training() -> None:
    defaults = DataSettings()

    assert {name: getattr(defaults, name) for name in SPLIT_DEFAULTS} == SPLIT_DEFAULTS


def test_data_that_training_would_refuse_are_summarised_too(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {"r1": "ACGT", "r2": "ACGA"})
    labels = write_table(tmp_path / "l.tsv", "record label", "r1 a", "r2 a")

    result = succeed("inspect", fasta, "--labels", labels)

    assert "Training would refuse these data: all examples have the label 'a'" in result.stderr
    assert len(result.stdout.splitlines()) == 3


def test_several_files_are_counted_though_training_takes_one(tmp_path: Path) -> None:
    one = write_fasta(tmp_path / "one.fa", {"r1": "ACGT"})
    two = write_fasta(tmp_path / "two.fa", {"r2": "ACGA"})
    labels = write_table(tmp_path / "l.tsv", "record label", "r1 a", "r2 b")

    stderr = succeed("inspect", one, two, "--labels", labels).stderr

    assert "2 labelled examples, 2 classes:" in stderr
    assert "What training would do is shown for a single file or folder only." in stderr


@pytest.mark.parametrize("with_labels", [True, False])
@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_plot_is_written(tmp_path: Path, ending: str, *, with_labels: bool) -> None:
    fasta, labels = two_kinds(tmp_path, per_kind=3)
    plot = tmp_path / f"data.{ending}"

    succeed("inspect", fasta, "--plot", plot, *["--labels", labels] * with_labels)

    assert plot.read_bytes().startswith({"svg": b"<?xml", "png": b"\x89PNG"}[ending])
    assert "the file exists" in fail("inspect", fasta, "--plot", plot)
    succeed("inspect", fasta, "--plot", plot, "--overwrite")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "model.preset=tiny"], "--config and --set are settings of a training, so need"),
        (["--config", "a.toml"], "--config and --set are settings of a training, so need --labels"),
        (["--label-pattern", "(.)"], "--label-pattern needs --labels header"),
        (["--plot", "a.jpg"], "--plot a.jpg: its name must end in .svg or .png"),
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
    code += "from rmt_genomics.reports.data_summary import DataSummary; "
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


def test_the_task_of_the_settings_says_whether_labels_are_numbers(tmp_path: Path) -> None:
    """Whole numbers are classes by default."""
    records = {f"r{number}": "ACGT" * (number + 1) for number in range(24)}
    fasta = write_fasta(tmp_path / "toy.fa", records)
    rows = [f"r{number} {number}" for number in range(24)]
    labels = write_table(tmp_path / "l.tsv", "record label", *rows)

    numbers = succeed("inspect", fasta, "--labels", labels, "--set", "data.task=regression").stderr
    classes = succeed("inspect", fasta, "--labels", labels).stderr

    assert "24 labelled examples, 24 distinct values: lowest 0, median 11.5" in numbers
    assert "24 labelled examples, 24 classes:" in classes
