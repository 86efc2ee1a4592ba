"""A figure as SVG within a page: text stays text, and black follows the page's own ink.

The same figure gives the same text: no date, no random names.
"""

import io
import re
import warnings
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from rmt_genomics.reports.page import Html, escape, join

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDEST_THAT_SHRINKS = 500  # CSS pixels; a wider figure scrolls, as its letters would get too small
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_REFERENCE = re.compile(r"url\(#([^)]*)\)")


def plot(drawn: "Figure", name: str, caption: str) -> Html:
    """Return a figure with its caption.

    Args:
        drawn: The figure.
        name: Letters and ``-``, used once in the page: ids within the figure begin with it.
        caption: What is seen; screen readers read it instead of the figure.
    """
    root = ElementTree.fromstring(_svg(drawn, name))
    _without_namespaces(root)
    _with_prefix(root, f"{name}-")
    _with_ink_of_the_page(root)
    _sized(root, caption)
    picture = ElementTree.tostring(root, encoding="unicode")
    return Html(
        f'<figure><div class="scroll">{picture}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def side_by_side(*plots: Html | None) -> Html:
    """Return figures next to each other where there is room, else below each other."""
    return Html(f'<div class="plots">\n{join(plots)}\n</div>')


def _svg(drawn: "Figure", name: str) -> str:
    import matplotlib

    text = io.StringIO()
    rc_context = matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"})
    with rc_context, warnings.catch_warnings():
        # the reader's browser draws the letters, so a font that lacks some here is no loss
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        drawn.savefig(text, format="svg", metadata=_NO_METADATA, transparent=True)
    return text.getvalue()


def _without_namespaces(root: ElementTree.Element) -> None:
    """HTML knows SVG by its tag: neither namespaces nor the ``xlink`` prefix are needed."""
    for parent in root.iter():
        parent.tag = parent.tag.partition("}")[2]
        attributes = {key.rpartition("}")[2]: value for key, value in parent.attrib.items()}
        parent.attrib = attributes
        for child in [each for each in parent if each.tag.endswith("}style")]:
            parent.remove(child)  # it would be the style of the whole page; report.css has it


def _with_prefix(root: ElementTree.Element, prefix: str) -> None:
    """Make ids differ from those of other figures."""
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, prefix + value)
            elif key == "href" and value.startswith("#"):
                element.set(key, f"#{prefix}{value[1:]}")
            elif "url(#" in value:
                element.set(key, _REFERENCE.sub(rf"url(#{prefix}\1)", value))


def _with_ink_of_the_page(root: ElementTree.Element) -> None:
    """Draw black as the colour of text, and letters in the reader's own font."""
    for element in root.iter():
        if style := element.get("style"):
            style = re.sub(r"'[^']*', ", "", style)  # named fonts; a generic one ends the list
            element.set("style", style.replace("#000000", "currentColor"))


def _sized(root: ElementTree.Element, caption: str) -> None:
    width = round(float(root.attrib.pop("width").removesuffix("pt")) * 4 / 3)
    del root.attrib["height"]
    if width > _WIDEST_THAT_SHRINKS:
        root.set("style", f"width:{width}px")
    else:
        root.set("style", f"width:{width}px;max-width:100%")
    root.set("class", "plot")
    root.set("role", "img")
    root.set("aria-label", caption)
