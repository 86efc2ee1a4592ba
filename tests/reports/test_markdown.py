"""Markdown: names and sentences come out of a renderer as they went in."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from rmt_genomics.reports.markdown import code, code_block, code_list, escape, markdown_environment

HOSTILE = ["a|b", "---", "# x", "{{7*7}}", "<script>alert(1)</script>", '"', ": ", "one\ntwo"]
HOSTILE += ["- x", "+ x", "1. x", "2) x", "> x", "===", "~~~", "```", "`a`", "*a*", "_a_", "[a](b)"]
HOSTILE += ["![a](b)", "&lt;", "&#35;", "\\", "a\\", "$x$", "<!-- x -->", "a\x00b", "=", "* * *"]


def rendered(text: str) -> list[Token]:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


def shown(tokens: list[Token]) -> str:
    """The text of all tokens, where a renderer shows it as text."""
    inline = [child for token in tokens for child in (token.children or [])]
    assert {child.type for child in inline} <= {"text", "text_special"}, inline
    return "".join(child.content for child in inline)


def as_read(text: str) -> str:
    readable = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]", "\ufffd", text)
    return " ".join(readable.split())


@given(st.text(min_size=1).filter(str.strip))
@example("1. x")
@example("&amp;")
def test_escaped_text_is_shown_unchanged(text: str) -> None:
    tokens = rendered(escape(text))

    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert shown(tokens) == as_read(text)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("before", ["", "# ", "- ", "word\n\n", "word "])
def test_text_is_text_in_any_place(text: str, before: str) -> None:
    tokens = rendered(before + escape(text))

    allowed = {"paragraph", "inline", "heading", "bullet_list", "list_item"}
    assert {re.sub("_(open|close)$", "", token.type) for token in tokens} <= allowed
    assert shown(tokens).endswith(as_read(text))


@pytest.mark.parametrize("text", HOSTILE)
def test_text_stays_in_its_cell(text: str) -> None:
    tokens = rendered(f"| a | b |\n| --- | --- |\n| {escape(text)} | 1 |\n")

    cells = [token.children or [] for token in tokens if token.type == "inline"]
    assert ["".join(child.content for child in cell) for cell in cells][2:] == [as_read(text), "1"]


def test_unescaped_text_would_be_markup() -> None:
    with pytest.raises(AssertionError):
        shown(rendered("*a*"))


@given(st.text(min_size=1).filter(str.strip))
@example("``")
def test_inline_code_is_shown_unchanged(text: str) -> None:
    (_, inline, _) = rendered(f"x {code(text)} y")

    assert [child.content for child in inline.children or []] == ["x ", as_read(text), " y"]


@pytest.mark.parametrize("text", ['a = "```"', "```\n# x\n```", "````", "---\na: 1\n---"])
def test_a_block_of_code_ends_where_the_text_ends(text: str) -> None:
    tokens = rendered(f"{code_block(text, 'toml')}\n\nafter")

    assert [token.type for token in tokens][:2] == ["fence", "paragraph_open"]
    assert tokens[0].content == f"{text}\n"


def test_of_many_names_the_others_are_counted() -> None:
    assert code_list(["a", "b"]) == "`a`, `b`"
    assert code_list([str(index) for index in range(1100)]).endswith("`49` and 1,050 more")


def test_templates_escape_text_and_format_numbers() -> None:
    template = markdown_environment().from_string("{{ a }} {{ b }} {{ c }} {{ d }}")

    assert template.render(a="*x*", b=0.12345, c=None, d=-0.5) == r"\*x\* 0.123 - -0.500"
