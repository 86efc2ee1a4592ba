"""``rmt-genomics predict``: DNA in, a table of labels and probabilities out."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rmt_genomics.dna import EncodedRecord

_PATH = click.Path(path_type=Path)
_BP = click.IntRange(min=1)
DEVICE = click.Choice(["auto", "cpu", "cuda", "mps"])


@click.command()
@click.argument("model_dir")
@click.argument("fasta", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--window", type=_BP, metavar="BP", help="Predict windows of this length.")
@click.option("--step", type=_BP, metavar="BP", help="From window to window; default: --window.")
@click.option("--intervals", type=_PATH, help="Predict these intervals (BED), on their strands.")
@click.option("--out", type=_PATH, help="Write here instead of to stdout.")
@click.option("--device", type=DEVICE, default="auto", help="Where to compute.")
@click.option("--overwrite", is_flag=True, help="Replace the file at --out.")
def predict(  # noqa: PLR0913 (one argument an option)
    model_dir: str,
    fasta: tuple[Path, ...],
    window: int | None,
    step: int | None,
    intervals: Path | None,
    out: Path | None,
    device: str,
    *,
    overwrite: bool,
) -> None:
    """Name the label of each FASTA record.

    MODEL_DIR is the folder of a trained model, or a hub id. FASTA is one file or several, or a
    folder of them: FASTA, FASTQ, GenBank, EMBL, or CSV or TSV with a sequence column, plain or
    packed by gzip or bgzip; - reads stdin. A record may be of any length, and there may be any
    number of them.

    Prints a tab-separated table, one row a record in input order: record, length (bp), label,
    score (the probability of the label) and one probability a class. A multi-label model joins
    by ; all classes of 0.5 and above; the score is then the smallest of theirs, and label and
    score are empty if there is none.

    With --window, a row is a window, and start and end (0-based, half-open) follow record; the
    last window of a record ends with it, and a shorter record is one window. With --intervals, a
    row is an interval of a BED file or of a table with record, start, end and, if wanted, strand;
    start, end and strand follow record, and the bases of strand - are read reverse-complemented.
    """
    from rmt_genomics.inference import predict_records
    from rmt_genomics.inference.output import check_new_file, whole_file
    from rmt_genomics.inference.tables import prediction_lines
    from rmt_genomics.model import RMTClassifier
    from rmt_genomics.model.device import choose_device

    if out is not None:
        inputs = [*fasta, intervals] if intervals else fasta
        check_new_file(out, inputs=inputs, overwrite=overwrite, or_stdout=True)
    records, places = _read(fasta, window, step, intervals)
    model = RMTClassifier.from_pretrained(model_dir, device=choose_device(device))
    lines = prediction_lines(predict_records(model, records), model.classes_, places)
    if out is None:
        for line in lines:
            click.echo(line)
        return
    with whole_file(out) as making, making.open("w", encoding="utf-8") as table:
        table.writelines(f"{line}\n" for line in lines)


def _read(
    fasta: tuple[Path, ...], window: int | None, step: int | None, intervals: Path | None
) -> "tuple[Iterator[EncodedRecord], tuple[str, ...]]":
    """Choose what is read, and the columns that say where it is from."""
    from rmt_genomics.inference import read_fastas, read_stretches, read_windows

    if intervals is not None:
        if window is not None or step is not None:
            raise click.UsageError("--window and --intervals cannot both say what to predict.")
        return read_stretches(fasta, intervals), ("start", "end", "strand")
    if window is not None:
        return read_windows(fasta, window, step or window), ("start", "end")
    if step is not None:
        raise click.UsageError("--step needs --window, the length of a window in bp.")
    return read_fastas(fasta), ()
