"""The template of settings: all of them, explained, and the defaults when read."""

import re

from rmt_genomics.training import ExperimentConfig
from rmt_genomics.training.config_file import KEYS, parse_toml, template
from tests.cli.toys import succeed


def test_what_it_prints_is_a_file_of_the_defaults() -> None:
    assert parse_toml(succeed("train", "--list-settings").stdout, "it") == ExperimentConfig()


def test_with_its_open_numbers_taken_in_it_is_the_preset() -> None:
    text = re.sub(r"^# (\w+ = \d)", r"\1", template(), flags=re.MULTILINE)

    assert parse_toml(text, "it") == ExperimentConfig().resolved()
    assert "\ndim = 128\n" in text


def test_every_setting_has_a_meaning_and_a_rule() -> None:
    section, found = "", []
    for block in template().split("\n\n"):
        *comment, line = [each for each in block.splitlines() if not each.startswith("[")]
        section = next((each[1:-1] for each in block.splitlines() if each[0] == "["), section)
        found.append(f"{section}.{line.removeprefix('# ').partition(' = ')[0]}")
        words = " ".join(comment)
        assert re.search(r"^# .+[.)] # May be .+\.$", words), block

    assert tuple(found) == KEYS


def test_lines_are_short_and_without_marks_of_code() -> None:
    assert all(len(line) <= 90 for line in template().splitlines())
    assert "``" not in template()
