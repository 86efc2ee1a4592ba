"""``rmt-genomics compare``: several runs side by side, with mean and standard deviation."""

from pathlib import Path

import click

from rmt_genomics.cli.options import PATH


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=PATH)
def compare(runs: tuple[Path, ...]) -> None:
    """Compare the metrics of several runs.

    RUN is the --out folder of train or evaluate. Meant for runs that differ in their seed: a gain
    smaller than the standard deviation between seeds is no gain.

    Prints a tab-separated table with one row per metric and one column per run; for several runs
    also their mean and standard deviation; then the differences to the baselines.
    """
    from rmt_genomics.evaluation.compare_runs import compare_lines, read_runs

    for line in compare_lines(read_runs(runs)):
        click.echo(line)
