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


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure of the page; screen readers read the caption instead of it."""

    svg: Markup
    caption: str


def plot(figure: "Figure", name: str, caption: str) -> Plot:
    """Return a figure as inline SVG; ``name`` is unique in the page, and so are its ids."""
    root = ElementTree.fromstring(_svg(figure, name))
    for element in root.iter():
        _use_page_style(element)
    width = round(float(root.attrib.pop("width").removesuffix("pt")) * 4 / 3)
    del root.attrib["height"]
    shrinks = "" if width > _MAX_SHRINKING_PX else ";max-width:100%"
    root.attrib |= {"style": f"width:{width}px{shrinks}", "class": "plot"}
    root.attrib |= {"role": "img", "aria-label": caption}
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


def _use_page_style(element: ElementTree.Element) -> None:
    """Make an element fit into HTML, with the text colour and the fonts of the page."""
    element.tag = element.tag.partition("}")[2]  # inline SVG needs neither namespaces nor xlink:
    element.attrib = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
    for child in element.findall("{*}style"):
        element.remove(child)  # it would apply to the whole page; report.css has the same rule
    if "_" in element.get("id", ""):
        del element.attrib["id"]  # of a group, such as axes_1; the ids of references are hashes
    if style := element.get("style"):
        style = re.sub(r"'[^']*', ", "", style)  # the generic font ends the list
        element.set("style", style.replace("#000000", "currentColor"))
