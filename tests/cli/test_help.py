"""Help texts are looked at when they change: UPDATE_GOLDEN=1 writes them anew."""

import os
from pathlib import Path

import pytest

from rmt_genomics.cli import COMMANDS
from tests.cli.toys import succeed

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_the_help_text_is_as_agreed(command: str) -> None:
    path = GOLDEN / f"help{'_' if command else ''}{command}.txt"
    text = succeed(*command.split(), "--help").stdout
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")

    assert text == path.read_text(encoding="utf-8"), "if this is wanted: UPDATE_GOLDEN=1 pytest"


def test_there_is_no_text_of_a_command_that_has_gone() -> None:
    names = {f"help_{command}.txt" for command in COMMANDS} | {"help.txt"}

    assert {path.name for path in GOLDEN.glob("help*.txt")} == names
