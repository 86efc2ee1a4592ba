"""Vectors of records: what the head sees, in files that other programs read."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from rmt_genomics.dna import EncodedRecord, encode
from rmt_genomics.errors import ConfigError
from rmt_genomics.model.batching import pad
from rmt_genomics.prediction import predictor
from rmt_genomics.prediction.embeddings import Embedding, embed_records, write_embeddings
from tests.model.toys import toy

LETTERS = ["ACGTTGCANNCGTATTACGGACT", "ACGT", "A"]


def records() -> Iterator[EncodedRecord]:
    return (EncodedRecord(f"r{index}", "", encode(one)) for index, one in enumerate(LETTERS))


def embeddings() -> list[Embedding]:
    return list(embed_records(toy(), records()))


@pytest.mark.parametrize("most_bp", [10, 262_144])
def test_a_vector_is_the_both_strand_encoding(
    monkeypatch: pytest.MonkeyPatch, most_bp: int
) -> None:
    monkeypatch.setattr(predictor, "MAX_BP", most_bp)
    with torch.no_grad():
        expected = toy().encode(*pad([encode(one) for one in LETTERS])).concatenated().numpy()

    found = embeddings()

    assert [(each.record, each.length) for each in found] == [("r0", 23), ("r1", 4), ("r2", 1)]
    np.testing.assert_allclose(np.stack([each.vector for each in found]), expected, atol=1e-6)
    assert found[0].vector.dtype == np.float32


def test_the_other_strand_has_the_halves_swapped() -> None:
    both = [EncodedRecord(name, "", encode(name)) for name in ("AACGT", "ACGTT")]

    one, other = (each.vector for each in embed_records(toy(), both))

    np.testing.assert_array_equal(one, np.roll(other, len(other) // 2))


def test_files_hold_the_same_vectors(tmp_path: Path) -> None:
    expected = np.stack([each.vector for each in embeddings()])
    for ending in ("tsv", "npy", "npz"):
        write_embeddings(tmp_path / f"a.{ending}", embeddings(), (), expected.shape[1])

    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), expected)
    with np.load(tmp_path / "a.npz") as archive:
        np.testing.assert_array_equal(archive["embedding"], expected)
        assert archive["record"].tolist() == ["r0", "r1", "r2"]
        assert archive["length"].tolist() == [23, 4, 1]
    header, *rows = (line.split("\t") for line in (tmp_path / "a.tsv").read_text().splitlines())
    assert header[:3] == ["record", "length", "feature_0"]
    np.testing.assert_allclose(
        np.array([row[2:] for row in rows], dtype=float), expected, rtol=1e-6
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "a.npz", "a.tsv"]


def test_the_header_of_an_array_has_room_for_any_number_of_rows(tmp_path: Path) -> None:
    one = Embedding("r", 4, np.ones(2, dtype=np.float32))

    write_embeddings(tmp_path / "a.npy", (one for _ in range(12_345)), (), 2)

    assert np.load(tmp_path / "a.npy").shape == (12_345, 2)
    assert (np.load(tmp_path / "a.npy") == 1).all()


@pytest.mark.parametrize("ending", ["tsv", "npy", "npz"])
def test_an_error_half_way_leaves_nothing(tmp_path: Path, ending: str) -> None:
    def broken() -> Iterator[Embedding]:
        yield embeddings()[0]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_embeddings(tmp_path / f"a.{ending}", broken(), (), 16)

    assert list(tmp_path.iterdir()) == []


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.parquet: ends in \.parquet, but must end in one of"):
        write_embeddings(tmp_path / "a.parquet", [], (), 16)
