"""Text in Markdown: what is in a name or a sentence is shown, never read as markup.

CommonMark with the tables of GitHub, https://github.github.com/gfm; the Hugging Face hub reads
the same.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import jinja2

from rmt_genomics.errors import counted
from rmt_genomics.parsing import readable
from rmt_genomics.reports.formatting import number

_MAX_NAMES = 50
_MARKUP = re.compile(r"[\\`*_\[\]<>|#$~]|&(?=#?\w+;)")  # & only where it begins an entity
_BLOCK_START = re.compile(r"^(?:[-+=]|\d+(?=[.)](?: |$)))")  # a list, a rule, an underlined heading


class Markdown(str):
    """Text that is Markdown already, and is not escaped again."""

    __slots__ = ()


def markdown_environment() -> jinja2.Environment:
    """Return the settings of the templates whose values are escaped for Markdown."""
    environment = template_environment(_displayed, autoescape=False)  # that would be HTML
    environment.filters |= {
        "code": code,
        "code_list": code_list,
        "code_block": code_block,
        "counted": lambda count, word: Markdown(counted(count, word)),
    }
    return environment


def template_environment(finalize: Callable[[Any], Any], *, autoescape: bool) -> jinja2.Environment:
    """Return the settings of all templates; a name that a template misspells is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("rmt_genomics.reports"),
        autoescape=autoescape,
        finalize=finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _displayed(value: Any) -> Any:
    """Return a value as it is shown: numbers formatted, text escaped."""
    if isinstance(value, Markdown | jinja2.Undefined):
        return value
    return escape(value) if isinstance(value, str) else number(value)


def escape(text: str) -> Markdown:
    """Return text on one line, escaped so that it may stand anywhere in a paragraph or table.

    Examples:
        >>> print(escape("--- a_b | <i> &lt; R&D"))
        \\--- a\\_b \\| \\<i\\> \\&lt; R&D
        >>> print(escape("1. one"))
        1\\. one
    """
    line = _MARKUP.sub(lambda found: f"\\{found[0]}", _one_line(text))
    if start := _BLOCK_START.match(line):
        end = start.end()
        line = f"{line[:end]}\\{line[end:]}" if start[0].isdigit() else f"\\{line}"
    return Markdown(line)


def code(text: str) -> Markdown:
    """Return text as inline code, whatever backticks it contains.

    Examples:
        >>> print(code("a`b"))
        `` a`b ``
    """
    line = _one_line(text)
    fence = "`" * (1 + _longest_run("`", line))
    gap = " " if "`" in line else ""
    return Markdown(f"{fence}{gap}{line}{gap}{fence}")


def code_list(names: Sequence[str]) -> Markdown:
    """Return the first names as inline code, and the number of the others."""
    hidden = len(names) - _MAX_NAMES
    others = f" and {number(hidden)} more" if hidden > 0 else ""
    return Markdown(", ".join(map(code, names[:_MAX_NAMES])) + others)


def code_block(text: str, language: str) -> Markdown:
    """Return text as a fenced block, whose fence is longer than any in the text."""
    fence = "`" * max(3, 1 + _longest_run("`", text))
    return Markdown(f"{fence}{language}\n{readable(text)}\n{fence}")


def _one_line(text: str) -> str:
    return " ".join(readable(text).split())


def _longest_run(character: str, text: str) -> int:
    return max(map(len, re.findall(f"{re.escape(character)}+", text)), default=0)
