"""Settings as text: TOML files, ``--set KEY=VALUE``, and a commented template.

``parse_toml(to_toml(config)) == config`` for all settings.
"""

import ast
import inspect
import textwrap
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import tomli_w

from rmt_genomics.errors import ConfigError
from rmt_genomics.training import config
from rmt_genomics.training.config import (
    PRESETS,
    CurriculumSettings,
    DataSettings,
    ExperimentConfig,
    ModelSettings,
    TokenizerSettings,
    TrainingSettings,
    allowed_values,
    check_table,
)

SECTIONS: dict[str, Any] = {
    "model": ModelSettings,
    "tokenizer": TokenizerSettings,
    "training": TrainingSettings,
    "data": DataSettings,
    "curriculum": CurriculumSettings,
}
"""The tables of a file, by name."""

KEYS = tuple(
    f"{name}.{setting.name}" for name, section in SECTIONS.items() for setting in fields(section)
)
"""All dotted keys."""

_TEMPLATE_WIDTH = 90


def read_config(path: Path | None, settings: Sequence[str] = ()) -> ExperimentConfig:
    """Read settings from a file, then apply the changes of ``--set``.

    Args:
        path: A TOML file; None = the defaults.
        settings: Strings ``KEY=VALUE``, such as ``training.max_epochs=3``; the last one of a key
            counts.

    Raises:
        ConfigError: If the file is missing or not valid TOML, a key is unknown, or a value is not
            allowed.
    """
    in_file = {} if path is None else _read(path)
    changes = dict(parse_setting(setting) for setting in settings)
    try:
        return _build({**in_file, **changes})
    except ConfigError as error:
        raise ConfigError(f"{_wrong_source(path, in_file, changes)}: {error}") from error


def parse_toml(text: str, where: str) -> ExperimentConfig:
    """Read settings from TOML text; ``where`` names its source in errors."""
    flat = _flatten(text, where)
    try:
        return _build(flat)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def to_toml(config: ExperimentConfig) -> str:
    """Write settings as TOML, in the order of their classes, without those that are None."""
    tables: dict[str, dict[str, object]] = {name: {} for name in SECTIONS}
    for key, value in config.flat().items():
        section, _, name = key.partition(".")
        if value is not None:
            tables[section][name] = value
    return tomli_w.dumps(tables)


def parse_setting(setting: str) -> tuple[str, object]:
    """Read one ``KEY=VALUE``. The value is TOML; if it is not valid TOML, it is text.

    Examples:
        >>> parse_setting("training.learning_rate=1e-4")
        ('training.learning_rate', 0.0001)
        >>> parse_setting("model.pooling=max")
        ('model.pooling', 'max')
    """
    key, equals, text = setting.partition("=")
    key, text = key.strip(), text.strip()
    if not (key and equals and text):
        raise ConfigError(
            f"--set {setting}: must be KEY=VALUE. For example: --set training.max_epochs=3"
        )
    _check_known([key], "--set")
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return key, text
    return key, table["value"] if len(table) == 1 else text


def _read(path: Path) -> dict[str, object]:
    """Read a file's settings by dotted key."""
    try:
        return _flatten(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}. Check --config.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not text in UTF-8, but must be a TOML file.") from error


def _flatten(text: str, where: str) -> dict[str, object]:
    """Return values by dotted key; all keys are known."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: is not valid TOML: {error}.") from error
    flat: dict[str, object] = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or not (table or name in SECTIONS):
            raise ConfigError(
                f"{where}: {name!r} is {table!r}, but settings must be in the tables "
                f"{', '.join(f'[{section}]' for section in SECTIONS)}. {_suggestion(name)}"
            )
        flat |= {f"{name}.{key}": value for key, value in table.items()}
    _check_known(flat, where)
    return flat


def _check_known(keys: Sequence[str] | Mapping[str, object], where: str) -> None:
    """Raise ConfigError at the first unknown key, with the nearest known one."""
    for key in keys:
        if key not in KEYS:
            raise ConfigError(f"{where}: unknown key {key!r}. {_suggestion(key)}")


def _suggestion(key: str) -> str:
    """Suggest the nearest key, even if the section is missing or wrong."""
    name = key.rpartition(".")[2]
    by_name = {known.partition(".")[2]: known for known in KEYS}
    matches = get_close_matches(key, KEYS, n=1) or [
        by_name[match] for match in get_close_matches(name, by_name, n=1)
    ]
    return f"Did you mean {matches[0]!r}?" if matches else f"Known keys: {', '.join(KEYS)}."


def _build(flat: Mapping[str, object]) -> ExperimentConfig:
    tables: dict[str, dict[str, object]] = {name: {} for name in SECTIONS}
    for key, value in flat.items():
        section, _, name = key.partition(".")
        tables[section][name] = value
    sections = {
        name: section(**check_table(section, name, tables[name]))
        for name, section in SECTIONS.items()
    }
    return ExperimentConfig(**sections)


def _wrong_source(
    path: Path | None, in_file: Mapping[str, object], changes: Mapping[str, object]
) -> str:
    """Return the source of a wrong value: ``--set``, unless the file is wrong without it."""
    unchanged = {key: value for key, value in in_file.items() if key not in changes}
    try:
        _build(unchanged)
    except ConfigError:
        return str(path)
    return "--set" if changes else str(path)


def template() -> str:
    """Return a TOML file with every setting, its default, meaning and allowed values."""
    preset = asdict(PRESETS[ModelSettings().preset])
    docstrings = _field_docstrings()
    lines: list[str] = []
    for name, section in SECTIONS.items():
        lines.append(f"[{name}]")
        rules = allowed_values(section)
        for field in fields(section):
            is_preset = field.default is None
            value = preset[field.name] if is_preset else field.default
            rule = rules[field.name] + (" (left out: by the preset)" if is_preset else "")
            lines += _comment(docstrings[section.__name__, field.name])
            lines += _comment(f"May be {rule}.")
            lines.append(("# " if is_preset else "") + tomli_w.dumps({field.name: value}))
    return "\n".join(lines)


def _comment(text: str) -> list[str]:
    plain = " ".join(text.replace("``", "").split())
    return textwrap.wrap(
        plain, _TEMPLATE_WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _field_docstrings() -> dict[tuple[str, str], str]:
    """Return the string below each field, by class and field; Python does not keep them."""
    docstrings: dict[tuple[str, str], str] = {}
    for node in ast.parse(inspect.getsource(config)).body:
        if isinstance(node, ast.ClassDef):
            for field, below in zip(node.body, node.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                    text = ast.literal_eval(below.value)
                    docstrings[node.name, ast.unparse(field.target)] = text
    return docstrings
