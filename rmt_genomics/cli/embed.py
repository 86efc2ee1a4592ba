"""``rmt-genomics embed``: DNA in, one vector a record out."""

from pathlib import Path
from typing import Any

import click

from rmt_genomics.cli.predict import BP, DEVICE, PATH, SEQUENCES, prediction_input


@click.command()
@click.argument("model_dir")
@click.argument("fasta", nargs=-1, required=True, type=SEQUENCES)
@click.option("--window", type=BP, metavar="BP", help="Embed windows of this length.")
@click.option("--step", type=BP, metavar="BP", help="From window to window; default: --window.")
@click.option("--intervals", type=PATH, help="Embed these intervals (BED), on their strands.")
@click.option("--out", type=PATH, help="Write here: .tsv, .npy or .npz. Default: stdout, as .tsv.")
@click.option("--device", type=DEVICE, default="auto", help="Where to compute.")
@click.option("--overwrite", is_flag=True, help="Replace the file at --out.")
def embed(
    model_dir: str,
    fasta: tuple[Path, ...],
    out: Path | None,
    device: str,
    *,
    overwrite: bool,
    **asked: Any,
) -> None:
    """Compute an embedding of each FASTA record.

    MODEL_DIR, FASTA, --window, --step and --intervals are those of predict. The vector is what
    the model's head sees: the pooled memory of the forward strand, then that of the reverse strand,
    then whatever else it reads of the whole record.

    Prints a tab-separated table, one row a record in input order: record, length (bp) and the
    features; start and end, and the strand of an interval, follow record. With --out the ending
    says what is written: the same table (.tsv), the array alone, a row a record (.npy), or the
    array as embedding with the arrays record, length, start, ... beside it (.npz).
    """
    from rmt_genomics.atomic_io import check_new_file
    from rmt_genomics.model import RMTClassifier
    from rmt_genomics.model.pretrained import choose_device
    from rmt_genomics.prediction.embeddings import (
        check_embedding_file,
        embed_records,
        embedding_lines,
        write_embeddings,
    )
    from rmt_genomics.prediction.progress import shown_progress

    reading = prediction_input(fasta, asked)
    if out is not None:
        check_embedding_file(out)
        check_new_file(out, inputs=reading.inputs, overwrite=overwrite, or_stdout=True)
    records = reading.records()
    model = RMTClassifier.from_pretrained(model_dir, device=choose_device(device))
    num_features = model.config.encoding_width
    with shown_progress(reading.total_bp) as watch:
        embeddings = embed_records(model, records, watch=watch)
        if out is not None:
            write_embeddings(out, embeddings, reading.places, num_features)
            return
        for line in embedding_lines(embeddings, reading.places, num_features):
            click.echo(line)
