"""How a command prints the metrics of a model: columns for a reader, tabs for a program."""

import sys
from collections.abc import Mapping
from typing import Any

import click


def echo_metrics(metrics: Mapping[str, Any]) -> None:
    """Print a row per predictor on a terminal, and a tab-separated row per metric elsewhere."""
    from rmt_genomics.evaluation.tables import metric_lines

    if sys.stdout.isatty():
        click.echo(metrics_table(metrics))
        return
    for line in metric_lines(metrics):
        click.echo(line)


def metrics_table(metrics: Mapping[str, Any]) -> str:
    """Return aligned columns, as wide as the terminal at most: a row per predictor."""
    from rich.console import Console
    from rich.table import Table

    from rmt_genomics.errors import three_digits
    from rmt_genomics.evaluation.tables import baseline_name, shown_baselines
    from rmt_genomics.model.metrics import metric_keys, metric_name

    rows = {"model": metrics}
    rows |= {baseline_name(key, row): row for key, row in shown_baselines(metrics).items()}
    keys = metric_keys(metrics.get("task"))
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("", ratio=1)
    for key in keys:
        table.add_column(metric_name(key).replace(" ", "\n"), justify="right", vertical="bottom")
    for name, row in rows.items():
        values = (row.get(key) for key in keys)
        table.add_row(name, *("-" if value is None else three_digits(value) for value in values))
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
