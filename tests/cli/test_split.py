"""``rmt-genomics split`` on the command line."""

import re
from pathlib import Path

import pytest

from rmt_genomics.dna import reverse_complement
from tests.cli.toys import fail, run, succeed
from tests.datasets.toys import dna, mutated
from tests.prediction.toys import write_fasta, write_table

FAMILIES = 20


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    """Twenty families of three: an original, one with 1% mutations, its reverse complement."""
    sequences = {}
    for family in range(FAMILIES):
        original = dna(1200, family)
        sequences[f"f{family}a"] = original
        sequences[f"f{family}b"] = mutated(original, 0.01, seed=family)
        sequences[f"f{family}c"] = reverse_complement(original)
    return write_fasta(tmp_path / "toy.fa", sequences)


def write_labels(folder: Path, header: str = "record label", *more: str) -> Path:
    rows = [f"f{family}{copy} {'xy'[family % 2]}" for family in range(FAMILIES) for copy in "abc"]
    return write_table(folder / "labels.tsv", header, *(" ".join([row, *more]) for row in rows))


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    header, *rows = (line.split("\t") for line in path.read_text().splitlines())
    return header, rows


def test_families_stay_together_and_the_counts_are_printed(fasta: Path, tmp_path: Path) -> None:
    labels, out = write_labels(tmp_path), tmp_path / "out.tsv"

    result = succeed("split", fasta, "--labels", labels, "--out", out)

    header, rows = read(out)
    assert header == ["record", "label", "group", "split"]
    assert [row[:2] for row in rows] == read(labels)[1]
    assert {row[0]: row[2] for row in rows}["f7c"] == "f7a"
    assert len({(row[2], row[3]) for row in rows}) == FAMILIES
    assert result.stdout == (
        "label\ttrain\tvalidation\ttest\nx\t24\t3\t3\ny\t24\t3\t3\n(all)\t48\t6\t6\n"
    )
    assert f"Split by homology. Written to {out}.\n" in result.stderr
    assert "Near-duplicates in different parts: 0 pairs" in result.stderr


def test_leakage_of_the_split_gives_a_warning(fasta: Path, tmp_path: Path) -> None:
    labels, out = write_labels(tmp_path), tmp_path / "out.tsv"

    result = succeed("split", fasta, "--labels", labels, "--out", out, "--by", "stratified")

    assert read(out)[0] == ["record", "label", "split"]
    assert "are near-duplicates of examples in another part" in result.stderr
    assert "Make a new split: rmt-genomics split --by homology (if" in result.stderr


def test_the_identity_of_the_split_is_that_of_the_audit(fasta: Path, tmp_path: Path) -> None:
    labels, out = write_labels(tmp_path), tmp_path / "out.tsv"

    strict = succeed("split", fasta, "--labels", labels, "--out", out, "--identity", 0.9)
    loose = succeed(
        *("split", fasta, "--labels", labels, "--out", out, "--identity", 1, "--overwrite")
    )

    assert "Groups at 90% identity: 20 groups of 60 examples, the largest of 3, 3," in strict.stderr
    assert "0 pairs of at least 90% estimated identity" in strict.stderr
    assert "Groups at 100% identity: 40 groups of 60 examples, the largest of 2, 2" in loose.stderr
    assert "0 pairs of at least 100% estimated identity" in loose.stderr
    assert re.search(r"the highest estimate is 9[89](\.\d)?%", loose.stderr)


def test_windows_of_a_record_and_of_its_relatives_are_in_one_part(
    fasta: Path, tmp_path: Path
) -> None:
    labels, out = write_labels(tmp_path), tmp_path / "out.tsv"
    options = ["--labels", labels, "--out", out, "--window", 500, "--step", 400]

    result = succeed("split", fasta, *options, "--by", "homology")

    header, rows = read(out)
    assert header == ["record", "start", "end", "strand", "label", "group", "split"]
    assert rows[:3] == [
        ["f0a", start, end, "+", "x", "f0a", rows[0][6]]
        for start, end in (("0", "500"), ("400", "900"), ("700", "1200"))
    ]
    assert len(rows) == 180
    assert len({(row[5], row[6]) for row in rows}) == FAMILIES
    assert "Cut 60 examples of 60 records into 180 windows of 500 bp (step 400 bp" in result.stderr
    assert result.stdout.endswith("(all)\t144\t18\t18\n")

    succeed("split", fasta, *options, "--by", "record", "--overwrite")

    assert len({(row[5], row[6]) for row in read(out)[1]}) == 60


def test_windows_need_a_length_and_one_part(fasta: Path, tmp_path: Path) -> None:
    arguments = ["split", fasta, "--labels", write_labels(tmp_path), "--out", tmp_path / "out.tsv"]

    assert run(*arguments, "--step", 5).exit_code == 2
    assert "--by stratified divides the windows of a record" in fail(
        *arguments, "--window", 500, "--by", "stratified"
    )
    assert "the windows are 5 bp long with a step of 6 bp" in fail(
        *arguments, "--window", 5, "--step", 6
    )
    assert "the identity is 95, but must be above 0 and at most 1" in fail(
        *arguments, "--identity", 95
    )


def test_clusters_of_another_program_are_used(fasta: Path, tmp_path: Path) -> None:
    rows = [f"f{family}a f{family // 2 * 2}{copy}" for family in range(0, 20, 2) for copy in "abc"]
    rows += [f"f{family - 1}a f{family}{copy}" for family in range(1, 20, 2) for copy in "abc"]
    clusters = write_table(tmp_path / "clusters.tsv", *rows)
    arguments = ["--labels", write_labels(tmp_path), "--out", tmp_path / "out.tsv"]

    succeed("split", fasta, *arguments, "--clusters", clusters, "--fractions", "0.6,0.2,0.2")

    _, table = read(tmp_path / "out.tsv")
    assert {row[0]: row[2] for row in table}["f9c"] == "f8a"
    assert len({(row[2], row[3]) for row in table}) == FAMILIES // 2


def test_labels_in_the_sequence_files_and_bed_get_a_new_table(fasta: Path, tmp_path: Path) -> None:
    tagged = tmp_path / "tagged.fa"
    tagged.write_text(
        "".join(
            f"{line} label={'xy'[int(line[2:-1]) % 2]}\n" if line.startswith(">") else f"{line}\n"
            for line in fasta.read_text().splitlines()
        )
    )
    bed = tmp_path / "l.bed"
    bed.write_text(
        "".join(f"f{n}{copy}\t0\t1000\t{'xy'[n % 2]}\n" for n in range(20) for copy in "ac")
    )

    succeed("split", tagged, "--labels", "header", "--out", tmp_path / "one.tsv")
    succeed("split", fasta, "--labels", bed, "--out", tmp_path / "two.tsv")

    assert read(tmp_path / "one.tsv")[0] == ["record", "label", "group", "split"]
    header, rows = read(tmp_path / "two.tsv")
    assert header == ["record", "start", "end", "strand", "label", "group", "split"]
    assert rows[1][:6] == ["f0c", "0", "1000", "+", "x", "f0a:0-1000(+)"]
    succeed("inspect", fasta, "--labels", tmp_path / "two.tsv")


def test_the_seed_and_the_fractions_are_used(fasta: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path, "record label group", "g")
    labels.write_text(
        "".join(
            line + ("" if number == 0 else str(number % 12)) + "\n"
            for number, line in enumerate(labels.read_text().splitlines())
        )
    )
    texts = []
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        out = tmp_path / f"{name}.tsv"
        options = ["--by", "group", "--fractions", "0.5,0.5,0", "--seed", seed]
        succeed("split", fasta, "--labels", labels, "--out", out, *options)
        texts.append(out.read_text())

    assert texts[0] == texts[1] != texts[2]
    assert {row[3] for row in read(tmp_path / "one.tsv")[1]} == {"train", "validation"}


def test_by_column_holds_validation_out_of_train(fasta: Path, tmp_path: Path) -> None:
    labels = write_labels(tmp_path, "record label split", "train")
    labels.write_text(labels.read_text().replace("f0a\tx\ttrain", "f0a\tx\ttest"))

    result = succeed("split", fasta, "--labels", labels, "--out", tmp_path / "out.tsv")

    assert result.stdout.endswith("(all)\t53\t6\t1\n")
    assert read(tmp_path / "out.tsv")[1][0] == ["f0a", "x", "test"]


def test_an_existing_file_is_kept_without_overwrite(fasta: Path, tmp_path: Path) -> None:
    arguments = ["split", fasta, "--labels", write_labels(tmp_path), "--out", tmp_path / "out.tsv"]
    (tmp_path / "out.tsv").write_text("record\tlabel\tsplit\n")

    assert "the file exists" in fail(*arguments)
    assert (tmp_path / "out.tsv").read_text() == "record\tlabel\tsplit\n"
    succeed(*arguments, "--overwrite")
    assert "is also an input" in fail(*arguments[:4], "--out", arguments[3], "--overwrite")


WRONG = ["0.8,0.2", "0.5,0.1,0.1", "a,b,c", "1,0,0", "0.8,-0.1,0.3", "0.8,0.2,nan", "0.8,x,0.1,0.1"]


@pytest.mark.parametrize("text", WRONG)
def test_wrong_fractions_are_a_usage_error(fasta: Path, tmp_path: Path, text: str) -> None:
    arguments = ["--labels", write_labels(tmp_path), "--out", tmp_path / "out.tsv"]

    result = run("split", fasta, *arguments, "--fractions", text)

    assert result.exit_code == 2
    assert f"'{text}' must be three numbers that add up to 1" in " ".join(result.stderr.split())


BAD = {
    "missing groups": ({}, ["--by", "group"], "f0a has no group, but a split by group needs one"),
    "no split column": ({}, ["--by", "column"], "no split for 60 of 60 examples (such as f0a)"),
    "no clusters file": ({}, ["--clusters", "none.tsv"], "none.tsv: there is no such file, but it"),
    "clusters for another method": (
        {},
        ["--by", "record", "--clusters", "c.tsv"],
        "c.tsv: clusters are given, but only a split by homology uses them",
    ),
    "clusters that contradict": (
        {"clusters": "f0a f0b\nf1a f0b"},
        ["--clusters", "c.tsv"],
        "c.tsv:2: 'f0b' is in the cluster of 'f1a', but was in that of 'f0a' at line 1",
    ),
    "clusters in a circle": (
        {"clusters": "f0a f0b\nf0b f0a"},
        ["--clusters", "c.tsv"],
        "c.tsv:2: 'f0a' is in the cluster of 'f0b', but was in that of 'f0a' at line 1",
    ),
    "clusters that lack records": (
        {"clusters": "f0a f0b"},
        ["--clusters", "c.tsv"],
        "c.tsv: no cluster for 58 of 60 labelled records ('f0c', 'f1a', 'f1b', 'f1c', 'f2a', ...)",
    ),
    "clusters that are FASTA": (
        {"clusters": ">f0a"},
        ["--clusters", "c.tsv"],
        "c.tsv:1: the line is '>f0a', but a clusters file must be",
    ),
}


@pytest.mark.parametrize(("changes", "options", "words"), BAD.values(), ids=BAD)
def test_an_impossible_split_is_one_plain_message(
    fasta: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    options: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    labels = write_labels(tmp_path)
    if isinstance(row := changes.get("row"), tuple):
        labels.write_text(labels.read_text().replace(*row))
    if isinstance(clusters := changes.get("clusters"), str):
        write_table(tmp_path / "c.tsv", *clusters.split("\n"))

    message = fail("split", fasta, "--labels", labels, "--out", tmp_path / "out.tsv", *options)

    assert words in message
    assert not (tmp_path / "out.tsv").exists()
    assert not list(tmp_path.glob(".*"))
