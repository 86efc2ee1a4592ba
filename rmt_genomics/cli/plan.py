"""``rmt-genomics plan``: memory and time of a training, estimated before it starts."""

import logging
from pathlib import Path
from typing import Any

import click

from rmt_genomics.cli.options import (
    DEVICE,
    PATH,
    label_options,
    settings_option,
    step_option,
    take_data_settings,
    window_option,
    window_settings,
)

logger = logging.getLogger(__name__)


@click.command()
@click.argument("fasta", type=PATH)
@click.option("--labels", type=PATH, help="As for train; else every record is an example.")
@label_options
@click.option("--config", type=PATH, help="TOML file of settings.")
@settings_option
@window_option
@step_option
@click.option("--device", type=DEVICE, default="auto", help="Device to compute on.")
def plan(  # noqa: PLR0913 (one argument an option)
    fasta: Path,
    labels: Path | None,
    label_pattern: str | None,
    config: Path | None,
    settings: tuple[str, ...],
    window_bp: int | None,
    step_bp: int | None,
    device: str,
    **options: Any,
) -> None:
    """Estimate memory and time of a training, and choose a batch.

    FASTA, labels, windows and settings are those of train, simulated examples included. A few short
    steps on random sequences are measured on this machine; run it when no other program is busy.

    Prints a tab-separated table of key, value and unit: lengths with a histogram, segments per
    example, peak memory and speed of training and of prediction, time per epoch, the batch size,
    replay and precision recommended for this machine, the settings chosen by the data, and up to
    three proposals (quick, default, fine) with their time and resolution. Memory is that of
    tensors; the program itself needs more.
    """
    if labels is None and label_pattern is not None:
        raise click.UsageError("--label-pattern needs --labels header.")
    from rmt_genomics.datasets import LabelSource
    from rmt_genomics.training import read_config
    from rmt_genomics.training.planning import plan as make_plan

    settings = (*settings, *window_settings(window_bp, step_bp), *take_data_settings(options))
    source = None if labels is None else LabelSource(labels, label_pattern)
    result = make_plan(fasta, read_config(config, settings), labels=source, device=device)
    click.echo("key\tvalue\tunit")
    for row in result.rows():
        click.echo("\t".join(row))
    for line in result.summary():
        logger.info(line)
