"""All settings with their defaults and meaning, as a TOML file to begin with.

The words are those that stand in the code: the text under each field, and the rule of its type.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, fields

import tomli_w

from rmt_genomics.training import config as settings
from rmt_genomics.training.config_file import SECTIONS
from rmt_genomics.training.presets import PRESETS
from rmt_genomics.training.rules import in_words

_WIDTH = 90


def template() -> str:
    """Write every setting with its default below what it means; read, it gives the defaults."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    sizes = asdict(PRESETS[settings.ModelSettings().preset])
    meanings = _meanings()
    for section, kind in SECTIONS.items():
        yield f"[{section}]"
        rules = in_words(kind)
        for field in fields(kind):
            is_open = field.default is None
            value = sizes[field.name] if is_open else field.default
            rule = rules[field.name] + (" (left out: by the preset)" if is_open else "")
            yield from _comment(meanings[kind.__name__][field.name])
            yield from _comment(f"May be {rule}.")
            yield ("# " if is_open else "") + tomli_w.dumps({field.name: value})


def _comment(text: str) -> list[str]:
    plain = " ".join(text.replace("``", "").split())
    return textwrap.wrap(
        plain, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _meanings() -> dict[str, dict[str, str]]:
    """Return the text under each field of each class, which Python itself forgets."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(settings)).body:
        if isinstance(node, ast.ClassDef):
            of_class = found.setdefault(node.name, {})
            for field, below in zip(node.body, node.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                    of_class[ast.unparse(field.target)] = ast.literal_eval(below.value)
    return found
