"""``rmt-genomics predict``: DNA in, a table of labels and probabilities out."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmt_genomics.cli.options import (
    BP,
    COUNT,
    DEVICE,
    PATH,
    SEQUENCES,
    name_options,
    shard_option,
)

if TYPE_CHECKING:
    from rmt_genomics.prediction.inputs import PredictionInput
    from rmt_genomics.prediction.run import PredictionConfig

logger = logging.getLogger(__name__)

_FRACTION = click.FloatRange(min=0, max=1, min_open=True, max_open=True)


@click.command()
@click.argument("model_dir")
@click.argument("fasta", nargs=-1, required=True, type=SEQUENCES)
@click.option("--window", type=BP, metavar="BP", help="Predict windows of this length.")
@click.option("--step", type=BP, metavar="BP", help="From window to window; default: --window.")
@click.option("--intervals", type=PATH, help="Predict these intervals (BED), on their strands.")
@click.option(
    "--format",
    type=click.Choice(["tsv", "bed", "bedgraph"]),
    default="tsv",
    help="A table, or a track for a genome browser.",
)
@click.option("--class", "class_name", metavar="NAME", help="For bedgraph: whose probability.")
@name_options
@click.option("--calibrated", is_flag=True, help="Probabilities scaled by the model's temperature.")
@click.option("--abstain-below", type=_FRACTION, metavar="P", help="No label of a lower score.")
@click.option("--coverage", type=_FRACTION, metavar="C", help="Also the labels that may be true.")
@click.option("--out", type=PATH, help="Write here instead of to stdout.")
@click.option("--resume", is_flag=True, help="Continue an interrupted run of --out.")
@click.option("--processes", type=COUNT, metavar="N", help="Run N, a shard each.")
@shard_option
@click.option("--device", type=DEVICE, default="auto", help="Where to compute.")
@click.option("--overwrite", is_flag=True, help="Replace the file at --out.")
def predict(
    model_dir: str,
    fasta: tuple[Path, ...],
    out: Path | None,
    *,
    resume: bool,
    processes: int | None,
    shard: tuple[int, int] | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Predict the label of each FASTA record.

    MODEL_DIR is the folder of a trained model, or hf://owner/name on the Hugging Face hub. FASTA is
    one file or several, or a folder of them: FASTA, FASTQ, GenBank, EMBL, or CSV or TSV with a
    sequence column, plain or compressed by gzip, bgzip, bzip2, xz or Zstandard; - reads stdin. A
    record may be of any length, and there may be any number of them. A name that is in several
    files gets the name of the file in front, as in plasmids:contig_1.

    Prints a tab-separated table, one row per record in input order: record, length (bp), label,
    score (the probability of the label), one probability per class and a note. A multi-label model
    joins all classes of 0.5 and above by ; and the score is the smallest of theirs; label and score
    are empty if there is none. A model that was trained with --threshold gives labels by its own
    thresholds. A regression model: record, length, prediction, note. The note is
    empty, or says what the training examples did not have: the length, the GC content or the 4-mer
    composition of a record; or that it has no known base (or no sequence at all): label, score and
    probabilities are then NA. At the end, stderr gets the number of rows by label.

    With --window, a row is a window, and start and end (0-based, half-open) follow record; the
    last window of a record ends with it, and a shorter record is one window. With --intervals, a
    row is an interval of a BED file or of a table with record, start, end and optionally strand;
    start, end and strand follow record, and the bases of strand - are read reverse-complemented.

    With --format bed, a line is a record, window or interval with label and score (0 to 1000).
    With --format bedgraph it is the probability of one class (by default the second of two);
    where windows overlap, each is drawn at the --step bases in its middle.

    A label whose score is lower than --abstain-below is replaced by abstain. --coverage 0.9 adds a
    column labels: a set that holds the true label of 9 in 10 records that are like the validation
    records of the training. It and --calibrated need the model's calibration.json.

    --out appears when it is complete; until then rows go to OUT.part as they come, and stay there
    if the run is killed. --resume continues it, if its input has not changed: the file is the
    same, byte for byte, as that of an uninterrupted run. The same is true with --processes, and
    with --shard 1/4, 2/4, ... on several machines: join merges their files.
    """
    from rmt_genomics.prediction.predictor import DecisionRule
    from rmt_genomics.prediction.run import PredictionConfig, predicted_lines

    settings = prediction_input(fasta, options)
    names = ("calibrated", "abstain_below", "coverage")
    rule = DecisionRule(**{name: options.pop(name) for name in names})
    config = PredictionConfig(model_dir=model_dir, input=settings, decision_rule=rule, **options)
    if out is None:
        for name, value in (("resume", resume), ("processes", processes), ("shard", shard)):
            if value:
                raise click.UsageError(f"--{name} needs --out, the file that is written.")
        _report(config, map(_printed, predicted_lines(config)))
        return
    if processes is not None and shard is not None:
        raise click.UsageError("--processes and --shard cannot be combined.")
    _write(config, out, processes, shard, resume=resume, overwrite=overwrite)


def _write(
    config: "PredictionConfig",
    out: Path,
    processes: int | None,
    shard: tuple[int, int] | None,
    *,
    resume: bool,
    overwrite: bool,
) -> None:
    """Write the output file, and report what it holds."""
    from rmt_genomics.atomic_io import check_new_file, check_partial
    from rmt_genomics.prediction.predictor import Shard
    from rmt_genomics.prediction.run import write_predictions
    from rmt_genomics.prediction.sharding import (
        is_prediction_file,
        lines_of_shard,
        predict_in_processes,
        write_shard,
    )

    check_new_file(
        out,
        inputs=config.input.paths,
        overwrite=overwrite,
        or_stdout=True,
        is_ours=is_prediction_file,
    )
    check_partial(out, resume=resume, overwrite=overwrite)
    if shard is not None:
        write_shard(config, out, Shard(*shard), resume=resume)
        _report(config, lines_of_shard(out), out)
        return
    if processes is not None:
        predict_in_processes(config, out, processes, resume=resume)
    else:
        write_predictions(config, out, resume=resume)
    with out.open(encoding="utf-8", newline="\n") as lines:
        _report(config, lines, out)


def prediction_input(fasta: tuple[Path, ...], options: dict[str, Any]) -> "PredictionInput":
    """Take the options that say what is read; shared with embed."""
    from rmt_genomics.dna import NameOptions
    from rmt_genomics.prediction.inputs import PredictionInput

    window, step, intervals = (options.pop(name) for name in ("window", "step", "intervals"))
    if intervals is not None and (window, step) != (None, None):
        raise click.UsageError("--window and --intervals cannot be combined.")
    if window is None and step is not None:
        raise click.UsageError("--step needs --window, the length of a window in bp.")
    names = NameOptions.of(
        duplicates=options.pop("duplicate_names"), full=options.pop("full_names")
    )
    return PredictionInput(fasta=fasta, window=window, step=step, intervals=intervals, names=names)


def _printed(line: str) -> str:
    click.echo(line)
    return line


def _report(config: "PredictionConfig", lines: Iterable[str], out: Path | None = None) -> None:
    """Read all lines of the output, and report what it holds and where it is."""
    from rmt_genomics.prediction.output_formats import OutputSummary

    summary = OutputSummary(config.format)
    for line in lines:
        summary.add(line)
    logger.info("%s%s", summary.sentence(), f" Written to {out}." if out else "")
