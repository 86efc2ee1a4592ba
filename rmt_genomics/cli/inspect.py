"""``rmt-genomics inspect``: summarise and check data before training."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmt_genomics.cli.options import PATH, SEQUENCES, label_pattern_option, settings_option
from rmt_genomics.dna import read_records, sequence_files
from rmt_genomics.dna.record_types import RecordInfo
from rmt_genomics.dna.sequence_files import RecordNames

if TYPE_CHECKING:
    from rmt_genomics.datasets import Example, LabelSource
    from rmt_genomics.reports.data_summary import DataSummary
    from rmt_genomics.training.config import ExperimentConfig

logger = logging.getLogger(__name__)
_STDIN = Path("-")


@click.command()
@click.argument("fasta", nargs=-1, required=True, type=SEQUENCES)
@click.option("--labels", type=PATH, help="Check and count these labels too (see train).")
@label_pattern_option
@click.option("--config", type=PATH, help="Settings of the planned training (see train).")
@settings_option
@click.option("--plot", type=PATH, help="Plot lengths, GC and unknown bases (.svg or .png).")
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

    FASTA is one or several files or folders of files: FASTA, FASTQ, GenBank, EMBL, or CSV or TSV
    with a sequence column, plain or compressed by gzip or bgzip; - reads stdin.

    Prints a tab-separated table, one row per record: record, length (bp), gc (fraction of G and C
    in the known bases), n (fraction of N), ambiguous (number of other IUPAC codes that stand for
    several bases; the model reads them as N), lower_case (fraction of soft-masked bases),
    duplicate_of (the first record with the same sequence) and duplicate_strand (- if it is its
    reverse complement). A summary follows on stderr.

    With --labels, the summary also says what training would do: the task, the split and its
    classes, and what the leakage audit finds; with --config or --set, also the size of an epoch.
    """
    if labels is None and label_pattern is not None:
        raise click.UsageError("--label-pattern needs --labels header.")
    if labels is None and (config is not None or settings):
        raise click.UsageError("--config and --set are settings of a training, so need --labels.")
    if plot is not None and plot.suffix not in (".svg", ".png"):
        raise click.UsageError(f"--plot {plot}: its name must end in .svg or .png.")
    from rmt_genomics.atomic_io import check_new_file
    from rmt_genomics.datasets import LabelSource

    if plot is not None:
        inputs = [*fasta, labels] if labels else fasta
        check_new_file(plot, inputs=inputs, overwrite=overwrite)
    if labels is None:
        summary, _ = _summarise_records(fasta)
        examples: Sequence[Example] = ()
    else:
        experiment = None
        if config is not None or settings:
            from rmt_genomics.training import read_config  # loads torch

            experiment = read_config(config, settings)
            experiment.check_labels(are_given=True)
        source = LabelSource(labels, label_pattern)
        summary, examples = _summarise_with_labels(fasta, source, experiment)
    if plot is not None:
        from rmt_genomics.reports.plot_files import write_composition_plot

        write_composition_plot(summary, examples, plot)
        logger.info("Plot written to %s.", plot)


def _summarise_records(fasta: Sequence[Path]) -> "tuple[DataSummary, list[RecordInfo]]":
    """Print one row per record, then log the summary; return it and what labels may refer to."""
    from rmt_genomics.reports.data_summary import COLUMNS, DataSummary

    summary, names = DataSummary(), RecordNames()
    infos: list[RecordInfo] = []
    for file in sequence_files(fasta):
        for record in read_records(file):
            names.add(record.name, file)
            if not infos:
                click.echo("\t".join(COLUMNS))
            click.echo(summary.add(record.name, record.sequence).row())
            infos.append(
                RecordInfo(record.name, record.length, file, record.description, record.columns)
            )
    for line in summary.lines():
        logger.info(line)
    return summary, infos


def _summarise_with_labels(
    fasta: Sequence[Path], source: "LabelSource", experiment: "ExperimentConfig | None"
) -> "tuple[DataSummary, Sequence[Example]]":
    """Summarise the labels too, and log what training would do with the data."""
    from rmt_genomics.reports.data_summary import training_preview

    source.check()
    summary, infos = _summarise_records(fasta)
    group, task = (experiment.data.group, experiment.data.task) if experiment else ("group", "auto")
    examples = source.read(infos, group_column=group, task=task)
    for line in summary.label_lines(examples, task):
        logger.info(line)
    if len(fasta) == 1 and fasta[0] != _STDIN:
        for line in training_preview(fasta[0], source, examples, experiment):
            logger.info(line)
    else:
        logger.info("What training would do is shown for a single file or folder only.")
    return summary, examples
