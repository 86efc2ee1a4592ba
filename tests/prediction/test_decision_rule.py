"""From probabilities to labels: abstention, calibration, sets of labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmt_genomics.errors import CheckpointError, ConfigError
from rmt_genomics.prediction.calibration import Calibration, find_calibration
from rmt_genomics.prediction.predictor import DecisionRule
from tests.model.toys import toy
from tests.prediction.toys import saved_model

ROWS = np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25]])
CALIBRATION = Calibration("multiclass", ("a", "b", "c"), 2.0, np.linspace(0, 0.7, 9))


def applied(rule: DecisionRule) -> list[tuple[str, float | None, np.ndarray, Any]]:
    return [rule.apply(toy(), row) for row in ROWS]


def test_a_score_below_the_threshold_abstains() -> None:
    found = applied(DecisionRule(abstain_below=0.5))

    assert [(label, score) for label, score, *_ in found] == [("a", 0.7), ("abstain", 0.4)]


def test_a_score_equal_to_the_threshold_is_enough() -> None:
    assert applied(DecisionRule(abstain_below=0.4))[1][0] == "a"


def test_a_multi_label_row_without_a_label_does_not_abstain() -> None:
    label, score, *_ = DecisionRule(abstain_below=0.9).apply(
        toy(task="multilabel"), np.array([0.1, 0.2, 0.3])
    )

    assert (label, score) == ("", None)


def test_calibrated_probabilities_are_those_of_the_calibration() -> None:
    found = applied(DecisionRule(calibrated=True, calibration=CALIBRATION))

    np.testing.assert_array_equal(np.stack([row for *_, row, _ in found]), CALIBRATION.apply(ROWS))
    assert found[0][1] == CALIBRATION.apply(ROWS)[0, 0] < 0.7


def test_sets_of_labels_are_those_of_the_calibration_for_the_models_own_probabilities() -> None:
    sets = CALIBRATION.label_sets(ROWS, 0.8)

    for calibrated in (False, True):
        rule = DecisionRule(coverage=0.8, calibrated=calibrated, calibration=CALIBRATION)
        assert [labels for *_, labels in applied(rule)] == sets


def test_thresholds_are_those_of_the_probabilities_before_calibration() -> None:
    settings = {"thresholds": (0.2,), "thresholds_from": "given"}
    model = toy(classes=("a", "b"), task="binary", **settings)
    calibration = Calibration("binary", ("a", "b"), 0.5, np.linspace(0, 0.7, 9))
    row = np.array([0.75, 0.25])

    label, score, shown, labels = DecisionRule(
        calibrated=True, coverage=0.5, calibration=calibration
    ).apply(model, row)

    (calibrated,) = calibration.apply(row[None])
    assert calibrated[1] < 0.2  # the threshold on this scale is lower, too
    assert (label, score) == ("b", calibrated[1])
    assert shown.tolist() == calibrated.tolist()
    assert labels == ("a", "b")  # not ("a",), without the label that is given
    assert DecisionRule(abstain_below=0.3).apply(model, row)[:2] == ("abstain", 0.25)


def test_each_label_of_several_has_its_threshold_and_the_score_is_the_lowest() -> None:
    settings = {"thresholds": (0.9, 0.1, 0.5), "thresholds_from": "given"}
    model = toy(task="multilabel", **settings)

    label, score, *_ = DecisionRule().apply(model, np.array([0.8, 0.2, 0.6]))

    assert (label, score) == ("b;c", 0.2)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 90.0])
@pytest.mark.parametrize("name", ["abstain_below", "coverage"])
def test_a_fraction_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name.replace('_', '-')} is {value}, but must be abo"):
        DecisionRule(**{name: value})


def test_a_class_named_abstain_is_not_confused_with_it() -> None:
    model = toy(classes=("abstain", "b", "c"))

    with pytest.raises(ConfigError, match="the model has a class named 'abstain'"):
        DecisionRule(abstain_below=0.5).check(model.config)
    DecisionRule().check(model.config)


def test_a_model_without_a_calibration_is_named(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model")

    with pytest.raises(CheckpointError, match=r"model: has no calibration\.json, but --calibrated"):
        find_calibration(model, toy().config)


def test_a_calibration_of_other_classes_is_refused(tmp_path: Path) -> None:
    model = saved_model(tmp_path / "model")
    CALIBRATION.save(model)

    with pytest.raises(
        CheckpointError, match=r"has the classes a, b, c \(multiclass\), but the mo"
    ):
        find_calibration(model, toy(classes=("at", "gc"), task="binary").config)
    assert find_calibration(model, toy().config).temperature == 2.0
