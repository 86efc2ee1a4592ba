"""``embed``: FASTA in, one vector a record out."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rmt_genomics.dna import encode, reverse_complement
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.batching import pad
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
