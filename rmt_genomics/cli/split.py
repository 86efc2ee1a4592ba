"""``rmt-genomics split``: split labelled DNA so that similar sequences stay in one part."""

import logging
from pathlib import Path
from typing import Any

import click

from rmt_genomics.cli.options import (
    PATH,
    SEED,
    check_step,
    label_options,
    label_source,
    step_option,
    take_labels,
    take_names,
    window_option,
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
    "--identity", type=float, metavar="FRACTION", help="For --by homology and the leakage audit."
)
@window_option
@step_option
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
def split(  # noqa: PLR0913 (one argument an option)
    fasta: Path,
    labels: Path | None,
    label_pattern: str | None,
    out: Path,
    clusters: Path | None,
    fractions: dict[str, float],
    window_bp: int | None,
    step_bp: int | None,
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
    homology    sequences that are similar on either strand
    stratified  nothing

    By default it is column or group if the labels have such a column, else homology.

    Similar means an estimated nucleotide identity of at least --identity, such as 0.9: the k-th
    root of the fraction of k-mers shared, of those of the shorter sequence. Without --identity it
    is 0.95, or the lowest higher one at which every set gets about its fraction of every class;
    then a warning says so. Leakage is audited by the same identity.

    With --window, records or intervals are cut into windows, as predict does: the last window of
    each ends with it. Windows of one record stay in one set; similar are whole records.

    Writes the table of labels with the columns group and split added and all else unchanged (a new
    table of windows, of a BED file, if there is none, or if rows were left out), and prints the
    number of examples of each class in each set as a tab-separated table. A class that is too small
    for all sets stays in train as far as it goes, with a warning; or leave it out with
    --min-class-size. Leakage between the sets is reported on stderr.

    Labels that are numbers are binned, and the bins are treated as classes. Labels are taken as
    numbers if all are numbers, some are not whole and at least 20 differ, or by --task.
    """
    from rmt_genomics.atomic_io import write_text
    from rmt_genomics.datasets import open_sequences
    from rmt_genomics.datasets.leakage import audit, check_leakage
    from rmt_genomics.datasets.make_split import is_split_table, make_split
    from rmt_genomics.datasets.windows import Windows
    from rmt_genomics.locks import new_file

    check_step(window_bp, step_bp)
    windows = Windows.of(window_bp, step_bp)
    source, names = label_source(labels, label_pattern, fasta), take_names(options)
    inputs = [path for path in (fasta, source.table, clusters) if path is not None]
    new = new_file(out, inputs=inputs, overwrite=overwrite, is_ours=is_split_table)
    click.get_current_context().with_resource(new)
    source.check()
    store = open_sequences(fasta, intervals_only=False, names=names)
    options |= take_labels(options)
    result = make_split(store, source, fractions, clusters=clusters, windows=windows, **options)
    write_text(out, result.table)
    for row in result.counts():
        click.echo("\t".join(row))
    logger.info("Split by %s. Written to %s.", result.method, out)
    leakage = audit(store, result.split, result.scheme, result.identity)
    for line in leakage.results():
        logger.info("%s", line)
    check_leakage(leakage, strict=False)
