"""Draw what data are like before anything is learned from them: lengths, GC, unknown bases."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rmt_genomics.reports.look import COLOURS, STYLES, literal, new_figure, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
