"""``rmt-genomics train``: FASTA and labels in, a trained and judged model out."""

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)
_LARGEST_SEED = 2**32 - 1  # NumPy takes no larger one


def _list_settings(context: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 (as click calls it)
    """Print the template of settings and stop, if asked to."""
    if wanted and not context.resilient_parsing:
        from rmt_genomics.training.config_file import template

        click.echo(template(), nl=False)
        context.exit()


@click.command()
@click.argument("fasta", type=_PATH)
@click.option("--labels", type=_PATH, required=True, help="Table of labels, or a word (see below).")
@click.option(
    "--label-pattern", metavar="REGEX", help="For --labels header: its one group is the label."
)
@click.option("--out", type=_PATH, required=True, help="Folder of the run; a model folder after.")
@click.option("--config", type=_PATH, help="Settings, a TOML file.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one setting; repeatable."
)
@click.option("--batch-size", metavar="N|auto", help="The same as --set training.batch_size=N.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    help="Where to compute.",
)
@click.option(
    "--seed", type=click.IntRange(0, _LARGEST_SEED), default=0, help="Of everything random."
)
@click.option("--resume", is_flag=True, help="Go on with the interrupted run in --out.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in --out.")
@click.option(
    "--devices", type=click.IntRange(min=1), default=1, help="Processes a machine; one a GPU."
)
@click.option("--num-nodes", type=click.IntRange(min=1), default=1, help="Machines.")
@click.option("--strict", is_flag=True, help="Refuse a split that leaks, instead of warning.")
@click.option(
    "--list-settings",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_settings,
    help="Print all settings, explained, as TOML; stop.",
)
def train(  # noqa: PLR0913 (one argument an option)
    fasta: Path,
    labels: Path,
    label_pattern: str | None,
    out: Path,
    config: Path | None,
    settings: tuple[str, ...],
    batch_size: str | None,
    device: str,
    seed: int,
    *,
    resume: bool,
    overwrite: bool,
    devices: int,
    num_nodes: int,
    strict: bool,
) -> None:
    """Train a classifier on FASTA and labels.

    FASTA is a file, or a folder of files of one kind: FASTA, FASTQ, GenBank, EMBL, or CSV or TSV
    with a sequence column, plain or packed by gzip or bgzip.

    The labels are a table (tabs or commas) with a header: record, label and, if wanted, group and
    split; or record, start, end, strand, label, group, split for intervals (0-based, half-open);
    or a BED file with the label in column 4. Several labels of one example are joined by ; and
    examples of one group stay in one part. Labels that are all numbers, of which some are not whole
    and at least 20 differ, are predicted as numbers (regression); --set data.task=classification
    or data.task=regression says otherwise.

    Instead of a table, --labels may say where the sequence files have them: column (the column
    label of a CSV or TSV; group and split are read too), header (label=... in each header, or what
    --label-pattern finds there), file (one file a class, called so) or folder (one folder a class).
    With column and header, files called train, dev and test are the parts of the split.

    Settings are those of the TOML file, changed by --set, such as --set model.preset=tiny or
    --set training.max_epochs=5. With --resume and neither of the two, those of the run are used.
    --list-settings prints such a file, to begin with.

    Prints the main metrics of the best model and of its baselines on the test part, or on the
    validation part if there is no test part, as a tab-separated table. The baselines are the most
    common label, k-mer counts (4-mers or 6-mers, whichever is better on validation; with
    model.protein_k also k-mers of amino acids), and the same network reading each segment by
    itself (if it reads more than its memory, also windows of one segment with nothing from
    outside). Writes a report (report.html) into --out.
    """
    from rmt_genomics.datasets import LabelSource
    from rmt_genomics.training import read_config
    from rmt_genomics.training import train as train_model
    from rmt_genomics.training.distributed import leave_at_once

    if batch_size is not None:
        settings = (*settings, f"training.batch_size={batch_size}")
    if resume and config is None and (out / "config.toml").is_file():
        config = out / "config.toml"
    result = train_model(
        fasta,
        LabelSource(labels, label_pattern),
        out,
        read_config(config, settings),
        device=device,
        seed=seed,
        resume=resume,
        overwrite=overwrite,
        strict=strict,
        devices=devices,
        num_nodes=num_nodes,
    )
    if result.is_first:
        _judge(out, fasta, device)
    if devices * num_nodes > 1:
        leave_at_once()


def _judge(out: Path, fasta: Path, device: str) -> None:
    """Judge the fresh run, write its report, and print the main metrics."""
    from rmt_genomics.evaluation import evaluate_run
    from rmt_genomics.evaluation.tables import metric_lines, summary_sentences
    from rmt_genomics.reports import write_model_card, write_report

    metrics = evaluate_run(out, fasta, device=device)
    report = write_report(out)
    write_model_card(out)
    for line in metric_lines(metrics):
        click.echo(line)
    for sentence in summary_sentences(metrics):
        click.echo(sentence, err=True)
    talk = f"The model is in {out}, a report in {report}."
    click.echo(f"Judged on the {metrics['split']} part. {talk}", err=True)
