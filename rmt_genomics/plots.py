"""Figures of a run, an evaluation or plain arrays; each function returns the axes it drew on.

The source is a run folder (or the folder of an evaluation), a ``metrics.json`` (its path or its
content), or arrays. Without ``ax`` a new figure is made; ``axes.figure.savefig("x.svg")`` saves it.

The colours can be told apart without colour vision, and lines differ in their style as well. What
the report of a run shares with these figures is here, too.

Dimensions: n examples, c classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rmt_genomics.errors import ConfigError, DataError, counted, three_digits
from rmt_genomics.parsing import readable
from rmt_genomics.plot_sources import (
    EVALUATE,
    project,
    read_bedgraph,
    read_confusion,
    read_pairs,
    read_run_epochs,
    read_run_metrics,
    read_scored,
    read_vectors,
    thinned,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "calibration",
    "confusion_matrix",
    "context_curve",
    "embedding_map",
    "length_curve",
    "precision_recall_curve",
    "roc_curve",
    "track",
    "training_curves",
]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_STYLES = ("-", "--", "-.", ":")
GREY = "0.6"
_MARKERS = ("o", "^", "s", "D")
_BLUE = (0.03, 0.32, 0.61)
MAX_COUNTED_CLASSES = 20  # in a matrix of more classes, numbers in cells are too small to read
_MAX_LEGEND = 6  # more lines are named beside the axes, not in them
MAX_VECTOR_DOTS = 2000  # more dots become a bitmap: as shapes they would take megabytes
_MAX_TICKS = 8
_SMALLEST_RANGE = 0.2  # of an axis of scores: less looks like a difference where there is none
_LABELS = {
    "loss": "loss per example",
    "val_mcc": "MCC (1 = perfect, 0 = chance)",
    "val_accuracy": "accuracy",
    "val_auroc": "AUROC",
    "val_r2": "R2 (1 = all variance explained)",
    "val_pearson": "Pearson correlation",
}

Source = str | Path | Mapping[str, Any]


def training_curves(
    source: Source | Iterable[Mapping[str, Any]],
    *,
    metric: str = "loss",
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the training and validation loss, or a metric of the validation part, over epochs.

    Args:
        source: A run folder, its ``metrics.jsonl`` or ``metrics.json``, or rows such as the
            ``history_`` of an ``RMTEstimator``.
        metric: ``loss``, or a metric that was logged: ``mcc``, ``accuracy``, ``auroc``, ``r2``.
        ax: Axes to draw on.
    """
    from matplotlib.ticker import MaxNLocator

    rows, where = read_run_epochs(source)
    if metric == "loss":
        lines = {"train_loss": "train", "val_loss": "validation"}
    else:
        key = metric if any(metric in row for row in rows) else f"val_{metric}"
        lines = {key: "validation"}
    known = sorted({key for row in rows for key in row if row[key] is not None})
    if not lines.keys() & set(known):
        names = ", ".join(name.removeprefix("val_") for name in known if name.startswith("val_"))
        raise ConfigError(f"{where}: there is no metric {metric!r}, but it must be one of {names}.")
    ax = ax or _new_axes(5.0, 3.6)
    values: list[float] = []
    for index, (key, label) in enumerate(lines.items()):
        drawn = [row for row in rows if row.get(key) is not None]
        style = line_style(index if metric == "loss" else 1)
        numbers, column = [row["epoch"] for row in drawn], [row[key] for row in drawn]
        ax.plot(numbers, column, label=label, marker="o", markersize=3, **style)
        values += column
    _mark_best(ax, rows)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    text = _LABELS.get(metric, _LABELS.get(f"val_{metric}", metric.replace("_", " ")))
    ax.set(xlabel="epoch", ylabel=text)
    ax.autoscale(axis="y")  # to all that is drawn, also on axes that share this one
    highest = ax.get_ylim()[1] if metric == "loss" else max([1.0, *values]) + 0.02
    ax.set_ylim(min([0.0, *values]), highest)
    ax.legend(frameon=False, fontsize=9)
    return ax


def _mark_best(ax: "Axes", rows: Sequence[Mapping[str, Any]]) -> None:
    """Mark the epoch whose weights a run keeps: that of the lowest validation loss."""
    validated = [row for row in rows if row.get("val_loss") is not None]
    if validated:
        best = min(validated, key=lambda row: row["val_loss"])["epoch"]
        ax.axvline(best, color=GREY, linewidth=1, linestyle=":", label=f"best (epoch {best})")


def roc_curve(
    source: Any,
    probabilities: Any = None,
    *,
    classes: Sequence[Any] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw one ROC curve per class, against all others; of two exclusive classes the second.

    Args:
        source: A folder with ``predictions.tsv`` (or the path of that, or of the ``metrics.json``
            beside it), or the truth: labels ``(n,)``, or 0 and 1 ``(n, c)``.
        probabilities: With arrays: ``(n, c)``, or ``(n,)`` of the second of two classes.
        classes: With arrays: label names, in the order of the columns; by default sorted.
        ax: Axes to draw on.
    """
    from sklearn.metrics import auc
    from sklearn.metrics import roc_curve as compute

    scored = read_scored(source, probabilities, classes)
    drawn = classes_to_draw(scored.truth)
    ax = ax or _new_square(1 + len(drawn))
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="chance")
    for index in drawn:
        rates = compute(scored.truth[:, index], scored.probabilities[:, index])[:2]
        label = f"{literal(scored.classes[index])} (area {three_digits(float(auc(*rates)))})"
        ax.plot(*rates, label=label, **line_style(index))
    ax.set(xlabel="false positive rate", ylabel="true positive rate (recall)")
    _finish_square(ax, len(drawn))
    return ax


def precision_recall_curve(
    source: Any,
    probabilities: Any = None,
    *,
    classes: Sequence[Any] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw one precision-recall curve per class; arguments as for ``roc_curve``."""
    from sklearn.metrics import average_precision_score
    from sklearn.metrics import precision_recall_curve as compute

    scored = read_scored(source, probabilities, classes)
    drawn = classes_to_draw(scored.truth)
    ax = ax or _new_square(len(drawn))
    for index in drawn:
        pair = scored.truth[:, index], scored.probabilities[:, index]
        precision, recall, _ = compute(*pair)
        average = three_digits(float(average_precision_score(*pair)))
        label = f"{literal(scored.classes[index])} (average precision {average})"
        # steps: straight lines between two thresholds would be too optimistic
        ax.plot(recall, precision, label=label, drawstyle="steps-post", **line_style(index))
    ax.set(xlabel="recall", ylabel="precision")
    _finish_square(ax, len(drawn))
    return ax


def _new_square(num_lines: int) -> "Axes":
    """Return square axes of a new figure, with room for the names of lines."""
    if num_lines > _MAX_LEGEND + 1:
        return _new_axes(7.0, 4.4)
    return _new_axes(4.4, 4.5 + 0.26 * num_lines)


def _finish_square(ax: "Axes", num_lines: int) -> None:
    """Set the limits of axes from 0 to 1, and name the lines."""
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    if not num_lines:
        ax.text(0.5, 0.8, "not defined: one class only", ha="center", color="0.4")
    elif num_lines <= _MAX_LEGEND:
        _legend_below(ax)
    else:
        style: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.0)}
        ax.legend(frameon=False, fontsize=8, ncols=1 + num_lines // 20, **style)


def calibration(
    source: Any,
    probabilities: Any = None,
    *,
    classes: Sequence[Any] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw accuracy against confidence, and behind it the fraction of examples in each bin.

    Args:
        source: A folder, a ``metrics.json`` or its content (then of calibrated probabilities), or
            the truth, as for ``roc_curve``.
        probabilities: With arrays: as for ``roc_curve``.
        classes: With arrays: as for ``roc_curve``.
        ax: Axes to draw on.
    """
    label = "this model"
    if probabilities is None:
        found, where = read_run_metrics(source)
        entry = found.get("calibration") or {}
        bins = entry.get("reliability")
        if not bins:
            raise DataError(f"{where}: has no calibration, but it is to be drawn. {EVALUATE}")
        if isinstance(error := entry.get("ece"), int | float):
            label += f" (calibration error {three_digits(error)})"
    else:
        from rmt_genomics.evaluation.calibration_metrics import reliability

        scored = read_scored(source, probabilities, classes)
        targets = scored.truth if scored.is_multilabel else scored.truth.argmax(axis=1)
        task = "multilabel" if scored.is_multilabel else "multiclass"
        bins = reliability(scored.probabilities, targets, task)
    bins = [row for row in bins if row["n"]]
    ax = ax or _new_square(3)
    total = sum(row["n"] for row in bins)
    edges, widths = [row["low"] for row in bins], [row["high"] - row["low"] for row in bins]
    style: dict[str, Any] = {"align": "edge", "color": "0.88", "edgecolor": "white"}
    shares = [row["n"] / total for row in bins]
    ax.bar(edges, shares, widths, label=f"fraction of {total:,} predictions", **style)
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="perfect calibration")
    x, y = ([row[key] for row in bins] for key in ("confidence", "accuracy"))
    ax.plot(x, y, marker="o", markersize=3, label=label, **line_style(0))
    ax.scatter(x, y, s=[20 + 160 * share for share in shares], color=COLOURS[0], clip_on=False)
    ax.set(xlabel="confidence (probability of the predicted class)", ylabel="accuracy")
    ax.set(xlim=(-0.02, 1.02), ylim=(0, 1.02), aspect="equal")
    _legend_below(ax)
    return ax


def confusion_matrix(
    source: Any,
    predicted: Any = None,
    *,
    classes: Sequence[Any] | None = None,
    label: str | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw counts of true against predicted classes, shaded by the fraction of the true class.

    Args:
        source: A folder, a ``metrics.json`` or its content; a matrix of counts
            ``[truth][predicted]``; or the true labels ``(n,)``.
        predicted: With true labels: the predicted ones ``(n,)``.
        classes: With arrays: label names, in the order of rows; by default sorted.
        label: Which label of a model of several labels per example; it is drawn as yes and no.
        ax: Axes to draw on.
    """
    counts, names = read_confusion(source, predicted, classes)
    if counts.ndim == 3:
        if label not in names:
            raise ConfigError(
                f"label is {label!r}, but a model of several labels has a matrix for each of "
                f"{', '.join(names)}. Pass one of them."
            )
        counts, title = counts[names.index(label)], literal(str(label))
        names = ["no", "yes"]
    elif label is not None:
        raise ConfigError(
            f"label is {label!r}, but is for several labels per example only. Leave it out."
        )
    else:
        title = ""
    if ax is None:
        has_counts = len(names) <= MAX_COUNTED_CLASSES
        size = max(1.8, (0.6 if has_counts else 0.25) * len(names))
        width = 0.9 + 0.085 * max(map(len, names))
        ax = _new_axes(size + width, size + 0.75 * width)
    draw_counts(ax, counts, names)
    ax.set_title(title, fontsize=10)
    return ax


def draw_counts(ax: "Axes", counts: np.ndarray, names: Sequence[str]) -> None:
    """Draw a matrix of counts ``[truth][predicted]``, shaded by the fraction of the truth."""
    from matplotlib.colors import LinearSegmentedColormap

    fractions = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    # from transparent to blue, so that the background may have any colour
    shades = LinearSegmentedColormap.from_list("shades", [(*_BLUE, 0.0), (*_BLUE, 1.0)])
    ax.imshow(fractions, cmap=shades, vmin=0, vmax=1)
    ax.spines[["top", "right"]].set_visible(True)
    ticks, labels = np.arange(len(names)), [literal(name) for name in names]
    ax.set_xticks(ticks, labels, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(ticks, labels)
    ax.tick_params(labelsize=9, length=0)
    ax.set(xlabel="predicted", ylabel="truth")
    if len(names) > MAX_COUNTED_CLASSES:
        return
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9}
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if fractions[row, column] > 0.6 else "black"
        ax.text(column, row, f"{int(count):,}", color=colour, **style)


def length_curve(
    source: Any, scores: Any = None, *, metric: str | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Draw a metric against the length of the examples, on a logarithmic axis.

    Args:
        source: A folder, a ``metrics.json`` or its content, whose bins of length are drawn as
            bars; or lengths in bp ``(n,)``.
        scores: With lengths: the metric at each of them.
        metric: A key of ``metrics.json``; by default the main metric, ``mcc`` or ``r2``.
        ax: Axes to draw on.
    """
    if scores is not None:
        return _draw_scores(source, scores, ax, "length (bp)", metric or "score")
    from rmt_genomics.model.metrics import main_metric, metric_name

    found, where = read_run_metrics(source)
    metric = metric or main_metric(str(found.get("task")))
    rows = [row for row in found.get("length_bins") or () if row.get(metric) is not None]
    if not rows:
        raise DataError(
            f"{where}: has no {metric} of examples of similar length, but it is to be drawn. "
            f"{EVALUATE}"
        )
    ax = ax or _new_axes(5.0, 3.6)
    lows, highs, values = (
        np.array([row[key] for row in rows], dtype=float) for key in ("low_bp", "high_bp", metric)
    )
    middles = np.sqrt(np.maximum(lows, 1) * highs)
    ax.hlines(values, np.maximum(lows, 1), highs, color=COLOURS[0], linewidth=2)
    ax.plot(middles, values, color=COLOURS[0], marker="o", linewidth=1, linestyle=":")
    for row, middle, value in zip(rows, middles, values, strict=True):
        place: dict[str, Any] = {"xytext": (0, 7), "textcoords": "offset points"}
        ax.annotate(f"n = {row['n']:,}", (middle, value), ha="center", fontsize=8, **place)
    _finish_lengths(ax, [*lows, highs[-1]], values.tolist())
    ax.set(xlabel="length of the examples (bp)", ylabel=metric_name(metric))
    return ax


def context_curve(source: Any, scores: Any = None, *, ax: "Axes | None" = None) -> "Axes":
    """Draw a metric against the number of visible bases, and with the memory reset.

    Args:
        source: A folder, a ``metrics.json``, its content, or the entry ``context`` of that; or
            numbers of visible bp ``(n,)``.
        scores: With numbers of bp: the metric at each of them.
        ax: Axes to draw on.
    """
    if scores is not None:
        return _draw_scores(source, scores, ax, "visible bases (bp)", "score")
    found, where = read_run_metrics(source)
    context = found if "visible" in found else found.get("context")
    if not context:
        raise DataError(
            f"{where}: has no context ablation, but it is to be drawn. It is measured if examples "
            "are longer than one segment."
        )
    ax = ax or _new_axes(5.0, 3.6)
    draw_context(ax, context)
    ax.legend(frameon=False, fontsize=9, loc="best")
    return ax


def draw_context(ax: "Axes", context: Mapping[str, Any]) -> None:
    """Draw the entry ``context`` of ``metrics.json``; None for the visible bp is all of them."""
    from rmt_genomics.model.metrics import metric_name  # loads torch

    metric = context["metric"]
    reset = context["memory_reset"].get(metric)
    rows = [row for row in context["visible"] if row.get(metric) is not None]
    shortened = [row for row in rows if row.get("bp") is not None]
    shortened.sort(key=lambda row: int(row["bp"]))
    whole = [row[metric] for row in rows if row.get("bp") is None]
    ax.set_xscale("log", base=2)
    ticks = [row["bp"] for row in shortened]
    labels = [short_length(length_bp) for length_bp in ticks]
    if whole:
        ax.axhline(whole[0], color=COLOURS[0], linestyle=":", linewidth=1)
        ticks.append(2 * max(ticks, default=1))
        labels.append("all")
    scores = [row[metric] for row in shortened] + whole[:1]
    ax.plot(ticks, scores, color=COLOURS[0], marker="o", label="only these bases visible")
    if reset is not None:
        ax.axhline(reset, color=COLOURS[1], linestyle="--", label="memory reset at prediction")
    ax.set(xlabel="visible bases (bp)", ylabel=metric_name(metric))
    if drawn := [*scores, *([] if reset is None else [reset])]:
        ax.set_ylim(*score_limits(drawn))
    ax.set_xticks(ticks, labels, fontsize=9)
    ax.minorticks_off()


def embedding_map(
    source: Any, labels: Any = None, *, method: str = "pca", ax: "Axes | None" = None
) -> "Axes":
    """Draw vectors in two dimensions, coloured by label or by a number.

    Args:
        source: Vectors ``(n, features)``, such as those of ``RMTClassifier.embed``; or a file of
            ``rmt-genomics embed``.
        labels: A label, or a number with decimals, for each vector ``(n,)``.
        method: ``pca``, the two directions of most variance; or ``umap``, neighbourhoods, which
            needs the package umap-learn.
        ax: Axes to draw on.
    """
    vectors = read_vectors(source)
    if labels is not None and len(labels) != len(vectors):
        raise DataError(
            f"there are {counted(len(labels), 'label')} for {counted(len(vectors), 'vector')}, but "
            "one is needed for each."
        )
    points, names = project(vectors, method)
    ax = ax or _new_axes(5.4, 4.2)
    values = None if labels is None else np.asarray(labels)
    style: dict[str, Any] = {"s": 16, "linewidths": 0, "alpha": 0.8}
    style["rasterized"] = len(points) > MAX_VECTOR_DOTS
    if values is None:
        ax.scatter(*points.T, color=COLOURS[0], **style)
    elif np.issubdtype(values.dtype, np.floating):
        dots = ax.scatter(points[:, 0], points[:, 1], c=values, cmap="viridis", **style)
        ax.figure.colorbar(dots, ax=ax, shrink=0.8)
    else:
        values = values if values.dtype.kind in "iub" else values.astype(str)
        classes = np.unique(values)
        for index, name in enumerate(classes):
            marker = _MARKERS[index // len(COLOURS) % len(_MARKERS)]
            style |= {"color": COLOURS[index % len(COLOURS)], "marker": marker}
            ax.scatter(*points[values == name].T, label=literal(str(name)), **style)
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
        ax.legend(frameon=False, fontsize=9, markerscale=1.5, ncols=1 + len(classes) // 20, **place)
    ax.set(xlabel=names[0], ylabel=names[1])
    ax.locator_params(nbins=5)
    return ax


def track(
    source: Any,
    values: Any = None,
    *,
    ends: Any = None,
    record: str | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw values along a record, such as probabilities of windows or attributions of bases.

    Of more values than a figure can show, the one that differs most from 0 is drawn in each of
    5,000 bins. Negative values have another colour.

    Args:
        source: A bedGraph file, as ``predict --format bedgraph`` or ``explain`` write it; or the
            0-based starts ``(n,)`` of the intervals.
        values: With starts: the value of each interval.
        ends: With starts: the ends, not included; by default each interval ends where the next one
            starts, and has the length of the one before it at the end.
        record: Which record of the file, if it has several.
        ax: Axes to draw on.
    """
    if values is None:
        starts, stops, heights, name = read_bedgraph(source, record)
    else:
        starts, heights = read_pairs(source, values)
        name = record or "record"
        steps = np.diff(starts)
        if ends is None:
            last = starts[-1] + (steps[-1] if len(steps) else 1)
            stops = np.append(starts[1:], last)
        else:
            stops = np.asarray(ends, dtype=float)
        if stops.shape != starts.shape or (steps <= 0).any() or (stops <= starts).any():
            raise DataError(
                "the intervals of the track are not sorted, or an end is not after its start, but "
                "they must be. Pass starts in their order."
            )
    starts, stops, heights = thinned(starts, stops, heights)
    ax = ax or _new_axes(8.0, 2.2)
    _draw_steps(ax, starts, stops, heights)
    unit, size = ("Mb", 1e6) if stops[-1] >= 2e6 else ("kb", 1e3) if stops[-1] >= 2e3 else ("bp", 1)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value / size:g}")
    ax.set(xlabel=f"{literal(name)} ({unit})", ylabel="value", xlim=(starts[0], stops[-1]))
    return ax


def _draw_steps(ax: "Axes", starts: np.ndarray, stops: np.ndarray, heights: np.ndarray) -> None:
    """Fill from 0 to the value of each interval; between intervals there is nothing."""
    is_gap = np.append(starts[1:] > stops[:-1], [False])
    # each interval is a start, an end, and a point that is not drawn where a gap follows
    x = np.column_stack([starts, stops, stops]).ravel()
    y = np.column_stack([heights, heights, np.where(is_gap, np.nan, heights)]).ravel()
    for colour, part in ((COLOURS[0], np.maximum(y, 0)), (COLOURS[1], np.minimum(y, 0))):
        if np.nanmax(np.abs(part), initial=0) > 0:
            ax.fill_between(x, part, color=colour, linewidth=0, alpha=0.75)
    ax.axhline(0, color=GREY, linewidth=0.8)
    low, high = float(np.nanmin(y, initial=0)), float(np.nanmax(y, initial=0))
    margin = 0.05 * (high - low) or 1.0
    ax.set_ylim(low - margin * (low < 0), high + margin * (high > 0 or low == 0))


def _draw_scores(lengths: Any, scores: Any, ax: "Axes | None", below: str, beside: str) -> "Axes":
    """Draw scores at lengths in bp."""
    lengths, values = read_pairs(lengths, scores)
    ax = ax or _new_axes(5.0, 3.6)
    ax.plot(lengths, values, marker="o", **line_style(0))
    _finish_lengths(ax, lengths, values.tolist())
    ax.set(xlabel=below, ylabel=beside)
    return ax


def _finish_lengths(ax: "Axes", lengths: Sequence[float] | np.ndarray, scores: list[float]) -> None:
    """Set a logarithmic axis with ticks at lengths in bp, and the limits of scores."""
    ticks = np.unique(np.maximum(lengths, 1.0))
    low, high = ticks[0], ticks[-1]
    if len(ticks) > _MAX_TICKS:
        ticks = np.geomspace(low, high, _MAX_TICKS)
    ax.set_xscale("log")
    ax.set_xticks(ticks, [short_length(round(tick)) for tick in ticks], fontsize=9)
    ax.minorticks_off()
    ax.set_xlim(0.8 * low, 1.25 * high)
    ax.set_ylim(*score_limits(scores))


def score_limits(scores: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis for scores of at most 1, so that small differences look small.

    Examples:
        >>> [round(end, 3) for end in score_limits([0.98, 1.0])]
        [0.79, 1.01]
    """
    low, high = min(scores), max(scores)
    missing = max(0.0, _SMALLEST_RANGE - (high - low))
    low, high = low - missing / 2, high + missing / 2
    above = max(0.0, high - 1)  # no score is there
    margin = 0.05 * (high - low)
    return low - above - margin, high - above + margin


def short_length(length_bp: int) -> str:
    """Write a length with two digits and its unit.

    Examples:
        >>> [short_length(length) for length in (512, 1024, 4096, 131072, 1048576)]
        ['512', '1 kb', '4.1 kb', '131 kb', '1 Mb']
    """
    for size, unit in ((1_000_000, "Mb"), (1000, "kb")):
        if length_bp >= size:
            digits = ".0f" if length_bp >= 10 * size else ".2g"
            return f"{length_bp / size:{digits}} {unit}"
    return str(length_bp)


def literal(name: str) -> str:
    r"""Return a name that matplotlib shows unchanged.

    A pair of $ would be a formula, and a legend leaves out names that begin with _.

    Examples:
        >>> literal("US$ to $")
        'US\\$ to \\$'
    """
    escaped = readable(name).replace("$", r"\$")
    return f"\u200b{escaped}" if escaped.startswith("_") else escaped


def classes_to_draw(truth: np.ndarray) -> list[int]:
    """Return the classes with positive and negative examples; of two exclusive ones the second."""
    defined = [index for index in range(truth.shape[1]) if 0 < truth[:, index].sum() < len(truth)]
    is_binary = truth.shape[1] == 2 and bool((truth.sum(axis=1) == 1).all())
    return [index for index in defined if index == 1] if is_binary else defined


def line_style(index: int) -> dict[str, Any]:
    """Return colour, style and width of a line."""
    colour = COLOURS[index % len(COLOURS)]
    return {"color": colour, "linestyle": LINE_STYLES[index % len(LINE_STYLES)], "linewidth": 2}


def _legend_below(ax: "Axes") -> None:
    """Name the lines below the axes, where the names hide nothing."""
    ax.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def _new_axes(width: float, height: float) -> "Axes":
    """Return axes of a new figure, in inches, without the upper and the right line."""
    from matplotlib import pyplot as plt

    _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    return ax
