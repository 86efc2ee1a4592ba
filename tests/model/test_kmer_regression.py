"""The bar that a model has to clear is counted and fitted as it says."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from rmt_genomics.dna import encode
from rmt_genomics.errors import CheckpointError, DataError
from rmt_genomics.model.kmer_regression import KmerBaseline, Kmers
from tests.prediction.toys import dna


def sequences(letters: str, count: int) -> list[np.ndarray]:
    return [encode(dna(60, seed=seed, letters=letters)) for seed in range(count)]


MIXED = [*sequences("AATTC", 6), *sequences("GGCCA", 6), *sequences("ACGT", 6)]
OF_THREE = np.repeat([0, 1, 2], 6)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_probabilities_are_those_of_scikit_learn(num_classes: int) -> None:
    is_used = (num_classes > OF_THREE) & (np.arange(len(MIXED)) > 2)  # classes of unequal size
    targets = OF_THREE[is_used]
    codes = [each for each, used in zip(MIXED, is_used, strict=True) if used]
    task = "binary" if num_classes == 2 else "multiclass"
    shares = Kmers().shares(codes)
    scaled = StandardScaler().fit_transform(shares)
    oracle = LogisticRegression(class_weight="balanced", max_iter=5000).fit(scaled, targets)

    baseline = KmerBaseline.fit(codes, targets, ("x", "y", "z")[:num_classes], task)

    np.testing.assert_allclose(
        baseline.predict_proba(codes), oracle.predict_proba(scaled), atol=1e-9
    )


def test_rare_k_mers_of_amino_acids_are_not_blown_up() -> None:
    kmers = Kmers(2, orf_codons=5)
    roots = np.sqrt([kmers.frequencies(each) for each in MIXED[:12]])
    centred = roots - roots.mean(axis=0)
    scaled = centred / np.sqrt(np.square(centred).mean())
    oracle = LogisticRegression(class_weight="balanced", max_iter=5000).fit(scaled, OF_THREE[:12])

    baseline = KmerBaseline.fit(MIXED[:12], OF_THREE[:12], ("x", "y"), "binary", kmers=kmers)

    np.testing.assert_allclose(
        baseline.predict_proba(MIXED[:12]), oracle.predict_proba(scaled), atol=1e-9
    )


def test_what_counting_can_tell_apart_is_told_apart() -> None:
    baseline = KmerBaseline.fit(MIXED[:12], OF_THREE[:12], ("at", "gc"), "binary")
    unseen = [encode(dna(60, seed=99, letters="AATTC")), encode(dna(60, seed=98, letters="GGCCA"))]

    assert baseline.predict_proba(unseen).argmax(axis=1).tolist() == [0, 1]


def test_with_several_labels_each_class_has_a_regression_of_its_own() -> None:
    hot = np.eye(3, dtype=np.float32)[OF_THREE]
    hot[:, 2] = 1  # everything is a z
    baseline = KmerBaseline.fit(MIXED, hot, ("x", "y", "z", "never")[:3], "multilabel")
    alone = KmerBaseline.fit(MIXED, hot[:, 0].astype(int), ("not x", "x"), "binary")

    rows = baseline.predict_proba(MIXED)

    np.testing.assert_allclose(rows[:, 0], alone.predict_proba(MIXED)[:, 1], atol=1e-9)
    assert rows[:, 2].tolist() == [1.0] * len(MIXED)


def test_a_class_that_was_not_in_train_has_probability_0() -> None:
    baseline = KmerBaseline.fit(MIXED[6:], OF_THREE[6:], ("x", "y", "z"), "multiclass")

    rows = baseline.predict_proba(MIXED)

    assert rows[:, 0].tolist() == [0.0] * len(MIXED)
    np.testing.assert_allclose(rows.sum(axis=1), 1)


def test_one_class_cannot_be_fitted() -> None:
    with pytest.raises(DataError, match=r"the train rows hold 1 class, but .* needs two"):
        KmerBaseline.fit(MIXED[:3], OF_THREE[:3], ("x", "y", "z"), "multiclass")


@pytest.mark.parametrize("kmers", [Kmers(), Kmers(2, orf_codons=3)])
def test_a_saved_baseline_is_the_baseline(tmp_path: Path, kmers: Kmers) -> None:
    names = ("x", "y;", "ß")
    baseline = KmerBaseline.fit(MIXED[6:], OF_THREE[6:], names, "multiclass", kmers=kmers)

    baseline.save(tmp_path / "b.safetensors")
    loaded = KmerBaseline.load(tmp_path / "b.safetensors")

    assert (loaded.classes, loaded.task, loaded.kmers) == (names, "multiclass", kmers)
    assert loaded.predict_proba(MIXED).tolist() == baseline.predict_proba(MIXED).tolist()


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "b.safetensors"
    KmerBaseline.fit(MIXED, OF_THREE, ("x", "y", "z"), "multiclass").save(path)
    path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(CheckpointError, match=r"b\.safetensors: is no k-mer baseline .*Remove"):
        KmerBaseline.load(path)


def test_a_foreign_safetensors_file_is_named(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"mean": np.zeros(3)}, tmp_path / "b.safetensors")

    with pytest.raises(CheckpointError, match=r"b\.safetensors: is no k-mer baseline"):
        KmerBaseline.load(tmp_path / "b.safetensors")
