"""``rmt-genomics inspect``: look at the data before a night is spent on it. No torch."""

from collections import Counter
from pathlib import Path
from statistics import median

import click

from rmt_genomics.dna import Composition, composition_of, read_records

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("fasta", type=_PATH)
@click.option("--labels", type=_PATH, help="Check this table of labels too, and count them.")
def inspect(fasta: Path, labels: Path | None) -> None:
    """Look at FASTA and labels before they are used.

    Prints a tab-separated table, one row a record: record, length (bp), gc (share of G and C in
    the known bases), n (share of N), ambiguous (number of other letters that stand for several
    bases; the model reads them as N) and lower_case (share of soft-masked bases). A summary
    follows on stderr.
    """
    lengths: dict[str, int] = {}
    for record in read_records(fasta):
        if not lengths:
            click.echo("record\tlength\tgc\tn\tambiguous\tlower_case")
        click.echo(f"{record.name}\t{_columns(composition_of(record.sequence))}")
        lengths[record.name] = len(record.sequence)
    click.echo(_lengths_summary(list(lengths.values())), err=True)
    if labels is not None:
        click.echo(_labels_summary(labels, lengths), err=True)


def _columns(found: Composition) -> str:
    gc = "" if found.gc is None else f"{found.gc:.4f}"
    return f"{found.length}\t{gc}\t{found.n:.4f}\t{found.ambiguous}\t{found.lower_case:.4f}"


def _lengths_summary(lengths: list[int]) -> str:
    records = "1 record" if len(lengths) == 1 else f"{len(lengths):,} records"
    return (
        f"{records}, {sum(lengths):,} bp; shortest {min(lengths):,} bp, "
        f"median {median(lengths):,.0f} bp, longest {max(lengths):,} bp"
    )


def _labels_summary(labels: Path, lengths: dict[str, int]) -> str:
    """Count examples by label, and by split where the file has one."""
    from rmt_genomics.datasets.labels import read_labels

    examples = read_labels(labels, lengths)
    counts = Counter(label for example in examples for label in example.labels)
    lines = [f"{len(examples):,} labelled examples, {len(counts):,} classes:"]
    for name, count in sorted(counts.items()):
        splits = Counter(e.split for e in examples if name in e.labels and e.split)
        parts = ", ".join(f"{split} {number:,}" for split, number in sorted(splits.items()))
        lines.append(f"  {name}: {count:,}" + (f" ({parts})" if parts else ""))
    return "\n".join(lines)
