"""Draw how training went: loss and score over epochs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rmt_genomics.reports.look import COLOURS, STYLES, new_figure, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
