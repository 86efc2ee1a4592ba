"""The threshold with the highest MCC: against scikit-learn, and in the middle of ties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import matthews_corrcoef

from rmt_genomics.errors import ConfigError
from rmt_genomics.model import ClassifierConfig, RMTClassifier
from rmt_genomics.model.metrics import compute_metrics, per_class_metrics, predicted_classes
from rmt_genomics.model.pretrained import read_config
from rmt_genomics.model.thresholds import best_threshold, best_thresholds


@given(count=st.integers(2, 30), seed=st.integers(0, 999))
def test_no_other_threshold_has_a_higher_mcc(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, scores = rng.integers(0, 2, count), rng.integers(1, 9, count) / 10
    if len(np.unique(truth)) < 2:
        truth[0] = 1 - truth[0]

    found = best_threshold(truth, scores)

    best = max(matthews_corrcoef(truth, scores >= cut) for cut in np.arange(0, 1, 0.05))
    if found is None:
        assert best < 1e-12
    else:
        assert matthews_corrcoef(truth, scores >= found) == pytest.approx(best)


@pytest.mark.parametrize(
    ("truth", "scores", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.6], 0.25),
        ([0, 1], [0.1, 0.9], 0.5),
        ([1, 0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4, 0.8], 0.6),
        ([0, 1, 0, 0, 1], [0.1, 0.1, 0.1, 0.4, 0.8], 0.6),  # ties of scores
        ([1, 0, 1, 0], [0.6, 0.5, 0.3, 0.1], 0.2),  # 0.55 is as good, but has a smaller range
        ([1, 1, 1], [0.1, 0.2, 0.3], None),  # one class
        ([0, 1], [0.5, 0.5], None),  # not told apart
        ([0, 1], [0.9, 0.1], None),  # ranked the wrong way
    ],
)
def test_the_middle_of_the_widest_range_is_taken(
    truth: list[int], scores: list[float], expected: float | None
) -> None:
    found = best_threshold(np.array(truth), np.array(scores))

    assert found == (None if expected is None else pytest.approx(expected))


def test_neighbouring_scores_are_told_apart() -> None:
    scores = np.array([0.5, np.nextafter(0.5, 1)])

    found = best_threshold(np.array([0, 1]), scores)

    assert (scores >= found).tolist() == [False, True]


def test_very_many_examples_do_not_overflow() -> None:
    truth = np.arange(200_000) % 2
    scores = (np.arange(200_000) + 50_000 * truth) / 300_000

    found = best_threshold(truth, scores)

    assert found is not None
    assert 0 < found < 1


def test_each_label_has_its_own_threshold_and_one_that_cannot_be_chosen_has_a_half() -> None:
    truth = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 1], [0, 0, 0]])
    scores = np.array([[0.9, 0.4, 0.2], [0.5, 0.3, 0.3], [0.7, 0.1, 0.4], [0.1, 0.2, 0.1]])

    assert best_thresholds(truth, scores, "multilabel") == (pytest.approx((0.6, 0.5, 0.25)), [1])
    assert best_thresholds(truth[:, 1:2] * 0, scores[:, 1:2], "multilabel") == (None, [0])
    of_two = np.column_stack([1 - scores[:, 2], scores[:, 2]])
    assert best_thresholds(truth[:, 2], of_two, "binary") == (pytest.approx((0.25,)), [])


def config(task: str, classes: str = "ab", **settings: object) -> ClassifierConfig:
    sizes = {"dim": 8, "depth": 1, "heads": 2, "segment_length": 8}
    return ClassifierConfig(classes=tuple(classes), task=task, **sizes, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task", "thresholds", "rows", "labels"),
    [
        ("binary", None, [[0.4, 0.6], [0.5, 0.5], [0.8, 0.2]], ["b", "a", "a"]),
        ("binary", (0.2,), [[0.4, 0.6], [0.5, 0.5], [0.8, 0.2], [0.9, 0.1]], ["b", "b", "b", "a"]),
        ("multilabel", None, [[0.5, 0.6], [0.4, 0.2]], ["a;b", ""]),
        ("multilabel", (0.7, 0.2), [[0.5, 0.6], [0.7, 0.2], [0.6, 0.1]], ["b", "a;b", ""]),
    ],
)
def test_thresholds_decide_labels_and_metrics(
    task: str, thresholds: tuple[float, ...] | None, rows: list[list[float]], labels: list[str]
) -> None:
    origin = None if thresholds is None else "given"
    model = RMTClassifier(config(task, thresholds=thresholds, thresholds_from=origin))
    probabilities = np.array(rows)

    assert [model.label_of(row) for row in probabilities] == labels
    called = predicted_classes(probabilities, task, thresholds)
    truth = np.array([[name in label.split(";") for name in "ab"] for label in labels])
    targets = truth.astype(int) if task == "multilabel" else truth.argmax(axis=1)
    options = {"classes": ("a", "b"), "task": task, "called": called}
    assert compute_metrics(targets, probabilities, **options)["accuracy"] == 1
    per_class = per_class_metrics(targets, probabilities, **options)
    assert all(row["f1"] == 1 for row in per_class if row["n"])


@pytest.mark.parametrize(
    ("task", "classes", "settings", "words"),
    [
        ("binary", "ab", {"thresholds": (0.2, 0.3)}, "has 2 numbers, but a binary model of 2"),
        ("multiclass", "abc", {"thresholds": (0.2,)}, "multiclass model of 3 classes has 0"),
        ("binary", "ab", {"thresholds": (1.0,)}, "thresholds is .*, but must be a list, each"),
        ("binary", "ab", {"thresholds_from": "given"}, "belong together"),
    ],
)
def test_thresholds_that_do_not_fit_are_refused(
    task: str, classes: str, settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        config(task, classes, **{"thresholds_from": "given", "thresholds": None, **settings})


def test_thresholds_are_saved_and_absent_without(tmp_path) -> None:  # type: ignore[no-untyped-def]
    RMTClassifier(config("binary")).save_pretrained(tmp_path / "plain")
    chosen = config("binary", thresholds=(0.25,), thresholds_from="validation")
    RMTClassifier(chosen).save_pretrained(tmp_path / "chosen")

    assert "threshold" not in (tmp_path / "plain/config.json").read_text()
    assert read_config(tmp_path / "chosen/config.json") == chosen
