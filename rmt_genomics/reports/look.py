"""What all figures have in common: size, colours, names that are shown as they stand.

Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart; curves differ
in line style too.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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
