"""``rmt-genomics split``: split labelled DNA so that similar sequences stay in one part."""

import logging
from pathlib import Path
from typing import Any

import click

from rmt_genomics.cli.options import (
    PATH,
    SEED,
    label_options,
    label_source,
    take_labels,
    take_names,
)
from rmt_genomics.datasets.examples import SPLITS
from rmt_genomics.parsing import read_number, shown

logger = logging.getLogger(__name__)
_TASKS = click.Choice(["auto", "classification", "regression"])
_METHODS = click.Choice(["column", "group", "record", "homology", "stratified"])


def _parse_fractions(
    _context: click.Context, _option: click.Parameter, text: str
) -> dict[str, float]:
    numbers = [read_number(number.strip()) for number in text.split(",")]
    fractions = [number for number in numbers if number is not None]
    is_three = len(fractions) == len(numbers) == len(SPLITS)
    train, validation, test = fractions if is_three else (0.0, 0.0, 0.0)
    if not (train > 0 and validation > 0 and test >= 0 and abs(sum(fractions) - 1) < 1e-6):
        raise click.BadParameter(
            f"{shown(text)} must be three numbers that add up to 1: the fractions of train, "
            "validation and test, such as 0.8,0.1,0.1. Only that of test may be 0."
        )
    return dict(zip(SPLITS, fractions, strict=True))


@click.command()
@click.argument("fasta", type=PATH)
@click.option("--labels", type=PATH, help="Table, column, header, file or folder (see train).")
@label_options
@click.option("--out", type=PATH, required=True, help="The table to write.")
@click.option("--by", "method", type=_METHODS, help="What stays together (see above).")
@click.option("--clusters", type=PATH, help="Clusters from MMseqs2 or CD-HIT, for --by homology.")
@click.option(
    "--fractions",
    default="0.8,0.1,0.1",
    callback=_parse_fractions,
    help="Fractions of train, validation and test.",
)
@click.option("--seed", type=SEED, default=0, help="Seed of the random choice.")
@click.option(
    "--task", type=_TASKS, default="auto", help="Whether labels are class names or numbers."
)
@click.option("--overwrite", is_flag=True, help="Replace the file at --out.")
def split(
    fasta: Path,
    labels: Path | None,
    label_pattern: str | None,
    out: Path,
    clusters: Path | None,
    fractions: dict[str, float],
    *,
    overwrite: bool,
    **options: Any,
) -> None:
    """Split labelled DNA into train, validation and test sets.

    FASTA and labels are as for train. The fractions hold for every class as closely as possible,
    and --by says what stays together in one set:

    \b
    column      keep the split column; without validation, take it from train
    group       examples of the same group (column group)
    record      intervals of the same record
    homology    sequences of at least about 90% identity, on either strand
    stratified  nothing

    By default it is column or group if the labels have such a column, else homology.

    Writes the table of labels with the columns group and split added and all else unchanged (a new
    table if there is none, or a BED file, or if rows were left out), and prints the number of
    examples of each class in each set as a tab-separated table. A class that is too small for all
    sets stays in train as far as it goes, with a warning; or leave it out with --min-class-size.
    Leakage between the sets is reported on stderr.

    Labels that are numbers are binned, and the bins are treated as classes. Labels are taken as
    numbers if all are numbers, some are not whole and at least 20 differ, or by --task.
    """
    from rmt_genomics.atomic_io import write_text
    from rmt_genomics.datasets import open_sequences
    from rmt_genomics.datasets.leakage import audit, check_leakage
    from rmt_genomics.datasets.make_split import is_split_table, make_split
    from rmt_genomics.locks import new_file

    source, names = label_source(labels, label_pattern, fasta), take_names(options)
    inputs = [path for path in (fasta, source.table, clusters) if path is not None]
    new = new_file(out, inputs=inputs, overwrite=overwrite, is_ours=is_split_table)
    click.get_current_context().with_resource(new)
    source.check()
    store = open_sequences(fasta, intervals_only=False, names=names)
    reading = take_labels(options)
    result = make_split(store, source, fractions, clusters=clusters, **reading, **options)
    write_text(out, result.table)
    for row in result.counts():
        click.echo("\t".join(row))
    logger.info("Split by %s. Written to %s.", result.method, out)
    leakage = audit(store, result.split, result.scheme)
    for line in leakage.results():
        logger.info("%s", line)
    check_leakage(leakage, strict=False)
