"""The metrics of a draw are those of the drawn examples: scikit-learn's."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.evaluation.weighted_metrics import decision_metrics, ranking_metrics
from rmt_genomics.model.metrics import compute_metrics, metric_keys

TASKS = ["binary", "multiclass", "multilabel", "regression"]


def examples_of(task: str, count: int, num_classes: int, seed: int) -> tuple[np.ndarray, ...]:
    """Targets and outputs; with few different scores, so that there are ties."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        targets = rng.integers(0, 4, count) + 1000.0
        return targets, (targets + rng.integers(-2, 3, count))[:, None]
    rows = rng.integers(1, 5, (count, num_classes)).astype(float)
    if task == "multilabel":
        return rng.integers(0, 2, (count, num_classes)), rows / 5
    return rng.integers(0, num_classes, count), rows / rows.sum(axis=1, keepdims=True)


def metrics_of_draws(
    targets: np.ndarray, outputs: np.ndarray, weights: np.ndarray, task: str, num_classes: int
) -> dict[str, np.ndarray]:
    parts = (
        make(targets, outputs, task=task, num_classes=num_classes)(weights)
        for make in (decision_metrics, ranking_metrics)
    )
    return {key: value for part in parts for key, value in part.items()}


def occurring(targets: np.ndarray, outputs: np.ndarray, task: str) -> np.ndarray:
    """Whether each class is true or predicted anywhere."""
    if task == "multilabel":
        return (targets.astype(bool) | (outputs >= 0.5)).any(axis=0)
    found = [*targets.tolist(), *outputs.argmax(axis=1).tolist()]
    return np.isin(np.arange(outputs.shape[1]), found)


@pytest.mark.parametrize("task", TASKS)
@given(num_classes=st.integers(2, 4), count=st.integers(1, 15), seed=st.integers(0, 999))
def test_a_draw_has_the_metrics_of_the_drawn_examples(
    task: str, num_classes: int, count: int, seed: int
) -> None:
    num_classes = {"binary": 2, "regression": 1}.get(task, num_classes)
    targets, outputs = examples_of(task, count, num_classes, seed)
    draws = np.random.default_rng(seed).integers(0, count, (3, count))
    weights = np.array([np.bincount(draw, minlength=count) for draw in draws], dtype=float)
    classes = tuple("abcd"[:num_classes])

    result = metrics_of_draws(targets, outputs, weights, task, num_classes)

    assert set(result) == set(metric_keys(task))
    for row, draw in enumerate(draws):
        expected: dict[str, Any] = compute_metrics(
            targets[draw], outputs[draw], classes=classes, task=task
        )
        if task != "regression":  # a class that the draw lacks, but not the set, is left out
            lacks = occurring(targets, outputs, task) & ~occurring(
                targets[draw], outputs[draw], task
            )
            left = num_classes - lacks.sum()
            expected["macro_f1"] = expected["macro_f1"] * num_classes / left if left else None
        for key in metric_keys(task):
            value = None if np.isnan(result[key][row]) else result[key][row]
            assert value == pytest.approx(expected[key], abs=1e-9), key


@pytest.mark.parametrize("task", TASKS)
def test_weights_of_one_give_the_metrics_of_the_set(task: str) -> None:
    num_classes = {"binary": 2, "regression": 1}.get(task, 3)
    targets, outputs = examples_of(task, 200, num_classes, 7)
    expected = compute_metrics(targets, outputs, classes="abc"[:num_classes], task=task)

    result = metrics_of_draws(targets, outputs, np.ones((2, 200)), task, num_classes)

    for key in metric_keys(task):
        assert result[key].tolist() == pytest.approx([expected[key]] * 2), key


def test_auroc_and_auprc_of_a_draw_by_hand() -> None:
    targets = np.array([1, 0, 1, 0])
    scores = np.array([0.9, 0.6, 0.4, 0.4])
    compute = ranking_metrics(
        targets, np.stack([1 - scores, scores], axis=1), task="binary", num_classes=2
    )

    result = compute(np.array([[1.0, 1.0, 2.0, 0.0], [1.0, 0.0, 1.0, 1.0], [2.0, 0.0, 2.0, 0.0]]))

    # 0.9+ 0.6- 0.4+ 0.4+: one of three pairs; 0.9+ 0.4+ 0.4-: one and a half of two; only +
    assert result["auroc"][:2].tolist() == pytest.approx([1 / 3, 3 / 4])
    assert result["auprc"][:2].tolist() == pytest.approx([(1 + 2 * 3 / 4) / 3, (1 + 2 / 3) / 2])
    assert np.isnan([result["auroc"][2], result["auprc"][2]]).all()
