"""``embed``: FASTA in, one vector a record out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rmt_genomics.dna import encode, reverse_complement
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.batching import pad
from tests.cli.test_predict_to_files import begin, stop_after
from tests.cli.toys import fail, run, succeed
from tests.prediction.toys import dna, saved_model, write_fasta, write_table


def vectors(model: Path, letters: list[str]) -> np.ndarray:
    with torch.no_grad():
        loaded = RMTClassifier.from_pretrained(model)
        return loaded.encode(*pad([encode(one) for one in letters])).concatenated().numpy()


def test_the_table_has_one_row_per_record(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model")
    fasta = write_fasta(tmp_path / "toy.fa", {"r1": "ACGTAC", "r2": "GGN"})

    head, *rows = (line.split("\t") for line in succeed("embed", model, fasta).stdout.splitlines())

    assert head[:2] == ["record", "length"]
    assert [row[:2] for row in rows] == [["r1", "6"], ["r2", "3"]]
    found = np.array([row[2:] for row in rows], dtype=float)
    np.testing.assert_allclose(found, vectors(model, ["ACGTAC", "GGN"]), atol=1e-5)


def test_windows_and_intervals_have_their_coordinates(tmp_path: Path) -> None:
    model, letters = saved_model(tmp_path / "model"), dna(21)
    fasta = write_fasta(tmp_path / "toy.fa", {"chr1": letters})
    bed = write_table(tmp_path / "a.bed", "chr1 3 9 x 0 -", "chr1 0 6 x 0 +")

    succeed("embed", model, fasta, "--window", 8, "--out", tmp_path / "w.npz")
    succeed("embed", model, fasta, "--intervals", bed, "--out", tmp_path / "i.npz")

    with np.load(tmp_path / "w.npz") as windows, np.load(tmp_path / "i.npz") as intervals:
        assert windows["start"].tolist() == [0, 8, 13]
        assert windows["end"].tolist() == [8, 16, 21]
        assert intervals["strand"].tolist() == ["-", "+"]
        expected = vectors(model, [reverse_complement(letters[3:9]), letters[:6]])
        np.testing.assert_allclose(intervals["embedding"], expected, atol=1e-5)


def test_a_file_is_complete_or_not_there(tmp_path: Path) -> None:
    model, out = saved_model(tmp_path / "model"), tmp_path / "out.npy"
    fasta = write_fasta(tmp_path / "toy.fa", {"r1": "ACGT", "r2": "AC-T"})

    assert "record 'r2': position 2 holds '-'" in fail("embed", model, fasta, "--out", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "toy.fa"]
    write_fasta(fasta, {"r1": "ACGT"})
    succeed("embed", model, fasta, "--out", out)
    assert np.load(out).shape == (1, 16)
    assert "the file exists" in fail("embed", model, fasta, "--out", out)


@pytest.mark.parametrize("name", ["out.parquet", "out"])
def test_an_unknown_suffix_is_refused_before_any_work(tmp_path: Path, name: str) -> None:
    told = fail("embed", tmp_path / "no_model", tmp_path / "no.fa", "--out", tmp_path / name)

    assert "must end in one of .tsv, .npy, .npz" in told


def test_windows_and_intervals_cannot_be_combined(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "toy.fa", {"r1": "ACGT"})

    assert run("embed", "m", fasta, "--window", 2, "--intervals", fasta).exit_code == 2
    assert run("embed", "m", fasta, "--step", 2).exit_code == 2


@pytest.mark.parametrize("lines", [0, 1, 2, 64, 70, 80])
def test_a_resumed_table_is_that_of_an_uninterrupted_run(tmp_path: Path, lines: int) -> None:
    model, whole, out = saved_model(tmp_path / "model"), tmp_path / "a.tsv", tmp_path / "b.tsv"
    fasta = write_fasta(tmp_path / "toy.fa", {f"r{i}": dna(30, seed=i) for i in range(80)})
    succeed("embed", model, fasta, "--out", whole)
    begin(out, "embed", model, fasta)
    stop_after(lines, out, whole)

    assert "an interrupted run has left" in fail("embed", model, fasta, "--out", out)
    succeed("embed", model, fasta, "--out", out, "--resume")

    assert out.read_bytes() == whole.read_bytes()
    assert out.read_text() == succeed("embed", model, fasta).stdout
    assert not list(tmp_path.glob("b.tsv.*"))


def test_only_the_rows_that_are_missing_are_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out = saved_model(tmp_path / "model"), tmp_path / "b.tsv"
    whole = tmp_path / "a.tsv"
    fasta = write_fasta(tmp_path / "toy.fa", {f"r{i}": dna(30, seed=i) for i in range(200)})
    succeed("embed", model, fasta, "--out", whole)
    begin(out, "embed", model, fasta)
    stop_after(150, out, whole)
    plain, computed = RMTClassifier.embed_codes, list[int]()

    def counted(self: RMTClassifier, codes: Any, **options: Any) -> np.ndarray:
        computed.append(len(codes))
        return plain(self, codes, **options)

    monkeypatch.setattr(RMTClassifier, "embed_codes", counted)
    succeed("embed", model, fasta, "--out", out, "--resume")

    assert out.read_bytes() == whole.read_bytes()
    assert 50 <= sum(computed) <= 50 + 64


def test_another_model_or_a_prediction_is_not_resumed(tmp_path: Path) -> None:
    model, out = saved_model(tmp_path / "model"), tmp_path / "out.tsv"
    other = saved_model(tmp_path / "other", segment_length=32)
    fasta = write_fasta(tmp_path / "toy.fa", {"r1": dna(30)})
    begin(out, "embed", model, fasta)

    assert "was started with model" in fail("embed", other, fasta, "--out", out, "--resume")
    assert "was started with output" in fail("predict", model, fasta, "--out", out, "--resume")


def test_resume_is_for_tables_in_a_file(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model")
    fasta = write_fasta(tmp_path / "toy.fa", {"r1": dna(30)})

    for options in (("--resume",), ("--resume", "--out", tmp_path / "out.npy")):
        result = run("embed", model, fasta, *options)
        assert result.exit_code == 2
        assert "--resume needs --out with a file that ends in .tsv" in result.stderr
