"""Right inputs that were refused once, through the commands: one named option is enough."""

import csv
import io
from pathlib import Path

import pytest

from tests.cli.toys import fail, run, succeed
from tests.prediction.toys import dna, saved_model, write_fasta

TINY = [
    *("--set", "model.preset=tiny", "--set", "model.dim=8", "--set", "model.depth=1"),
    *("--set", "model.segment_length=16", "--set", "training.max_epochs=1"),
]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


@pytest.fixture
def spots(tmp_path: Path) -> Path:
    """Two files of classes, one name in both, one twice in one."""
    folder = tmp_path / "spots"
    folder.mkdir()
    for kind, letters in (("hot", "GGCCA"), ("cold", "AATTC")):
        sequences = {f"{kind}{n}": dna(60, seed=n, letters=letters) for n in range(8)}
        text = "".join(f">{name} {kind}\n{letters}\n" for name, letters in sequences.items())
        (folder / f"{kind}.fa").write_text(text + f">shared\n{dna(60, letters=letters)}\n")
    with (folder / "hot.fa").open("a") as file:
        file.write(f">hot0 {'hot'}\n{dna(60, seed=0, letters='GGCCA')}\n")
    return folder


@pytest.mark.slow
def test_a_set_with_repeats_trains_with_the_option_that_the_error_names(
    spots: Path, tmp_path: Path
) -> None:
    command = ("train", spots, "--labels", "file", "--out", tmp_path / "run", *TINY)

    message = fail(*command)
    assert "hot.fa:19: record 'hot0' was already at line 1" in message
    assert "Pass --duplicate-names number" in message

    result = succeed(*command, "--duplicate-names", "number")
    assert "1 copy with the same name, header and sequence left out" in result.stderr
    assert "1 record name is in several files" in result.stderr
    assert 'duplicate_names = "number"' in (tmp_path / "run/config.toml").read_text()
    assert "hot:shared\t" in (tmp_path / "run/split.tsv").read_text()
    # The option is remembered, and the last copy is still known to have been left out.
    again = succeed(*command, "--resume")
    assert "1 copy with the same name" in again.stderr


def test_split_and_inspect_take_the_options(spots: Path, tmp_path: Path) -> None:
    number = ("--labels", "file", "--duplicate-names", "number")
    table = tmp_path / "split.tsv"

    succeed("split", spots, *number, "--by", "stratified", "--out", table)
    inspected = succeed("inspect", spots, *number)

    names = [row["record"] for row in rows(inspected.stdout)]
    assert len(names) == 18
    assert {"hot:shared", "cold:shared"} < set(names)
    assert {row["record"] for row in rows(table.read_text())} == set(names)
    assert inspected.stderr.count("1 copy with the same name") == 1


def test_predict_names_records_like_train(spots: Path, tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model")

    for command in ("predict", "embed"):
        refused = run(command, model, spots)
        assert refused.exit_code == 1
        assert "Pass --duplicate-names number" in refused.stderr
        table = rows(succeed(command, model, spots, "--duplicate-names", "number").stdout)
        assert len(table) == 18
        assert {"hot:shared", "cold:shared"} < {row["record"] for row in table}


def test_full_names_of_read_pairs(tmp_path: Path) -> None:
    model, reads = saved_model(tmp_path / "model"), tmp_path / "reads.fq"
    reads.write_text("@r1 1:N\nACGT\n+\nIIII\n@r1 2:N\nGGCC\n+\nIIII\n")

    assert "pass --full-names" in fail("predict", model, reads)

    for intervals in ((), ("--window", 3)):
        table = rows(succeed("predict", model, reads, "--full-names", *intervals).stdout)
        assert list(dict.fromkeys(row["record"] for row in table)) == ["r1 1:N", "r1 2:N"]


def test_full_names_of_intervals(tmp_path: Path) -> None:
    model, fasta = saved_model(tmp_path / "model"), tmp_path / "x.fa"
    fasta.write_text(">chr1 one\nACGTACGT\n")
    (tmp_path / "x.bed").write_text("chr1 one\t1\t5\n")

    options = ("--full-names", "--intervals", tmp_path / "x.bed")
    (row,) = rows(succeed("predict", model, fasta, *options).stdout)

    assert (row["record"], row["length"]) == ("chr1 one", "4")


@pytest.mark.parametrize("format_name", ["tsv", "bed", "bedgraph"])
def test_records_without_a_sequence_get_a_row(tmp_path: Path, format_name: str) -> None:
    model = saved_model(tmp_path / "model")
    fasta = write_fasta(tmp_path / "x.fa", {"a": "", "b": "ACGT", "c": ""})

    result = succeed("predict", model, fasta, "--format", format_name)

    *_, a, b, c = result.stdout.splitlines()
    assert [line.split("\t")[0] for line in (a, b, c)] == ["a", "b", "c"]
    if format_name == "tsv":
        assert a.startswith("a\t0\tNA\tNA\tNA\tNA\t")
        assert "no known base" in a
        assert "no known base: 2" in result.stderr
        alone = succeed("predict", model, write_fasta(tmp_path / "y.fa", {"b": "ACGT"}))
        assert alone.stdout.splitlines()[-1] == b
    elif format_name == "bed":
        assert a == "a\t0\t0\tNA\t0\t."
    else:
        assert a == "a\t0\t0\tnan"


def test_records_without_a_sequence_have_no_window_and_no_features(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model")
    fasta = write_fasta(tmp_path / "x.fa", {"a": "", "b": "ACGTA"})

    windows = succeed("predict", model, fasta, "--window", 5)
    assert [row["record"] for row in rows(windows.stdout)] == ["b"]
    assert "1 of 2 records have no sequence, so they have no window." in windows.stderr
    embedded = succeed("embed", model, fasta)
    assert [row["feature_0"] == "nan" for row in rows(embedded.stdout)] == [True, False]
    assert "1 record without a sequence: the features are nan." in embedded.stderr


def test_without_labels_the_column_of_a_table_is_used(tmp_path: Path) -> None:
    table = tmp_path / "x.csv"
    lines = [f"{dna(20, seed=n)},{'xy'[n % 2]}" for n in range(20)]
    table.write_text("\n".join(["sequence,label", *lines]) + "\n")

    result = succeed("split", table, "--out", tmp_path / "s.tsv", "--by", "stratified")

    assert "Labels: the column 'label' of" in result.stderr
    missing = run("split", write_fasta(tmp_path / "x.fa", {"a": "AC"}), "--out", tmp_path / "no")
    assert missing.exit_code == 2
    assert "Missing option '--labels': " in missing.stderr


def test_options_of_labels_need_labels(tmp_path: Path) -> None:
    result = run("inspect", write_fasta(tmp_path / "x.fa", {"a": "AC"}), "--unlabelled", "skip")

    assert result.exit_code == 2
    assert "--unlabelled and --min-class-size need --labels." in result.stderr


def test_unlabelled_records_and_small_classes_are_left_out(tmp_path: Path) -> None:
    fasta = write_fasta(
        tmp_path / "x.fa",
        {f"r{n}{' label=' + 'xy'[n % 2] if n else ''}": dna(20, seed=n) for n in range(20)}
        | {"rare label=z": "ACGTACGT"},
    )
    command = ("split", fasta, "--labels", "header", "--by", "stratified")

    assert "--unlabelled skip" in fail(*command, "--out", tmp_path / "s.tsv")
    result = succeed(
        *command, "--out", tmp_path / "s.tsv", "--unlabelled", "skip", "--min-class-size", 2
    )

    assert "records without a label: 1 ('r0')" in result.stderr
    assert "1 class of fewer than 2 examples left out" in result.stderr
    assert [line.split("\t")[0] for line in result.stdout.splitlines()[1:]] == ["x", "y", "(all)"]
