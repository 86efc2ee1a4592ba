"""Draw how good a classifier is, with matplotlib, without a window and without global state.

Dimensions: n examples, c classes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rmt_genomics.reports.look import COLOURS, GREY, STYLES, literal, new_figure, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

_BLUE = (0.03, 0.32, 0.61)
_LEGEND_LINE = 0.22  # inches
_COUNTS_SHOWN_UP_TO = 20  # classes; beyond, numbers in cells are too small to read


def confusion_matrix(confusion: Sequence[Any], classes: Sequence[str]) -> "Figure":
    """Draw how often each true class was called what; shade is the share of the true class.

    Args:
        confusion: Counts ``[truth][predicted]``; or for multi-label one 2 x 2 matrix a class.
        classes: Label names.
    """
    counts = np.array(confusion)
    if counts.ndim == 2:
        is_small = len(classes) <= _COUNTS_SHOWN_UP_TO
        matrix = max(1.6, 0.6 * len(classes)) if is_small else min(24.0, 0.25 * len(classes))
        names = 0.6 + 0.085 * max(map(len, classes))
        figure = new_figure(matrix + names, matrix + 0.75 * names)
        _draw_counts(figure.subplots(), counts, classes)
        return figure
    columns = min(4, len(classes))
    rows = -(-len(classes) // columns)
    figure = new_figure(2.6 * columns, 2.6 * rows)
    panels = np.array(figure.subplots(rows, columns, squeeze=False)).flat
    for axes, name, each in zip(panels, classes, counts, strict=False):
        _draw_counts(axes, each, ("no", "yes"))
        axes.set_title(literal(name), fontsize=10)
    for axes in list(panels)[len(classes) :]:
        axes.set_axis_off()
    return figure


def roc_curves(truth: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> "Figure":
    """Draw a ROC curve a class, against the rest; of two exclusive classes the second only.

    Args:
        truth: 0/1 ``(n, c)``.
        probabilities: ``(n, c)``.
        classes: Label names.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    places = _drawable(truth)
    figure = new_figure(4.4, 4.3 + _LEGEND_LINE * (1 + len(places)))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="chance")
    for place in places:
        false_rate, true_rate, _ = roc_curve(truth[:, place], probabilities[:, place])
        area = roc_auc_score(truth[:, place], probabilities[:, place])
        _draw_curve(
            axes, false_rate, true_rate, place, f"{literal(classes[place])} (area {area:.3f})"
        )
    axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)")
    _frame(figure, axes, is_defined=bool(places))
    return figure


def precision_recall_curves(
    truth: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> "Figure":
    """Draw a precision-recall curve a class; arguments as for ``roc_curves``."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    places = _drawable(truth)
    figure = new_figure(4.4, 4.3 + _LEGEND_LINE * len(places))
    axes = figure.subplots()
    for place in places:
        precision, recall, _ = precision_recall_curve(truth[:, place], probabilities[:, place])
        average = average_precision_score(truth[:, place], probabilities[:, place])
        # steps: between two thresholds nothing is known, and a straight line would flatter
        _draw_curve(
            axes,
            recall,
            precision,
            place,
            f"{literal(classes[place])} (average precision {average:.3f})",
            drawstyle="steps-post",
        )
    axes.set(xlabel="recall", ylabel="precision")
    _frame(figure, axes, is_defined=bool(places))
    return figure


def _drawable(truth: np.ndarray) -> list[int]:
    """Return the classes with both answers; of two exclusive classes the second says it all."""
    seen = [place for place in range(truth.shape[1]) if 0 < truth[:, place].sum() < len(truth)]
    is_binary = truth.shape[1] == 2 and bool((truth.sum(axis=1) == 1).all())
    return [place for place in seen if place == 1] if is_binary else seen


def _draw_curve(
    axes: "Axes", across: np.ndarray, up: np.ndarray, place: int, label: str, **more: Any
) -> None:
    colour, style = COLOURS[place % len(COLOURS)], STYLES[place % len(STYLES)]
    axes.plot(across, up, color=colour, linestyle=style, linewidth=2, label=label, **more)


def _frame(figure: "Figure", axes: "Axes", *, is_defined: bool) -> None:
    """Square axes from 0 to 1, and a legend below that hides nothing."""
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    without_frame(axes)
    if is_defined:
        figure.legend(frameon=False, fontsize=9, loc="outside lower center", borderpad=0.8)
    else:
        axes.text(0.5, 0.8, "not defined: one class only", ha="center", color="0.4")


def _shades() -> "Colormap":
    """From nothing at all to blue, so that the paper may be of any colour."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("shades", [(*_BLUE, 0.0), (*_BLUE, 1.0)])


def _draw_counts(axes: "Axes", counts: np.ndarray, names: Sequence[str]) -> None:
    """Draw one matrix: shade by row share, a number in each cell."""
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap=_shades(), vmin=0, vmax=1)
    places, shown = np.arange(len(names)), [literal(name) for name in names]
    axes.set_xticks(places, shown, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, shown)
    axes.tick_params(labelsize=9, length=0)
    axes.set(xlabel="predicted", ylabel="truth")
    if len(names) > _COUNTS_SHOWN_UP_TO:
        return
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=9)
