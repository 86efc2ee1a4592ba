"""Figures show what they were given: numbers, names, units."""

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from rmt_genomics.reports.plots import (
    confusion_matrix,
    precision_recall_curves,
    roc_curves,
    training_curve,
)

TRUTH = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
PROBABILITIES = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.2, 0.8]])
EPOCHS: list[dict[str, Any]] = [
    {"epoch": 1, "train_loss": 0.7, "val_loss": 0.8, "val_mcc": 0.0},
    {"epoch": 2, "train_loss": 0.5, "val_loss": 0.6, "val_mcc": -0.5},
    {"epoch": 3, "train_loss": 0.4, "val_loss": None, "val_mcc": None},
]


def texts(figure: Figure) -> list[str]:
    """All text in cells and titles."""
    return [text.get_text() for axes in figure.axes for text in [*axes.texts, axes.title]]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


def test_the_training_curve_shows_each_value_and_omits_missing_ones() -> None:
    loss, mcc = training_curve(EPOCHS).axes

    train, validation = (line.get_xydata() for line in loss.lines)
    assert np.array(train).tolist() == [[1, 0.7], [2, 0.5], [3, 0.4]]
    assert np.array(validation).tolist() == [[1, 0.8], [2, 0.6]]
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("epoch", "loss (nats per example)")
    assert mcc.get_ylim()[0] < -0.5


def test_each_cell_of_the_confusion_matrix_has_its_count() -> None:
    figure = confusion_matrix([[1200, 7], [0, 3]], ["cat", "dog"])

    (axes,) = figure.axes
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "1,200", (1, 0): "7", (0, 1): "0", (1, 1): "3"}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "truth")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]


def test_counts_can_be_read_on_dark_and_on_light_cells() -> None:
    (axes,) = confusion_matrix([[9, 1], [1, 9]], ["cat", "dog"]).axes

    assert [text.get_color() for text in axes.texts] == ["white", "black", "black", "white"]


def test_the_shade_is_the_fraction_of_the_true_class() -> None:
    (axes,) = confusion_matrix([[6, 2], [0, 0]], ["cat", "dog"]).axes

    assert np.array(axes.images[0].get_array()).tolist() == [[0.75, 0.25], [0, 0]]


def test_many_classes_are_drawn_without_numbers() -> None:
    (axes,) = confusion_matrix(np.eye(21, dtype=int).tolist(), [f"c{i}" for i in range(21)]).axes

    assert len(axes.texts) == 0


def test_multilabel_has_one_small_matrix_per_class() -> None:
    figure = confusion_matrix([[[5, 0], [1, 2]]] * 5, list("abcde"))

    assert [axes.get_title() for axes in figure.axes][:5] == list("abcde")
    assert len([axes for axes in figure.axes if axes.images]) == 5


def test_of_two_exclusive_classes_the_second_is_drawn_with_its_area() -> None:
    figure = roc_curves(TRUTH, PROBABILITIES, ["cat", "dog"])

    area = roc_auc_score(TRUTH[:, 1], PROBABILITIES[:, 1])
    assert legend(figure) == ["chance", f"dog (area {area:.3f})"]
    curve = np.array(figure.axes[0].lines[1].get_xydata())
    assert np.trapezoid(curve[:, 1], curve[:, 0]) == pytest.approx(area)


def test_of_two_labels_that_are_not_exclusive_both_are_drawn() -> None:
    both = np.array([[1, 1], [1, 0], [0, 1], [0, 0]])

    assert len(legend(roc_curves(both, PROBABILITIES, ["cat", "dog"]))) == 3


def test_precision_and_recall_are_drawn_for_each_class() -> None:
    truth = np.eye(3, dtype=int)[[0, 1, 2, 0]]
    probabilities = np.random.default_rng(0).random((4, 3))

    figure = precision_recall_curves(truth, probabilities, list("abc"))

    assert [line.split(" (average precision ")[0] for line in legend(figure)] == list("abc")
    assert figure.axes[0].get_xlabel() == "recall"


@pytest.mark.parametrize("draw", [roc_curves, precision_recall_curves])
def test_a_single_class_has_a_note_instead_of_curves(draw: Any) -> None:
    figure = draw(TRUTH[:2], PROBABILITIES[:2], ["cat", "dog"])

    assert "not defined: one class only" in texts(figure)
