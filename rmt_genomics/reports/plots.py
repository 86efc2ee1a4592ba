"""Draw how good a classifier is, with matplotlib, without a window and without global state.

Dimensions: n examples, c classes.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure


COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")
GREY = "0.6"


def new_figure(width: float, height: float) -> "Figure":
    """Return a figure in inches that lays itself out."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def without_frame(axes: "Axes") -> None:
    """Leave the left and the lower axis."""
    axes.spines[["top", "right"]].set_visible(False)


def literal(name: str) -> str:
    r"""Return a name that matplotlib shows as it stands.

    A pair of $ would be a formula, and a legend leaves out what begins with _.

    Examples:
        >>> literal("US$ to $")
        'US\\$ to \\$'
    """
    shown = name.replace("$", r"\$")
    return f"\u200b{shown}" if shown.startswith("_") else shown


Kinds = Mapping[str, Sequence[int | float]]

_MOST_KINDS = len(COLOURS)
_MOST_BINS, _FEWEST_BINS = 30, 6


def length_histogram(lengths: Kinds) -> "Figure":
    """Draw how many examples there are of each length, on a logarithmic axis.

    Args:
        lengths: Lengths in bp, by class or part; beyond seven, all are drawn as one.
    """
    figure = new_figure(4.6, 3.4)
    axes = figure.subplots()
    _draw_lengths(axes, _few(lengths))
    if len(_few(lengths)) > 1:
        figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
    return figure


def composition(lengths: Kinds, gc: Kinds, unknown: Kinds) -> "Figure":
    """Draw length, GC and unknown bases of records, one panel each.

    Args:
        lengths: Lengths in bp, by class.
        gc: Shares of G and C, by class.
        unknown: Shares of letters that the model reads as N, by class.
    """
    figure = new_figure(10.5, 3.6)
    first, second, third = figure.subplots(1, 3)
    _draw_lengths(first, _few(lengths))
    _draw(second, _few(gc), np.linspace(0, 1, 41))
    second.set_xlabel("share of G and C in the known bases")
    _draw(third, _few(unknown), np.linspace(0, 1, 41))
    third.set_xlabel("share of unknown bases (read as N)")
    third.set_yscale("symlog", linthresh=1)
    first.set_ylabel("examples")
    if len(_few(lengths)) > 1:
        handles, names = first.get_legend_handles_labels()
        figure.legend(handles, names, frameon=False, loc="outside lower center", ncols=4)
    return figure


def _few(kinds: Kinds) -> Kinds:
    """Return the kinds if they can be told apart, else all as one."""
    if len(kinds) <= _MOST_KINDS:
        return kinds
    return {"all": [value for values in kinds.values() for value in values]}


def _draw_lengths(axes: "Axes", kinds: Kinds) -> None:
    everything = [value for values in kinds.values() for value in values]
    low, high = min(everything, default=1), max(everything, default=1)
    if low == high:  # one bar that can be seen
        low, high = low * 0.9, high * 1.1
    axes.set_xscale("log")
    bins = min(_MOST_BINS, max(_FEWEST_BINS, round(len(everything) ** 0.5)))
    _draw(axes, kinds, np.geomspace(max(low, 0.5), high, bins + 1))
    axes.set(xlabel="length (bp)", ylabel="examples")


def _draw(axes: "Axes", kinds: Kinds, edges: np.ndarray) -> None:
    """Draw one outline a kind."""
    for place, (name, values) in enumerate(kinds.items()):
        counts = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)[0]
        look = COLOURS[place], STYLES[place % len(STYLES)]
        axes.stairs(counts, edges, label=literal(name), color=look[0], linestyle=look[1])
        if len(kinds) == 1:
            axes.stairs(counts, edges, fill=True, color=look[0], alpha=0.3)
    without_frame(axes)


_MOST_DOTS = 2000  # beyond, dots become one picture: as shapes they would make a page of megabytes
_ALL = "all"


def reliability(bins: Sequence[Mapping[str, Any]]) -> "Figure":
    """Draw how often answers of some confidence are right, and how many there are.

    Args:
        bins: ``low``, ``high``, ``n``, ``confidence`` and ``accuracy`` (means) of each.
    """
    full = [each for each in bins if each["n"] and each["accuracy"] is not None]
    figure = new_figure(4.4, 4.6)
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="as it should be")
    confidence, accuracy = ([each[key] for each in full] for key in ("confidence", "accuracy"))
    upper.plot(confidence, accuracy, color=COLOURS[0], marker="o", label="this model")
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that is right")
    upper.legend(frameon=False, loc="upper left")
    edges, counts = [each["low"] for each in bins], [each["n"] for each in bins]
    widths = [each["high"] - each["low"] for each in bins]
    lower.bar(edges, counts, widths, align="edge", color=COLOURS[0], alpha=0.6)
    lower.set(xlabel="confidence (probability of the answer)", ylabel="examples")
    _whole_numbers(lower)
    for axes in (upper, lower):
        without_frame(axes)
    return figure


def score_over_visible(
    visible: Sequence[Mapping[str, Any]], reset: int | float | None, metric: str, name: str
) -> "Figure":
    """Draw a metric against the bases that the model was shown, on a logarithmic axis.

    Args:
        visible: ``bp`` (None = everything) and the metrics of each length.
        reset: The metric with the memory emptied at every segment; None = not known.
        metric: Key of the metric.
        name: What it is called.
    """
    rows = [row for row in visible if row.get(metric) is not None]
    cut = sorted((row for row in rows if row["bp"] is not None), key=lambda row: row["bp"])
    whole = [row[metric] for row in rows if row["bp"] is None]
    figure = new_figure(4.6, 3.5)
    axes = figure.subplots()
    places = [row["bp"] for row in cut]
    end = 2 * max(places, default=1)
    axes.set_xscale("log", base=2)
    if whole:
        axes.axhline(whole[0], color=COLOURS[0], linestyle=":", linewidth=1)
        places = [*places, end]
    scores = [row[metric] for row in cut] + whole[:1]
    axes.plot(places, scores, color=COLOURS[0], marker="o", label="this many bases in view")
    if reset is not None:
        axes.axhline(reset, color=COLOURS[1], linestyle="--", label="memory emptied each segment")
    axes.set(xlabel="bases in view (bp)", ylabel=name)
    labels = [_short(row["bp"]) for row in cut] + [_ALL] * bool(whole)
    axes.set_xticks(places, labels, fontsize=9)
    axes.minorticks_off()
    without_frame(axes)
    figure.legend(frameon=False, fontsize=9, loc="outside lower center")
    return figure


def predicted_against_true(truth: np.ndarray, predicted: np.ndarray, name: str) -> "Figure":
    """Draw a dot an example; on the line, truth and prediction are the same.

    Args:
        truth: ``(n,)``.
        predicted: ``(n,)``.
        name: What is predicted.
    """
    figure = new_figure(4.4, 4.4)
    axes = figure.subplots()
    both = np.concatenate([truth, predicted])
    ends = (float(both.min()), float(both.max())) if len(both) else (0.0, 1.0)
    axes.plot(ends, ends, color=GREY, linewidth=1)
    axes.scatter(
        truth,
        predicted,
        s=12,
        color=COLOURS[0],
        alpha=0.6,
        linewidths=0,
        rasterized=len(truth) > _MOST_DOTS,
    )
    axes.set(xlabel=f"true {literal(name)}", ylabel=f"predicted {literal(name)}")
    without_frame(axes)
    return figure


def _short(length_bp: int) -> str:
    """Write a length in two digits, with its unit.

    Examples:
        >>> [_short(each) for each in (512, 1024, 4096, 131072, 1048576)]
        ['512', '1 kb', '4.1 kb', '131 kb', '1 Mb']
    """
    for size, unit in ((1_000_000, "Mb"), (1000, "kb")):
        if length_bp >= size:
            digits = ".0f" if length_bp >= 10 * size else ".2g"
            return f"{length_bp / size:{digits}} {unit}"
    return str(length_bp)


def _whole_numbers(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))


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


Epochs = Sequence[Mapping[str, Any]]

SCORES = {
    "val_mcc": "MCC (1 = all right, 0 = chance)",
    "val_pearson": "Pearson correlation",
    "val_spearman": "Spearman correlation",
    "val_r2": "R2 (1 = all explained)",
}
"""Columns of ``metrics.jsonl`` that may be drawn, best first, and what they are called."""


def training_curve(epochs: Epochs) -> "Figure":
    """Draw loss and score over epochs, side by side.

    Args:
        epochs: One dictionary an epoch, as in ``metrics.jsonl``.
    """
    figure = new_figure(8.0, 3.6)
    loss, score = figure.subplots(1, 2)
    _draw_loss(loss, epochs)
    _draw_score(score, epochs)
    return figure


def loss_curve(epochs: Epochs) -> "Figure":
    """Draw the loss alone; arguments as for ``training_curve``."""
    figure = new_figure(4.4, 3.3)
    _draw_loss(figure.subplots(), epochs)
    return figure


def score_curve(epochs: Epochs) -> "Figure":
    """Draw the score alone; arguments as for ``training_curve``."""
    figure = new_figure(4.4, 3.3)
    _draw_score(figure.subplots(), epochs)
    return figure


def _draw_loss(axes: "Axes", epochs: Epochs) -> None:
    for place, (key, name) in enumerate([("train_loss", "train"), ("val_loss", "validation")]):
        _draw_over_epochs(axes, epochs, key, place=place, label=name)
    low = min([0.0, *_values(epochs, "train_loss"), *_values(epochs, "val_loss")])
    axes.set(xlabel="epoch", ylabel=f"loss ({_unit(epochs)}an example)", ylim=(low, None))
    axes.legend(frameon=False)


def _draw_score(axes: "Axes", epochs: Epochs) -> None:
    key = score_of(epochs)
    _draw_over_epochs(axes, epochs, key, place=1, label="validation")
    low = min([0.0, *_values(epochs, key)])
    axes.set(xlabel="epoch", ylabel=SCORES[key])
    axes.set_ylim(min(-0.02, low - 0.05), 1.02)
    axes.legend(frameon=False, loc="lower right")


def score_of(epochs: Epochs) -> str:
    """Return the column of the best score that a run has; MCC if it has none of them."""
    return next((key for key in SCORES if any(key in row for row in epochs)), "val_mcc")


def _unit(epochs: Epochs) -> str:
    """The loss of a classifier is in nats; that of a regression has no name of its own."""
    return "nats " if score_of(epochs) == "val_mcc" else ""


def _values(epochs: Epochs, key: str) -> list[int | float]:
    return [row[key] for row in epochs if row.get(key) is not None]


def _draw_over_epochs(axes: "Axes", epochs: Epochs, key: str, *, place: int, label: str) -> None:
    """Draw one column of the metrics; epochs without a value are left out."""
    from matplotlib.ticker import MaxNLocator

    rows = [row for row in epochs if row.get(key) is not None]
    style: dict[str, Any] = {
        "color": COLOURS[place],
        "linestyle": STYLES[place],
        "marker": "o",
        "markersize": 3,
    }
    axes.plot([row["epoch"] for row in rows], [row[key] for row in rows], label=label, **style)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    without_frame(axes)
