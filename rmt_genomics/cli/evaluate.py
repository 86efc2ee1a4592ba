"""``rmt-genomics evaluate``: metrics of a model on labelled DNA."""

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmt_genomics.cli.options import (
    DEVICE,
    PATH,
    echo_metrics,
    label_options,
    label_source,
    take_labels,
    take_names,
)
from rmt_genomics.errors import counted

if TYPE_CHECKING:
    from rmt_genomics.evaluation.evaluation_set import EvaluationSet

logger = logging.getLogger(__name__)


@click.command()
@click.argument("model_dir")
@click.argument("fasta", type=PATH)
@click.option("--labels", type=PATH, help="True labels (see train).")
@label_options
@click.option("--out", type=PATH, required=True, help="Folder for the results.")
@click.option("--device", type=DEVICE, default="auto", help="Where to compute.")
@click.option("--overwrite", is_flag=True, help="Use --out even if it is not empty.")
def evaluate(
    model_dir: str,
    fasta: Path,
    labels: Path | None,
    label_pattern: str | None,
    out: Path,
    **options: Any,
) -> None:
    """Compare a model's predictions with true labels.

    MODEL_DIR is a model folder, or hf://owner/name. FASTA is a file or a folder, of any
    format that train reads. If the labels have a split column with test rows, those are evaluated,
    else all rows. If the model was trained on windows (train --window), the records are cut into
    the same windows. The model is compared with baselines: the most common label of the train rows;
    a regression on k-mer counts of both strands and of the given one, and one on length and
    composition, from the model's folder or fitted on the train rows; and the same network on single
    segments.

    Writes metrics.json, predictions.tsv, confusion.tsv, plots (SVG and PNG) and report.html, and
    prints the main metrics: aligned on a terminal, else as a tab-separated table.
    """
    from rmt_genomics.evaluation.evaluate import evaluate as evaluate_model
    from rmt_genomics.evaluation.tables import interval_sentence, summary_sentences
    from rmt_genomics.locks import locked
    from rmt_genomics.reports import write_evidence, write_plots, write_report
    from rmt_genomics.reports.evidence import evidence_seconds

    started_at = time.monotonic()
    click.get_current_context().with_resource(locked(out, is_folder=True))
    source = label_source(labels, label_pattern, fasta)
    names, reading = take_names(options), take_labels(options)

    def on_evaluated(eval_set: "EvaluationSet") -> None:
        write_evidence(out, eval_set, seconds=evidence_seconds(time.monotonic() - started_at))

    options |= {"names": names, "on_evaluated": on_evaluated, **reading}
    metrics = evaluate_model(model_dir, fasta, source, out, **options)
    write_plots(out)
    write_report(out)
    echo_metrics(metrics)
    rows = "the test rows" if metrics["split"] == "test" else "all rows (none is marked as test)"
    count = counted(metrics["n"], "example")
    logger.info("Evaluated %s of %s: %s. Results are in %s.", rows, source, count, out)
    for sentence in [*summary_sentences(metrics), interval_sentence(metrics)]:
        if sentence:
            logger.info(sentence)
