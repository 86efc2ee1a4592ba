"""What metrics and baselines are called, and what they mean, for people."""

import re
from collections.abc import Mapping
from typing import Any

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "mcc": "MCC",
    "macro_f1": "macro F1",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "pearson": "Pearson r",
    "spearman": "Spearman r",
    "r2": "R2",
    "mae": "mean absolute error",
    "rmse": "root mean square error",
}
"""Every metric, in the order of tables."""

LOWER_IS_BETTER = ("mae", "rmse")

MEANINGS = {
    "accuracy": "share of examples that are right (multi-label: with all their labels)",
    "balanced_accuracy": "mean over classes of the share that is right; rare classes count as much",
    "mcc": "Matthews correlation: 1 all right, 0 no better than chance",
    "macro_f1": "mean over classes of F1, which joins precision and recall",
    "auroc": "chance that an example of a class scores above one that is not; 0.5 knows nothing",
    "auprc": "mean precision over all recalls; a guess gets the share of the class",
    "pearson": "how well predictions and truth lie on a line; 1 perfectly",
    "spearman": "how well the order is right; 1 perfectly",
    "r2": "share of the variance that is explained; 0 is what the mean alone would do",
    "mae": "how far off a prediction is on average, in the unit of the label",
    "rmse": "the same, but large errors count more",
}

_ONE_K = re.compile(r"kmer\d")

_BASELINES = {
    "majority": "most common class",
    "mean": "mean of the training part",
    "kmer_logistic": "k-mer counts",
    "kmer_ridge": "k-mer counts",
    "protein_logistic": "protein k-mer counts",
    "protein_ridge": "protein k-mer counts",
    "chunk_average": "chunks, averaged",
    "window_average": "windows, averaged",
}

_PROTEINS = (
    "counts of k amino acids, in ten classes, in open reading frames: what this model reads beside "
    "its memory"
)

BASELINE_MEANINGS = {
    "majority": "always the most common class of the training part",
    "mean": "always the mean of the training part",
    "kmer_logistic": "a logistic regression on counts of k-mers, which know no order; k = 4 or 6, "
    "whichever is better on validation",
    "kmer_ridge": "the same with a ridge regression",
    "protein_logistic": f"a logistic regression on {_PROTEINS}",
    "protein_ridge": f"a ridge regression on {_PROTEINS}",
    "chunk_average": "this model on one segment at a time, its answers averaged (beside the "
    "composition of the whole sequence, if it reads that)",
    "window_average": "the same with the composition of the segment alone: cutting windows",
}


def baselines_of(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the baselines to show: of the k-mer ones by themselves the better one stands there."""
    found = (metrics.get("baselines") or {}).items()
    return {name: each for name, each in found if not _ONE_K.match(name)}


def metric_name(key: str) -> str:
    """Return what a metric is called; its key if it is not known here."""
    return METRICS.get(key, key.replace("_", " "))


def baseline_name(key: str, metrics: Mapping[str, Any] | None = None) -> str:
    """Return what a baseline is called, with its k if its metrics tell."""
    k = (metrics or {}).get("k")
    name = _BASELINES.get(key, key.replace("_", " "))
    return f"{name} (k = {k})" if k is not None else name
