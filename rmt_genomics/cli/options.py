"""Option types and options that several commands share."""

from pathlib import Path

import click

PATH = click.Path(path_type=Path)
SEQUENCES = click.Path(path_type=Path, allow_dash=True)
COUNT = click.IntRange(min=1)
BP = COUNT
DEVICE = click.Choice(["auto", "cpu", "cuda", "mps"])
SEED = click.IntRange(0, 2**32 - 1)  # NumPy's limit

label_pattern_option = click.option(
    "--label-pattern", metavar="REGEX", help="For --labels header: its one group is the label."
)
settings_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one setting; repeatable."
)
