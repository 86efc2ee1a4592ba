"""``rmt-genomics plan``: memory and time of a training, estimated before it starts."""

import logging
from pathlib import Path

import click

from rmt_genomics.cli.options import DEVICE, PATH, label_pattern_option, settings_option

logger = logging.getLogger(__name__)


@click.command()
@click.argument("fasta", type=PATH)
@click.option("--labels", type=PATH, help="As for train; else every record is an example.")
@label_pattern_option
@click.option("--config", type=PATH, help="TOML file of settings.")
@settings_option
@click.option("--device", type=DEVICE, default="auto", help="Device to compute on.")
def plan(
    fasta: Path,
    labels: Path | None,
    label_pattern: str | None,
    config: Path | None,
    settings: tuple[str, ...],
    device: str,
) -> None:
    """Estimate memory and time of a training, and choose a batch.

    FASTA, labels and settings are those of train, simulated examples included. A few short steps on
    random sequences are measured on this machine; run it when no other program is busy.

    Prints a tab-separated table of key, value and unit: lengths with a histogram, segments per
    example, peak memory and speed of training and of prediction, time per epoch, and at the end the
    batch size, replay and precision recommended for this machine. Memory is that of tensors; the
    program itself needs more.
    """
    if labels is None and label_pattern is not None:
        raise click.UsageError("--label-pattern needs --labels header.")
    from rmt_genomics.datasets import LabelSource
    from rmt_genomics.training import read_config
    from rmt_genomics.training.planning import plan as make_plan

    source = None if labels is None else LabelSource(labels, label_pattern)
    result = make_plan(fasta, read_config(config, settings), labels=source, device=device)
    click.echo("key\tvalue\tunit")
    for row in result.rows():
        click.echo("\t".join(row))
    for line in result.summary():
        logger.info(line)
