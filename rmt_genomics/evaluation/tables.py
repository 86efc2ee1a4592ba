"""The content of ``metrics.json`` and predictions as tab-separated text and as sentences."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rmt_genomics.errors import three_digits
from rmt_genomics.evaluation.summary import CONTROL, FEATURES, RANDOM_TWIN, summary_of
from rmt_genomics.model.metrics import metric_keys, metric_name
from rmt_genomics.prediction.output_formats import probability_columns, score_and_probabilities
from rmt_genomics.prediction.predictor import Prediction

_KMERS = (
    "counts of k-mers on both strands, which hold no order; k = 4 or 6, whichever is better on "
    "validation"
)
_STRANDED = "counts of k-mers on the given strand; k = 2 or 4, whichever is better on validation"
_COMPOSITION = "length, and fractions of A, C, G, T and N on the given strand"
_PROTEINS = (
    "counts of k amino acids, in ten classes, in open reading frames, which this model also reads"
)
_BASELINES = {  # display name and meaning by key
    "majority": ("most common class", "always the most common class of the training part"),
    "mean": ("mean of the training part", "always the mean of the training part"),
    "kmer_logistic": ("k-mer counts", f"logistic regression on {_KMERS}"),
    "kmer_ridge": ("k-mer counts", f"ridge regression on {_KMERS}"),
    "stranded_kmer_logistic": ("stranded k-mer counts", f"logistic regression on {_STRANDED}"),
    "stranded_kmer_ridge": ("stranded k-mer counts", f"ridge regression on {_STRANDED}"),
    "composition_logistic": ("length and composition", f"logistic regression on {_COMPOSITION}"),
    "composition_ridge": ("length and composition", f"ridge regression on {_COMPOSITION}"),
    "protein_logistic": ("protein k-mer counts", f"logistic regression on {_PROTEINS}"),
    "protein_ridge": ("protein k-mer counts", f"ridge regression on {_PROTEINS}"),
    "linear_probe": (
        "linear probe",
        "regression on embeddings of the pretrained encoder, as it was before the training: the "
        "mean of its token states, each segment read alone; both strands averaged",
    ),
    "chunk_average": (
        "single segments, averaged",
        "this model on one segment at a time, logits averaged (with the composition of the whole "
        "sequence, if it reads that); an ablation of the model, not an independent baseline",
    ),
    FEATURES: (
        "features alone",
        "the regressions on the features of the model (model.features), without its network",
    ),
    "window_average": (
        "windows, averaged",
        "this model on windows of one segment, each with its own composition, logits averaged; an "
        "ablation of the model, not an independent baseline",
    ),
    RANDOM_TWIN: (
        "from random weights",
        "the same network, trained from random weights instead of the pretrained ones (train "
        "--control): data, split, seed, settings and number of steps are those of the model",
    ),
    CONTROL: (
        "trained without memory",
        "the same network, trained with its memory set to zero before each segment (train "
        "--control): data, split, seed, settings and number of steps are those of the model",
    ),
}
_SINGLE_K = re.compile(r"kmer\d")  # the better of these is there as kmer_logistic or kmer_ridge


def evaluation_lines(
    predictions: Iterable[Prediction],
    truths: Iterable[str],
    classes: Sequence[str],
    task: str = "multiclass",
) -> Iterator[str]:
    """Yield a header and one line per prediction, with the true label before the predicted one.

    For regression: record, length, truth, prediction.
    """
    columns = ["label", "score", *probability_columns(classes)]
    if task == "regression":
        columns = ["prediction"]
    yield "\t".join(["record", "length", "truth", *columns])
    for prediction, truth in zip(predictions, truths, strict=True):
        cells = [prediction.label, *score_and_probabilities(prediction)]
        if task == "regression":
            cells = [f"{prediction.probabilities[0]:.6g}"]
        yield "\t".join([prediction.record, str(prediction.length), truth, *cells])


def confusion_lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield the confusion matrix: one row per true class, one column per predicted class.

    Multi-label: one row per class with its true and false negatives and positives.
    """
    classes, confusion = metrics["classes"], metrics["confusion"]
    if isinstance(confusion[0][0], int):  # else one 2 x 2 matrix per class
        yield "\t".join(["truth", *classes])
        for name, counts in zip(classes, confusion, strict=True):
            yield "\t".join([name, *map(str, counts)])
        return
    yield "class\ttrue_negative\tfalse_positive\tfalse_negative\ttrue_positive"
    for name, ((tn, fp), (fn, tp)) in zip(classes, confusion, strict=True):
        yield f"{name}\t{tn}\t{fp}\t{fn}\t{tp}"


def metric_lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line per metric: its value for the model and for each baseline."""
    columns = {"model": metrics, **shown_baselines(metrics)}
    yield "\t".join(["metric", *columns])
    for key in metric_keys(metrics.get("task")):
        yield "\t".join([key, *(format_metric(column[key]) for column in columns.values())])


def metrics_table(metrics: Mapping[str, Any]) -> str:
    """Return aligned columns, as wide as the terminal at most: a row per predictor."""
    from rich.console import Console
    from rich.table import Table

    rows = {"model": metrics}
    rows |= {baseline_name(key, row): row for key, row in shown_baselines(metrics).items()}
    keys = metric_keys(metrics.get("task"))
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("", ratio=1)
    for key in keys:
        table.add_column(metric_name(key).replace(" ", "\n"), justify="right", vertical="bottom")
    for name, row in rows.items():
        values = (row.get(key) for key in keys)
        table.add_row(name, *("-" if value is None else three_digits(value) for value in values))
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def interval_sentence(metrics: Mapping[str, Any]) -> str:
    """Return the model's interval of each metric in one line; empty if there are none."""
    intervals = metrics.get("intervals") or {}
    ends = [
        f"{metric_name(key)} {three_digits(pair[0])} to {three_digits(pair[1])}"
        for key in metric_keys(metrics.get("task"))
        if (pair := intervals.get(key))
    ]
    return f"95% intervals of the model: {', '.join(ends)}." if ends else ""


def format_metric(value: int | float | None) -> str:
    """Return a metric as a cell of a table; empty if it is not defined."""
    return "" if value is None else f"{value:.4f}"


def summary_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """Return the summary, a sentence per further baseline, and one on context."""
    summary = summary_of(metrics)["sentence"]
    differences = [row["sentence"] for row in (metrics.get("differences") or {}).values()]
    context = (metrics.get("context") or {}).get("sentence")
    others = [*differences, *([context] if context else [])]
    return [summary, *(sentence for sentence in others if sentence not in summary)]


def shown_baselines(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the baselines to show: of the k-mer regressions only the better one."""
    baselines = (metrics.get("baselines") or {}).items()
    return {key: baseline for key, baseline in baselines if not _SINGLE_K.match(key)}


def baseline_name(key: str, baseline: Mapping[str, Any] | None = None) -> str:
    """Return the display name of a baseline, with its k if its metrics hold one."""
    k = (baseline or {}).get("k")
    name = _BASELINES[key][0] if key in _BASELINES else key.replace("_", " ")
    return f"{name} (k = {k})" if k is not None else name


def baseline_meaning(key: str) -> str | None:
    """Return what a baseline does; None if it is unknown."""
    return _BASELINES[key][1] if key in _BASELINES else None
