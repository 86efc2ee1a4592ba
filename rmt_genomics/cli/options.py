"""Option types and options that several commands share."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
window_option = click.option(
    "--window", "window_bp", type=BP, metavar="BP", help="Cut labelled records into windows."
)
step_option = click.option(
    "--step", "step_bp", type=BP, metavar="BP", help="From window to window; default: --window."
)


def check_step(window_bp: int | None, step_bp: int | None) -> None:
    """Refuse ``--step`` without ``--window``."""
    if window_bp is None and step_bp is not None:
        raise click.UsageError("--step needs --window, the length of a window in bp.")


def window_settings(window_bp: int | None, step_bp: int | None) -> tuple[str, ...]:
    """Return the settings that ``--window`` and ``--step`` stand for, as for ``--set``."""
    check_step(window_bp, step_bp)
    pairs = (("window_bp", window_bp), ("step_bp", step_bp))
    return tuple(f"data.{name}={value}" for name, value in pairs if value is not None)


def echo_metrics(metrics: Mapping[str, Any]) -> None:
    """Print a row per predictor on a terminal, and a tab-separated row per metric elsewhere."""
    from rmt_genomics.evaluation.tables import metric_lines, metrics_table

    aligned = sys.stdout.isatty()
    click.echo(metrics_table(metrics) if aligned else "\n".join(metric_lines(metrics)))
