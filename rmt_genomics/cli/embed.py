"""``rmt-genomics embed``: DNA in, one vector per record out."""

from pathlib import Path
from typing import Any

import click

from rmt_genomics.cli.options import BP, DEVICE, PATH, SEQUENCES, name_options
from rmt_genomics.cli.predict import prediction_input


@click.command()
@click.argument("model_dir")
@click.argument("fasta", nargs=-1, required=True, type=SEQUENCES)
@click.option("--window", type=BP, metavar="BP", help="Embed windows of this length.")
@click.option("--step", type=BP, metavar="BP", help="From window to window; default: --window.")
@click.option("--intervals", type=PATH, help="Embed these intervals (BED), on their strands.")
@name_options
@click.option("--out", type=PATH, help="Write here: .tsv, .npy or .npz. Default: stdout, as .tsv.")
@click.option("--device", type=DEVICE, default="auto", help="Where to compute.")
@click.option("--resume", is_flag=True, help="Continue an interrupted --out that ends in .tsv.")
@click.option("--overwrite", is_flag=True, help="Replace the file at --out.")
def embed(
    model_dir: str,
    fasta: tuple[Path, ...],
    out: Path | None,
    device: str,
    *,
    resume: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    """Compute an embedding of each FASTA record.

    MODEL_DIR, FASTA, --window, --step and --intervals are those of predict. The vector is what
    the model's head reads: the pooled memory of the forward strand, then that of the reverse
    strand, then those features of the whole record (model.features) that the model has, in this
    order: k-mers, k-mers of the forward strand, those of the reverse strand, proteins, and one
    logit per class of the linear model on k-mers. With model.feature_head = regression, the
    default, only one logit per class follows the strands: that of the regressions.

    Prints a tab-separated table, one row per record in input order: record, length (bp) and the
    features; start and end, and the strand of an interval, follow record. With --out the suffix
    tells the format: the same table (.tsv), the array alone, one row per record (.npy), or the
    array as embedding with the arrays record, length, start, ... beside it (.npz).

    --out appears when it is complete. Until then the rows of a .tsv go to OUT.part as they come,
    and --resume continues them, if input and model have not changed, as for predict.
    """
    from rmt_genomics.atomic_io import check_partial
    from rmt_genomics.locks import new_file
    from rmt_genomics.model import RMTClassifier
    from rmt_genomics.model.pretrained import choose_device
    from rmt_genomics.prediction.embeddings import (
        check_embedding_file,
        embed_records,
        embedding_lines,
        is_embedding_file,
        write_embedding_table,
        write_embeddings,
    )
    from rmt_genomics.prediction.inputs import InputReader
    from rmt_genomics.prediction.progress import progress_bar
    from rmt_genomics.prediction.run import PredictionConfig

    settings = prediction_input(fasta, options)
    if resume and (out is None or out.suffix != ".tsv"):
        raise click.UsageError("--resume needs --out with a file that ends in .tsv.")
    if out is not None:
        check_embedding_file(out)
        rules: dict[str, Any] = {"overwrite": overwrite, "is_ours": is_embedding_file}
        new = new_file(out, inputs=settings.paths, or_stdout=True, **rules)
        click.get_current_context().with_resource(new)
        if out.suffix == ".tsv" and (resume or not settings.pipes):
            check_partial(out, resume=resume, overwrite=overwrite)
            config = PredictionConfig(model_dir=model_dir, input=settings, device=device)
            write_embedding_table(config, out, resume=resume)
            return
    records = InputReader(settings)
    model = RMTClassifier.from_pretrained(model_dir, device=choose_device(device))
    columns, num_features = settings.interval_columns, model.config.encoding_width
    with progress_bar(settings.total_bp) as progress:
        embeddings = embed_records(model, records, progress=progress)
        if out is not None:
            write_embeddings(out, embeddings, columns, num_features)
            return
        for line in embedding_lines(embeddings, columns, num_features):
            click.echo(line)
