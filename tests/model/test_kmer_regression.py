"""The k-mer regression is scikit-learn's, and survives saving."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from rmt_genomics.dna import encode
from rmt_genomics.errors import CheckpointError, DataError
from rmt_genomics.model.kmer_regression import KmerRegression, KmerSpec
from tests.prediction.toys import dna

BASES = KmerSpec()


def sequences(letters: str, count: int) -> list[np.ndarray]:
    return [encode(dna(60, seed=seed, letters=letters)) for seed in range(count)]


def fit(
    codes: list[np.ndarray],
    targets: np.ndarray,
    classes: tuple[str, ...],
    task: str,
    kmers: KmerSpec = BASES,
) -> KmerRegression:
    return KmerRegression.fit(kmers.features(codes), targets, classes, task, kmers=kmers)


def predict(regression: KmerRegression, codes: list[np.ndarray]) -> np.ndarray:
    return regression.predict_proba(regression.kmers.features(codes))


MIXED = [*sequences("AATTC", 6), *sequences("GGCCA", 6), *sequences("ACGT", 6)]
OF_THREE = np.repeat([0, 1, 2], 6)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_probabilities_are_those_of_scikit_learn(num_classes: int) -> None:
    is_used = (num_classes > OF_THREE) & (np.arange(len(MIXED)) > 2)  # classes of unequal size
    targets = OF_THREE[is_used]
    codes = [sequence for sequence, used in zip(MIXED, is_used, strict=True) if used]
    task = "binary" if num_classes == 2 else "multiclass"
    scaled = StandardScaler().fit_transform(BASES.features(codes))
    expected = LogisticRegression(class_weight="balanced", max_iter=5000).fit(scaled, targets)

    baseline = fit(codes, targets, ("x", "y", "z")[:num_classes], task)

    np.testing.assert_allclose(predict(baseline, codes), expected.predict_proba(scaled), atol=1e-9)


def test_all_kmers_of_amino_acids_share_one_scale() -> None:
    kmers = KmerSpec(2, orf_codons=5)
    roots = np.sqrt([kmers.frequencies(codes) for codes in MIXED[:12]])
    centred = roots - roots.mean(axis=0)
    scaled = centred / np.sqrt(np.square(centred).mean())
    expected = LogisticRegression(class_weight="balanced", max_iter=5000).fit(scaled, OF_THREE[:12])

    baseline = fit(MIXED[:12], OF_THREE[:12], ("x", "y"), "binary", kmers=kmers)

    np.testing.assert_allclose(
        predict(baseline, MIXED[:12]), expected.predict_proba(scaled), atol=1e-9
    )


def test_classes_of_different_composition_are_separated() -> None:
    baseline = fit(MIXED[:12], OF_THREE[:12], ("at", "gc"), "binary")
    unseen = [encode(dna(60, seed=99, letters="AATTC")), encode(dna(60, seed=98, letters="GGCCA"))]

    assert predict(baseline, unseen).argmax(axis=1).tolist() == [0, 1]


def test_each_multilabel_class_has_its_own_regression() -> None:
    hot = np.eye(3, dtype=np.float32)[OF_THREE]
    hot[:, 2] = 1  # everything is a z
    baseline = fit(MIXED, hot, ("x", "y", "z", "never")[:3], "multilabel")
    alone = fit(MIXED, hot[:, 0].astype(int), ("not x", "x"), "binary")

    rows = predict(baseline, MIXED)

    np.testing.assert_allclose(rows[:, 0], predict(alone, MIXED)[:, 1], atol=1e-9)
    assert rows[:, 2].tolist() == [1.0] * len(MIXED)


def test_a_class_that_was_not_in_train_has_probability_0() -> None:
    baseline = fit(MIXED[6:], OF_THREE[6:], ("x", "y", "z"), "multiclass")

    rows = predict(baseline, MIXED)

    assert rows[:, 0].tolist() == [0.0] * len(MIXED)
    np.testing.assert_allclose(rows.sum(axis=1), 1)


def test_one_class_cannot_be_fitted() -> None:
    with pytest.raises(DataError, match=r"the train rows hold 1 class, but .* needs two"):
        fit(MIXED[:3], OF_THREE[:3], ("x", "y", "z"), "multiclass")


@pytest.mark.parametrize(
    "kmers",
    [
        KmerSpec(),
        KmerSpec(2, orf_codons=3),
        KmerSpec(2, is_stranded=True),
        KmerSpec(1, is_stranded=True, has_length=True),
    ],
)
def test_a_saved_baseline_is_the_baseline(tmp_path: Path, kmers: KmerSpec) -> None:
    names = ("x", "y;", "ß")
    fitted = fit(MIXED[6:], OF_THREE[6:], names, "multiclass", kmers=kmers)
    baseline = replace(fitted, validation=0.123456789012345)

    baseline.save(tmp_path / "b.safetensors")
    loaded = KmerRegression.load(tmp_path / "b.safetensors")

    assert (loaded.classes, loaded.task, loaded.kmers) == (names, "multiclass", kmers)
    assert loaded.validation == baseline.validation
    assert predict(loaded, MIXED).tolist() == predict(baseline, MIXED).tolist()


def test_thresholds_are_saved_and_checked(tmp_path: Path) -> None:
    path, fitted = tmp_path / "b.safetensors", fit(MIXED, OF_THREE % 2, ("x", "y"), "binary")
    replace(fitted, thresholds=(0.25,)).save(path)
    assert KmerRegression.load(path).thresholds == (0.25,)
    replace(fitted, thresholds=(0.25, 1.5)).save(path)

    with pytest.raises(CheckpointError, match=r"its thresholds are \[0.25, 1.5\]"):
        KmerRegression.load(path)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "b.safetensors"
    fit(MIXED, OF_THREE, ("x", "y", "z"), "multiclass").save(path)
    path.write_bytes(path.read_bytes()[:-9])

    with pytest.raises(CheckpointError, match=r"b\.safetensors: is not a k-mer baseline .*Remove"):
        KmerRegression.load(path)


def test_a_foreign_safetensors_file_is_named(tmp_path: Path) -> None:
    save_file({"mean": np.zeros(3)}, tmp_path / "b.safetensors")

    with pytest.raises(CheckpointError, match=r"b\.safetensors: is not a k-mer baseline"):
        KmerRegression.load(tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("coefficients", lambda array: array[..., None], r"its coefficients are .*not \(3, 136\)"),
        ("coefficients", lambda array: array[:2], r"its coefficients are .*not \(3, 136\)"),
        ("coefficients", lambda array: array.astype(int), "its coefficients are int64"),
        ("mean", lambda array: array[:9], "its k is 4, with 9 features"),
        ("mean", lambda array: array * np.nan, "its mean are not finite"),
        (
            "coefficients",
            lambda array: np.where(array > 0, np.inf, array),
            "its coefficients",
        ),
        ("intercepts", lambda array: array * np.nan, "its intercepts are not finite"),
        ("scale", lambda array: 0 * array, "its scale is not above 0"),
        ("scale", lambda array: 1e-310 * array, "its coefficients are too large for its scale"),
        ("coefficients", lambda array: 1e308 + 0 * array, "its coefficients are too large"),
        ("k", lambda _: "9" * 5000, "its k is 0"),
        ("k", lambda _: "8", "its k is 8, with 136 features"),
        ("task", lambda _: "x" * 5000, "its task is 'x"),
        ("classes", lambda _: "[" * 9999, "nested too deeply"),
        ("classes", lambda _: "3", "is not iterable"),
        ("classes", lambda _: "[1, 2, 3]", "its classes are not text"),
    ],
)
def test_a_damaged_baseline_is_refused(
    tmp_path: Path, name: str, change: Callable[[Any], Any], words: str
) -> None:
    path = tmp_path / "b.safetensors"
    fit(MIXED, OF_THREE, ("x", "y", "z"), "multiclass").save(path)
    with safe_open(path, framework="numpy") as file:
        arrays, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    part = arrays if name in arrays else metadata
    part[name] = change(part[name])
    save_file(arrays, path, metadata=metadata)

    with pytest.raises(CheckpointError, match=f"is not .*{words}") as caught:
        KmerRegression.load(path)
    assert len(str(caught.value)) < 800


def test_very_many_classes_are_fitted_without_a_warning() -> None:
    """scikit-learn asks whether they are numbers; pytest makes an error of a warning."""
    codes, classes = sequences("ACGT", 30), tuple(f"c{index}" for index in range(16))
    regression = fit(codes, np.arange(30) % 16, classes, "multiclass")
    assert predict(regression, codes).shape == (30, 16)
