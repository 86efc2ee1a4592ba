"""Settings as text: TOML files, and ``--set KEY=VALUE`` on the command line.

The law: reading what ``to_toml`` writes gives the same settings.
"""

import ast
import inspect
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import tomli_w

from rmt_genomics.errors import ConfigError
from rmt_genomics.training import config as settings
from rmt_genomics.training.config import (
    PRESETS,
    CurriculumSettings,
    DataSettings,
    ExperimentConfig,
    ModelSettings,
    TokenizerSettings,
    TrainingSettings,
    check_table,
    in_words,
)

SECTIONS: dict[str, Any] = {
    "model": ModelSettings,
    "tokenizer": TokenizerSettings,
    "training": TrainingSettings,
    "data": DataSettings,
    "curriculum": CurriculumSettings,
}
"""The tables of a file, by name."""

KEYS = tuple(f"{name}.{each.name}" for name, kind in SECTIONS.items() for each in fields(kind))
"""Every dotted key there is."""


def read_config(path: Path | None, settings: Sequence[str] = ()) -> ExperimentConfig:
    """Read settings from a file, then let ``--set`` change some.

    Args:
        path: A TOML file; None = the defaults.
        settings: ``KEY=VALUE`` each, such as ``training.max_epochs=3``; the last one counts.

    Raises:
        ConfigError: If the file is missing or no TOML, a key is unknown, or a value breaks its
            rule.
    """
    in_file = {} if path is None else _read(path)
    changes = dict(parse_setting(each) for each in settings)
    try:
        return _build({**in_file, **changes})
    except ConfigError as error:
        raise ConfigError(f"{_at_fault(path, in_file, changes)}: {error}") from error


def parse_toml(text: str, where: str) -> ExperimentConfig:
    """Read settings from TOML text; ``where`` names its source in errors."""
    flat = _flatten(text, where)
    try:
        return _build(flat)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def to_toml(config: ExperimentConfig) -> str:
    """Write settings as TOML, in the order of their classes; what is left open is left out."""
    tables: dict[str, dict[str, object]] = {name: {} for name in SECTIONS}
    for key, value in config.flat().items():
        section, _, name = key.partition(".")
        if value is not None:
            tables[section][name] = value
    return tomli_w.dumps(tables)


def parse_setting(setting: str) -> tuple[str, object]:
    """Read one ``KEY=VALUE``. The value is TOML; what is no TOML is text, quotes not needed.

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
    """Return values by dotted key, each of them known."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: is not valid TOML: {error}.") from error
    flat: dict[str, object] = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or not (table or name in SECTIONS):
            raise ConfigError(
                f"{where}: {name!r} is {table!r}, but settings stand in the tables "
                f"{', '.join(f'[{section}]' for section in SECTIONS)}. {_nearest(name)}"
            )
        flat |= {f"{name}.{key}": value for key, value in table.items()}
    _check_known(flat, where)
    return flat


def _check_known(keys: Sequence[str] | Mapping[str, object], where: str) -> None:
    """Raise ConfigError at the first unknown key, with the nearest known one."""
    for key in keys:
        if key not in KEYS:
            raise ConfigError(f"{where}: unknown key {key!r}. {_nearest(key)}")


def _nearest(key: str) -> str:
    """Suggest what was meant, even if the section was left out or mistaken."""
    name = key.rpartition(".")[2]
    by_name = {known.partition(".")[2]: known for known in KEYS}
    near = get_close_matches(key, KEYS, n=1) or [
        by_name[each] for each in get_close_matches(name, by_name, n=1)
    ]
    return f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(KEYS)}."


def _build(flat: Mapping[str, object]) -> ExperimentConfig:
    """Make the settings objects, which check the values."""
    tables: dict[str, dict[str, object]] = {name: {} for name in SECTIONS}
    for key, value in flat.items():
        section, _, name = key.partition(".")
        tables[section][name] = value
    sections = {
        name: kind(**check_table(kind, name, tables[name])) for name, kind in SECTIONS.items()
    }
    return ExperimentConfig(**sections)


def _at_fault(
    path: Path | None, in_file: Mapping[str, object], changes: Mapping[str, object]
) -> str:
    """Name the source of a bad value: ``--set``, unless the file is wrong without it."""
    kept = {key: value for key, value in in_file.items() if key not in changes}
    try:
        _build(kept)
    except ConfigError:
        return str(path)
    return "--set" if changes else str(path)


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
