"""``rmt-genomics inspect``: look at the data before a night is spent on it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmt_genomics.dna import read_records, sequence_files
from rmt_genomics.dna.record_types import RecordInfo
from rmt_genomics.dna.sequence_files import RecordNames

if TYPE_CHECKING:
    from rmt_genomics.datasets import Example
    from rmt_genomics.reports.data_summary import Inspection
    from rmt_genomics.training import ExperimentConfig

_PATH = click.Path(path_type=Path)
_STDIN = Path("-")
_PICTURES = (".svg", ".png")


@click.command()
@click.argument("fasta", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--labels", type=_PATH, help="Check these labels too, and count them (see train).")
@click.option(
    "--label-pattern", metavar="REGEX", help="For --labels header: its one group is the label."
)
@click.option("--config", type=_PATH, help="Settings of the training to come (see train).")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one of them; repeatable."
)
@click.option("--plot", type=_PATH, help="Draw lengths, GC and unknown bases (.svg or .png).")
@click.option("--overwrite", is_flag=True, help="Replace the file at --plot.")
def inspect(
    fasta: tuple[Path, ...],
    labels: Path | None,
    label_pattern: str | None,
    config: Path | None,
    settings: tuple[str, ...],
    plot: Path | None,
    *,
    overwrite: bool,
) -> None:
    """Summarise and check sequence files and labels before training.

    FASTA is one file or several, or a folder of them: FASTA, FASTQ, GenBank, EMBL, or CSV or TSV
    with a sequence column, plain or packed by gzip or bgzip; - reads stdin.

    Prints a tab-separated table, one row a record: record, length (bp), gc (share of G and C in
    the known bases), n (share of N), ambiguous (number of other letters that stand for several
    bases; the model reads them as N), lower_case (share of soft-masked bases), duplicate_of (the
    first record of the same sequence) and duplicate_strand (- if that is its reverse complement).
    A summary follows on stderr.

    With --labels, it also says what training would do: the task, the parts and their classes, and
    what the leakage audit finds; with --config or --set, also how much it reads at once.
    """
    _check_options(labels, label_pattern, config, settings, plot)
    if plot is not None:
        from rmt_genomics.atomic_io import check_new_file

        inputs = [*fasta, labels] if labels else fasta
        check_new_file(plot, inputs=inputs, overwrite=overwrite)
    if labels is None:
        found, _ = _look(fasta)
        examples: Sequence[Example] = ()
    else:
        found, examples = _look_with_labels(fasta, labels, label_pattern, config, settings)
    if plot is not None:
        from rmt_genomics.reports.plot_files import write_composition_plot

        write_composition_plot(found, examples, plot)
        click.echo(f"Drawn: {plot}", err=True)


def _check_options(
    labels: Path | None,
    label_pattern: str | None,
    config: Path | None,
    settings: tuple[str, ...],
    plot: Path | None,
) -> None:
    if labels is None and label_pattern is not None:
        raise click.UsageError("--label-pattern needs --labels header.")
    if labels is None and (config is not None or settings):
        raise click.UsageError("--config and --set are of a training, which needs --labels.")
    if plot is not None and plot.suffix not in _PICTURES:
        raise click.UsageError(f"--plot {plot}: the name must end in {' or '.join(_PICTURES)}.")


def _look(fasta: Sequence[Path]) -> "tuple[Inspection, list[RecordInfo]]":
    """Print a row a record and then the summary; return what training knows of each record."""
    from rmt_genomics.reports.data_summary import COLUMNS, Inspection

    found, names = Inspection(), RecordNames()
    infos: list[RecordInfo] = []
    for file in sequence_files(fasta):
        for record in read_records(file):
            names.add(record.name, file)
            if not infos:
                click.echo("\t".join(COLUMNS))
            click.echo(found.look_at(record.name, record.sequence).line())
            place = record.name, record.length, file, record.description, record.columns
            infos.append(RecordInfo(*place))
    click.echo(found.summary(), err=True)
    return found, infos


def _look_with_labels(
    fasta: Sequence[Path],
    labels: Path,
    label_pattern: str | None,
    config: Path | None,
    settings: tuple[str, ...],
) -> "tuple[Inspection, Sequence[Example]]":
    """Count labels too, and say what training would do with it all."""
    from rmt_genomics.datasets.label_sources import LabelSource
    from rmt_genomics.reports.data_summary import outlook

    chosen: ExperimentConfig | None = None
    if config is not None or settings:
        from rmt_genomics.training import read_config

        chosen = read_config(config, settings)
    source = LabelSource(labels, label_pattern)
    source.check()
    found, infos = _look(fasta)
    told = {"group_column": chosen.data.group, "task": chosen.data.task} if chosen else {}
    examples = source.read(infos, **told)
    click.echo(found.labels_summary(examples), err=True)
    if len(fasta) == 1 and fasta[0] != _STDIN:
        click.echo(outlook(fasta[0], source, examples, chosen), err=True)
    else:
        click.echo("What training would do is told of one file or folder only.", err=True)
    return found, examples
