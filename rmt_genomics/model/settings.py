"""Settings that check themselves: the base class (pydantic), and its errors in our words."""

import reprlib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rmt_genomics.errors import ConfigError

LARGEST = 10**9  # largest whole number of a setting: more tokens, epochs or features never fit
Count = Annotated[int, Field(ge=1, le=LARGEST)]
CountOrZero = Annotated[int, Field(ge=0, le=LARGEST)]
Fraction = Annotated[float, Field(ge=0, lt=1)]

AnySettings = TypeVar("AnySettings", bound="Settings")


class Settings(BaseModel):
    """Settings that are checked when they are made, and cannot be changed.

    Raises:
        ConfigError: At the first wrong value, naming key, value and rule.
    """

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    section: ClassVar[str] = ""
    """Table of a TOML file that holds these settings, for messages."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(explain(error, type(self), values)) from error

    @field_validator("*", mode="before")
    @classmethod
    def _as_python(cls, value: object) -> object:
        """TOML and JSON have lists, but no tuples; NumPy has numbers of its own."""
        if isinstance(value, list):
            return tuple(value)
        return value.item() if isinstance(value, np.generic) else value

    def replace(self: AnySettings, **changes: Any) -> AnySettings:
        """Return the same settings with some values changed; they are checked again."""
        return type(self)(**{**dict(self), **changes})

    @classmethod
    def dotted_keys(cls) -> list[str]:
        """Return the names of all settings, after their section: ``model.dim``."""
        prefix = f"{cls.section}." if cls.section else ""
        return [prefix + name for name in cls.model_fields]


def explain(error: ValidationError, settings: type[Settings], values: Mapping[str, object]) -> str:
    """Return the first mistake that pydantic has found as one sentence of ours.

    Unknown keys come before wrong values, which may be wrong because of them.
    """
    mistakes = error.errors(include_url=False)
    first = min(mistakes, key=lambda mistake: mistake["type"] != "extra_forbidden")
    context = first.get("ctx", {})
    if first["type"] == "value_error":  # by a check of several settings, or by a nested section
        return str(context["error"])
    name = str(first["loc"][0])
    key = f"{settings.section}.{name}" if settings.section else name
    if first["type"] == "extra_forbidden":
        return f"unknown key {as_toml(key)}. {nearest(key, settings.dotted_keys())}"
    found = f"is {as_toml(values[name])}" if name in values else "is not set"
    if context.get("le") == LARGEST:
        return f"{key} {found}, but must be at most {LARGEST:,}."
    return f"{key} {found}, but must be {rule(settings.model_json_schema()['properties'][name])}."


def nearest(key: str, known: Sequence[str]) -> str:
    """Suggest the nearest known key, even if the section of the unknown one is missing or wrong."""
    name, by_name = key.rpartition(".")[2], {each.rpartition(".")[2]: each for each in known}
    matches = [by_name[name]] if name in by_name else get_close_matches(key, known, n=1)
    matches = matches or [by_name[match] for match in get_close_matches(name, by_name, n=1)]
    if matches:
        return f"Did you mean {matches[0]!r}?"
    tables = dict.fromkeys(key.rpartition(".")[0] for key in known)
    return (
        f"Known keys are those of the tables {', '.join(tables)}."
        if len(tables) > 1
        else f"Known keys: {', '.join(known)}."
    )


def rule(schema: Mapping[str, Any]) -> str:
    """Return what the JSON schema of a setting allows in words, without ``LARGEST``."""
    if "anyOf" in schema:
        return " or ".join(rule(option) for option in schema["anyOf"] if option["type"] != "null")
    if "const" in schema or "enum" in schema:
        return " or ".join(map(as_toml, schema.get("enum") or [schema["const"]]))
    if "$ref" in schema:
        return "a table of settings"
    if schema["type"] == "array":
        return f"a list, each element {rule(schema['items'])}"
    most = schema.get("maximum")
    bounds = {
        "at least": schema.get("minimum"),
        "above": schema.get("exclusiveMinimum"),
        "below": schema.get("exclusiveMaximum"),
        "at most": None if most == LARGEST else most,
    }
    words = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)
    kind = {
        "integer": "a whole number of" if words else "a whole number",
        "number": "a number",
        "string": "text",
        "boolean": "true or false",
    }[schema["type"]]
    return f"{kind} {words}".rstrip()


class _Toml(reprlib.Repr):
    """Formats values; what is long is cut, so that a message stays a sentence."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 200
        self.maxdict = self.maxlist = 20

    def repr_bool(self, x: bool, _level: int) -> str:  # noqa: FBT001 (reprlib's signature)
        return str(x).lower()

    def repr_int(self, x: int, _level: int) -> str:
        digits = int(abs(x).bit_length() * 0.30103) + 1
        return f"a whole number of about {digits} digits" if digits > 40 else repr(x)

    def repr_tuple(self, x: tuple[Any, ...], level: int) -> str:
        return self.repr_list(list(x), level)


def as_toml(value: object) -> str:
    """Format a value nearly as in a TOML file, for messages.

    Examples:
        >>> print(as_toml((6, 8)), as_toml(True), as_toml("all"), as_toml(10**5000))
        [6, 8] true 'all' a whole number of about 5001 digits
    """
    return _Toml().repr(value.item() if isinstance(value, np.generic) else value)
