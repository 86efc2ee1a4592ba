"""``rmt-genomics demo``: the main job on the real DNA that comes with this package."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmt_genomics.errors import DataError

if TYPE_CHECKING:
    from rmt_genomics.datasets import EncodedStore, Example

PACKAGE = Path(__file__).parents[1]
_SHOWN_PER_CLASS = 3
_LINE_BP = 80


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("rmt-genomics-demo"),
    help="Folder for all that is made.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier demo in --out.")
def demo(out: Path, *, overwrite: bool) -> None:
    """Train, evaluate and predict on the real DNA that comes with this package.

    The question: which of two bacteria is a stretch of 16 to 66 kb of DNA from? Trains a model on
    stretches of two genomes, judges it on stretches it has not seen (those of E. coli from a
    strain it has not seen), beside a k-mer baseline, and predicts a few. A few minutes on a CPU.
    """
    from rmt_genomics.atomic_io import check_new_folder, write_text
    from rmt_genomics.datasets import EncodedStore, read_labels

    check_new_folder(out, overwrite=overwrite)
    genomes = data_folder() / "genomes"
    fasta, labels = genomes / "genomes.fasta.gz", genomes / "labels.tsv"
    store = EncodedStore.open(fasta)
    examples = read_labels(labels, store.lengths)
    test = [example for example in examples if example.split == "test"]
    click.echo(_introduction(store, examples, test, genomes))
    out.mkdir(parents=True, exist_ok=True)
    run, stretches = out / "run", out / "stretches.fasta"

    click.echo("\n1. Train")
    _train(fasta, labels, genomes / "config.toml", run, overwrite=overwrite)
    click.echo(f"\n2. Evaluate on the {len(test)} test stretches")
    click.echo(_evaluate(run, fasta, labels, out / "evaluation", overwrite=overwrite))
    click.echo("\n3. Predict a few of them from FASTA, as if nobody knew the answer")
    shown = _few_of_each(test)
    write_text(stretches, _as_fasta(store, shown))
    click.echo(_predict(run, stretches, out / "predictions.tsv", shown))
    click.echo(_conclusion(out))


def data_folder() -> Path:
    """Find the shipped data: in the installed package, or beside it in a clone.

    Raises:
        DataError: If neither is there.
    """
    places = (PACKAGE / "_data", PACKAGE.parent / "data")
    for place in places:
        if (place / "genomes" / "labels.tsv").is_file():
            return place
    raise DataError(
        f"{places[0]}: the data of the demo is not there, nor in {places[1]}, but was shipped with "
        "the package. Install it again: pip install --force-reinstall rmt-genomics."
    )


def _introduction(
    store: "EncodedStore", examples: list["Example"], test: list["Example"], folder: Path
) -> str:
    lengths = [len(example.interval) / 1000 for example in examples]
    classes = sorted({example.labels[0] for example in examples})
    return (
        f"Which species is a stretch of {min(lengths):.0f} to {max(lengths):.0f} kb of DNA from: "
        f"{' or '.join(classes)}?\n"
        f"Data: {len(store.lengths)} genomes, {sum(store.lengths.values()) / 1e6:.1f} Mb; "
        f"{len(examples)} labelled stretches, {len(test)} of them kept for the test.\n"
        f"It is in {folder}; README.md beside that folder says where it comes from."
    )


def _train(fasta: Path, labels: Path, config: Path, run: Path, *, overwrite: bool) -> None:
    """Do what ``rmt-genomics train`` does."""
    from rmt_genomics.evaluation import evaluate_run
    from rmt_genomics.reports import write_model_card, write_report, write_training_plot
    from rmt_genomics.training import read_config, train

    train(fasta, labels, run, read_config(config), overwrite=overwrite)
    evaluate_run(run, fasta)
    write_training_plot(run)
    write_report(run)
    write_model_card(run)


def _evaluate(run: Path, fasta: Path, labels: Path, out: Path, *, overwrite: bool) -> str:
    """Do what ``rmt-genomics evaluate`` does; return the main metrics as a table."""
    from rmt_genomics.evaluation.evaluate import evaluate
    from rmt_genomics.evaluation.tables import metric_lines
    from rmt_genomics.reports import write_plots, write_report

    metrics = evaluate(run, fasta, labels, out, overwrite=overwrite)
    write_plots(out)
    write_report(out)
    return _aligned([line.split("\t") for line in metric_lines(metrics)])


def _predict(run: Path, fasta: Path, out: Path, shown: list["Example"]) -> str:
    """Do what ``rmt-genomics predict`` does; return a table with the truth beside it."""
    from rmt_genomics.atomic_io import write_text
    from rmt_genomics.model import RMTClassifier
    from rmt_genomics.prediction import InputReader, PredictionInput, predict_records
    from rmt_genomics.prediction.output_formats import PredictionTable, output_lines

    model = RMTClassifier.from_pretrained(run)
    predictions = predict_records(model, InputReader(PredictionInput(fasta=(fasta,))))
    lines = list(output_lines(predictions, PredictionTable(model.classes_)))
    write_text(out, "".join(f"{line}\n" for line in lines))
    truths = ["truth", *(example.labels[0] for example in shown)]
    rows = [line.split("\t")[:4] for line in lines]
    return _aligned([[*row, truth] for row, truth in zip(rows, truths, strict=True)])


def _few_of_each(examples: list["Example"]) -> list["Example"]:
    """Return the first few examples of each label, label by label."""
    labels = sorted({example.labels for example in examples})
    return [
        example
        for label in labels
        for example in [each for each in examples if each.labels == label][:_SHOWN_PER_CLASS]
    ]


def _as_fasta(store: "EncodedStore", examples: list["Example"]) -> str:
    from rmt_genomics.dna import decode

    lines = []
    for example in examples:
        letters = decode(store.codes(example.interval))
        lines.append(f">{example.name}")
        lines += [letters[at : at + _LINE_BP] for at in range(0, len(letters), _LINE_BP)]
    return "".join(f"{line}\n" for line in lines)


def _aligned(rows: list[list[str]]) -> str:
    """Return columns of equal width, for eyes."""
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
   {out / "run"}: the model and all about its training (report.html, training.png, metrics.json)
   {out / "evaluation"}: report.html, metrics.json, tables and plots (confusion.png, ...)
   {out / "stretches.fasta"}, {out / "predictions.tsv"}: what was predicted

Next
   rmt-genomics predict {quoted("run")} {quoted("stretches.fasta")}
   rmt-genomics inspect {quoted("stretches.fasta")}
   rmt-genomics train YOUR.fasta --labels YOUR.tsv --out YOUR_RUN
The question is easy, so that the demo is quick: k-mer counts answer it as well. See
"What it cannot show" in the README of the data."""
