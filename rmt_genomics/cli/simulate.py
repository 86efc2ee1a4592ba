"""``rmt-genomics simulate``: sequences with planted motifs, to test a model's memory."""

import logging
from pathlib import Path
from typing import Any

import click

from rmt_genomics.cli.options import BP, COUNT, PATH, SEED

logger = logging.getLogger(__name__)

_TASKS = click.Choice(["memorise", "detect", "two_facts", "order"])
_FILES = ("sequences.fasta", "labels.tsv", "simulation.json")


@click.command()
@click.option("--task", type=_TASKS, required=True, help="What the label says (see above).")
@click.option(
    "--length", "length_bp", type=BP, required=True, metavar="BP", help="Length of each sequence."
)
@click.option("--number", type=COUNT, default=1000, help="Number of sequences.")
@click.option(
    "--distance",
    "distance_bp",
    type=click.IntRange(min=0),
    metavar="BP",
    show_default="half of what fits",
    help="Least distance between the two motifs of a task.",
)
@click.option(
    "--motif-length",
    "motif_length_bp",
    type=BP,
    default=12,
    metavar="BP",
    help="Length of motifs, 6 to 64.",
)
@click.option("--background", type=PATH, help="Cut backgrounds from this genome (FASTA).")
@click.option("--seed", type=SEED, default=0, help="Seed of everything but the motifs.")
@click.option("--out", type=PATH, required=True, help="Folder for the files.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier simulation in --out.")
def simulate(
    number: int, background: Path | None, out: Path, *, overwrite: bool, **settings: Any
) -> None:
    """Simulate sequences with planted motifs, to test a model's memory.

    Four tasks, on random bases or on random intervals of your own genome:

    \b
    memorise   which of four motifs is within the first 64 bp?
    detect     is motif A anywhere?
    two_facts  A or C, and B or D, are far apart: which of A and B are present?
    order      A and B are far apart: which comes first?

    Where a motif occurs by chance, on either strand, the background is changed. The motifs depend
    on --motif-length alone, so a model trained at one length can be tested at another.

    Writes sequences.fasta (with the start of each motif in the headers, 0-based), labels.tsv and
    simulation.json into --out, and prints the number of sequences of each label as a tab-separated
    table. Use different values of --seed for train and evaluate.
    """
    from rmt_genomics.atomic_io import atomic_file, check_new_file, write_text
    from rmt_genomics.datasets import EncodedStore
    from rmt_genomics.datasets.simulation import Simulation, description, write_simulation
    from rmt_genomics.locks import check_new_folder, check_replaceable, locked

    click.get_current_context().with_resource(locked(out, is_folder=True))
    check_new_folder(out, overwrite=overwrite)
    check_replaceable(out, _FILES, marker="simulation.json", text='"motifs"')
    if out.is_dir():
        for name in _FILES:
            check_new_file(out / name, inputs=[background] if background else [], overwrite=True)
    simulation = Simulation(**settings)
    store = EncodedStore.open(background) if background else None
    simulation.check_background(store)
    out.mkdir(parents=True, exist_ok=True)
    fasta_file, labels_file, description_file = (out / name for name in _FILES)
    with (
        atomic_file(labels_file) as temporary_labels,
        atomic_file(fasta_file) as temporary_fasta,
        temporary_fasta.open("w", encoding="ascii") as fasta,
        temporary_labels.open("w", encoding="ascii") as labels,
    ):
        counts = write_simulation(simulation, number, fasta=fasta, labels=labels, background=store)
    write_text(description_file, description(simulation, number, background))
    click.echo("label\tsequences")
    for label, count in counts.items():
        click.echo(f"{label}\t{count}")
    logger.info("Written to %s.", out)
