"""``rmt-genomics plan``: what a training would need, before it is begun."""

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("fasta", type=_PATH)
@click.option("--labels", type=_PATH, help="As for train; without, every record is an example.")
@click.option(
    "--label-pattern", metavar="REGEX", help="For --labels header: its one group is the label."
)
@click.option("--config", type=_PATH, help="Settings, a TOML file.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one setting; repeatable."
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    help="Where to compute.",
)
def plan(
    fasta: Path,
    labels: Path | None,
    label_pattern: str | None,
    config: Path | None,
    settings: tuple[str, ...],
    device: str,
) -> None:
    """Estimate memory and time of a training, and choose a batch.

    FASTA, labels and settings are those of train. A few short steps on made-up sequences are
    measured on this machine; run it when nothing else does.

    Prints a tab-separated table of key, value and unit: lengths with a histogram, segments an
    example, the memory at the peak and the speed of training and of prediction, the time of an
    epoch, and at the end the batch, replay and precision that suit this machine. Memory is that of
    tensors; the program itself comes on top.
    """
    if labels is None and label_pattern is not None:
        raise click.UsageError("--label-pattern needs --labels header.")
    from rmt_genomics.datasets import LabelSource
    from rmt_genomics.training import read_config
    from rmt_genomics.training.planning import plan as make_plan
    from rmt_genomics.training.planning import summary

    source = None if labels is None else LabelSource(labels, label_pattern)
    made = make_plan(fasta, read_config(config, settings), labels=source, device=device)
    click.echo("key\tvalue\tunit")
    for row in made.rows():
        click.echo("\t".join(row))
    click.echo(summary(made), err=True)
