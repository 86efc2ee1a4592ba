"""``rmt-genomics predict``: DNA in, a table of labels and probabilities out."""

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rmt_genomics.prediction.inputs import PredictionInput
    from rmt_genomics.prediction.run import PredictionConfig

PATH = click.Path(path_type=Path)
BP = click.IntRange(min=1)
DEVICE = click.Choice(["auto", "cpu", "cuda", "mps"])
SEQUENCES = click.Path(path_type=Path, allow_dash=True)
_SHARE = click.FloatRange(min=0, max=1, min_open=True, max_open=True)


def _share(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    """Read ``I/N``: share I of N."""
    if value is None:
        return None
    number, slash, of = value.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise click.BadParameter(f"{value!r} is no share: write 1/4 for the first of four.")
    return int(number), int(of)


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
@click.option("--calibrated", is_flag=True, help="Probabilities scaled by the model's temperature.")
@click.option("--abstain-below", type=_SHARE, metavar="P", help="No label of a lower score.")
@click.option("--coverage", type=_SHARE, metavar="C", help="Also the labels that may be true.")
@click.option("--out", type=PATH, help="Write here instead of to stdout.")
@click.option("--resume", is_flag=True, help="Go on where a stopped run of --out ended.")
@click.option("--processes", type=click.IntRange(min=1), metavar="N", help="Run N, a share each.")
@click.option("--shard", callback=_share, metavar="I/N", help="Only this share, for join.")
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
    **asked: Any,
) -> None:
    """Predict the label of each FASTA record.

    MODEL_DIR is the folder of a trained model, or a hub id. FASTA is one file or several, or a
    folder of them: FASTA, FASTQ, GenBank, EMBL, or CSV or TSV with a sequence column, plain or
    packed by gzip or bgzip; - reads stdin. A record may be of any length, and there may be any
    number of them.

    Prints a tab-separated table, one row a record in input order: record, length (bp), label,
    score (the probability of the label) and one probability a class. A multi-label model joins
    by ; all classes of 0.5 and above; the score is then the smallest of theirs, and label and
    score are empty if there is none. A regression model: record, length, prediction.

    With --window, a row is a window, and start and end (0-based, half-open) follow record; the
    last window of a record ends with it, and a shorter record is one window. With --intervals, a
    row is an interval of a BED file or of a table with record, start, end and, if wanted, strand;
    start, end and strand follow record, and the bases of strand - are read reverse-complemented.

    With --format bed, a line is a record, window or interval with label and score (0 to 1000).
    With --format bedgraph it is the probability of one class (by default the second of two);
    where windows overlap, each stands for the --step bases in its middle.

    A label whose score is lower than --abstain-below is abstain; how many are is told on stderr.
    --coverage 0.9 adds a column labels: a set that holds the true label of 9 in 10 records that
    are like those held out in training. It and --calibrated need the model's calibration.json.

    --out appears when it is whole; until then rows go to OUT.part as they come, and stay there if
    the run is killed. --resume goes on with them: the file is the same, to the byte, as that of a
    run never stopped. So it is with --processes, which also begins again what is killed, and with
    --shard 1/4, 2/4, ... on several machines: put their files together with join.
    """
    from rmt_genomics.atomic_io import check_new_file, check_partial
    from rmt_genomics.prediction import run, sharding

    job = _job(model_dir, prediction_input(fasta, asked), asked)
    if out is None:
        _check_needs_no_file(resume=resume, processes=processes, shard=shard)
        _print(job)
        return
    if processes is not None and shard is not None:
        raise click.UsageError("--processes and --shard cannot both divide the work.")
    check_new_file(out, inputs=job.reading.inputs, overwrite=overwrite, or_stdout=True)
    if processes is not None:
        sharding.check_folder(out, resume=resume, overwrite=overwrite)
        sharding.predict_in_processes(job, out, processes, resume=resume)
    else:
        check_partial(out, resume=resume, overwrite=overwrite)
        if shard is not None:
            sharding.write_shard(job, out, *shard, resume=resume)
            return
        run.write_predictions(job, out, resume=resume)
    if job.answers.abstain_below is not None:
        with out.open(encoding="utf-8", newline="\n") as lines:
            _tell_abstained(job, lines)


def prediction_input(fasta: tuple[Path, ...], asked: dict[str, Any]) -> "PredictionInput":
    """Gather what is read: shared with embed."""
    from rmt_genomics.prediction.inputs import PredictionInput

    window, step, intervals = (asked.pop(name) for name in ("window", "step", "intervals"))
    if intervals is not None and (window, step) != (None, None):
        raise click.UsageError("--window and --intervals cannot both say what to predict.")
    if window is None and step is not None:
        raise click.UsageError("--step needs --window, the length of a window in bp.")
    return PredictionInput(fasta=fasta, window=window, step=step, intervals=intervals)


def _job(model_dir: str, reading: "PredictionInput", asked: dict[str, Any]) -> "PredictionConfig":
    """Gather what is asked."""
    from rmt_genomics.prediction.predictor import DecisionRule
    from rmt_genomics.prediction.run import PredictionConfig

    names = ("calibrated", "abstain_below", "coverage")
    answers = DecisionRule(**{name: asked.pop(name) for name in names})
    return PredictionConfig(model_dir=model_dir, reading=reading, answers=answers, **asked)


def _print(job: "PredictionConfig") -> None:
    """Write to stdout as rows come."""
    from rmt_genomics.prediction.run import print_predictions

    def printed() -> Iterator[str]:
        for line in print_predictions(job):
            click.echo(line)
            yield line

    _tell_abstained(job, printed())


def _tell_abstained(job: "PredictionConfig", lines: Iterable[str]) -> None:
    """Read all lines; say on stderr how many name no label on purpose."""
    from rmt_genomics.prediction.run import count_abstained

    if job.answers.abstain_below is None:
        deque(lines, maxlen=0)
        return
    count, rows = count_abstained(job, lines)
    click.echo(f"{count} of {rows} rows abstain.", err=True)


def _check_needs_no_file(
    *, resume: bool, processes: int | None, shard: tuple[int, int] | None
) -> None:
    asked = {"--resume": resume, "--processes": processes, "--shard": shard}
    for name, value in asked.items():
        if value:
            raise click.UsageError(f"{name} needs --out, the file that is written.")
