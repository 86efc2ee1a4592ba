"""Settings as text: TOML files, ``--set KEY=VALUE``, and a commented template.

Settings that ``to_toml`` has written are read back the same.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomli_w

from rmt_genomics.errors import ConfigError
from rmt_genomics.model.config import FIRST_VERSION
from rmt_genomics.model.features import OLD_KEYS
from rmt_genomics.model.settings import Settings, as_toml, nearest, rule
from rmt_genomics.parsing import read_text, read_toml
from rmt_genomics.training.config import (
    AUTOMATIC,
    CHANGES_CHOICES,
    OTHER_IN_PRETRAINING,
    ExperimentConfig,
)

SECTIONS: dict[str, type[Settings]] = {name: type(section) for name, section in ExperimentConfig()}
"""The tables of a file, by name."""

KEYS = tuple(key for section in SECTIONS.values() for key in section.dotted_keys())
"""All dotted keys."""

_KEYS_OF_FIRST_VERSION = {
    f"model.{name}"
    for name in ("preset", "strand_head", "pooling", "stem_width", "stem_pool", "memory_gate")
}
"""Keys that every ``config.toml`` of a run and every printed template has; ``model.readout`` and
``model.head_layers`` came later. A file with these and without those is of the first version."""

_FEATURES = "model.features"
_OLD_FEATURES = tuple(f"model.{name}" for name in OLD_KEYS)
"""Keys of earlier versions, which are read but no longer written."""

_TEMPLATE_WIDTH = 90
_LEFT_OUT = " (or left out; the value is an example)"
_CHOSEN = " (left out: chosen by the data; the value is an example)"
_OTHER = " (left out: this value, and another in pretrain)"

_REMEDY = "Correct it; rmt-genomics train --list-settings prints a file to start from."


def read_config(path: str | Path | None, settings: Sequence[str] = ()) -> ExperimentConfig:
    """Read settings from a TOML file (None = the defaults), then apply the changes of ``--set``.

    ``settings`` are ``KEY=VALUE``, such as ``training.max_epochs=3``; the last one of a key counts.

    Raises:
        ConfigError: If the file is missing or not valid TOML, a key is unknown, or a value is not
            allowed.
    """
    path = None if path is None else Path(path)
    in_file = {} if path is None else _read(path)
    changes = dict(parse_setting(setting) for setting in settings)
    if _FEATURES in changes:  # it wins over the older keys of the file too
        in_file = {key: value for key, value in in_file.items() if key not in _OLD_FEATURES}
    try:
        return _build({**in_file, **changes})
    except ConfigError as error:
        raise ConfigError(f"{_wrong_source(path, in_file, changes)}: {error}") from error


def to_toml(config: ExperimentConfig, reasons: Mapping[str, str] | None = None) -> str:
    """Write settings as TOML, in the order of their classes, without those that are None.

    ``reasons`` by dotted key are comments in front of the settings.
    """
    lines, section = [], ""
    for line in tomli_w.dumps(config.model_dump(exclude_none=True)).split("\n"):
        if line.startswith("["):
            section = line.strip("[]")
        reason = (reasons or {}).get(f"{section}.{line.partition(' = ')[0]}")
        lines += [f"# {reason}", line] if reason else [line]
    return "\n".join(lines)


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
            f"--set {setting[:80]}: must be KEY=VALUE. For example: --set training.max_epochs=3"
        )
    _check_known([key], "--set")
    try:
        table = read_toml(f"value = {text}", "--set", _REMEDY)
    except ConfigError:
        return key, text
    return key, table["value"] if len(table) == 1 else text


def _read(path: Path) -> dict[str, object]:
    """Read a file's settings by dotted key."""
    text = read_text(path, "a TOML file of settings", ConfigError)
    flat = _flatten(text, str(path))
    if flat.keys() >= _KEYS_OF_FIRST_VERSION:
        flat = {f"model.{name}": value for name, value in FIRST_VERSION.items()} | flat
        if _FEATURES not in flat:  # it has features only where it says so
            flat.setdefault(_OLD_FEATURES[0], 0)
    return flat


def _flatten(text: str, where: str) -> dict[str, object]:
    """Return values by dotted key; all keys are known."""
    flat: dict[str, object] = {}
    for name, table in read_toml(text, where, _REMEDY).items():
        if not isinstance(table, dict) or not (table or name in SECTIONS):
            raise ConfigError(
                f"{where}: {as_toml(name)} is {as_toml(table)}, but settings must be in the "
                f"tables {', '.join(f'[{section}]' for section in SECTIONS)}. "
                f"{nearest(name, KEYS)}"
            )
        flat |= {f"{name}.{key}": value for key, value in table.items()}
    _check_known(flat, where)
    return flat


def _check_known(keys: Iterable[str], where: str) -> None:
    """Raise ConfigError at the first unknown key, with the nearest known one of any table."""
    for key in keys:
        if key not in KEYS and key not in _OLD_FEATURES:
            raise ConfigError(f"{where}: unknown key {as_toml(key)}. {nearest(key, KEYS)}")


def _build(flat: Mapping[str, object]) -> ExperimentConfig:
    tables: dict[str, Any] = {name: {} for name in SECTIONS}
    for key, value in flat.items():
        section, _, name = key.partition(".")
        tables[section][name] = value
    return ExperimentConfig(**tables)


def _wrong_source(
    path: Path | None, in_file: Mapping[str, object], changes: Mapping[str, object]
) -> str:
    """Return the source of a wrong value: ``--set``, unless the file is wrong without it."""
    unchanged = {key: value for key, value in in_file.items() if key not in changes}
    for settings in (in_file, unchanged) if changes else ():
        with suppress(ConfigError):
            _build(settings)
            return "--set"
    return str(path)


def template() -> str:
    """Return a TOML file with every setting, its default, meaning and allowed values.

    As it is, it gives nothing that would be chosen otherwise: such lines are comments.
    """
    values, resolved = ExperimentConfig().flat(), ExperimentConfig().resolved().flat()
    lines: list[str] = []
    for name, section in SECTIONS.items():
        lines.append(f"[{name}]")
        for key, schema in section.model_json_schema()["properties"].items():
            dotted, allowed = f"{name}.{key}", rule(schema)
            special = (*AUTOMATIC, *CHANGES_CHOICES, *OTHER_IN_PRETRAINING)
            is_left_out = schema["default"] is None or dotted in special
            value = values[dotted] if values[dotted] is not None else resolved[dotted]
            if dotted in AUTOMATIC:
                allowed += _CHOSEN
            elif dotted in OTHER_IN_PRETRAINING:
                allowed += _OTHER
            elif is_left_out:
                allowed += _LEFT_OUT
            lines += _comment(schema["description"])
            lines += _comment(f"May be {allowed}.")
            text = tomli_w.dumps({key: schema["examples"][0] if value is None else value})
            lines.append("# " + text if is_left_out else text)
    return "\n".join(lines)


def _comment(text: str) -> list[str]:
    plain = " ".join(text.replace("``", "").split())
    return textwrap.wrap(
        plain, _TEMPLATE_WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )
