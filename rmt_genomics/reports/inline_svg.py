"""Figures as SVG within the page: text stays text, in the font and the colour of the page."""

import io
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_SHRINKING_PX = 500  # a wider figure scrolls: if it shrank, its letters would be too small
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_URL_REFERENCE = re.compile(r"url\(#([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure of the page.

    Args:
        svg: The figure as an SVG element.
        caption: What the figure shows; screen readers read it instead of the figure.
    """

    svg: Markup
    caption: str


def plot(figure: "Figure", name: str, caption: str) -> Plot:
    """Return a figure as inline SVG with its caption.

    Args:
        figure: The figure.
        name: Letters and ``-``, unique in the page: the prefix of all ids within the figure.
        caption: What the figure shows.
    """
    root = ElementTree.fromstring(_svg(figure, name))
    _remove_namespaces(root)
    _prefix_ids(root, f"{name}-")
    _use_page_style(root)
    _set_size(root, caption)
    return Plot(Markup(ElementTree.tostring(root, encoding="unicode")), caption)


def _svg(figure: "Figure", name: str) -> str:
    import matplotlib

    text = io.StringIO()
    rc_context = matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"})
    with rc_context, warnings.catch_warnings():
        # the browser draws the letters with its own fonts, so glyphs missing here do not matter
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        figure.savefig(text, format="svg", metadata=_NO_METADATA, transparent=True)
    return text.getvalue()


def _remove_namespaces(root: ElementTree.Element) -> None:
    """Remove namespaces and the ``xlink`` prefix, which inline SVG does not need in HTML."""
    for parent in root.iter():
        parent.tag = parent.tag.partition("}")[2]
        parent.attrib = {key.rpartition("}")[2]: value for key, value in parent.attrib.items()}
        for child in [child for child in parent if child.tag.endswith("}style")]:
            parent.remove(child)  # it would apply to the whole page; report.css has the same rule


def _prefix_ids(root: ElementTree.Element, prefix: str) -> None:
    """Make ids, and references to them, unique among all figures of a page."""
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, prefix + value)
            elif key == "href" and value.startswith("#"):
                element.set(key, f"#{prefix}{value[1:]}")
            elif "url(#" in value:
                element.set(key, _URL_REFERENCE.sub(rf"url(#{prefix}\1)", value))


def _use_page_style(root: ElementTree.Element) -> None:
    """Replace black by the page's text colour, and named fonts by the generic one."""
    for element in root.iter():
        if style := element.get("style"):
            style = re.sub(r"'[^']*', ", "", style)  # the generic font ends the list
            element.set("style", style.replace("#000000", "currentColor"))


def _set_size(root: ElementTree.Element, caption: str) -> None:
    width = round(float(root.attrib.pop("width").removesuffix("pt")) * 4 / 3)
    del root.attrib["height"]
    if width > _MAX_SHRINKING_PX:
        root.set("style", f"width:{width}px")
    else:
        root.set("style", f"width:{width}px;max-width:100%")
    root.set("class", "plot")
    root.set("role", "img")
    root.set("aria-label", caption)
