"""Calibration error, Brier score, log loss and reliability, by hand and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn import metrics

from rmt_genomics.evaluation.bootstrap import Truth
from rmt_genomics.evaluation.calibration_metrics import (
    brier_score,
    calibration_intervals,
    calibration_metrics,
    cross_fitted,
    expected_calibration_error,
    log_loss,
    reliability,
)
from rmt_genomics.model.metrics import logits_of
from rmt_genomics.prediction.calibration import Calibration

FOUR = np.array([[0.95, 0.05], [0.92, 0.08], [0.42, 0.58], [0.0, 1.0]])
TARGETS = np.array([0, 1, 1, 1])


def test_bins_and_error_by_hand() -> None:
    bins = reliability(FOUR, TARGETS, "binary")

    assert [(row["low"], row["high"], row["n"]) for row in bins] == [(0.5, 0.6, 1), (0.9, 1, 3)]
    assert [row["accuracy"] for row in bins] == [1.0, pytest.approx(2 / 3)]
    assert [row["confidence"] for row in bins] == pytest.approx([0.58, (0.95 + 0.92 + 1) / 3])
    expected = (0.42 + 3 * ((0.95 + 0.92 + 1) / 3 - 2 / 3)) / 4
    assert expected_calibration_error(bins) == pytest.approx(expected)


def test_each_multilabel_probability_is_a_decision() -> None:
    rows, truth = np.array([[0.95, 0.15], [0.91, 0.15]]), np.array([[1, 0], [0, 1]])

    low, high = reliability(rows, truth, "multilabel")

    assert (low["n"], low["accuracy"], low["confidence"]) == (2, 0.5, pytest.approx(0.15))
    assert (high["n"], high["accuracy"], high["confidence"]) == (2, 0.5, pytest.approx(0.93))


def test_brier_by_hand() -> None:
    expected = (0.05**2 + 0.92**2 + 0.42**2 + 0) / 4
    assert brier_score(FOUR, TARGETS, "binary") == pytest.approx(expected)
    assert brier_score(FOUR, TARGETS, "binary") == pytest.approx(
        metrics.brier_score_loss(TARGETS, FOUR[:, 1])
    )
    three = np.array([[0.5, 0.3, 0.2]])
    assert brier_score(three, np.array([0]), "multiclass") == pytest.approx(0.25 + 0.09 + 0.04)
    assert brier_score(three, np.array([[1, 0, 1]]), "multilabel") == pytest.approx(
        (0.25 + 0.09 + 0.64) / 3
    )


def test_log_loss_by_hand() -> None:
    rows = np.array([[0.25, 0.75], [0.5, 0.5]])
    expected = -(np.log(0.75) + np.log(0.5)) / 2

    assert log_loss(rows, np.array([1, 0]), "binary") == pytest.approx(expected)
    assert log_loss(rows, np.array([1, 0]), "multiclass") == pytest.approx(expected)
    assert log_loss(rows, np.array([[0, 1], [1, 0]]), "multilabel") == pytest.approx(
        -(2 * np.log(0.75) + 2 * np.log(0.5)) / 4
    )
    assert log_loss(np.array([[1.0, 0.0]]), np.array([1]), "binary") == pytest.approx(
        36.04, abs=0.1
    )


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_one_class_and_float32_rounding_are_no_problem(task: str) -> None:
    rows = np.random.default_rng(0).dirichlet([1.0, 1.0], 50).astype(np.float32).astype(float)

    for label in (0, 1):
        targets = np.full(50, label)
        expected = -np.log(rows[:, label] / rows.sum(axis=1)).mean()
        assert log_loss(rows, targets, task) == pytest.approx(expected, rel=1e-5)
        assert 0 < brier_score(rows, targets, task) < 2


def test_a_confidence_on_the_edge_of_two_bins_is_in_the_lower_one() -> None:
    (row,) = reliability(np.array([[0.5, 0.5]]), np.array([0]), "binary")

    assert row == {"low": 0.4, "high": 0.5, "n": 1, "confidence": 0.5, "accuracy": 1.0}


@given(st.integers(0, 199), st.integers(1, 40), st.integers(1, 12))
def test_every_confidence_is_in_its_bin(seed: int, count: int, num_bins: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet([0.3, 0.3, 0.3], count)
    targets = rng.integers(0, 3, count)

    bins = reliability(rows, targets, "multiclass", num_bins=num_bins)

    assert sum(row["n"] for row in bins) == count
    is_right = rows.argmax(axis=1) == targets
    for row in bins:
        top = rows.max(axis=1)
        inside = (top > row["low"] - 1e-12) & (top <= row["high"] + 1e-12)
        assert inside.sum() == row["n"]
        assert is_right[inside].mean() == pytest.approx(row["accuracy"])
        assert top[inside].mean() == pytest.approx(row["confidence"])


def overconfident(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 2))
    targets = (rng.random(count) > softmax(logits, axis=1)[:, 0]).astype(int)
    return softmax(4 * logits, axis=1), targets


def test_calibration_improves_overconfident_probabilities() -> None:
    rows, targets = overconfident(4000, 0)
    unseen, truth = overconfident(4000, 1)
    fitted = Calibration.fit(logits_of(rows, "binary"), targets, "binary", ("a", "b"))

    result = calibration_metrics(fitted, unseen, truth)

    assert result["ece_before"] > 0.15
    assert result["ece"] < 0.03
    assert result["brier"] < result["brier_before"]
    assert result["log_loss"] < result["log_loss_before"]
    assert result["log_loss_before"] == pytest.approx(metrics.log_loss(truth, unseen))
    assert sum(row["n"] for row in result["reliability"]) == 4000
    assert (result["n"], result["fitted_on"]) == (4000, "validation")


def test_cross_fitting_never_uses_the_label_of_the_example() -> None:
    rows, targets = overconfident(200, 0)

    calibrated = cross_fitted(rows, targets, "binary", ("a", "b"))

    alone = Calibration.fit(logits_of(rows, "binary"), targets, "binary", ("a", "b"))
    temperatures = logits_of(rows, "binary")[:, 0] - logits_of(rows, "binary")[:, 1]
    temperatures /= logits_of(calibrated, "binary")[:, 0] - logits_of(calibrated, "binary")[:, 1]
    used = np.unique(temperatures.round(6))
    assert len(used) == 2
    assert alone.temperature not in used
    changed = targets.copy()
    changed[0] = 1 - changed[0]  # its own label does not change its calibration
    again = cross_fitted(rows, changed, "binary", ("a", "b"))
    assert again[0].tolist() == calibrated[0].tolist()


def test_a_single_example_is_not_calibrated() -> None:
    row = np.array([[0.3, 0.7]])

    assert cross_fitted(row, np.array([1]), "binary", ("a", "b")).tolist() == row.tolist()


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_the_intervals_are_those_of_a_plain_loop(task: str) -> None:
    rng = np.random.default_rng(0)
    count, classes = 100, 2 if task == "binary" else 3
    logits = rng.normal(size=(count, classes)) * 2
    before = 1 / (1 + np.exp(-logits)) if task == "multilabel" else softmax(logits, axis=1)
    after = (before + before.mean(axis=1, keepdims=True)) / 2
    if task == "multilabel":
        targets = (rng.random((count, classes)) < before).astype(int)
    else:
        targets = np.array([rng.choice(classes, p=row) for row in before])
    drawn = []
    for _ in range(500):
        at = rng.integers(0, count, count)
        values = {}
        for suffix, rows in (("_before", before[at]), ("", after[at])):
            bins = reliability(rows, targets[at], task)
            values[f"ece{suffix}"] = expected_calibration_error(bins)
            values[f"brier{suffix}"] = brier_score(rows, targets[at], task)
            values[f"log_loss{suffix}"] = log_loss(rows, targets[at], task)
        drawn.append(list(values.values()))

    found = calibration_intervals(Truth(targets, task, classes), before, after)

    assert list(found) == list(values)
    for (low, high), pair in zip(
        found.values(), np.quantile(drawn, [0.025, 0.975], axis=0).T, strict=True
    ):
        assert [low, high] == pytest.approx(pair, abs=0.03)
        assert [low, high] == pytest.approx(pair, rel=0.2)
