"""Building blocks of a self-contained HTML page: no script, no network, no web font.

Text is ``str`` and is escaped here; markup is ``Html``, so that the type checker finds text that
was not escaped.
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

MISSING = "-"
"""The table cell of a missing value."""

_CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_FORBIDDEN_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_MAX_SHRINKING_PX = 500  # a wider figure scrolls: if it shrank, its letters would be too small
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_URL_REFERENCE = re.compile(r"url\(#([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page with a heading that can be linked to.

    Args:
        anchor: Its id: lower-case letters.
        title: The heading.
        body: Everything below the heading.
    """

    anchor: str
    title: str
    body: Html


def page(title: str, sections: Sequence[Section]) -> str:
    """Return the whole file: a table of contents, then the sections."""
    style = files("rmt_genomics.reports").joinpath("report.css").read_text(encoding="utf-8")
    links = "".join(f'<a href="#{part.anchor}">{escape(part.title)}</a>' for part in sections)
    body = "\n".join(
        f'<section id="{part.anchor}">\n<h2>{escape(part.title)}</h2>\n{part.body}\n</section>'
        for part in sections
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_CONTENT_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>
{style}</style>
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
    """Return text as HTML; characters that are not allowed in HTML become U+FFFD."""
    return Html(html.escape(_FORBIDDEN_CHARACTERS.sub("\ufffd", text)))


def join(parts: Iterable[Html | None]) -> Html:
    """Put parts below each other; None is skipped."""
    return Html("\n".join(part for part in parts if part))


def paragraph(text: str, kind: str = "") -> Html:
    """Return a paragraph; ``kind`` is a class of ``report.css``, such as ``warn``."""
    return Html(f"<p{_class(kind)}>{escape(text)}</p>")


def bullets(texts: Sequence[str], kind: str = "") -> Html | None:
    """Return a list; None if there are no items."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return Html(f"<ul{_class(kind)}>{items}</ul>") if texts else None


def subheading(text: str) -> Html:
    """Return a heading within a section."""
    return Html(f"<h3>{escape(text)}</h3>")


def folded(title: str, text: str) -> Html:
    """Return preformatted text, hidden until its title is clicked."""
    return Html(
        f"<details><summary>{escape(title)}</summary>"
        f'<div class="scroll"><pre>{escape(text)}</pre></div></details>'
    )


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Html:
    """Return a table in a box with its own scroll bar.

    Numbers are plain (no thousands separators), so that they copy into a spreadsheet.

    Args:
        header: Names of the columns.
        rows: The cells of each row; the first one is the name of the row.
    """
    rows = [list(row) for row in rows]
    head = ""
    for index, name in enumerate(header):
        kind = "" if any(_is_text(row[index]) for row in rows) else "number"
        head += f'<th scope="col"{_class(kind)}>{escape(name)}</th>'
    body = "\n".join(_row(row) for row in rows)
    return Html(
        '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def number(value: Cell) -> str:
    """Write a value with about four digits.

    Examples:
        >>> [number(value) for value in (None, 3, 0.123456, 12345.678, 2.5e-05, True, "text")]
        ['-', '3', '0.1235', '12346', '2.5e-05', 'yes', 'text']
    """
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int):
        return str(value)
    if not isfinite(value):
        return MISSING
    size = abs(value)
    if 0 < size < 0.001:
        return f"{value:.3g}"
    return f"{value:.4f}" if size < 10 else f"{value:.2f}" if size < 1000 else f"{value:.0f}"


def _row(cells: Sequence[Cell]) -> str:
    row = f'<th scope="row">{escape(number(cells[0]))}</th>'
    for value in cells[1:]:
        kind = "" if _is_text(value) else "number"
        row += f"<td{_class(kind)}>{escape(number(value))}</td>"
    return f"<tr>{row}</tr>"


def _is_text(value: Cell) -> bool:
    return isinstance(value, str) and value != ""


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def plot(figure: "Figure", name: str, caption: str) -> Html:
    """Return a figure as inline SVG with its caption.

    Args:
        figure: The figure.
        name: Letters and ``-``, unique in the page: the prefix of all ids within the figure.
        caption: What the figure shows; screen readers read it instead of the figure.
    """
    root = ElementTree.fromstring(_svg(figure, name))
    _remove_namespaces(root)
    _prefix_ids(root, f"{name}-")
    _use_page_style(root)
    _set_size(root, caption)
    svg = ElementTree.tostring(root, encoding="unicode")
    return Html(
        f'<figure><div class="scroll">{svg}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def side_by_side(*plots: Html | None) -> Html:
    """Return figures next to each other where there is room, else below each other."""
    return Html(f'<div class="plots">\n{join(plots)}\n</div>')


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
