"""What a setting may be, read from its type annotation: one place for the check and its words.

``Annotated[int, Range(at_least=1)]`` admits 3 and not 0, 3.0, True or "3", and calls itself
"a whole number of at least 1".
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from rmt_genomics.errors import ConfigError

_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Bounds of a number; those that are None do not bind."""

    at_least: int | float | None = None
    above: int | float | None = None
    below: int | float | None = None

    def admits(self, value: int | float) -> bool:
        """Whether the value is within all bounds."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        bounds = {"at least": self.at_least, "above": self.above, "below": self.below}
        return " and ".join(
            f"{word} {bound}" for word, bound in bounds.items() if bound is not None
        )


def check_fields(section: object, name: str) -> None:
    """Hold each field of a dataclass to its annotation, as ``checked`` does.

    Args:
        section: The dataclass instance, frozen or not.
        name: How users call it; stands before the field's name in the error.
    """
    for field, annotation in _annotations(type(section)).items():
        value = checked(annotation, getattr(section, field), f"{name}.{field}")
        object.__setattr__(section, field, value)


def check_table(kind: type, name: str, table: Mapping[str, object]) -> dict[str, object]:
    """Return values that are to become fields of a dataclass, checked beforehand.

    Args:
        kind: The dataclass.
        name: How users call it.
        table: Some of its fields by name.
    """
    annotations = _annotations(kind)
    return {key: checked(annotations[key], value, f"{name}.{key}") for key, value in table.items()}


def in_words(kind: type) -> dict[str, str]:
    """Return what each field of a dataclass may be, in words."""
    return {name: _rule(annotation) for name, annotation in _annotations(kind).items()}


def checked(annotation: Any, value: object, key: str) -> object:
    """Return a value that an annotation admits; a whole number for a float becomes one.

    Raises:
        ConfigError: If it breaks the rule, naming key, value and rule.
    """
    if not _fits(annotation, value):
        raise ConfigError(f"{key} is {as_toml(value)}, but must be {_rule(annotation)}.")
    if isinstance(value, list):
        return tuple(value)
    is_float = annotation is float or get_args(annotation)[:1] == (float,)
    return float(value) if is_float and isinstance(value, int) else value


def _annotations(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _fits(annotation: Any, value: object) -> bool:
    """Whether a value is what an annotation asks for. A bool is no number here."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return any(_fits(argument, value) for argument in arguments)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin is Annotated:
        base, *ranges = arguments
        return _fits(base, value) and all(each.admits(value) for each in ranges)
    if origin is tuple:  # of any length; TOML has lists
        return isinstance(value, list | tuple) and all(_fits(arguments[0], each) for each in value)
    if annotation is float:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    return type(value) is annotation


def _rule(annotation: Any) -> str:
    """Put an annotation into words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return " or ".join(_rule(each) for each in arguments if each is not NoneType)
    if origin is Literal:
        return " or ".join(as_toml(choice) for choice in arguments)
    if origin is tuple:
        return f"a list, each of it {_rule(arguments[0])}"
    if origin is Annotated:
        base, bounds = arguments
        return f"{_NAMES[base]} {'of ' if base is int else ''}{bounds}"
    return _NAMES[annotation]


def as_toml(value: object) -> str:
    """Write a value nearly as in a TOML file."""
    if isinstance(value, tuple):
        return repr(list(value))
    return str(value).lower() if isinstance(value, bool) else repr(value)
