"""Metrics are scikit-learn's, on the full set."""

import json

import numpy as np
import pytest
from sklearn import metrics

from rmt_genomics.model import classification_metrics
from rmt_genomics.model.metrics import measure, per_class_metrics


def test_binary_metrics_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.3, 0.7]])
    found = classification_metrics(
        np.array([0, 1, 1, 1]), probabilities, classes=["no", "yes"], task="binary"
    )
    assert found["n"] == 4
    assert found["accuracy"] == 0.75
    assert found["balanced_accuracy"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["confusion"] == [[1, 0], [1, 2]]
    assert found["auroc"] == 1.0


def test_multiclass_metrics_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    targets, probabilities = rng.integers(0, 3, 60), rng.dirichlet([1, 1, 1], 60)
    found = classification_metrics(targets, probabilities, classes="abc", task="multiclass")
    called = probabilities.argmax(axis=1)
    assert found["mcc"] == pytest.approx(metrics.matthews_corrcoef(targets, called))
    assert found["balanced_accuracy"] == pytest.approx(
        metrics.balanced_accuracy_score(targets, called)
    )
    assert found["auroc"] == pytest.approx(
        metrics.roc_auc_score(targets, probabilities, multi_class="ovr")
    )
    json.dumps(found)


def test_multilabel_metrics() -> None:
    truth = np.array([[1, 0], [1, 1], [0, 1]], dtype=np.float32)
    scores = np.array([[0.9, 0.2], [0.8, 0.4], [0.1, 0.9]])
    found = classification_metrics(truth, scores, classes=["x", "y"], task="multilabel")
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["auroc"] == 1.0
    assert found["confusion"] == [[[1, 0], [0, 2]], [[1, 0], [1, 1]]]


def test_what_is_not_defined_is_none() -> None:
    found = classification_metrics(
        np.array([1, 1]), np.array([[0.2, 0.8], [0.1, 0.9]]), classes=["a", "b"], task="binary"
    )
    assert found["auroc"] is None
    assert found["auprc"] is None
    assert found["accuracy"] == 1.0


def test_each_class_by_hand() -> None:
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


def test_each_class_of_several_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(0, 2, (50, 3)), rng.random((50, 3))
    found = per_class_metrics(truth, scores, classes="xyz", task="multilabel")
    precision, recall, f1, counts = metrics.precision_recall_fscore_support(truth, scores >= 0.5)
    for place, each in enumerate(found):
        assert (each["precision"], each["recall"]) == (precision[place], recall[place])
        assert each["f1"] == pytest.approx(f1[place])
        assert each["n"] == counts[place]
    json.dumps(found)


def test_numbers_by_hand() -> None:
    found = measure(
        np.array([1.0, 2.0, 3.0]), np.array([[1.0], [3.0], [2.0]]), classes=["x"], task="regression"
    )
    assert found == {
        "n": 3,
        "classes": ["x"],
        "pearson": pytest.approx(0.5),
        "spearman": pytest.approx(0.5),
        "r2": pytest.approx(0.0),
        "mae": pytest.approx(2 / 3),
        "rmse": pytest.approx((2 / 3) ** 0.5),
    }


def test_of_constant_numbers_no_correlation_is_told() -> None:
    found = measure(
        np.array([1.0, 2.0]), np.array([[1.0], [1.0]]), classes=["x"], task="regression"
    )
    assert (found["pearson"], found["spearman"], found["r2"]) == (None, None, -1.0)
    alone = measure(np.array([1.0]), np.array([[1.0]]), classes=["x"], task="regression")
    assert (alone["r2"], alone["mae"]) == (None, 0.0)
