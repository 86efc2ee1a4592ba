"""``rmt-genomics inspect``: look at the data before a night is spent on it. No torch."""

from collections import Counter
from pathlib import Path
from statistics import median

import click

from rmt_genomics.dna import Composition, composition_of, read_records, sequence_files
from rmt_genomics.dna.record import RecordInfo
from rmt_genomics.dna.sources import NamesOfFiles

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("fasta", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--labels", type=_PATH, help="Check these labels too, and count them (see train).")
@click.option(
    "--label-pattern", metavar="REGEX", help="For --labels header: its one group is the label."
)
def inspect(fasta: tuple[Path, ...], labels: Path | None, label_pattern: str | None) -> None:
    """Look at FASTA and labels before they are used.

    FASTA is one file or several, or a folder of them: FASTA, FASTQ, GenBank, EMBL, or CSV or TSV
    with a sequence column, plain or packed by gzip or bgzip; - reads stdin.

    Prints a tab-separated table, one row a record: record, length (bp), gc (share of G and C in
    the known bases), n (share of N), ambiguous (number of other letters that stand for several
    bases; the model reads them as N) and lower_case (share of soft-masked bases). A summary
    follows on stderr.
    """
    if labels is None and label_pattern is not None:
        raise click.UsageError("--label-pattern needs --labels header.")
    records: list[RecordInfo] = []
    names = NamesOfFiles()
    for file in sequence_files(fasta):
        for record in read_records(file):
            names.add(record.name, file)
            if not records:
                click.echo("record\tlength\tgc\tn\tambiguous\tlower_case")
            found = composition_of(record.sequence)
            click.echo(f"{record.name}\t{_columns(found)}")
            info = RecordInfo(record.name, found.length, file, record.description, record.columns)
            records.append(info)
    click.echo(_lengths_summary([record.length for record in records]), err=True)
    if labels is not None:
        click.echo(_labels_summary(labels, label_pattern, records), err=True)


def _columns(found: Composition) -> str:
    gc = "" if found.gc is None else f"{found.gc:.4f}"
    return f"{found.length}\t{gc}\t{found.n:.4f}\t{found.ambiguous}\t{found.lower_case:.4f}"


def _lengths_summary(lengths: list[int]) -> str:
    records = "1 record" if len(lengths) == 1 else f"{len(lengths):,} records"
    return (
        f"{records}, {sum(lengths):,} bp; shortest {min(lengths):,} bp, "
        f"median {median(lengths):,.0f} bp, longest {max(lengths):,} bp"
    )


def _labels_summary(labels: Path, pattern: str | None, records: list[RecordInfo]) -> str:
    """Count examples by label, and by split where the file has one."""
    from rmt_genomics.datasets.examples import SPLITS
    from rmt_genomics.datasets.label_sources import LabelSource

    examples = LabelSource(labels, pattern).read(records)
    counts = Counter(label for example in examples for label in example.labels)
    lines = [f"{len(examples):,} labelled examples, {len(counts):,} classes:"]
    for name, count in sorted(counts.items()):
        splits = Counter(e.split for e in examples if name in e.labels and e.split)
        parts = ", ".join(f"{split} {splits[split]:,}" for split in SPLITS if splits[split])
        lines.append(f"  {name}: {count:,}" + (f" ({parts})" if parts else ""))
    return "\n".join(lines)
