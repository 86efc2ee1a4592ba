"""``rmt-genomics demo``: train, evaluate and predict on the DNA that comes with this package."""

import shlex
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

import click

from rmt_genomics.errors import DataError

if TYPE_CHECKING:
    from rmt_genomics.datasets import EncodedStore, Example

PACKAGE = Path(__file__).parents[1]
_PREDICTED_PER_CLASS = 3


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("rmt-genomics-demo"),
    help="Folder for all output.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier demo in --out.")
def demo(out: Path, *, overwrite: bool) -> None:
    """Train, evaluate and predict on the real DNA that comes with this package.

    The task: from which of two bacteria are 16 to 66 kb of DNA? Trains a model on intervals of
    two genomes, evaluates it on held-out intervals (those of E. coli are from a strain that is
    not in the training data) beside a k-mer baseline, and predicts a few of them. Takes a few
    minutes on a CPU.
    """
    from rmt_genomics.atomic_io import write_text
    from rmt_genomics.datasets import EncodedStore, read_labels
    from rmt_genomics.datasets.simulation import fasta_text
    from rmt_genomics.locks import check_new_folder, check_replaceable

    names = ("stretches.fasta", "predictions.tsv")
    check_new_folder(out, overwrite=overwrite)
    check_replaceable(out, names, marker="run/environment.txt", text="rmt-genomics: ")
    genomes = data_folder() / "genomes"
    fasta, labels = genomes / "genomes.fasta.gz", genomes / "labels.tsv"
    store = EncodedStore.open(fasta)
    examples = read_labels(labels, store.lengths)
    test = [example for example in examples if example.split == "test"]
    click.echo(_introduction(store, examples, num_test=len(test), folder=genomes))
    out.mkdir(parents=True, exist_ok=True)
    run, evaluation, selected_fasta = out / "run", out / "evaluation", out / names[0]

    # Here, because they load torch: the task is shown at once.
    from rmt_genomics import reports
    from rmt_genomics.evaluation import evaluate_run
    from rmt_genomics.evaluation.evaluate import evaluate
    from rmt_genomics.evaluation.tables import metrics_table
    from rmt_genomics.training import read_config, train

    click.echo("\n1. Train")
    train(fasta, labels, run, read_config(genomes / "config.toml"), overwrite=overwrite)
    evaluate_run(run, fasta)
    reports.write_training_plot(run)
    reports.write_report(run)
    reports.write_model_card(run)
    click.echo(f"\n2. Evaluate on the {len(test)} test intervals")
    metrics = evaluate(run, fasta, labels, evaluation, overwrite=overwrite)
    reports.write_plots(evaluation)
    reports.write_report(evaluation)
    click.echo(indent(metrics_table(metrics), "   "))
    click.echo("\n3. Predict a few test intervals from a FASTA file without labels")
    selected = [
        example
        for label in sorted({example.labels for example in test})
        for example in [each for each in test if each.labels == label][:_PREDICTED_PER_CLASS]
    ]
    records = (fasta_text(each.name, store.codes(each.interval)) for each in selected)
    write_text(selected_fasta, "".join(records))
    click.echo(_predict(run, selected_fasta, out / names[1], selected))
    click.echo(_conclusion(out))


def data_folder() -> Path:
    """Return the folder of the shipped data: in the installed package, or beside it in a clone.

    Raises:
        DataError: If neither folder exists.
    """
    folders = (PACKAGE / "_data", PACKAGE.parent / "data")
    for folder in folders:
        if (folder / "genomes" / "labels.tsv").is_file():
            return folder
    raise DataError(
        f"{folders[0]}: the data of the demo is neither here nor in {folders[1]}, but comes with "
        "the package. Install it again: pip install --force-reinstall rmt-genomics."
    )


def _introduction(
    store: "EncodedStore", examples: list["Example"], *, num_test: int, folder: Path
) -> str:
    lengths = [len(example.interval) / 1000 for example in examples]
    classes = sorted({example.labels[0] for example in examples})
    return (
        f"Task: from which species are {min(lengths):.0f} to {max(lengths):.0f} kb of DNA, "
        f"{' or '.join(classes)}?\n"
        f"Data: {len(store.lengths)} genomes, {sum(store.lengths.values()) / 1e6:.1f} Mb; "
        f"{len(examples)} labelled intervals, {num_test} of them held out for testing.\n"
        f"The data are in {folder}; their sources are in {folder.parent / 'README.md'}."
    )


def _predict(run: Path, fasta: Path, out: Path, examples: list["Example"]) -> str:
    """Predict as ``rmt-genomics predict`` does; return a table with the true labels added."""
    from rmt_genomics.atomic_io import write_text
    from rmt_genomics.model import RMTClassifier
    from rmt_genomics.prediction import InputReader, PredictionInput, predict_records
    from rmt_genomics.prediction.notes import Notes
    from rmt_genomics.prediction.output_formats import PredictionTable, output_lines
    from rmt_genomics.prediction.training_range import TrainingRange

    model = RMTClassifier.from_pretrained(run)
    notes = Notes(model.config, TrainingRange.load(run))
    predictions = predict_records(model, InputReader(PredictionInput(fasta=(fasta,))), notes=notes)
    lines = list(output_lines(predictions, PredictionTable(model.classes_)))
    notes.warn()
    write_text(out, "".join(f"{line}\n" for line in lines))
    truths = ["truth", *(example.labels[0] for example in examples)]
    rows = [line.split("\t")[:4] for line in lines]
    return _aligned([[*row, truth] for row, truth in zip(rows, truths, strict=True)])


def _aligned(rows: list[list[str]]) -> str:
    """Return indented lines with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join(f"   {line.rstrip()}" for line in lines)


def _conclusion(out: Path) -> str:
    def quoted(name: str) -> str:
        return shlex.quote(str(out / name))

    return f"""
Files
   {out / "run"}: the model and its training (report.html, training.png, metrics.json)
   {out / "evaluation"}: report.html, metrics.json, tables and plots (confusion.png, ...)
   {out / "stretches.fasta"}, {out / "predictions.tsv"}: the predicted intervals

Next
   rmt-genomics predict {quoted("run")} {quoted("stretches.fasta")}
   rmt-genomics inspect {quoted("stretches.fasta")}
   rmt-genomics train YOUR.fasta --labels YOUR.tsv --out YOUR_RUN
The task is easy, so that the demo is quick: k-mer counts are as accurate. See
"What it cannot show" in the README of the data."""
