"""Temperature and conformal sets do what the papers promise."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from rmt_genomics.errors import CheckpointError, ConfigError, DataError
from rmt_genomics.prediction.calibration import (
    FILE_NAME,
    Calibration,
    log_loss,
    logits_of,
    probabilities_of,
)

NAMES = ("a", "b", "c")


def draw(count: int, *, seed: int = 0, too_sure: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax, divided by ``too_sure``, is the truth; and classes drawn from it."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(count, 3))
    rows = softmax(logits, axis=1).cumsum(axis=1)
    targets = (rng.random((count, 1)) > rows).sum(axis=1).clip(max=2)
    return too_sure * logits, targets


@pytest.mark.parametrize("too_sure", [0.5, 1.0, 3.0])
def test_the_temperature_corrects_over_confidence(too_sure: float) -> None:
    logits, targets = draw(20_000, too_sure=too_sure)

    fitted = Calibration.fit(logits, targets, "multiclass", NAMES)

    assert fitted.temperature == pytest.approx(too_sure, rel=0.03)
    expected = softmax(logits / fitted.temperature, axis=1)
    np.testing.assert_allclose(fitted.apply(softmax(logits, axis=1)), expected, atol=1e-12)


def test_the_temperature_of_a_coin_by_hand() -> None:
    logits = np.array([[0.0, 2.0]] * 4)  # says 0.88, is right 3 times of 4: logit of 0.75 is ln 3

    fitted = Calibration.fit(logits, np.array([1, 1, 1, 0]), "binary", ("no", "yes"))

    assert fitted.temperature == pytest.approx(2 / np.log(3), rel=1e-5)
    np.testing.assert_allclose(fitted.apply(softmax(logits, axis=1))[:, 1], 0.75, rtol=1e-5)
    np.testing.assert_allclose(fitted.scores, [0.25, 0.25, 0.25, 0.75], rtol=1e-5)


def test_with_several_labels_each_has_a_sigmoid() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(8000, 2))
    truth = (rng.random((8000, 2)) < probabilities_of(logits, "multilabel")).astype(np.float32)

    fitted = Calibration.fit(4 * logits, truth, "multilabel", ("x", "y"))

    assert fitted.temperature == pytest.approx(4, rel=0.05)
    tempered = fitted.apply(probabilities_of(4 * logits, "multilabel"))
    np.testing.assert_allclose(
        tempered, probabilities_of(4 * logits / fitted.temperature, "multilabel"), atol=1e-9
    )


@pytest.mark.parametrize(("sign", "temperature"), [(1, 1.0), (-1, 50.0)])
def test_a_temperature_of_zero_or_infinity_is_avoided(sign: int, temperature: float) -> None:
    targets = np.array([0, 1, 0, 1])
    logits = sign * 3 * np.eye(2)[targets]  # all right, or all wrong

    fitted = Calibration.fit(logits, targets, "binary", ("a", "b"))

    assert fitted.temperature == pytest.approx(temperature, rel=1e-4)


def test_log_loss_by_hand() -> None:
    logits = np.log(np.array([[0.25, 0.75], [0.5, 0.5]]))

    assert log_loss(logits, np.array([1, 0]), "binary") == pytest.approx(
        -(np.log(0.75) + np.log(0.5)) / 2
    )
    assert log_loss(np.zeros((1, 2)), np.array([[1, 0]]), "multilabel") == pytest.approx(np.log(2))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5), st.sampled_from(["multilabel", "other"]))
def test_logits_give_the_probabilities_back(numbers: list[float], task: str) -> None:
    row = np.array([numbers]) + (task == "other") * 1e-6
    row = row / row.sum() if task == "other" else row

    np.testing.assert_allclose(probabilities_of(logits_of(row, task), task), row, atol=1e-12)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("too_sure", [0.3, 1.0, 5.0])
def test_sets_hold_the_truth_with_the_chosen_coverage(coverage: float, too_sure: float) -> None:
    logits, targets = draw(3000, too_sure=too_sure)
    unseen, answers = draw(3000, seed=1, too_sure=too_sure)
    fitted = Calibration.fit(logits, targets, "multiclass", NAMES)

    sets = fitted.label_sets(softmax(unseen, axis=1), coverage)

    held = np.mean([NAMES[answer] in names for answer, names in zip(answers, sets, strict=True)])
    assert held >= coverage - 0.025  # three standard deviations of 3,000 and 3,000 draws
    if coverage >= 0.8:  # below, the most probable label alone is right more often
        assert held <= coverage + 0.025


@given(n=st.integers(1, 30), coverage=st.floats(0.05, 0.95), seed=st.integers(0, 99))
def test_the_threshold_is_the_finite_sample_quantile(n: int, coverage: float, seed: int) -> None:
    scores = np.sort(np.random.default_rng(seed).random(n))
    fitted = Calibration("binary", ("a", "b"), 1.0, scores)

    bar = fitted.threshold(coverage)

    # of n + 1 exchangeable scores, the share at or below the bar is the coverage at least
    assert (scores <= bar).sum() >= np.ceil((n + 1) * coverage - 1e-9) or np.isinf(bar)
    assert np.isinf(bar) == (np.ceil((n + 1) * coverage - 1e-9) > n)


def test_the_sets_of_few_examples_by_hand() -> None:
    fitted = Calibration("multiclass", NAMES, 1.0, np.array([0.2, 0.4, 0.6, 0.8]))
    rows = np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [0.34, 0.33, 0.33]])

    # 5 * 0.5 = 2.5: the third score is the bar, so probabilities of 0.4 and above are in
    assert fitted.label_sets(rows, 0.5) == [("a",), ("a",), ("a",)]
    assert fitted.label_sets(rows, 0.8) == [("a", "b"), ("a", "b", "c"), ("a", "b", "c")]
    assert fitted.label_sets(rows, 0.9) == [NAMES] * 3  # 4.5 of 4: too few for that


def test_with_several_labels_all_true_ones_are_held() -> None:
    rng = np.random.default_rng(0)

    def drawn() -> tuple[np.ndarray, np.ndarray]:
        logits = 2 * rng.normal(size=(2000, 3))
        return logits, (rng.random((2000, 3)) < probabilities_of(logits, "multilabel")).astype(int)

    fitted = Calibration.fit(*drawn(), "multilabel", NAMES)
    logits, truth = drawn()
    sets = fitted.label_sets(probabilities_of(logits, "multilabel"), 0.9)

    held = [
        {name for name, has in zip(NAMES, row, strict=True) if has} <= set(names)
        for row, names in zip(truth, sets, strict=True)
    ]
    assert 0.87 < np.mean(held) < 0.93


@pytest.mark.parametrize("coverage", [0.0, 1.0, 1.5])
def test_a_coverage_out_of_range_is_refused(coverage: float) -> None:
    fitted = Calibration("binary", ("a", "b"), 1.0, np.array([0.5]))

    with pytest.raises(ConfigError, match=f"the coverage is {coverage}, but must be above 0"):
        fitted.label_sets(np.array([[0.5, 0.5]]), coverage)


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(ConfigError, match="the task is 'regression', but only probabilities"):
        Calibration.fit(np.zeros((2, 1)), np.zeros(2), "regression", ("x",))
    with pytest.raises(DataError, match="no example to calibrate on"):
        Calibration.fit(np.zeros((0, 2)), np.zeros(0, dtype=int), "binary", ("a", "b"))
    with pytest.raises(DataError, match=r"shape \(1, 3\), but must have one column for each of a"):
        Calibration("binary", ("a", "b"), 1.0, np.array([0.5])).apply(np.ones((1, 3)))


def test_a_saved_calibration_is_the_calibration(tmp_path: Path) -> None:
    fitted = Calibration.fit(*draw(50), "multiclass", NAMES)

    fitted.save(tmp_path)
    loaded = Calibration.load(tmp_path)

    assert loaded is not None
    held = json.loads((tmp_path / FILE_NAME).read_text())
    assert held.keys() == {
        *("format", "task", "classes", "temperature", "n", "fitted_on", "conformal")
    }
    rows = softmax(draw(9, seed=5)[0], axis=1)
    assert loaded.apply(rows).tolist() == fitted.apply(rows).tolist()
    assert loaded.label_sets(rows, 0.9) == fitted.label_sets(rows, 0.9)
    assert (loaded.n, loaded.fitted_on) == (50, "validation")
    assert Calibration.load(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": 2}', '{"format": 1, "task": "binary"}', "null"]
)
def test_another_file_of_that_name_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)

    with pytest.raises(CheckpointError, match=r"calibration\.json: is not .*Remove"):
        Calibration.load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            '"temperature": 2.0',
            '"temperature": Infinity',
            "is not a finite number",
        ),
        ('"temperature": 2.0', '"temperature": NaN', "is not a finite number"),
        ('"temperature": 2.0', '"temperature": 1e400', "is not a finite number"),
        ('"temperature": 2.0', '"temperature": 0', "its temperature is not in"),
        ('"temperature": 2.0', '"temperature": 1e-310', "its temperature is not in"),
        ("[0.1, 0.2]", "[0.2, 0.1]", "its scores are not sorted numbers"),
        ("[0.1, 0.2]", "[0.1, NaN]", "is not a finite number"),
        ("[0.1, 0.2]", "[0.1, Infinity]", "is not a finite number"),
        ("[0.1, 0.2]", "[-0.1, 0.2]", "its scores are not sorted numbers"),
        ("[0.1, 0.2]", "[[0.1, 0.2]]", "the number of its scores is not its n"),
        ("[0.1, 0.2]", "[" * 9999, "nested too deeply"),
        ('"n": 2', '"n": 3', "the number of its scores is not its n"),
        ('["a", "b"]', "[{}, 1]", "its classes, task or part are not text"),
        ('["a", "b"]', '["a\\tb", "b"]', "its classes, task or part are not text"),
        ('"task": "binary"', '"task": 3', "its classes, task or part are not text"),
        ('"format": 1', '"format": {}', "its format is {}, not 1"),
    ],
)
def test_a_damaged_calibration_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    Calibration("binary", ("a", "b"), 2.0, np.array([0.1, 0.2])).save(tmp_path)
    text = (tmp_path / "calibration.json").read_text()
    assert old in text
    (tmp_path / "calibration.json").write_text(text.replace(old, new))

    with pytest.raises(CheckpointError, match=rf"json: is not .*{words}"):
        Calibration.load(tmp_path)
