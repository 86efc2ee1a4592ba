"""One HTML file that needs nothing else: no script, no network, no font of its own.

Text comes in as ``str`` and is escaped here; what has become HTML is ``Html``, so that the type
checker sees where one is taken for the other.
"""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import isfinite
from typing import NewType

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
