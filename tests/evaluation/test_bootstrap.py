"""The bootstrap: the metrics are scikit-learn's, the intervals have their coverage."""

import json
import re
import time
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from rmt_genomics.evaluation import bootstrap
from rmt_genomics.evaluation.bootstrap import (
    CLASS_METRICS,
    Truth,
    difference,
    difference_sentence,
    intervals,
    intervals_by_class,
)
from rmt_genomics.model import classification_metrics
from rmt_genomics.model.metrics import (
    compute_metrics,
    metric_keys,
    per_class_metrics,
    predicted_classes,
)


def hot(called: np.ndarray, num_classes: int) -> np.ndarray:
    return np.eye(num_classes)[called]


def drawn(count: int, num_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(0, num_classes, count) for _ in range(3))  # type: ignore[return-value]


@given(num_classes=st.integers(2, 4), seed=st.integers(0, 99))
def test_the_difference_is_that_of_two_mccs(num_classes: int, seed: int) -> None:
    targets, ours, theirs = drawn(40, num_classes, seed)
    truth = Truth(targets, "multiclass", num_classes)

    found = difference(truth, hot(ours, num_classes), hot(theirs, num_classes), name="it")

    mcc = metrics.matthews_corrcoef
    assert found is not None
    assert found["difference"] == pytest.approx(mcc(targets, ours) - mcc(targets, theirs))
    assert found["low"] <= found["difference"] <= found["high"]
    assert (found["metric"], found["level"]) == ("mcc", 0.95)


@given(st.integers(0, 99))
def test_multilabel_mcc_is_averaged_as_in_the_metrics(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets, ours, theirs = (rng.random((30, 3)) for _ in range(3))
    targets = (targets > 0.5).astype(np.float32)
    targets[:, 2] = 1  # all examples have it: its MCC is not defined and not counted

    found = difference(Truth(targets, "multilabel", 3), ours, theirs, name="it")

    expected = [
        classification_metrics(targets, outputs, classes="abc", task="multilabel")["mcc"]
        for outputs in (ours, theirs)
    ]
    assert found is not None
    assert found["difference"] == pytest.approx(expected[0] - expected[1])


def test_regressions_are_compared_by_r2() -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=200) + 1000
    ours, theirs = targets + rng.normal(size=200) / 10, np.full(200, targets.mean())

    found = difference(Truth(targets, "regression", 1), ours[:, None], theirs[:, None], name="it")

    assert found is not None
    assert found["metric"] == "r2"
    assert found["difference"] == pytest.approx(metrics.r2_score(targets, ours))
    assert found["low"] > 0.98


def plain_bootstrap(targets: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> list[float]:
    """The same by a loop that draws examples one set at a time."""
    rng, found = np.random.default_rng(5), []
    for _ in range(2000):
        at = rng.integers(0, len(targets), len(targets))
        phi = np.corrcoef([targets[at], ours[at], theirs[at]])[0]  # of two classes this is MCC
        found.append(phi[1] - phi[2])
    return np.quantile(found, [0.025, 0.975]).tolist()  # type: ignore[no-any-return]


def test_the_interval_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 150)
    ours = np.where(rng.random(150) < 0.85, targets, 1 - targets)
    theirs = np.where(rng.random(150) < 0.7, targets, 1 - targets)

    found = difference(Truth(targets, "binary", 2), hot(ours, 2), hot(theirs, 2), name="it")

    assert found is not None
    assert [found["low"], found["high"]] == pytest.approx(
        plain_bootstrap(targets, ours, theirs), abs=0.02
    )


def test_95_of_100_intervals_contain_the_true_difference() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):  # 85% against 70% correct, classes of equal size: MCC 0.7 against 0.4
        targets = rng.integers(0, 2, 200)
        ours = np.where(rng.random(200) < 0.85, targets, 1 - targets)
        theirs = np.where(rng.random(200) < 0.70, targets, 1 - targets)
        truth = Truth(targets, "binary", 2)
        found = difference(truth, hot(ours, 2), hot(theirs, 2), name="it", resamples=500)
        assert found is not None
        hits += found["low"] <= 0.3 <= found["high"]
    assert 180 <= hits <= 199


def test_examples_of_one_group_are_drawn_together() -> None:
    rng = np.random.default_rng(0)
    targets = np.repeat(rng.integers(0, 2, 30), 20)  # 30 groups of 20 times the same
    ours = np.where(np.repeat(rng.random(30) < 0.8, 20), targets, 1 - targets)
    theirs = np.where(np.repeat(rng.random(30) < 0.6, 20), targets, 1 - targets)
    groups = np.repeat([f"g{index}" for index in range(30)], 20).tolist()

    apart = difference(Truth(targets, "binary", 2), hot(ours, 2), hot(theirs, 2), name="it")
    together = difference(
        Truth(targets, "binary", 2, groups), hot(ours, 2), hot(theirs, 2), name="it"
    )

    assert apart is not None
    assert together is not None
    assert together["difference"] == apart["difference"]
    assert together["high"] - together["low"] > 3 * (apart["high"] - apart["low"])
    assert "600 examples in 30 groups" in together["sentence"]


def test_groups_of_one_example_change_nothing() -> None:
    targets, ours, theirs = drawn(60, 2, 0)
    groups = [f"g{index}" if index % 2 else None for index in range(60)]
    grouped = Truth(targets, "binary", 2, groups)

    found = difference(grouped, hot(ours, 2), hot(theirs, 2), name="it", resamples=20_000)
    plain = difference(
        Truth(targets, "binary", 2), hot(ours, 2), hot(theirs, 2), name="it", resamples=20_000
    )

    assert found is not None
    assert plain is not None
    assert (found["low"], found["high"]) == pytest.approx((plain["low"], plain["high"]), abs=0.02)


def test_draws_are_seeded_and_do_not_depend_on_the_chunk_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    targets, ours, theirs = drawn(50, 3, 0)
    truth = Truth(targets, "multiclass", 3)
    whole = difference(truth, hot(ours, 3), hot(theirs, 3), name="it")
    again = difference(truth, hot(ours, 3), hot(theirs, 3), name="it")
    monkeypatch.setattr(bootstrap, "_WEIGHTS_AT_ONCE", 100)

    parts = difference(truth, hot(ours, 3), hot(theirs, 3), name="it")

    assert whole == again == parts


@pytest.mark.parametrize(("most", "resamples"), [(1 << 40, 2000), (50 * 500, 500), (1, 200)])
def test_very_large_sets_have_fewer_draws_but_at_least_200(
    monkeypatch: pytest.MonkeyPatch, most: int, resamples: int
) -> None:
    counted: list[int] = []
    draw = scipy.stats.bootstrap

    def counting(*arguments: Any, **options: Any) -> Any:
        counted.append(options["n_resamples"])
        return draw(*arguments, **options)

    monkeypatch.setattr(scipy.stats, "bootstrap", counting)
    monkeypatch.setattr(bootstrap, "_MAX_VALUES", most)
    targets, ours, theirs = drawn(50, 2, 0)

    difference(Truth(targets, "binary", 2), hot(ours, 2), hot(theirs, 2), name="it")

    assert counted == [resamples]


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [
        (
            (0.95, 0.6),
            r"The model is ahead of the coin by 0\.\d{3} MCC \(95% interval 0\.\d{3} to ",
        ),
        ((0.6, 0.95), r"The model is behind the coin by 0\.\d{3} MCC \(95% interval -0\.\d{3} to "),
        ((0.8, 0.8), r"The model and the coin show no significant difference: -?0\.0\d{3,4} MCC"),
    ],
)
def test_the_sentence_says_which_is_ahead(accuracies: tuple[float, float], words: str) -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 300)
    ours, theirs = (
        np.where(rng.random(300) < accuracy, targets, 1 - targets) for accuracy in accuracies
    )

    found = difference(Truth(targets, "binary", 2), hot(ours, 2), hot(theirs, 2), name="the coin")

    assert found is not None
    assert found["sentence"].endswith(", 300 examples).")
    assert re.match(words, found["sentence"]), found["sentence"]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (
            0.01,
            0.2,
            "The model is ahead of X by 0.100 MCC (90% interval 0.0100 to 0.200, 1 example).",
        ),
        (
            -0.3,
            -0.1,
            "The model is behind X by 0.100 MCC (90% interval -0.300 to -0.100, 1 example).",
        ),
        (0.0, 0.2, "The model and X show no significant difference: 0.100 MCC (90% interval 0.00 "),
        (
            -0.2,
            0.0,
            "The model and X show no significant difference: 0.100 MCC (90% interval -0.200 ",
        ),
    ],
)
def test_an_interval_that_touches_zero_is_not_significant(
    low: float, high: float, words: str
) -> None:
    numbers = {"metric": "mcc", "difference": 0.1, "low": low, "high": high, "level": 0.9}

    assert difference_sentence(numbers, "X", "1 example").startswith(words)


def test_one_class_leaves_nothing_to_compare() -> None:
    targets, ours, theirs = np.zeros(9, dtype=int), np.eye(2)[[0] * 9], np.eye(2)[[1] * 9]

    assert difference(Truth(targets, "binary", 2), ours, theirs, name="it") is None


def test_against_constant_predictions_the_difference_is_the_mcc() -> None:
    targets, ours, _ = drawn(50, 2, 3)
    constant = np.tile([0.6, 0.4], (50, 1))

    found = difference(Truth(targets, "binary", 2), hot(ours, 2), constant, name="it")

    assert found is not None
    assert found["difference"] == pytest.approx(metrics.matthews_corrcoef(targets, ours))


def test_a_perfect_model_is_not_certain_to_be_ahead_of_a_constant() -> None:
    targets = np.array([0, 1] * 10)
    constant = np.tile([0.6, 0.4], (20, 1))
    truth = Truth(targets, "binary", 2)
    lowest = 0.025 ** (1 / 10)  # 10 of 10 right in each class: exact binomial

    ahead = difference(truth, hot(targets, 2), constant, name="it")
    behind = difference(truth, constant, hot(targets, 2), name="it")

    assert ahead is not None
    assert behind is not None
    assert (ahead["difference"], ahead["low"], ahead["high"]) == pytest.approx(
        (1, 2 * lowest - 1, 1)
    )
    assert (behind["low"], behind["high"]) == pytest.approx((-1, 1 - 2 * lowest))
    assert "ahead of it by 1.00 MCC (95% interval 0.383 to 1.00, 20 examples)" in ahead["sentence"]


@pytest.mark.parametrize("accuracy", [0.8, 1.0])
def test_equal_predictions_show_no_difference(accuracy: float) -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 50)
    same = hot(np.where(rng.random(50) < accuracy, targets, 1 - targets), 2)

    found = difference(Truth(targets, "binary", 2), same, same, name="it")

    assert found is not None
    assert found["difference"] == 0
    assert found["low"] == -found["high"] <= 0
    assert (found["low"] == 0) == (accuracy < 1)
    assert "no significant difference: 0.00 MCC" in found["sentence"]


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_one_example_or_one_group_leaves_nothing_to_compare(task: str) -> None:
    outputs = np.random.default_rng(0).random((8, 2 if task == "binary" else 1))
    targets = np.array([0, 1] * 4)
    num_classes = outputs.shape[1]

    one = difference(Truth(targets[:1], task, num_classes), outputs[:1], outputs[:1], name="it")
    group = difference(
        Truth(targets, task, num_classes, ["g"] * 8), outputs, outputs[::-1], name="it"
    )

    assert (one, group) == (None, None)


CLASSES = {"binary": 2, "multiclass": 3, "multilabel": 3, "regression": 1}


def noisy(task: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets, and outputs that are often right."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        targets = rng.normal(size=count)
        return targets, (targets + rng.normal(size=count))[:, None]
    classes = CLASSES[task]
    if task == "multilabel":
        targets = rng.integers(0, 2, (count, classes))
        return targets, 1 / (1 + np.exp(-(2 * targets - 1 + rng.normal(size=(count, classes)))))
    targets = rng.integers(0, classes, count)
    return targets, scipy.special.softmax(
        1.5 * hot(targets, classes) + rng.normal(size=(count, classes)), axis=1
    )


@pytest.mark.parametrize("task", CLASSES)
def test_every_metric_has_an_interval_around_it(task: str) -> None:
    targets, outputs = noisy(task, 120, 0)
    names = "abc"[: CLASSES[task]]

    found = intervals(Truth(targets, task, CLASSES[task]), outputs)

    assert list(found) == list(metric_keys(task))
    metrics = compute_metrics(targets, outputs, classes=names, task=task)
    for key, (low, high) in found.items():
        assert low < metrics[key] < high, key


@pytest.mark.parametrize("task", CLASSES)
def test_95_of_100_intervals_contain_the_metric_of_many_examples(task: str) -> None:
    many = noisy(task, 100_000, 999)
    names = "abc"[: CLASSES[task]]
    expected = compute_metrics(*many, classes=names, task=task)
    hits = dict.fromkeys(metric_keys(task), 0)
    for seed in range(100):
        targets, outputs = noisy(task, 150, seed)
        found = intervals(Truth(targets, task, CLASSES[task]), outputs, resamples=300)
        for key, (low, high) in found.items():
            hits[key] += low <= expected[key] <= high

    assert all(87 <= count <= 100 for count in hits.values()), hits


def test_the_interval_of_an_accuracy_is_the_exact_one() -> None:
    targets, outputs = noisy("binary", 40, 0)
    right = int((outputs.argmax(axis=1) == targets).sum())

    found = intervals(Truth(targets, "binary", 2), outputs)

    exact = scipy.stats.binomtest(right, 40).proportion_ci(0.95, "exact")
    assert found["accuracy"] == pytest.approx([exact.low, exact.high])


def test_perfect_scores_are_not_certain() -> None:
    targets = np.array([0] * 30 + [1] * 8)

    found = intervals(Truth(targets, "binary", 2), hot(targets, 2))

    of_all, of_rarest = 0.025 ** (1 / 38), 0.025 ** (1 / 8)
    assert found["accuracy"] == pytest.approx([of_all, 1])
    assert found["mcc"] == pytest.approx([2 * of_rarest - 1, 1])
    others = ("balanced_accuracy", "macro_f1", "auroc", "auprc")
    assert [found[key] for key in others] == [pytest.approx([of_rarest, 1])] * 4


def test_examples_of_one_group_count_as_one_where_all_are_right() -> None:
    targets = np.repeat([0, 1], 20)
    groups = np.repeat(["a", "b", "c", "d"], 10).tolist()

    found = intervals(Truth(targets, "binary", 2, groups), hot(targets, 2))

    assert found["accuracy"] == pytest.approx([0.025 ** (1 / 4), 1])
    assert found["auroc"] == pytest.approx([0.025 ** (1 / 2), 1])


@pytest.mark.parametrize(("right", "expected"), [(8, {"accuracy"}), (5, set())])
def test_one_group_says_next_to_nothing(right: int, expected: set[str]) -> None:
    targets = np.array([1, 0] * 4)
    called = np.where(np.arange(8) < right, targets, 1 - targets)

    found = intervals(Truth(targets, "binary", 2, ["g"] * 8), hot(called, 2))

    found = {key: interval for key, interval in found.items() if interval is not None}
    assert set(found) == expected
    assert all(interval == pytest.approx([0.025, 1]) for interval in found.values())


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_groups_make_intervals_wider(task: str) -> None:
    targets, outputs = (np.repeat(values, 10, axis=0) for values in noisy(task, 30, 0))
    groups = np.repeat([f"g{index}" for index in range(30)], 10).tolist()

    apart = intervals(Truth(targets, task, CLASSES[task]), outputs)
    together = intervals(Truth(targets, task, CLASSES[task], groups), outputs)

    for key, (low, high) in together.items():
        assert high - low > 2 * (apart[key][1] - apart[key][0]), key


@pytest.mark.parametrize(
    ("targets", "outputs", "task", "expected"),
    [
        ([1], [[0.2, 0.8]], "binary", {"accuracy"}),
        ([0], [[0.2, 0.8]], "binary", {"accuracy"}),
        ([1, 1], [[0.2, 0.8]] * 2, "binary", {"accuracy", "balanced_accuracy"}),
        ([0, 1] * 9, [[0.2, 0.8]] * 18, "binary", {"accuracy", "macro_f1", "auprc"}),
        ([[1, 0]], [[0.2, 0.8]], "multilabel", {"accuracy"}),
        ([1.5], [[2.5]], "regression", set()),
        ([1.5, 1.5, 1.5], [[2.5]] * 3, "regression", set()),
    ],
)
def test_what_cannot_vary_or_is_not_defined_has_no_interval(
    targets: list[Any], outputs: list[list[float]], task: str, expected: set[str]
) -> None:
    truth = Truth(np.array(targets), task, len(outputs[0]))

    found = intervals(truth, np.array(outputs))

    assert list(found) == list(metric_keys(task))
    found = {key: interval for key, interval in found.items() if interval is not None}
    assert set(found) == expected
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert all(low < high for low, high in found.values())


def test_intervals_are_seeded_and_do_not_depend_on_the_chunk_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    targets, outputs = noisy("multiclass", 50, 0)
    truth = Truth(targets, "multiclass", 3)
    whole = intervals(truth, outputs)
    monkeypatch.setattr(bootstrap, "_WEIGHTS_AT_ONCE", 100)

    assert intervals(truth, outputs) == whole


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_each_class_has_intervals_around_its_metrics(task: str) -> None:
    targets, outputs = noisy(task, 150, 0)
    names = "abc"[: CLASSES[task]]

    _, found = intervals_by_class(Truth(targets, task, CLASSES[task]), outputs)

    rows = per_class_metrics(targets, outputs, classes=names, task=task)
    for row, of_class in zip(rows, found, strict=True):
        assert tuple(of_class) == CLASS_METRICS
        for key, interval in of_class.items():
            assert interval is not None
            assert interval[0] < row[key] < interval[1], key


def test_the_interval_of_a_class_is_that_of_a_plain_loop() -> None:
    targets, outputs = noisy("multiclass", 120, 1)
    rng, drawn = np.random.default_rng(3), []
    for _ in range(1000):
        at = rng.integers(0, 120, 120)
        called = outputs[at].argmax(axis=1) == 2
        is_hit, score = targets[at] == 2, outputs[at, 2]
        drawn.append(
            [
                metrics.precision_score(is_hit, called),
                metrics.recall_score(is_hit, called),
                metrics.f1_score(is_hit, called),
                metrics.roc_auc_score(is_hit, score),
                metrics.average_precision_score(is_hit, score),
            ]
        )

    _, found = intervals_by_class(Truth(targets, "multiclass", 3), outputs)

    expected = np.quantile(drawn, [0.025, 0.975], axis=0).T
    assert list(found[2].values()) == [pytest.approx(pair, abs=0.02) for pair in expected]


def test_a_class_without_examples_or_predictions_has_no_interval_of_them() -> None:
    targets = np.array([0, 1] * 20)
    outputs = hot(np.where(np.arange(40) % 5, targets, 1 - targets), 3)
    outputs[0] = [0.0, 0.0, 1.0]

    _, found = intervals_by_class(Truth(targets, "multiclass", 3), outputs)

    assert found[2]["recall"] is found[2]["auroc"] is None
    _, found = intervals_by_class(Truth(targets, "multiclass", 3), hot(targets * 0, 3))
    assert found[1]["precision"] is None


def test_perfect_classes_are_not_certain() -> None:
    targets = np.array([0] * 30 + [1] * 8)

    _, (first, second) = intervals_by_class(Truth(targets, "binary", 2), hot(targets, 2))

    of_rare, of_common = (0.025 ** (1 / count) for count in (8, 30))
    assert second == {key: pytest.approx([of_rare, 1]) for key in CLASS_METRICS}
    assert first["recall"] == pytest.approx([of_common, 1])
    assert first["auroc"] == pytest.approx([of_rare, 1])


@pytest.mark.slow
def test_5000_examples_of_20_classes_take_a_few_seconds() -> None:
    rng = np.random.default_rng(0)
    targets, outputs = rng.integers(0, 20, 5000), rng.random((5000, 20))
    outputs /= outputs.sum(axis=1, keepdims=True)
    began = time.process_time()

    intervals_by_class(Truth(targets, "multiclass", 20), outputs, resamples=1000)

    assert time.process_time() - began < 5


def test_the_model_and_the_baseline_have_their_own_labels() -> None:
    targets, outputs = noisy("binary", 80, 0)
    called = predicted_classes(outputs, "binary", (0.8,))
    truth = Truth(targets, "binary", 2)

    found = difference(truth, outputs, outputs, name="it", called=called)
    reverse = difference(truth, outputs, outputs, name="it", baseline_called=called)

    mcc = [metrics.matthews_corrcoef(targets, outputs[:, 1] >= at) for at in (0.8, 0.5)]
    assert found is not None
    assert reverse is not None
    assert found["difference"] == pytest.approx(mcc[0] - mcc[1])
    assert reverse["difference"] == pytest.approx(mcc[1] - mcc[0])
    whole = intervals(truth, outputs, called=called)["mcc"]
    assert whole is not None
    assert whole[0] < mcc[0] < whole[1]
