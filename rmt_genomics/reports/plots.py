"""Draw figures with matplotlib, without a window and without global state.

Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart; curves differ
in line style too.

Dimensions: n examples, c classes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = ("-", "--", "-.", ":")
_LEGEND_LINE = 0.22  # inches
_COUNTS_SHOWN_UP_TO = 20  # classes; beyond, numbers in cells are too small to read


def training_curve(epochs: Sequence[dict[str, Any]]) -> "Figure":
    """Draw loss and MCC over epochs.

    Args:
        epochs: One dictionary an epoch, as in ``metrics.jsonl``.
    """
    figure = _new_figure(8.0, 3.6)
    loss, mcc = figure.subplots(1, 2)
    parts = [("train_loss", "train"), ("val_loss", "validation")]
    for place, (key, name) in enumerate(parts):
        _draw_over_epochs(loss, epochs, key, place=place, label=name)
    _draw_over_epochs(mcc, epochs, "val_mcc", place=1, label="validation")
    loss.set(xlabel="epoch", ylabel="loss (nats an example)", ylim=(0, None))
    loss.legend(frameon=False)
    mcc.legend(frameon=False, loc="lower right")
    low = min([0.0, *(row["val_mcc"] for row in epochs if row.get("val_mcc") is not None)])
    mcc.set(xlabel="epoch", ylabel="MCC (1 = all right, 0 = chance)")
    mcc.set_ylim(min(-0.02, low - 0.05), 1.02)
    for axes in (loss, mcc):
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def confusion_matrix(confusion: Sequence[Any], classes: Sequence[str]) -> "Figure":
    """Draw how often each true class was called what; shade is the share of the true class.

    Args:
        confusion: Counts ``[truth][predicted]``; or for multi-label one 2 x 2 matrix a class.
        classes: Label names.
    """
    counts = np.array(confusion)
    if counts.ndim == 2:
        matrix = max(1.6, 0.6 * min(len(classes), 24))
        names = 0.6 + 0.085 * max(map(len, classes))
        figure = _new_figure(matrix + names, matrix + 0.75 * names)
        _draw_counts(figure.subplots(), counts, classes)
        return figure
    columns = min(4, len(classes))
    rows = -(-len(classes) // columns)
    figure = _new_figure(2.6 * columns, 2.6 * rows)
    panels = np.array(figure.subplots(rows, columns, squeeze=False)).flat
    for axes, name, each in zip(panels, classes, counts, strict=False):
        _draw_counts(axes, each, ("no", "yes"))
        axes.set_title(name, fontsize=10)
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
    figure = _new_figure(5.0, 4.9 + _LEGEND_LINE * (1 + len(places)))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="chance")
    for place in places:
        false_rate, true_rate, _ = roc_curve(truth[:, place], probabilities[:, place])
        area = roc_auc_score(truth[:, place], probabilities[:, place])
        _draw_curve(axes, false_rate, true_rate, place, f"{classes[place]} (area {area:.3f})")
    axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)")
    _frame(figure, axes, is_defined=bool(places))
    return figure


def precision_recall_curves(
    truth: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> "Figure":
    """Draw a precision-recall curve a class; arguments as for ``roc_curves``."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    places = _drawable(truth)
    figure = _new_figure(5.0, 4.9 + _LEGEND_LINE * len(places))
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
            f"{classes[place]} (average precision {average:.3f})",
            drawstyle="steps-post",
        )
    axes.set(xlabel="recall", ylabel="precision")
    _frame(figure, axes, is_defined=bool(places))
    return figure


def _new_figure(width: float, height: float) -> "Figure":
    """Return a figure in inches that lays itself out."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _drawable(truth: np.ndarray) -> list[int]:
    """Return the classes with both answers; of two exclusive classes the second says it all."""
    seen = [place for place in range(truth.shape[1]) if 0 < truth[:, place].sum() < len(truth)]
    is_binary = truth.shape[1] == 2 and bool((truth.sum(axis=1) == 1).all())
    return [place for place in seen if place == 1] if is_binary else seen


def _draw_over_epochs(
    axes: "Axes", epochs: Sequence[dict[str, Any]], key: str, *, place: int, label: str
) -> None:
    """Draw one column of the metrics; epochs without a value are left out."""
    rows = [row for row in epochs if row.get(key) is not None]
    style: dict[str, Any] = {
        "color": _COLOURS[place],
        "linestyle": _STYLES[place],
        "marker": "o",
        "markersize": 3,
    }
    axes.plot([row["epoch"] for row in rows], [row[key] for row in rows], label=label, **style)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_curve(
    axes: "Axes", across: np.ndarray, up: np.ndarray, place: int, label: str, **more: Any
) -> None:
    colour, style = _COLOURS[place % len(_COLOURS)], _STYLES[place % len(_STYLES)]
    axes.plot(across, up, color=colour, linestyle=style, linewidth=2, label=label, **more)


def _frame(figure: "Figure", axes: "Axes", *, is_defined: bool) -> None:
    """Square axes from 0 to 1, and a legend below that hides nothing."""
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.spines[["top", "right"]].set_visible(False)
    if is_defined:
        figure.legend(frameon=False, fontsize=9, loc="outside lower center", borderpad=0.8)
    else:
        axes.text(0.5, 0.8, "not defined: one class only", ha="center", color="0.4")


def _draw_counts(axes: "Axes", counts: np.ndarray, names: Sequence[str]) -> None:
    """Draw one matrix: shade by row share, a number in each cell."""
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = np.arange(len(names))
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, names)
    axes.tick_params(labelsize=9, length=0)
    axes.set(xlabel="predicted", ylabel="truth")
    if len(names) > _COUNTS_SHOWN_UP_TO:
        return
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=9)
