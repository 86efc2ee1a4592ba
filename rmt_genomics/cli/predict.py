"""``rmt-genomics predict``: DNA in, a table of labels and probabilities out."""

from pathlib import Path

import click

DEVICE = click.Choice(["auto", "cpu", "cuda", "mps"])


@click.command()
@click.argument("model_dir")
@click.argument("fasta", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--out", type=click.Path(path_type=Path), help="Write here instead of to stdout.")
@click.option("--device", type=DEVICE, default="auto", help="Where to compute.")
@click.option("--overwrite", is_flag=True, help="Replace the file at --out.")
def predict(
    model_dir: str, fasta: tuple[Path, ...], out: Path | None, device: str, *, overwrite: bool
) -> None:
    """Name the label of each FASTA record.

    MODEL_DIR is the folder of a trained model, or a hub id. FASTA is one file or several, plain
    or packed by gzip or bgzip; - reads stdin. A record may be of any length, and there may be any
    number of them.

    Prints a tab-separated table, one row a record in input order: record, length (bp), label,
    score (the probability of the label) and one probability a class. A multi-label model joins
    by ; all classes of 0.5 and above; the score is then the smallest of theirs, and label and
    score are empty if there is none.
    """
    from rmt_genomics.inference import choose_device, predict_records, read_fastas
    from rmt_genomics.inference.output import check_new_file, whole_file
    from rmt_genomics.inference.tables import prediction_lines
    from rmt_genomics.model import RMTClassifier

    if out is not None:
        check_new_file(out, inputs=fasta, overwrite=overwrite)
    records = read_fastas(fasta)
    model = RMTClassifier.from_pretrained(model_dir, device=choose_device(device))
    lines = prediction_lines(predict_records(model, records), model.classes_)
    if out is None:
        for line in lines:
            click.echo(line)
        return
    with whole_file(out) as making, making.open("w", encoding="utf-8") as table:
        table.writelines(f"{line}\n" for line in lines)
