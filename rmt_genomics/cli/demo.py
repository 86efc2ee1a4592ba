"""``rmt-genomics demo``: what memory is for, on the DNA that comes with this package."""

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmt_genomics.errors import DataError, RMTGenomicsError

if TYPE_CHECKING:
    import numpy as np

    from rmt_genomics.datasets import Example
    from rmt_genomics.datasets.source_records import SourceRecords
    from rmt_genomics.evaluation.evaluation_set import EvaluationSet

PACKAGE = Path(__file__).parents[1]
SEED = 2  # no species of the test part then has a relative among those of the training part
_OF_EACH_LABEL = 2  # sequences that are predicted
_EVIDENCE_SECONDS = 5.0
_QUESTIONS = {
    "insertion or join": (("join",), ("insertion",)),
    "one species or two": (("insertion", "join"), ("intact",)),
}


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

    The task: is a sequence all of one species (intact), or is DNA of another species inside it
    (insertion) or at one end (join)? Trains a model on sequences made of pieces of real genomes,
    and beside it the same network without memory; evaluates both and a k-mer baseline on species
    that were never seen; and predicts a few sequences. Takes a few minutes on a CPU.
    """
    from rmt_genomics.atomic_io import write_text
    from rmt_genomics.datasets import EncodedStore
    from rmt_genomics.datasets.simulation import fasta_text
    from rmt_genomics.datasets.source_records import SourceRecords
    from rmt_genomics.locks import check_new_folder, check_replaceable

    run, names = out / "run", ("contigs.fasta", "predictions.tsv")
    check_new_folder(out, overwrite=overwrite)
    check_replaceable(out, names, marker="run/environment.txt", text="rmt-genomics: ")
    genomes = data_folder() / "mosaics"
    store = EncodedStore.open(genomes / "genomes.fasta.gz")
    sources = SourceRecords.of(store, genomes / "groups.tsv", seed=SEED)
    click.echo(_introduction(sources, genomes))  # before torch is loaded
    out.mkdir(parents=True, exist_ok=True)
    test = _train_and_evaluate(run, genomes, overwrite=overwrite)
    click.echo(_aligned(_comparison(run, test)))
    click.echo("   (0.5: no better than a guess)\n\n3. Predict a few of them from a FASTA file")
    selected = [
        example
        for label in test.model.classes_
        for example in [each for each in test.examples if each.labels == (label,)][:_OF_EACH_LABEL]
    ]
    contigs = (fasta_text(each.name, test.store.codes(each.interval)) for each in selected)
    write_text(out / names[0], "".join(contigs))
    click.echo(_predict(run, out / names[0], out / names[1], selected))
    click.echo(_conclusion(out))


def data_folder() -> Path:
    """Return the folder of the shipped data: in the installed package, or beside it in a clone.

    Raises:
        DataError: If neither folder exists.
    """
    folders = (PACKAGE / "_data", PACKAGE.parent / "data")
    for folder in folders:
        if (folder / "mosaics" / "groups.tsv").is_file():
            return folder
    raise DataError(
        f"{folders[0]}: the data of the demo is neither here nor in {folders[1]}, but comes with "
        "the package. Install it again: pip install --force-reinstall rmt-genomics."
    )


def _introduction(sources: "SourceRecords", folder: Path) -> str:
    species = {
        part: sorted({group.replace("_", " ") for group in sources.part(part, 1).values()})
        for part in ("train", "validation", "test")
    }
    num_species = {part: len(names) for part, names in species.items()}
    total_bp = sum(sources.store.lengths.values())
    return f"""\
Task: is a sequence of one species or of two? It is made of real genomes:
   intact     all of it is of one species
   insertion  DNA of another species is inside
   join       DNA of another species is at one end
Insertion and join hold the same DNA; only its order differs.
Data: {sum(num_species.values())} species, {total_bp / 1e6:.1f} Mb; \
{num_species["train"]} for training, {num_species["validation"]} for validation, \
{num_species["test"]} for testing:
   {", ".join(species["test"])}
Genomes: {folder}
Sources: {folder.parent / "README.md"}"""


def _train_and_evaluate(run: Path, genomes: Path, *, overwrite: bool) -> "EvaluationSet":
    """Train, write the reports into the run folder, and return the test part with predictions."""
    from rmt_genomics import reports
    from rmt_genomics.evaluation import evaluate_run
    from rmt_genomics.evaluation.evaluation_set import EvaluationSet
    from rmt_genomics.training import read_config, train

    fasta, groups = genomes / "genomes.fasta.gz", genomes / "groups.tsv"
    config = read_config(genomes / "config.toml")
    config = config.replace(simulation=config.simulation.replace(groups=str(groups)))
    click.echo("\n1. Train the model, and beside it the same network without memory")
    trained = train(
        fasta, None, run, config, seed=SEED, control="memory-reset", overwrite=overwrite
    )
    if trained.control_error is not None:
        raise RMTGenomicsError(f"{run}: the control has failed: {trained.control_error}")
    assert trained.model is not None
    assert trained.store is not None
    assert trained.split is not None
    test = trained.split.test
    click.echo(f"\n2. Evaluate on {len(test):,} sequences of species never seen: AUROC")
    on_evaluated = partial(reports.write_evidence, run, seconds=_EVIDENCE_SECONDS)
    evaluate_run(run, fasta, trained=trained, on_evaluated=on_evaluated)
    for write in (reports.write_training_plot, reports.write_plots, reports.write_report):
        write(run)
    reports.write_model_card(run)
    return EvaluationSet.from_model(trained.model, trained.store, test, where=str(fasta))


def _comparison(run: Path, test: "EvaluationSet") -> list[list[str]]:
    """Return a table of the AUROC of the model, its control and the k-mer baseline."""
    import numpy as np

    from rmt_genomics.evaluation.evaluation_set import predict_examples
    from rmt_genomics.model import RMTClassifier
    from rmt_genomics.model.kmer_regression import FILE_NAME, KmerRegression

    store, examples = test.store, test.examples
    control = RMTClassifier.from_pretrained(run / "control")
    regression = KmerRegression.load(run / FILE_NAME)
    features = regression.kmers.features(test.codes(range(len(examples))))
    predictions = {
        "model": test.probabilities,
        "trained without memory": predict_examples(control, store, examples),
        f"counts of {regression.kmers.k}-mers": regression.predict_proba(features),
    }
    labels = np.array([example.labels[0] for example in examples])
    rows = [["", *_QUESTIONS]]
    for name, probabilities in predictions.items():
        of_label = dict(zip(test.model.classes_, probabilities.T, strict=True))
        scores = [_auroc(of_label, labels, *question) for question in _QUESTIONS.values()]
        rows.append([name, *(f"{score:.3f}" for score in scores)])
    return rows


def _auroc(
    of_label: dict[str, "np.ndarray"],
    labels: "np.ndarray",
    positive: tuple[str, ...],
    negative: tuple[str, ...],
) -> float:
    """Return the AUROC of some labels against others, among the examples that have one of them."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    for_positive, for_negative = (
        np.sum([of_label[label] for label in side], axis=0) for side in (positive, negative)
    )
    score = for_positive / np.maximum(for_positive + for_negative, 1e-300)
    is_asked = np.isin(labels, positive + negative)
    return float(roc_auc_score(np.isin(labels, positive)[is_asked], score[is_asked]))


def _predict(run: Path, fasta: Path, out: Path, examples: list["Example"]) -> str:
    """Predict as ``rmt-genomics predict`` does; return a table with the true labels added."""
    from rmt_genomics.atomic_io import write_text
    from rmt_genomics.prediction import PredictionInput
    from rmt_genomics.prediction.run import PredictionConfig, predicted_lines

    config = PredictionConfig(model_dir=str(run), input=PredictionInput(fasta=(fasta,)))
    lines = list(predicted_lines(config))
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
   {out / "run"}: the model and its training (report.html, training.png, ...)
   {out / "run" / "control"}: the same network trained without memory
   {out / "contigs.fasta"}, {out / "predictions.tsv"}: the predicted sequences

Next
   rmt-genomics predict {quoted("run")} {quoted("contigs.fasta")}
   rmt-genomics simulate --task mosaic --genomes YOUR.fasta --out YOUR_MOSAICS
   rmt-genomics train YOUR.fasta --labels YOUR.tsv --out YOUR_RUN"""
