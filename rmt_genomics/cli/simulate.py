"""``rmt-genomics simulate``: sequences whose labels test a model's memory."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import TextIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmt_genomics.cli.options import BP, COUNT, PATH, SEED, name_options, take_names

if TYPE_CHECKING:
    from rmt_genomics.dna import NameOptions

logger = logging.getLogger(__name__)

_TASKS = click.Choice(["memorise", "detect", "two_facts", "order", "mosaic"])
_DESCRIPTION = "simulation.json"
_FILES = ("sequences.fasta", "labels.tsv", "breakpoints.bed", _DESCRIPTION)


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
    metavar="BP",
    show_default="12",
    help="Length of motifs, 6 to 64.",
)
@click.option("--background", type=PATH, help="Cut backgrounds from this genome (FASTA).")
@click.option("--genomes", type=PATH, help="For mosaic: a file or folder of genomes (FASTA).")
@click.option(
    "--groups", type=PATH, help="For mosaic: table with the header record, group, such as species."
)
@name_options
@click.option("--seed", type=SEED, default=0, help="Seed of everything but the motifs.")
@click.option("--out", type=PATH, required=True, help="Folder for the files.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier simulation in --out.")
def simulate(task: str, number: int, out: Path, *, overwrite: bool, **options: Any) -> None:
    """Simulate sequences whose labels test a model's memory.

    Four tasks plant motifs, on random bases or on random intervals of your own genome:

    \b
    memorise   which of four motifs is within the first 64 bp?
    detect     is motif A anywhere?
    two_facts  A or C, and B or D, are far apart: which of A and B are present?
    order      A and B are far apart: which comes first?

    Where a motif occurs by chance, on either strand, the background is changed. The motifs depend
    on --motif-length alone, so a model trained at one length can be tested at another. Headers have
    the start of each motif (0-based). Use different values of --seed for train and evaluate.

    mosaic joins the DNA of two of your genomes, from two groups (without --groups, of two records):

    \b
    intact     one window of one record
    insertion  foreign DNA, 25 to 50% of the length, inside the DNA of its host
    join       as much foreign DNA, at one end

    Source records are divided by group into train (70% of the groups), validation and test (15%
    each), and labels.tsv has a column split. breakpoints.bed says which interval of which record
    each piece is (0-based, half-open). Records shorter than --length are not used.

    Writes sequences.fasta, labels.tsv and simulation.json into --out, and prints the number of
    sequences of each label as a tab-separated table.
    """
    from rmt_genomics.atomic_io import check_new_file
    from rmt_genomics.locks import check_new_folder, check_replaceable, locked

    _check_options(task, options)
    click.get_current_context().with_resource(locked(out, is_folder=True))
    check_new_folder(out, overwrite=overwrite)
    check_replaceable(out, _FILES, marker=_DESCRIPTION, text='"length_bp"')
    inputs = [options[name] for name in ("background", "genomes", "groups") if options[name]]
    if out.is_dir():
        for name in _FILES:
            check_new_file(out / name, inputs=inputs, overwrite=True)
    names = take_names(options)
    given = {name: value for name, value in options.items() if value is not None}
    if task == "mosaic":
        counts = _write_mosaics(number, out, names, **given)
    else:
        counts = _write_planted(number, out, names, task=task, **given)
    click.echo("label\tsequences")
    for label, count in counts.items():
        click.echo(f"{label}\t{count}")
    logger.info("Written to %s.", out)


def _check_options(task: str, options: dict[str, Any]) -> None:
    """Raise ConfigError at an option without effect, or if the genomes of mosaics are missing."""
    from rmt_genomics.errors import ConfigError

    is_mosaic = task == "mosaic"
    names = {"distance_bp": "--distance", "motif_length_bp": "--motif-length"}
    names |= {"background": "--background"}
    if not is_mosaic:
        names = {"genomes": "--genomes", "groups": "--groups"}
    for key, name in names.items():
        if options[key] is not None:
            kind = "mosaic plants no motifs" if is_mosaic else f"{task} makes no mosaics"
            raise ConfigError(
                f"{name} is {options[key]}, but has no effect: --task {kind}. Remove it."
            )
    if not is_mosaic and options["background"] is None:
        for name in ("duplicate_names", "full_names"):
            if options[name] is not None:
                raise ConfigError(
                    f"--{name.replace('_', '-')} is given, but has no effect: without --background "
                    "no records are read. Remove it."
                )
    if is_mosaic and options["genomes"] is None:
        raise ConfigError(
            "--genomes is missing, but --task mosaic is made of your genomes. Give a FASTA file, "
            "or a folder of them."
        )


def _write_planted(
    number: int,
    out: Path,
    names: "NameOptions",
    *,
    background: Path | None = None,
    **settings: Any,
) -> dict[str, int]:
    from rmt_genomics.atomic_io import write_text
    from rmt_genomics.datasets import EncodedStore
    from rmt_genomics.datasets.simulation import Simulation, description, write_simulation

    simulation = Simulation(**settings)
    store = EncodedStore.open(background, names=names) if background else None
    simulation.check_background(store)
    with _new_files(out, "sequences.fasta", "labels.tsv") as (fasta, labels):
        counts = write_simulation(simulation, number, fasta=fasta, labels=labels, background=store)
    (out / "breakpoints.bed").unlink(missing_ok=True)  # of an earlier simulation of mosaics
    write_text(out / _DESCRIPTION, description(simulation, number, background))
    return counts


def _write_mosaics(
    number: int,
    out: Path,
    names: "NameOptions",
    *,
    length_bp: int,
    seed: int,
    genomes: Path,
    groups: Path | None = None,
) -> dict[str, int]:
    from rmt_genomics.atomic_io import write_text
    from rmt_genomics.datasets import EncodedStore
    from rmt_genomics.datasets.mosaics import MosaicSimulation, check_mosaic_length, write_mosaics
    from rmt_genomics.datasets.source_records import SourceRecords

    check_mosaic_length(length_bp)
    sources = SourceRecords.of(EncodedStore.open(genomes, names=names), groups, seed=seed)
    simulation = MosaicSimulation(sources=sources, length_bp=length_bp, seed=seed)
    files = ("sequences.fasta", "labels.tsv", "breakpoints.bed")
    with _new_files(out, *files) as (fasta, labels, breakpoints):
        counts = write_mosaics(
            simulation, number, fasta=fasta, labels=labels, breakpoints=breakpoints
        )
    write_text(out / _DESCRIPTION, simulation.description(number, genomes))
    return counts


@contextmanager
def _new_files(out: Path, *names: str) -> Iterator[list[TextIOBase]]:
    """Open files in a folder that appear together at the end."""
    from rmt_genomics.atomic_io import atomic_file

    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        paths = [stack.enter_context(atomic_file(out / name)) for name in names]
        yield [
            stack.enter_context(
                path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")
            )
            for path in paths
        ]
