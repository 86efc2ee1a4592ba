"""Metrics are scikit-learn's, on the full set; each has a name and a meaning."""

import json

import numpy as np
import pytest
from sklearn import metrics

from rmt_genomics.model import classification_metrics
from rmt_genomics.model.metrics import (
    METRICS,
    compute_metrics,
    metric_keys,
    metric_name,
    per_class_metrics,
    validation_metric_keys,
)


def test_binary_metrics_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.3, 0.7]])
    result = classification_metrics(
        np.array([0, 1, 1, 1]), probabilities, classes=["no", "yes"], task="binary"
    )
    assert result["n"] == 4
    assert result["accuracy"] == 0.75
    assert result["balanced_accuracy"] == pytest.approx((1 + 2 / 3) / 2)
    assert result["confusion"] == [[1, 0], [1, 2]]
    assert result["auroc"] == 1.0


def test_multiclass_metrics_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    targets, probabilities = rng.integers(0, 3, 60), rng.dirichlet([1, 1, 1], 60)
    result = classification_metrics(targets, probabilities, classes="abc", task="multiclass")
    predicted = probabilities.argmax(axis=1)
    assert result["mcc"] == pytest.approx(metrics.matthews_corrcoef(targets, predicted))
    assert result["balanced_accuracy"] == pytest.approx(
        metrics.balanced_accuracy_score(targets, predicted)
    )
    assert result["auroc"] == pytest.approx(
        metrics.roc_auc_score(targets, probabilities, multi_class="ovr")
    )
    json.dumps(result)


def test_the_mean_auroc_by_ranks_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    probabilities = random.random((60, 7)).round(1) + 0.01  # with ties
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    targets = random.integers(0, 6, 60)  # the last class does not occur
    truth = np.eye(7)[targets][:, :6]

    found = compute_metrics(
        targets, probabilities, classes=list("abcdefg"), task="multiclass", only=["auroc", "n"]
    )

    expected = np.mean([metrics.roc_auc_score(truth[:, c], probabilities[:, c]) for c in range(6)])
    assert found == {"n": 60, "auroc": pytest.approx(expected, abs=1e-12)}


def test_multilabel_metrics() -> None:
    truth = np.array([[1, 0], [1, 1], [0, 1]], dtype=np.float32)
    scores = np.array([[0.9, 0.2], [0.8, 0.4], [0.1, 0.9]])
    result = classification_metrics(truth, scores, classes=["x", "y"], task="multilabel")
    assert result["accuracy"] == pytest.approx(2 / 3)
    assert result["auroc"] == 1.0
    assert result["confusion"] == [[[1, 0], [0, 2]], [[1, 0], [1, 1]]]


def test_metrics_that_are_not_defined_are_none() -> None:
    result = classification_metrics(
        np.array([1, 1]), np.array([[0.2, 0.8], [0.1, 0.9]]), classes=["a", "b"], task="binary"
    )
    assert result["auroc"] is None
    assert result["auprc"] is None
    assert result["accuracy"] == 1.0


def test_per_class_metrics_by_hand() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.3, 0.6, 0.1], [0.6, 0.3, 0.1]])
    first, second, third = per_class_metrics(
        np.array([0, 0, 1, 1]), probabilities, classes=["a", "b", "c"], task="multiclass"
    )
    assert first == {
        "class": "a",
        "n": 2,
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "auroc": 0.75,
        "auprc": pytest.approx((1 + 2 / 3) / 2),
    }
    assert (second["class"], second["auroc"]) == ("b", 0.75)
    assert third == {"class": "c", "n": 0, **dict.fromkeys(list(first)[2:])}


def test_multilabel_per_class_metrics_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(0, 2, (50, 3)), rng.random((50, 3))
    result = per_class_metrics(truth, scores, classes="xyz", task="multilabel")
    precision, recall, f1, counts = metrics.precision_recall_fscore_support(truth, scores >= 0.5)
    for index, row in enumerate(result):
        assert (row["precision"], row["recall"]) == (precision[index], recall[index])
        assert row["f1"] == pytest.approx(f1[index])
        assert row["n"] == counts[index]
    json.dumps(result)


def test_regression_metrics_by_hand() -> None:
    result = compute_metrics(
        np.array([1.0, 2.0, 3.0]), np.array([[1.0], [3.0], [2.0]]), classes=["x"], task="regression"
    )
    assert result == {
        "n": 3,
        "classes": ["x"],
        "pearson": pytest.approx(0.5),
        "spearman": pytest.approx(0.5),
        "r2": pytest.approx(0.0),
        "mae": pytest.approx(2 / 3),
        "rmse": pytest.approx((2 / 3) ** 0.5),
    }


def test_constant_predictions_have_no_correlation() -> None:
    result = compute_metrics(
        np.array([1.0, 2.0]), np.array([[1.0], [1.0]]), classes=["x"], task="regression"
    )
    assert (result["pearson"], result["spearman"], result["r2"]) == (None, None, -1.0)
    alone = compute_metrics(np.array([1.0]), np.array([[1.0]]), classes=["x"], task="regression")
    assert (alone["r2"], alone["mae"]) == (None, 0.0)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_every_metric_that_is_computed_has_a_name_and_a_meaning(task: str) -> None:
    targets, outputs = np.array([0, 1]), np.eye(2) if task == "binary" else np.array([[0.0], [1.0]])

    result = compute_metrics(targets, outputs, classes=("a", "b"), task=task)

    assert set(metric_keys(task)) == result.keys() - {"n", "classes", "confusion"}
    assert set(validation_metric_keys(task)) < set(metric_keys(task))
    assert all(METRICS[key].name and METRICS[key].meaning for key in metric_keys(task))
    assert (metric_name("mcc"), metric_name("some_other")) == ("MCC", "some other")
