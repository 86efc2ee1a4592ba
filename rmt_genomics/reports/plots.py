"""Figures on data, training and performance, drawn with matplotlib without global state.

Each function returns a figure and touches neither ``pyplot`` nor a window. In the order of a
report: training curves, confusion matrix, ROC and precision-recall curves, reliability, context,
regression, lengths and composition of the data.

Dimensions: n examples, c classes.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rmt_genomics.plots import (
    COLOURS,
    GREY,
    LINE_STYLES,
    MAX_COUNTED_CLASSES,
    MAX_VECTOR_DOTS,
    classes_to_draw,
    draw_context,
    draw_counts,
    line_style,
    literal,
    track,
)
from rmt_genomics.reports.formatting import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rmt_genomics.dna import Composition

Epochs = Sequence[Mapping[str, Any]]  # one dictionary per epoch, as in ``metrics.jsonl``
Groups = Mapping[str, Sequence[int | float]]
"""One number per record, by class or by part of the split."""

SCORES = {
    "val_mcc": "MCC (1 = perfect, 0 = chance)",
    "val_pearson": "Pearson correlation",
    "val_spearman": "Spearman correlation",
    "val_r2": "R2 (1 = all variance explained)",
}
"""Columns of ``metrics.jsonl`` that may be drawn, best first, with the label of their axis."""

_MIN_BINS, _MAX_BINS = 6, 30


def _new_figure(width: float, height: float) -> "Figure":
    """Return a figure with automatic layout; its size is in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _new_axes(width: float, height: float) -> "tuple[Figure, Axes]":
    """Return a figure with one pair of axes, without the upper and the right line."""
    figure = _new_figure(width, height)
    axes = figure.subplots()
    _hide_frame(axes)
    return figure, axes


def _hide_frame(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)


def training_curve(epochs: Epochs) -> "Figure":
    """Draw loss and validation score over epochs, side by side."""
    figure = _new_figure(8.0, 3.6)
    loss_axes, score_axes = figure.subplots(1, 2)
    _draw_loss(loss_axes, epochs)
    _draw_score(score_axes, epochs)
    return figure


def loss_curve(epochs: Epochs) -> "Figure":
    """Draw training and validation loss over epochs."""
    figure, axes = _new_axes(4.4, 3.3)
    _draw_loss(axes, epochs)
    return figure


def score_curve(epochs: Epochs) -> "Figure":
    """Draw the validation score over epochs."""
    figure, axes = _new_axes(4.4, 3.3)
    _draw_score(axes, epochs)
    return figure


def score_key(epochs: Epochs) -> str:
    """Return the first column of ``SCORES`` that a run has; MCC if it has none of them."""
    return next((key for key in SCORES if any(key in row for row in epochs)), "val_mcc")


def _draw_loss(axes: "Axes", epochs: Epochs) -> None:
    values = _draw_over_epochs(axes, epochs, "train_loss", index=0, label="train")
    values += _draw_over_epochs(axes, epochs, "val_loss", index=1, label="validation")
    # the loss of a classifier is in nats; that of a regression has no unit of its own
    unit = "nats " if score_key(epochs) == "val_mcc" else ""
    axes.set(xlabel="epoch", ylabel=f"loss ({unit}per example)", ylim=(min([0.0, *values]), None))
    axes.legend(frameon=False)


def _draw_score(axes: "Axes", epochs: Epochs) -> None:
    key = score_key(epochs)
    values = _draw_over_epochs(axes, epochs, key, index=1, label="validation")
    axes.set(xlabel="epoch", ylabel=SCORES[key])
    axes.set_ylim(min([0.0, *values]) - 0.05, 1.02)
    axes.legend(frameon=False, loc="lower right")


def _draw_over_epochs(
    axes: "Axes", epochs: Epochs, key: str, *, index: int, label: str
) -> list[int | float]:
    """Draw one column of the metrics and return its values; epochs without one are left out."""
    from matplotlib.ticker import MaxNLocator

    rows = [row for row in epochs if row.get(key) is not None]
    values = [row[key] for row in rows]
    style: dict[str, Any] = {"color": COLOURS[index], "linestyle": LINE_STYLES[index]}
    numbers = [row["epoch"] for row in rows]
    axes.plot(numbers, values, label=label, marker="o", markersize=3, **style)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _hide_frame(axes)
    return values


def confusion_matrix(confusion: Sequence[Any], classes: Sequence[str]) -> "Figure":
    """Draw true classes against predicted ones, shaded by the fraction of the true class.

    The counts are ``[truth][predicted]``; for multi-label one 2 x 2 matrix per class.
    """
    counts = np.array(confusion)
    if counts.ndim == 2:
        has_counts = len(classes) <= MAX_COUNTED_CLASSES
        matrix = max(1.6, 0.6 * len(classes)) if has_counts else min(24.0, 0.25 * len(classes))
        names = 0.6 + 0.085 * max(map(len, classes))
        figure = _new_figure(matrix + names, matrix + 0.75 * names)
        draw_counts(figure.subplots(), counts, classes)
        return figure
    columns = min(4, len(classes))
    rows = -(-len(classes) // columns)
    figure = _new_figure(2.6 * columns, 2.6 * rows)
    for index, (name, class_counts) in enumerate(zip(classes, counts, strict=True)):
        axes = figure.add_subplot(rows, columns, index + 1)
        draw_counts(axes, class_counts, ("no", "yes"))
        axes.set_title(literal(name), fontsize=10)
    return figure


def roc_curves(truth: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> "Figure":
    """Draw one ROC curve per class, against all others; of two exclusive classes only the second.

    ``truth`` is 0/1 ``(n, c)``, and ``probabilities`` are ``(n, c)``.
    """
    from sklearn.metrics import auc, roc_curve

    drawn = classes_to_draw(truth)
    figure, axes = _new_square(num_lines=1 + len(drawn))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="chance")
    for index in drawn:
        false_rate, true_rate, _ = roc_curve(truth[:, index], probabilities[:, index])
        label = f"{literal(classes[index])} (area {number(float(auc(false_rate, true_rate)))})"
        axes.plot(false_rate, true_rate, label=label, **line_style(index))
    axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)")
    _add_legend(figure, axes, is_defined=bool(drawn))
    return figure


def precision_recall_curves(
    truth: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> "Figure":
    """Draw one precision-recall curve per class; arguments as for ``roc_curves``."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    drawn = classes_to_draw(truth)
    figure, axes = _new_square(num_lines=len(drawn))
    for index in drawn:
        precision, recall, _ = precision_recall_curve(truth[:, index], probabilities[:, index])
        average = float(average_precision_score(truth[:, index], probabilities[:, index]))
        label = f"{literal(classes[index])} (average precision {number(average)})"
        # steps: straight lines between two thresholds would be too optimistic
        axes.plot(recall, precision, label=label, drawstyle="steps-post", **line_style(index))
    axes.set(xlabel="recall", ylabel="precision")
    _add_legend(figure, axes, is_defined=bool(drawn))
    return figure


def _new_square(num_lines: int) -> "tuple[Figure, Axes]":
    """Return a figure with square axes from 0 to 1, and with room for the legend below them."""
    figure, axes = _new_axes(4.4, 4.3 + 0.22 * num_lines)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    return figure, axes


def _add_legend(figure: "Figure", axes: "Axes", *, is_defined: bool) -> None:
    if is_defined:  # below the axes, where it hides nothing
        figure.legend(frameon=False, fontsize=9, loc="outside lower center", borderpad=0.8)
    else:
        axes.text(0.5, 0.8, "not defined: one class only", ha="center", color="0.4")


def reliability(bins: Sequence[Mapping[str, Any]]) -> "Figure":
    """Draw accuracy against confidence, and the number of examples in each bin below it."""
    from matplotlib.ticker import MaxNLocator

    filled = [row for row in bins if row["n"]]
    figure = _new_figure(4.4, 4.6)
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="perfect calibration")
    confidence, accuracy = ([row[key] for row in filled] for key in ("confidence", "accuracy"))
    upper.plot(confidence, accuracy, color=COLOURS[0], marker="o", label="this model")
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
    upper.legend(frameon=False, loc="upper left")
    edges, counts = [row["low"] for row in bins], [row["n"] for row in bins]
    widths = [row["high"] - row["low"] for row in bins]
    lower.bar(edges, counts, widths, align="edge", color=COLOURS[0], alpha=0.6)
    lower.set(xlabel="confidence (probability of the predicted class)", ylabel="examples")
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    for axes in (upper, lower):
        _hide_frame(axes)
    return figure


def score_over_visible(context: Mapping[str, Any]) -> "Figure":
    """Draw a metric against the number of visible bases, on a logarithmic axis.

    ``context`` is that of ``metrics.json``; None for the visible bp is the whole sequence.
    """
    figure, axes = _new_axes(4.6, 3.5)
    draw_context(axes, context)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center")
    return figure


def piece_effects(
    starts: Sequence[int],
    ends: Sequence[int],
    effects: Sequence[float],
    through_memory: Sequence[float],
) -> "Figure":
    """Draw what each piece of an example adds to a logit, all ``(n,)``; positions are in bp."""
    figure, axes = _new_axes(5.2, 1.9)
    track(starts, effects, ends=ends, record="position", ax=axes)
    if any(through_memory):
        edges = [*starts, ends[-1]]
        style: dict[str, Any] = {"color": "#000000", "linewidth": 1.2, "linestyle": "--"}
        axes.stairs(through_memory, edges, label="through the memory", **style)
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, 1.1 * min(through_memory)), max(high, 1.1 * max(through_memory)))
        figure.legend(frameon=False, fontsize=9, loc="outside upper right")
    axes.set_ylabel("effect on the logit")
    return figure


def predicted_against_true(truth: np.ndarray, predicted: np.ndarray, name: str) -> "Figure":
    """Draw one dot per example; on the diagonal, prediction and truth, both ``(n,)``, are equal."""
    figure, axes = _new_axes(4.4, 4.4)
    both = np.concatenate([truth, predicted])
    ends = float(both.min()), float(both.max())
    axes.plot(ends, ends, color=GREY, linewidth=1)
    dots = axes.scatter(truth, predicted, s=12, color=COLOURS[0], alpha=0.6, linewidths=0)
    dots.set_rasterized(len(truth) > MAX_VECTOR_DOTS)
    axes.set(xlabel=f"true {literal(name)}", ylabel=f"predicted {literal(name)}")
    return figure


def length_histogram(lengths: Groups) -> "Figure":
    """Draw how lengths in bp are distributed, on a logarithmic axis."""
    figure, axes = _new_axes(4.6, 3.4)
    _draw_lengths(axes, lengths)
    _add_legend_of_groups(figure, axes, columns=2)
    return figure


def composition(records: "Mapping[str, Sequence[Composition]]") -> "Figure":
    """Draw length, GC and bases that are read as N of records by class, one panel each."""
    lengths, gc, unknown = {}, {}, {}
    for label, of_label in records.items():
        lengths[label] = [record.length for record in of_label]
        gc[label] = [record.gc for record in of_label if record.gc is not None]
        unknown[label] = [record.n + record.ambiguous / record.length for record in of_label]
    figure = _new_figure(10.5, 3.6)
    first, second, third = figure.subplots(1, 3)
    _draw_lengths(first, lengths)
    _draw_histogram(second, gc, np.linspace(0, 1, 41))
    second.set_xlabel("fraction of G and C in the known bases")
    _draw_histogram(third, unknown, np.linspace(0, 1, 41))
    third.set_xlabel("fraction of unknown bases (read as N)")
    third.set_yscale("symlog", linthresh=1)
    _add_legend_of_groups(figure, first, columns=4)
    return figure


def _add_legend_of_groups(figure: "Figure", axes: "Axes", *, columns: int) -> None:
    handles, names = axes.get_legend_handles_labels()
    if len(names) > 1:
        style: dict[str, Any] = {"frameon": False, "fontsize": 9, "loc": "outside lower center"}
        figure.legend(handles, names, ncols=columns, **style)


def _draw_lengths(axes: "Axes", groups: Groups) -> None:
    lengths = [length for values in groups.values() for length in values]
    low, high = min(lengths, default=1), max(lengths, default=1)
    if low == high:  # widen the range, so that the one bar is visible
        low, high = low * 0.9, high * 1.1
    axes.set_xscale("log")
    bins = min(_MAX_BINS, max(_MIN_BINS, round(len(lengths) ** 0.5)))
    _draw_histogram(axes, groups, np.geomspace(max(low, 0.5), high, bins + 1))
    axes.set(xlabel="length (bp)", ylabel="examples")


def _draw_histogram(axes: "Axes", groups: Groups, edges: np.ndarray) -> None:
    """Draw one outline per group, or of all values if colours do not suffice; one is filled."""
    if len(groups) > len(COLOURS):
        groups = {"all": [value for values in groups.values() for value in values]}
    for index, (name, values) in enumerate(groups.items()):
        counts = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)[0]
        style = LINE_STYLES[index % len(LINE_STYLES)]
        axes.stairs(counts, edges, label=literal(name), color=COLOURS[index], linestyle=style)
        if len(groups) == 1:
            axes.stairs(counts, edges, fill=True, color=COLOURS[index], alpha=0.3)
    _hide_frame(axes)
