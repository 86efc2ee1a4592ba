"""Read numbers, text, JSON and TOML from outside: the value, or one plain sentence.

Python refuses some input with errors of its own kinds: numbers of more than 4,300 digits, deep
nesting, other encodings. So whatever a user or another program may have written is read by these
functions, once for the whole package.
"""

import json
import math
import os
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsError

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(s|min|h)")
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_MOST_SHOWN = 100
_LONGEST_LINE = 1_000_000  # bytes
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, lone surrogates, line separators


def as_path(value: Any, what: str = "the path of a file") -> Path:
    """Return a path; raise DataError if a value is none, and say how it becomes one.

    Examples:
        >>> as_path("a.fa").name
        'a.fa'
    """
    if isinstance(value, str | os.PathLike):
        return Path(value)
    remedy = "Pass its name as text."
    if hasattr(value, "to_csv"):  # pandas
        remedy = "Write it to a file: .to_csv('data.csv', index=False)."
    elif not isinstance(value, bytes | int | float | None):
        remedy = "Write the sequences to a FASTA file, or the labels to a table, and pass its name."
    raise DataError(
        f"{shown_type(value)} was given, but {what} is needed (str or pathlib.Path). {remedy}"
    )


def as_paths(values: Any) -> list[Path]:
    """Return one path or several as a list; raise DataError as ``as_path`` does."""
    is_many = isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)
    is_other = hasattr(values, "columns") or type(values).__module__.startswith("Bio.")
    if not is_many or is_other:  # a data frame, or a Seq, whose letters are no paths
        return [as_path(values)]
    return [as_path(value) for value in values]


def shown_type(value: object) -> str:
    """Return what a value is, for a message.

    Examples:
        >>> shown_type({}), shown_type(1)
        ('a dict', 'an int')
    """
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def read_integer(text: str) -> int | None:
    """Return the whole number that a text is, of at most 18 digits; else None.

    Examples:
        >>> read_integer("-12"), read_integer("1.0"), read_integer("1_000"), read_integer("9" * 99)
        (-12, None, None, None)
    """
    return int(text) if _INTEGER.fullmatch(text) else None


def read_duration(text: str) -> float | None:
    """Return the seconds of a time above 0 with its unit; else None.

    Examples:
        >>> read_duration("30s"), read_duration("1.5min"), read_duration("2h"), read_duration("90")
        (30.0, 90.0, 7200.0, None)
    """
    match = _DURATION.fullmatch(text)
    return (float(match[1]) * _SECONDS[match[2]] or None) if match else None


def read_number(text: str) -> float | None:
    """Return the finite number that a text is; else None.

    Examples:
        >>> read_number("-1.5e3"), read_number("nan"), read_number("1_000"), read_number("1e999")
        (-1500.0, None, None, None)
    """
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None


def read_text(path: Path, what: str, error: type[RMTGenomicsError] = DataError) -> str:
    """Return the text of a small file in UTF-8, without a byte order mark.

    Args:
        path: The file.
        what: What it should be, for errors.
        error: The class of the error.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as cause:
        reason = f"is not text in UTF-8 (byte {cause.start})"
    except OSError as cause:
        reason = f"cannot be read ({cause.strerror})"
    raise error(f"{path}: {reason}, but must be {what}. Check the name and the content.")


def first_line(path: Path) -> str:
    """Return the first line of any file, without its end; what is not UTF-8 is replaced."""
    with path.open("rb") as file:
        return file.readline(_LONGEST_LINE).decode(errors="replace").rstrip("\r\n")


def read_json(text: str, where: str, remedy: str, error: type[RMTGenomicsError] = DataError) -> Any:
    """Return the value of JSON text with finite numbers of 64 bits, and without repeated keys.

    Args:
        text: The JSON.
        where: Where it is from, for errors.
        remedy: What to do if it cannot be read, for errors.
        error: The class of the error.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_without_repeats,
            parse_int=_json_number,
            parse_float=_json_number,
            parse_constant=_refuse_number,
        )
        json.dumps(value, ensure_ascii=False).encode()  # half a character cannot be written again
    except (ValueError, RecursionError) as cause:
        raise error(
            f"{where}: is not valid JSON ({_reason(cause)}), but must be. {remedy}"
        ) from cause
    return value


def read_toml(text: str, where: str, remedy: str) -> dict[str, Any]:
    """Return the tables of TOML text with numbers of 64 bits; arguments as for ``read_json``."""
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as cause:
        raise ConfigError(
            f"{where}: is not valid TOML ({_reason(cause)}), but must be. {remedy}"
        ) from cause
    return tables


def shown(value: object) -> str:
    """Return a value as in Python code, cut to about 100 characters, for a message."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # thousands of digits, or of brackets
        return "a value that is too long to show"
    if len(text) <= _MOST_SHOWN:
        return text
    return f"{text[: _MOST_SHOWN // 2]}...{text[-_MOST_SHOWN // 4 :]} ({len(text):,} characters)"


def unprintable(text: str) -> str | None:
    r"""Return the first character that would break a table or a terminal, as an escape; or None.

    Examples:
        >>> unprintable("K-12 \u03b2"), unprintable("a\tb"), unprintable("\x1b[31m")
        (None, '\\t', '\\x1b')
    """
    if text.isprintable():
        return None
    found = (each for each in text if unicodedata.category(each) in _UNPRINTABLE)
    return next((repr(each)[1:-1] for each in found), None)


def _reason(cause: Exception) -> str:
    if isinstance(cause, RecursionError):
        return "it is nested too deeply"
    if isinstance(cause, UnicodeEncodeError):
        return "it has half of a character"
    return "a number has too many digits" if "4300" in str(cause) else str(cause)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object; of a key that is there twice, Python would take the last."""
    table: dict[str, Any] = {}
    for name, value in pairs:
        if name in table:
            raise ValueError(f"{shown(name)} is there twice")
        table[name] = value
    return table


def _json_number(text: str) -> int | float:
    number = read_integer(text) if text.lstrip("-").isdigit() else read_number(text)
    return _refuse_number(text) if number is None else number


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"{shown(text)} is not a finite number of 64 bits")


def readable(text: str) -> str:
    """Replace the characters that neither HTML, SVG nor Markdown may hold by U+FFFD."""
    return _UNREADABLE.sub("\ufffd", text)
