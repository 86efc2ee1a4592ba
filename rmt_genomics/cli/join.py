"""``rmt-genomics join``: merge the shards of a prediction, made on several machines."""

from pathlib import Path

import click

from rmt_genomics.cli.options import PATH


@click.command()
@click.argument("shards", nargs=-1, required=True, type=PATH)
@click.option("--out", type=PATH, help="Write here instead of to stdout.")
@click.option("--overwrite", is_flag=True, help="Replace the file at --out.")
def join(shards: tuple[Path, ...], out: Path | None, *, overwrite: bool) -> None:
    """Merge the shards of predict or variants, in input order.

    SHARDS are all the shards of one run of predict or variants, in any order. The result is, byte
    for byte, what the command would have written without --shard. A shard that is missing,
    incomplete, given twice, or of another run or input is an error.
    """
    from rmt_genomics.atomic_io import check_new_file, write_lines
    from rmt_genomics.prediction.sharding import is_prediction_file, joined_lines

    if out is not None:
        check_new_file(
            out, inputs=shards, overwrite=overwrite, or_stdout=True, is_ours=is_prediction_file
        )
        write_lines(out, joined_lines(shards))
        return
    for line in joined_lines(shards):
        click.echo(line)
