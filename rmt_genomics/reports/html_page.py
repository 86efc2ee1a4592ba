"""One HTML file that needs nothing else: no script, no network, no font of its own.

Text comes in as ``str`` and is escaped here; what has become HTML is ``Html``, so that the type
checker sees where one is taken for the other.
"""

import html
import io
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import isfinite
from typing import TYPE_CHECKING, NewType
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Html = NewType("Html", str)
Cell = str | int | float | bool | None

NOTHING = "-"
"""What stands in a table where there is no value."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page with a heading that can be linked to."""

    anchor: str
    """Its id: lower-case letters."""

    title: str

    body: Html


def page(title: str, sections: Sequence[Section]) -> str:
    """Return the whole file: a table of contents, then the sections."""
    links = "".join(f'<a href="#{each.anchor}">{escape(each.title)}</a>' for each in sections)
    body = "\n".join(
        f'<section id="{each.anchor}">\n<h2>{escape(each.title)}</h2>\n{each.body}\n</section>'
        for each in sections
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>
{_style()}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<nav aria-label="Contents">{links}</nav>
</header>
<main>
{body}
</main>
</body>
</html>
"""


def escape(text: str) -> Html:
    """Return text as HTML; characters that no HTML file may hold become U+FFFD."""
    return Html(html.escape(_NO_TEXT.sub("\ufffd", text)))


def join(parts: Iterable[Html | None]) -> Html:
    """Put parts below each other; None is left out."""
    return Html("\n".join(part for part in parts if part))


def paragraph(text: str, kind: str = "") -> Html:
    """Return a paragraph; ``kind`` is one of the looks in ``report.css``, such as ``note``."""
    return Html(f"<p{_class(kind)}>{escape(text)}</p>")


def bullets(texts: Sequence[str], kind: str = "") -> Html | None:
    """Return a list, or nothing if there is nothing to list."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return Html(f"<ul{_class(kind)}>{items}</ul>") if texts else None


def subheading(text: str) -> Html:
    """Return a heading within a section."""
    return Html(f"<h3>{escape(text)}</h3>")


def folded(title: str, text: str) -> Html:
    """Return a text as it stands, hidden until it is asked for."""
    return Html(
        f"<details><summary>{escape(title)}</summary>"
        f'<div class="scroll"><pre>{escape(text)}</pre></div></details>'
    )


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Html:
    """Return a table in a box that scrolls by itself.

    Numbers are plain (no thousands separators), so that they copy into a spreadsheet.

    Args:
        header: Names of the columns.
        rows: One sequence a row; its first cell is the name of the row.
    """
    rows = [list(row) for row in rows]
    head = "".join(_head(name, [row[place] for row in rows]) for place, name in enumerate(header))
    body = "\n".join(_row(row) for row in rows)
    return Html(
        '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def number(value: Cell) -> str:
    """Write a value with about four digits.

    Examples:
        >>> [number(each) for each in (None, 3, 0.123456, 12345.678, 2.5e-05, True, "as it is")]
        ['-', '3', '0.1235', '12346', '2.5e-05', 'yes', 'as it is']
    """
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int):
        return str(value)
    if not isfinite(value):
        return NOTHING
    size = abs(value)
    if 0 < size < 0.001:
        return f"{value:.3g}"
    return f"{value:.4f}" if size < 10 else f"{value:.2f}" if size < 1000 else f"{value:.0f}"


def _head(name: str, column: Sequence[Cell]) -> str:
    """The name stands over the numbers, or over the beginning of the text."""
    kind = "" if any(map(_is_text, column)) else "number"
    return f'<th scope="col"{_class(kind)}>{escape(name)}</th>'


def _row(cells: Sequence[Cell]) -> str:
    first, *others = cells
    name = f'<th scope="row">{escape(number(first))}</th>'
    return f"<tr>{name}{''.join(map(_cell, others))}</tr>"


def _cell(value: Cell) -> str:
    kind = "" if _is_text(value) else "number"
    return f"<td{_class(kind)}>{escape(number(value))}</td>"


def _is_text(value: Cell) -> bool:
    return isinstance(value, str) and value != ""


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _style() -> str:
    return files("rmt_genomics.reports").joinpath("report.css").read_text(encoding="utf-8")


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
