"""``rmt-genomics split``: divide labelled DNA so that nothing alike is on two sides."""

from pathlib import Path

import click

from rmt_genomics.datasets.examples import SPLITS

_PATH = click.Path(path_type=Path)
_WAYS = click.Choice(["column", "group", "record", "homology", "stratified"])
_TASKS = click.Choice(["auto", "classification", "regression"])
_LARGEST_SEED = 2**32 - 1


def _shares(_context: click.Context, _option: click.Parameter, text: str) -> dict[str, float]:
    """Read the three shares, or say what is wrong with them."""
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = []
    train, validation, test = shares if len(shares) == len(SPLITS) else (0.0, 0.0, 0.0)
    if not (train > 0 and validation > 0 and test >= 0 and abs(sum(shares) - 1) < 1e-6):
        raise click.BadParameter(
            f"{text!r} must be three numbers that add up to 1: the shares of train, validation "
            "and test, such as 0.8,0.1,0.1. Only that of test may be 0."
        )
    return dict(zip(SPLITS, shares, strict=True))


@click.command()
@click.argument("fasta", type=_PATH)
@click.option("--labels", type=_PATH, required=True, help="Table of labels, or a word (see train).")
@click.option(
    "--label-pattern", metavar="REGEX", help="For --labels header: its one group is the label."
)
@click.option("--out", type=_PATH, required=True, help="The table to write.")
@click.option("--by", "way", type=_WAYS, help="What stays together (see below).")
@click.option("--clusters", type=_PATH, help="Clusters from MMseqs2 or CD-HIT, for --by homology.")
@click.option(
    "--fractions",
    "shares",
    default="0.8,0.1,0.1",
    callback=_shares,
    help="Shares of train, validation and test.",
)
@click.option(
    "--seed", type=click.IntRange(0, _LARGEST_SEED), default=0, help="Decides what comes where."
)
@click.option(
    "--task", type=_TASKS, default="auto", help="Whether labels name classes, or are numbers."
)
@click.option("--overwrite", is_flag=True, help="Replace the file at --out.")
def split(  # noqa: PLR0913 (one argument an option)
    fasta: Path,
    labels: Path,
    label_pattern: str | None,
    out: Path,
    way: str | None,
    clusters: Path | None,
    shares: dict[str, float],
    seed: int,
    task: str,
    *,
    overwrite: bool,
) -> None:
    """Divide labelled DNA into train, validation and test.

    FASTA and labels are of any kind that train reads. Every class gets near its share of each
    part, and what is alike stays together. --by says how that is known:

    \b
    column      keep the split column; without validation, take it from train
    group       keep the groups of the group column whole
    record      keep the intervals of a record together
    homology    keep sequences of about 90 % identity together, either strand
    stratified  keep nothing together

    By default it is column or group if the labels have such a column, else homology.

    Writes the table of labels with the columns group and split added and all else as it was (a new
    table if there is none, or a BED file), and prints the number of examples of each class in each
    part as a tab-separated table. What still leaks is said on stderr.

    Labels that are numbers have bins in the place of classes. They are numbers if all are, some are
    not whole and at least 20 differ; --task may say otherwise.
    """
    from rmt_genomics.atomic_io import check_new_file, write_text
    from rmt_genomics.datasets import EncodedStore, LabelSource
    from rmt_genomics.datasets.leakage import audit
    from rmt_genomics.datasets.make_split import divide_labels

    source = LabelSource(labels, label_pattern)
    inputs = [path for path in (fasta, source.table, clusters) if path is not None]
    check_new_file(out, inputs=inputs, overwrite=overwrite)
    source.check()
    store = EncodedStore.open(fasta)
    divided = divide_labels(store, source, shares, way=way, clusters=clusters, seed=seed, task=task)
    write_text(out, divided.table)
    for row in divided.counts():
        click.echo("\t".join(row))
    click.echo(f"Divided by {divided.way}. Written to {out}.", err=True)
    click.echo(audit(store, divided.split, divided.scheme).summary(), err=True)
