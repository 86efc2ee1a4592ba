"""What Python cannot read gives one sentence, and what it would misread is refused."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.errors import CheckpointError, ConfigError, DataError
from rmt_genomics.parsing import (
    read_integer,
    read_json,
    read_number,
    read_text,
    read_toml,
    shown,
    unprintable,
)

DIGITS = "9" * 5000


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_whole_numbers_are_read(number: int) -> None:
    assert read_integer(str(number)) == number


@pytest.mark.parametrize("text", ["", "1.0", "1e3", "1_000", " 1", "٣", "0x1", "--1", DIGITS])
def test_other_text_is_no_whole_number(text: str) -> None:
    assert read_integer(text) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_finite_numbers_are_read(number: float) -> None:
    assert read_number(repr(number)) == number


@pytest.mark.parametrize("text", ["", "nan", "inf", "-inf", "1e400", "1_0", "1,5", "٣", DIGITS])
def test_other_text_is_no_finite_number(text: str) -> None:
    assert read_number(text) is None


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**18) + 1, 10**18 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(codec="utf-8")),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner)
        ),
        max_leaves=10,
    )
)
def test_json_is_read(value: object) -> None:
    assert read_json(json.dumps(value), "x.json", "") == value


BAD_JSON = {
    "": "Expecting value",
    "{": "Expecting property name",
    '{"a": 1, "a": 2}': "'a' is there twice",
    "NaN": "'NaN' is not a finite number",
    "[-Infinity]": "'-Infinity' is not a finite number",
    "1e400": "'1e400' is not a finite number of 64 bits",
    "10000000000000000000000": "is not a finite number of 64 bits",
    DIGITS: "(5,002 characters) is not a finite number of 64 bits",
    "[" * 100_000: "it is nested too deeply",
    '{"a":' * 100_000: "it is nested too deeply",
    r'"\udcff"': "it has half of a character",
}


@pytest.mark.parametrize(("text", "reason"), BAD_JSON.items(), ids=range(len(BAD_JSON)))
def test_json_that_cannot_be_used_is_refused_in_one_line(text: str, reason: str) -> None:
    message = re.escape("x.json: is not valid JSON (") + ".*" + re.escape(reason)
    with pytest.raises(
        CheckpointError, match=message + r".*\), but must be\. Evaluate again\."
    ) as it:
        read_json(text, "x.json", "Evaluate again.", CheckpointError)

    assert len(str(it.value)) < 250


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a =", "Invalid value"),
        ("a = 1\na = 2", "Cannot overwrite a value"),
        (f"a = {DIGITS}", "a number has too many digits"),
        ("a = " + "[" * 100_000, "it is nested too deeply"),
    ],
)
def test_toml_that_cannot_be_used_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"^x: is not valid TOML \({reason}.*Fix it\.$"):
        read_toml(text, "x", "Fix it.")


def test_toml_is_read() -> None:
    assert read_toml("[a]\nb = [1, 2.5]", "x", "") == {"a": {"b": [1, 2.5]}}


def test_text_is_read_without_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfh\xc3\xa9")

    assert read_text(tmp_path / "a.txt", "a note") == "hé"


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"abc\xff")

    with pytest.raises(
        DataError, match=r"a\.txt: is not text in UTF-8 \(byte 3\), but must be a n"
    ):
        read_text(tmp_path / "a.txt", "a note")
    with pytest.raises(
        ConfigError, match=r"b\.txt: cannot be read \(No such file.*be settings\. Ch"
    ):
        read_text(tmp_path / "b.txt", "settings", ConfigError)
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        read_text(tmp_path, "a note")


def test_a_long_value_is_cut_in_messages() -> None:
    assert shown("gc") == "'gc'"
    assert shown("x" * 1000) == "'" + "x" * 49 + "..." + "x" * 24 + "' (1,002 characters)"
    assert shown(10**5000) == "a value that is too long to show"


@pytest.mark.parametrize("character", "\x00\x07\t\n\v\f\r\x1b\x7f\x85\u2028\u2029\ud800")
def test_a_character_that_breaks_tables_is_found(character: str) -> None:
    assert unprintable(f"a{character}b") == repr(character)[1:-1]


@pytest.mark.parametrize(
    "text", ["", "gc", "a b", "\u00e9\u03b2", "a\u200bb", "\u3000", "\U0001f9ec"]
)
def test_other_characters_may_be_printed(text: str) -> None:
    assert unprintable(text) is None
