"""The model card: ``README.md`` of a model folder, as the Hugging Face hub shows it.

It is written from the files of the run. A card that was edited is never replaced: the last line
of a generated card holds a checksum of the rest, which no longer fits after an edit.
"""

import hashlib
import re
import warnings
from collections import Counter
from pathlib import Path

from rmt_genomics.atomic_io import write_text
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from rmt_genomics.evaluation.tables import summary_sentences
from rmt_genomics.model.config import ClassifierConfig
from rmt_genomics.model.features import describe
from rmt_genomics.model.pretrained import CONFIG, read_config
from rmt_genomics.reports.markdown import Markdown, markdown_environment
from rmt_genomics.reports.performance_sections import metrics_table
from rmt_genomics.reports.run_results import RunResults, length_bp, read_run_results
from rmt_genomics.reports.summary_sections import has_intervals

CARD = "README.md"

_HUB_METRICS = {  # our keys and the names of the hub
    "accuracy": "accuracy",
    "macro_f1": "f1",
    "mcc": "matthews_correlation",
    "auroc": "roc_auc",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "r2": "r_squared",
    "mae": "mae",
    "rmse": "rmse",
}
_SIGNATURE = re.compile(r"\n<!-- rmt-genomics wrote this card: ([0-9a-f]{16})[^>]*-->\n\Z")


def write_model_card(folder: str | Path) -> Path:
    """Write ``README.md`` into a model folder, atomically.

    A card that was edited is kept, with a warning; that of ``save_pretrained`` is replaced. Files
    of the run that do not exist are left out of the card.

    Raises:
        DataError: If there is no model, or a file is damaged.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise DataError(
            f"{folder}: has no {CONFIG}, but a model card describes a model. "
            "Name the --out folder of a finished training."
        )
    path = folder / CARD
    if path.is_file() and not _may_be_replaced(path.read_text(encoding="utf-8", errors="replace")):
        warnings.warn(
            f"{path}: was edited, so it is kept, and may describe an earlier model. "
            "Remove it to get a new one.",
            RMTGenomicsWarning,
            stacklevel=2,
        )
        return path
    card = _card(read_run_results(folder), read_config(folder / CONFIG))
    signature = f"<!-- rmt-genomics wrote this card: {_checksum(card)}. Edited, it is kept. -->"
    write_text(path, f"{card}\n{signature}\n")
    return path


def _may_be_replaced(card: str) -> bool:
    """Whether a card was generated and not edited, or is the default one of a saved model."""
    from rmt_genomics.model import RMTClassifier

    signature = _SIGNATURE.search(card)
    if signature:
        return signature[1] == _checksum(card[: signature.start()])
    default = str(RMTClassifier.__new__(RMTClassifier).generate_model_card())
    return card.split() == default.split()


def _checksum(card: str) -> str:
    return hashlib.sha256(card.encode(errors="backslashreplace")).hexdigest()[:16]


def _card(results: RunResults, config: ClassifierConfig) -> str:
    metrics, lengths = results.metrics, [length_bp(row) for row in results.split]
    columns = results.metric_columns
    length_range = min(lengths, default=None), max(lengths, default=None)
    if results.is_simulated:
        length_range = config.min_train_bp, config.max_train_bp
    keys = ("seed", "rmt-genomics", "torch", "device", "gpu", "processor")
    versions = [f"{key} {results.environment[key]}" for key in keys if results.environment.get(key)]
    card = markdown_environment().get_template("model_card.md")
    return card.render(
        front_matter=Markdown(_front_matter(results)),
        name=results.name,
        config=config,
        features=describe(config.features_by_kind.values(), config.orf_codons),
        results=summary_sentences(metrics) if metrics else [],
        metrics=metrics_table(metrics, columns),
        has_intervals=has_intervals(columns.values()),
        examples=len(lengths),
        is_simulated=results.is_simulated,
        shortest=length_range[0],
        longest=length_range[1],
        parts=Counter(row.get("split", "") for row in results.split),
        sha256=results.environment.get("fasta_sha256"),
        warnings=[str(text) for text in results.leakage.get("warnings", ())],
        epochs=len(results.epochs),
        seconds=sum(row.get("seconds") or 0.0 for row in results.epochs),
        versions=", ".join(versions),
        settings=results.config.strip(),
        notes=[str(note) for note in metrics.get("notes", ())],
    )


def _front_matter(results: RunResults) -> str:
    """Return the YAML header; a YAML library quotes its values."""
    from huggingface_hub import ModelCardData

    metrics = [hub for key, hub in _HUB_METRICS.items() if results.metrics.get(key) is not None]
    tags = ["dna", "genomics", "recurrent-memory-transformer"]
    front: str = ModelCardData(
        library_name="rmt-genomics",
        tags=[*tags, results.task] if results.task else tags,
        metrics=metrics or None,
    ).to_yaml(line_break="\n")
    return front.rstrip()
