"""``predict``: FASTA in, a table out, in input order."""

import csv
import gzip
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from Bio import bgzf

from rmt_genomics.model import RMTClassifier
from tests.cli.toys import fail, run, succeed
from tests.prediction.toys import dna, saved_model, write_fasta

ROOT = Path(__file__).parents[2]
CONTENT = b">r1 first\nACGTAC\n>r2\nGGNNRT\n"


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


def test_the_table_has_the_documented_columns_and_predictions(
    tmp_path: Path,
) -> None:
    model = saved_model(tmp_path / "model")
    fasta = write_fasta(tmp_path / "toy.fa", {"r1": "ACGTAC", "r2": "GGNNRT", "r3": "A"})

    table = rows(succeed("predict", model, fasta).stdout)

    loaded = RMTClassifier.from_pretrained(model)
    answers = loaded.predict_proba(["ACGTAC", "GGNNRT", "A"])
    assert list(table[0]) == ["record", "length", "label", "score", "prob_at", "prob_gc", "note"]
    assert [row["record"] for row in table] == ["r1", "r2", "r3"]
    assert [row["length"] for row in table] == ["6", "6", "1"]
    assert [row["label"] for row in table] == [loaded.label_of(answer) for answer in answers]
    for row, answer in zip(table, answers, strict=True):
        assert [float(row["prob_at"]), float(row["prob_gc"])] == pytest.approx(answer, abs=1e-5)
        assert row["score"] == row[f"prob_{row['label']}"]


def test_a_multi_label_model_may_name_nothing(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model", task="multilabel")
    fasta = write_fasta(tmp_path / "toy.fa", {f"r{i}": dna(30, seed=i) for i in range(20)})

    table = rows(succeed("predict", model, fasta).stdout)

    for row in table:
        sure = {
            name: row[f"prob_{name}"] for name in ("at", "gc") if float(row[f"prob_{name}"]) >= 0.5
        }
        assert row["label"] == ";".join(sure)
        assert row["score"] == min(sure.values(), key=float, default="")


def test_several_files_of_any_packing_are_read_in_turn(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model")
    (tmp_path / "a.fa").write_bytes(CONTENT)
    (tmp_path / "b.fa.gz").write_bytes(gzip.compress(CONTENT))
    with bgzf.BgzfWriter(tmp_path / "c.fa.bgz") as writer:
        writer.write(CONTENT)

    files = [tmp_path / name for name in ("a.fa", "b.fa.gz", "c.fa.bgz")]
    result = succeed("predict", model, *files)
    lines = result.stdout.splitlines()
    assert result.stderr.count("2 record names are in several files") == 1

    names = [line.split("\t")[0] for line in lines[1:]]
    assert names == ["a:r1", "a:r2", "b:r1", "b:r2", "c:r1", "c:r2"]
    rows = [line.split("\t")[1:] for line in lines[1:]]
    assert rows[:2] == rows[2:4] == rows[4:]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(CONTENT.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(CONTENT.lower(), id="lower case"),
        pytest.param(b"\n" + CONTENT.replace(b"\n", b"\n\n"), id="blank lines"),
        pytest.param(CONTENT.rstrip(), id="no last newline"),
        pytest.param(CONTENT.replace(b"ACGTAC", b"ACG\nTA\nC"), id="short lines"),
    ],
)
def test_ordinary_input_just_works(tmp_path: Path, content: bytes) -> None:
    model = saved_model(tmp_path / "model")
    (tmp_path / "plain.fa").write_bytes(CONTENT)
    (tmp_path / "other.fa").write_bytes(content)

    plain, other = (succeed("predict", model, tmp_path / f"{x}.fa") for x in ("plain", "other"))

    assert other.stdout == plain.stdout
    assert other.stderr == plain.stderr
    assert other.stderr.startswith("2 rows: ")


def test_a_long_record_on_one_line_is_that_of_its_string(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model", segment_length=1024, depth=1)
    letters = dna(300_000)
    fasta = write_fasta(tmp_path / "long.fa", {"long": letters})

    (row,) = rows(succeed("predict", model, fasta).stdout)

    (answer,) = RMTClassifier.from_pretrained(model).predict_proba([letters])
    assert row["length"] == "300000"
    assert [float(row["prob_at"]), float(row["prob_gc"])] == pytest.approx(answer, abs=1e-5)


def test_a_file_holds_what_stdout_would(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model")
    fasta, out = write_fasta(tmp_path / "toy.fa", {"r": "ACGT"}), tmp_path / "out.tsv"

    result = succeed("predict", model, fasta, "--out", out)

    assert result.stdout == ""
    assert out.read_text() == succeed("predict", model, fasta).stdout


def test_a_file_is_replaced_only_on_request(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model")
    fasta, out = write_fasta(tmp_path / "toy.fa", {"r": "ACGT"}), tmp_path / "out.tsv"
    succeed("predict", model, fasta, "--out", out)
    old = out.read_text() + "one more row\n"
    out.write_text(old)

    assert "out.tsv: the file exists" in fail("predict", model, fasta, "--out", out)
    assert out.read_text() == old
    succeed("predict", model, fasta, "--out", out, "--overwrite")
    assert out.read_text() + "one more row\n" == old


def test_a_link_is_not_replaced_and_stdout_is_named(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model")
    fasta, link = write_fasta(tmp_path / "toy.fa", {"r": "ACGT"}), tmp_path / "stdout"
    link.symlink_to("/dev/fd/1")

    told = fail("predict", model, fasta, "--out", link, "--overwrite")

    assert "stdout: is a link to /dev/fd/1" in told
    assert "Omit --out to write to stdout" in told
    assert link.is_symlink()


def test_a_record_that_is_wrong_half_way_leaves_no_file(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model")
    fasta, out = write_fasta(tmp_path / "toy.fa", {"r1": "ACGT", "r2": "AC-T"}), tmp_path / "o.tsv"

    message = fail("predict", model, fasta, "--out", out)

    assert "record 'r2': position 2 holds '-'" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "toy.fa"]


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    model = saved_model(tmp_path / "model")
    fasta, out = write_fasta(tmp_path / "toy.fa", {"r": "ACGT"}), tmp_path / "out.tsv"
    monkeypatch.setattr(os, "fsync", full)

    assert "out.tsv: no space is left" in fail("predict", model, fasta, "--out", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "toy.fa"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, not on this system")
@pytest.mark.slow
def test_a_full_disk_behind_stdout_is_one_line(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {"r": "ACGT"})

    with Path("/dev/full").open("w") as full:
        finished = subprocess.run(
            [sys.executable, "cli.py", "inspect", str(fasta)],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert finished.returncode == 1
    assert finished.stderr.startswith("Error: no space is left on the disk")


@pytest.mark.slow
def test_a_dash_reads_stdin(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model")
    (tmp_path / "toy.fa").write_bytes(CONTENT)

    finished = subprocess.run(
        [sys.executable, "cli.py", "predict", str(model), "-", "--device", "cpu"],
        cwd=ROOT,
        input=gzip.compress(CONTENT),
        capture_output=True,
        check=True,
    )

    table = rows(finished.stdout.decode())
    assert table == rows(succeed("predict", model, tmp_path / "toy.fa").stdout)


BYTES_A_BASE = 2.5


def peak_megabytes(model: Path, fasta: Path) -> tuple[float, list[float]]:
    """Predict in a process of its own; return its peak memory and the probabilities."""
    code = (
        "import pathlib, sys; from rmt_genomics.cli import main;"
        "import torch; torch.set_num_threads(1);"
        "main(sys.argv[1:], standalone_mode=False);"
        # Of this program alone: ru_maxrss would begin with the peak of the process that forked it.
        "status = pathlib.Path('/proc/self/status').read_text();"
        "print(int(status.partition('VmHWM:')[2].split()[0]) / 1024)"
    )
    command = [sys.executable, "-c", code, "predict", str(model), str(fasta), "--device", "cpu"]
    finished = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, text=True)
    table, peak = finished.stdout.rstrip().rsplit("\n", 1)
    row = rows(table)[0]
    return float(peak), [float(row["prob_at"]), float(row["prob_gc"])]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is in /proc only on Linux")
def test_twenty_megabases_need_two_bytes_a_base_more_than_one(tmp_path: Path) -> None:
    """Base codes, one byte each, and no letters or tokens. Activations would be hundreds."""
    settings = {"tokenizer_kind": "kmer", "k": 6, "stride": 6, "segment_length": 4096}
    model = saved_model(tmp_path / "model", depth=1, stem_width=0, **settings)
    letters = dna(1_000_000) * 2
    one = write_fasta(tmp_path / "one.fa", {"one": letters[:1_000_000]})
    twenty = write_fasta(tmp_path / "twenty.fa", {"two": letters, "also": letters * 10})

    of_one, _ = peak_megabytes(model, one)
    of_twenty, answer = peak_megabytes(model, twenty)

    assert (of_twenty - of_one) * 1024 * 1024 < BYTES_A_BASE * 19_000_000
    (in_memory,) = RMTClassifier.from_pretrained(model).predict_proba([letters])
    np.testing.assert_allclose(answer, in_memory, atol=1e-5)


def test_a_folder_that_is_not_a_model_is_named(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {"r": "ACGT"})
    (tmp_path / "empty").mkdir()

    assert "empty: has no config.json" in fail("predict", tmp_path / "empty", fasta)
    assert "is not a folder" in fail("predict", fasta, fasta)


def test_the_folder_of_an_unfinished_training_is_recognised(tmp_path: Path) -> None:
    fasta, run = write_fasta(tmp_path / "toy.fa", {"r": "ACGT"}), tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("config.toml", "split.tsv", "checkpoints/last.ckpt"):
        (run / name).touch()

    told = fail("predict", run, fasta)

    assert f"{run}: training has not finished" in told
    assert f"Resume it with the same command: ... --out {run} --resume" in told


def test_a_device_that_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    fasta = write_fasta(tmp_path / "toy.fa", {"r": "ACGT"})

    assert "device 'cuda'" in fail("predict", tmp_path, fasta, "--device", "cuda")
    assert run("predict", tmp_path, fasta, "--device", "gpu").exit_code == 2
