"""Draw what a number hides: trust in probabilities, use of context, errors of a regression.

Dimensions: n examples.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rmt_genomics.reports.look import COLOURS, GREY, literal, new_figure, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
