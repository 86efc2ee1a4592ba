"""``rmt-genomics join``: the shards of a prediction, made on several machines, as one file."""

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("shards", nargs=-1, required=True, type=_PATH)
@click.option("--out", type=_PATH, help="Write here instead of to stdout.")
@click.option("--overwrite", is_flag=True, help="Replace the file at --out.")
def join(shards: tuple[Path, ...], out: Path | None, *, overwrite: bool) -> None:
    """Merge the files of predict --shard, in input order.

    SHARDS are all the shards of one run, in any order. The result is, to the byte, what predict
    without --shard would have written. A shard that is missing, cut, given twice or of another
    run is an error.
    """
    from rmt_genomics.atomic_io import check_new_file
    from rmt_genomics.prediction.sharding import joined_lines, write_joined

    if out is not None:
        check_new_file(out, inputs=shards, overwrite=overwrite, or_stdout=True)
        write_joined(shards, out)
        return
    for line in joined_lines(shards):
        click.echo(line)
