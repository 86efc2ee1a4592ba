"""``predict --out``: tracks, resumed files and shards, byte for byte what one run would write."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmt_genomics.atomic_io import ResumableFile, partial_path
from rmt_genomics.model import RMTClassifier
from rmt_genomics.prediction.calibration import Calibration
from tests.cli.toys import fail, run, succeed
from tests.prediction.toys import TWO, dna, saved_model, write_fasta, write_table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved_model(tmp_path / "model", segment_length=64, depth=1)


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    """More records than one batch holds."""
    return write_fasta(tmp_path / "toy.fa", {f"r{i}": dna(5 + i % 60, seed=i) for i in range(150)})


def stop_after(lines: int, out: Path, whole: Path) -> None:
    """Leave what a run killed after some lines, and in the middle of another, would leave."""
    text = whole.read_text().splitlines(keepends=True)
    partial_path(out).write_text("".join(text[:lines]) + text[lines][:7])


def begin(out: Path, *arguments: object) -> None:
    """Start a run and interrupt it at its first row, so that its settings and input are saved."""
    save_progress = ResumableFile.save_progress

    def save_and_interrupt(file: ResumableFile, progress: dict[str, Any]) -> None:
        save_progress(file, progress)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResumableFile, "save_progress", save_and_interrupt)
        assert run(*arguments, "--out", out).exit_code == 130


@pytest.mark.parametrize("lines", [0, 1, 2, 64, 65, 100, 150])
def test_a_resumed_file_is_that_of_an_uninterrupted_run(
    tmp_path: Path, model: Path, fasta: Path, lines: int
) -> None:
    whole, out = tmp_path / "whole.tsv", tmp_path / "out.tsv"
    succeed("predict", model, fasta, "--out", whole)
    begin(out, "predict", model, fasta)
    stop_after(lines, out, whole)

    succeed("predict", model, fasta, "--out", out, "--resume")

    assert out.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("out.tsv.*"))


@pytest.mark.slow
def test_kill_9_loses_no_row_and_doubles_none(tmp_path: Path, model: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {f"r{i}": dna(60, seed=i) for i in range(4000)})
    out, whole = tmp_path / "out.tsv", tmp_path / "whole.tsv"
    command = [sys.executable, "cli.py", "predict", str(model), str(fasta), "--device", "cpu"]
    process = subprocess.Popen([*command, "--out", str(out)], cwd=ROOT)
    while not partial_path(out).exists() or partial_path(out).read_bytes().count(b"\n") < 10:
        assert process.poll() is None, "was to be killed on its way"
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    killed_at = partial_path(out).read_bytes().count(b"\n")

    succeed("predict", model, fasta, "--out", out, "--resume", "--device", "cpu")

    succeed("predict", model, fasta, "--out", whole, "--device", "cpu")
    assert out.read_bytes() == whole.read_bytes()
    assert 10 <= killed_at < 4000


def test_an_interrupted_run_is_only_overwritten_on_request(
    tmp_path: Path, model: Path, fasta: Path
) -> None:
    out = tmp_path / "out.tsv"
    begin(out, "predict", model, fasta)

    assert "an interrupted run has left" in fail("predict", model, fasta, "--out", out)
    succeed("predict", model, fasta, "--out", out, "--overwrite")


def test_a_run_with_another_model_or_input_is_not_resumed(
    tmp_path: Path, model: Path, fasta: Path
) -> None:
    out, other = tmp_path / "out.tsv", saved_model(tmp_path / "other", segment_length=32)
    begin(out, "predict", model, fasta)

    assert "was started with model" in fail("predict", other, fasta, "--out", out, "--resume")
    window = ("--window", 40)
    assert "with step None" in fail("predict", model, fasta, *window, "--out", out, "--resume")
    write_fasta(fasta, {"r": "ACGT"})
    told = fail("predict", model, fasta, "--out", out, "--resume")
    assert "toy.fa: the file (" in told
    assert "has changed since" in told
    assert "a resumed run must read the same input. Restore it, or start over" in told


@pytest.mark.parametrize("more", [(), ("--shard", "1/1")])
@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("part", lambda text: text.replace("length", "width"), "its header is of other output"),
        ("part", lambda text: text + "\udce9\n", "is damaged, it is not UTF-8"),
        ("part.json", lambda text: text.replace('"size"', '"x"'), "part.json: is damaged, but"),
        (
            "part.json",
            lambda text: text.replace('files": 0', 'files": []'),
            "part.json: is damaged, but",
        ),
        ("part.json", lambda text: text[:40], "is not unfinished output of rmt-genomics"),
    ],
)
def test_damaged_unfinished_output_is_named_and_kept(
    tmp_path: Path,
    model: Path,
    fasta: Path,
    more: tuple[object, ...],
    name: str,
    change: Callable[[str], str],
    words: str,
) -> None:
    out, changed = tmp_path / "out.tsv", tmp_path / f"out.tsv.{name}"
    begin(out, "predict", model, fasta, *more)
    text = changed.read_text()
    assert change(text) != text
    changed.write_text(change(text), errors="surrogateescape")
    before = changed.read_bytes()

    assert words in fail("predict", model, fasta, *more, "--out", out, "--resume")

    assert changed.read_bytes() == before


def test_the_last_line_of_an_unfinished_shard_has_an_index(
    tmp_path: Path, model: Path, fasta: Path
) -> None:
    out = tmp_path / "out.tsv"
    arguments = ("predict", model, fasta, "--shard", "1/1", "--out", out)
    begin(*(out, *arguments[:-2]))
    with partial_path(out).open("a") as file:
        file.write("x\ty\n")

    assert "its last line does not begin with the index" in fail(*arguments, "--resume")


def test_a_foreign_folder_beside_the_output_stays(tmp_path: Path, model: Path, fasta: Path) -> None:
    mine = tmp_path / "out.tsv.shards" / "job.json"
    mine.parent.mkdir()
    mine.touch()

    for options in (("--overwrite",), ("--resume", "--overwrite")):
        succeed("predict", model, fasta, "--out", tmp_path / "out.tsv", "--processes", 1, *options)

    assert mine.exists()


@pytest.mark.parametrize("more", [(), ("--window", 20, "--step", 7, "--format", "bedgraph")])
def test_joined_shards_are_the_file_of_one_run(
    tmp_path: Path, model: Path, fasta: Path, more: tuple[object, ...]
) -> None:
    with fasta.open("a") as file:
        file.write(">unknown\nNNN\n")
    whole, joined = tmp_path / "whole.tsv", tmp_path / "joined.tsv"
    arguments = ("predict", model, fasta, *more)
    succeed(*arguments, "--out", whole)
    shards = [tmp_path / f"shard{number}" for number in (1, 2, 3)]
    for number, shard in enumerate(shards, start=1):
        succeed(*arguments, "--shard", f"{number}/3", "--out", shard)

    succeed("join", *reversed(shards), "--out", joined)

    assert joined.read_bytes() == whole.read_bytes()
    assert succeed("join", *shards).stdout == whole.read_text()
    assert "shard 2 is not among those given" in fail("join", shards[0], shards[2])


@pytest.mark.parametrize("lines", [0, 1, 2, 3, 40, 66])
def test_a_resumed_shard_is_that_of_an_uninterrupted_run(
    tmp_path: Path, model: Path, fasta: Path, lines: int
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    arguments = ("predict", model, fasta, "--shard", "1/2")
    succeed(*arguments, "--out", whole)
    begin(out, *arguments)
    stop_after(lines, out, whole)

    succeed(*arguments, "--out", out, "--resume")

    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_processes_write_the_file_of_one(tmp_path: Path, model: Path, fasta: Path) -> None:
    with fasta.open("a") as file:
        file.write(">unknown\nNNN\n")
    whole, out = tmp_path / "whole.tsv", tmp_path / "out.tsv"
    arguments = ("predict", model, fasta, "--device", "cpu", "--abstain-below", 0.6)
    told = succeed(*arguments, "--out", whole).stderr

    result = succeed(*arguments, "--out", out, "--processes", 2)

    assert out.read_bytes() == whole.read_bytes()
    assert result.stderr == told.replace(str(whole), str(out))


def test_windows_make_a_track_that_does_not_overlap(tmp_path: Path, model: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {"chr1": dna(21)})
    windows = ("--window", 8, "--step", 4)
    table = succeed("predict", model, fasta, *windows).stdout.splitlines()[1:]

    head, *lines = succeed(
        "predict", model, fasta, *windows, "--format", "bedgraph"
    ).stdout.splitlines()

    assert head == 'track type=bedGraph name="model gc"'
    assert [line.split("\t")[:3] for line in lines] == [
        ["chr1", str(start), str(end)]
        for start, end in ((2, 6), (6, 10), (10, 14), (14, 18), (18, 19))
    ]
    assert [line.split("\t")[3] for line in lines] == [row.split("\t")[-2] for row in table]
    first = succeed(
        "predict", model, fasta, *windows, "--format", "bedgraph", "--class", "at"
    ).stdout.splitlines()
    assert [line.split("\t")[3] for line in first[1:]] == [row.split("\t")[-3] for row in table]


def test_a_bed_file_has_the_labels(tmp_path: Path, model: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {"chr1": dna(21)})
    bed = write_table(tmp_path / "a.bed", "chr1 3 9 x 0 -", "chr1 0 6 x 0 +")
    table = succeed("predict", model, fasta, "--intervals", bed).stdout.splitlines()[1:]

    result = succeed("predict", model, fasta, "--intervals", bed, "--format", "bed")

    head, *lines = (line.split("\t") for line in result.stdout.splitlines())
    assert head == ['track name="model" useScore=1']
    for line, row in zip(lines, (row.split("\t") for row in table), strict=True):
        assert line == [*row[:3], row[5], str(round(1000 * float(row[6]))), row[3]]


def test_rows_that_abstain_are_counted(model: Path, fasta: Path) -> None:
    plain = [line.split("\t") for line in succeed("predict", model, fasta).stdout.splitlines()[1:]]
    bar = float(sorted(row[3] for row in plain)[50])

    result = succeed("predict", model, fasta, "--abstain-below", bar)

    rows = [line.split("\t") for line in result.stdout.splitlines()[1:]]
    count = sum(row[2] == "abstain" for row in rows)
    assert 40 < count < 60
    assert f"abstain {count}" in result.stderr
    for row, before in zip(rows, plain, strict=True):
        assert row[3:] == before[3:]
        assert row[2] in (before[2], "abstain")


def test_calibrated_probabilities_and_sets_of_labels(model: Path, fasta: Path) -> None:
    told = fail("predict", model, fasta, "--coverage", 0.9)
    assert "model: has no calibration.json, but --calibrated and --coverage need one" in told
    calibration = Calibration(TWO["task"], TWO["classes"], 3.0, np.linspace(0.3, 0.52, 30))
    calibration.save(model)
    records = [line.split("\n")[1] for line in fasta.read_text().split(">")[1:]]
    answers = RMTClassifier.from_pretrained(model).predict_proba(records)

    result = succeed("predict", model, fasta, "--coverage", 0.9, "--calibrated")

    head, *rows = (line.split("\t") for line in result.stdout.splitlines())
    assert head[2:] == ["label", "score", "labels", "prob_at", "prob_gc", "note"]
    sets = calibration.label_sets(answers, 0.9)
    assert [row[4] for row in rows] == [";".join(each) for each in sets]
    assert {len(each) for each in sets} == {1, 2}
    found = np.array([row[5:7] for row in rows], dtype=float)
    np.testing.assert_allclose(found, calibration.apply(answers), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--resume",), "--resume needs --out"),
        (("--shard", "1/2"), "--shard needs --out"),
        (("--processes", 2), "--processes needs --out"),
        (
            ("--shard", "1/2", "--processes", 2, "--out", "x"),
            "--processes and --shard cannot be combined",
        ),
        (("--shard", "3/2", "--out", "x"), "'3/2' is not a shard: write 1/4"),
        (("--coverage", 1), "is not in the range 0<x<1"),
    ],
)
def test_options_that_cannot_be_combined_are_usage_errors(
    model: Path, fasta: Path, arguments: tuple[object, ...], words: str
) -> None:
    result = run("predict", model, fasta, *arguments)

    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--class", "at"), "--class needs --format bedgraph"),
        (("--format", "bed", "--coverage", 0.9), "--coverage needs --format tsv"),
        (("--format", "bedgraph", "--abstain-below", 0.9), "--abstain-below needs labels"),
        (("--format", "bedgraph", "--class", "x"), "the model has no class 'x', but bedGraph"),
    ],
)
def test_options_that_do_not_go_together_are_named(
    model: Path, fasta: Path, arguments: tuple[object, ...], words: str
) -> None:
    assert words in fail("predict", model, fasta, *arguments)


def test_standard_input_cannot_be_resumed(tmp_path: Path, model: Path) -> None:
    told = fail("predict", model, "-", "--out", tmp_path / "out.tsv", "--resume")

    assert "is not a file on a disk, but --resume, --shard and --processes read" in told


def test_a_regression_has_one_number(tmp_path: Path) -> None:
    settings = {"task": "regression", "classes": ("strength",)}
    model = saved_model(tmp_path / "model", **settings)
    fasta = write_fasta(tmp_path / "toy.fa", {"r1": "ACGTAC", "r2": "GG"})

    head, *rows = (
        line.split("\t") for line in succeed("predict", model, fasta).stdout.splitlines()
    )

    assert head == ["record", "length", "prediction", "note"]
    values = RMTClassifier.from_pretrained(model).predict(["ACGTAC", "GG"])
    assert [float(row[2]) for row in rows] == pytest.approx(values, rel=1e-4)
    assert "leave --calibrated" in fail("predict", model, fasta, "--abstain-below", 0.5)
    assert "--format bed shows labels" in fail("predict", model, fasta, "--format", "bed")
    track = succeed("predict", model, fasta, "--format", "bedgraph").stdout.splitlines()
    assert track[1].split("\t") == ["r1", "0", "6", rows[0][2]]
