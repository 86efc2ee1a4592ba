"""The model card: ``README.md`` of a model folder, as the Hugging Face hub shows it.

It is written from the files of the run; a pretrained encoder, and a control that was trained
without memory beside a model, have other cards. A card that was edited is never replaced: the last
line of a generated card holds a checksum of the rest, which no longer fits after an edit.
"""

import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rmt_genomics.atomic_io import write_text
from rmt_genomics.datasets.similarity import percent
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from rmt_genomics.evaluation.control import FOLDER as CONTROL_FOLDER
from rmt_genomics.evaluation.control import control_kind
from rmt_genomics.evaluation.summary import CONTROL, RANDOM_TWIN
from rmt_genomics.evaluation.tables import baseline_name, summary_sentences
from rmt_genomics.model.config import PRETRAINING, ClassifierConfig
from rmt_genomics.model.features import describe
from rmt_genomics.model.pretrained import CONFIG, read_config
from rmt_genomics.parsing import read_toml
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
    """Write ``README.md`` into a model folder, and into that of its control, atomically.

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
    if _is_control(folder / CONTROL_FOLDER):
        _write(folder / CONTROL_FOLDER)
    return _write(folder)


def _is_control(folder: Path) -> bool:
    """Whether a folder is in that of a model, and has its control."""
    configs = [folder / CONFIG, folder.parent / CONFIG]
    if folder.name != CONTROL_FOLDER or not all(path.is_file() for path in configs):
        return False
    resets = [read_config(path).memory_reset for path in configs]
    return resets == ["segment", "never"] or control_kind(folder.parent, folder) == RANDOM_TWIN


def _write(folder: Path) -> Path:
    """Write the card of one model, unless it was edited."""
    path = folder / CARD
    if path.is_file() and not _may_be_replaced(path.read_text(encoding="utf-8", errors="replace")):
        warnings.warn(
            f"{path}: was edited, so it is kept, and may describe an earlier model. "
            "Remove it to get a new one.",
            RMTGenomicsWarning,
            stacklevel=3,
        )
        return path
    results, config = read_run_results(folder), read_config(folder / CONFIG)
    if config.task == PRETRAINING:
        card = _pretrained_card(results, config)
    elif _is_control(folder.resolve()) and not results.metrics:  # else it is a run of its own
        card = _control_card(folder.resolve(), results)
    else:
        card = _card(results, config)
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
        warnings=[str(text) for text in results.leakage.get("warnings", ())],
        **_training(results),
    )


def _training(results: RunResults) -> dict[str, Any]:
    """Return what the card of any training has."""
    keys = ("seed", "rmt-genomics", "torch", "device", "gpu", "processor")
    versions = [f"{key} {results.environment[key]}" for key in keys if results.environment.get(key)]
    return {
        "sha256": results.environment.get("fasta_sha256"),
        "epochs": len(results.epochs),
        "seconds": sum(row.get("seconds") or 0.0 for row in results.epochs),
        "versions": ", ".join(versions),
        "settings": results.config.strip(),
        "notes": [str(note) for note in results.metrics.get("notes", ())],
    }


def _pretrained_card(results: RunResults, config: ClassifierConfig) -> str:
    metrics, lengths = results.metrics, [length_bp(row) for row in results.split]
    settings = read_toml(results.config, "config.toml", "Pretrain again.").get("data")
    identity = settings.get("identity") if isinstance(settings, dict) else None
    is_known = all(isinstance(metrics.get(key), int) for key in ("n", "bp", "masked_bases"))
    card = markdown_environment().get_template("pretrained_card.md")
    return card.render(
        front_matter=Markdown(_front_matter(results)),
        name=results.name,
        config=config,
        bits=list(_bits_per_base(metrics)),
        evaluated="{n:,} windows, {bp:,} bp, of which {masked_bases:,} are masked".format(**metrics)
        if is_known
        else "",
        fasta=[str(name) for name in metrics.get("fasta") or ()],
        parts=list(_parts(results)),
        identity=percent(identity) if isinstance(identity, float) else None,
        shortest=min(lengths, default=None),
        longest=max(lengths, default=None),
        **_training(results),
    )


def _bits_per_base(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what predicted masked bases, and how well; of models that count, the best two."""
    found = {"model": metrics.get("model"), "memory_reset": metrics.get("memory_reset")}
    found |= metrics.get("baselines") or {}
    bits = {
        key: float(value)
        for key, each in found.items()
        if isinstance(each, dict) and isinstance(value := each.get("bits_per_base"), int | float)
    }
    for prefix, title in (
        ("model", "this network"),
        ("memory_reset", "this network, its memory set to zero before each segment"),
        ("markov_", "best Markov model ({} bases before a base)"),
        ("context_", "best counts of contexts ({} bases on each side)"),
    ):
        of_kind = {key: value for key, value in bits.items() if key.startswith(prefix)}
        if of_kind:
            best = min(of_kind, key=lambda key: of_kind[key])
            yield title.format(best.removeprefix(prefix)), f"{of_kind[best]:.4f}"


def _parts(results: RunResults) -> Iterator[tuple[str, int, int]]:
    """Yield each part of the split, its number of records and of base pairs; none counts twice."""
    for part in dict.fromkeys(row.get("split", "") for row in results.split):
        windows = sorted(
            (row["record"], int(row["start"]), int(row["end"]))
            for row in results.split
            if row.get("split", "") == part
        )
        record, read_to, num_bp = None, 0, 0
        for name, start, end in windows:
            read_to = read_to if name == record else 0
            record = name
            num_bp += max(0, end - max(start, read_to))
            read_to = max(read_to, end)
        yield part, len({name for name, _, _ in windows}), num_bp


def _control_card(folder: Path, results: RunResults) -> str:
    of_model = read_run_results(folder.parent)
    metrics, key = of_model.metrics, control_kind(folder.parent, folder)
    control = (metrics.get("baselines") or {}).get(key)
    rows = None
    if control is not None:
        name = baseline_name(key, control)
        rows = metrics_table(metrics, {"the model": metrics, name: control})
    difference = (metrics.get("differences") or {}).get(key) or {}
    how = "trained without memory" if key == CONTROL else "trained from random weights"
    card = markdown_environment().get_template("control_card.md")
    return card.render(
        front_matter=Markdown(_front_matter(results)),
        name=f"{of_model.name}: {how}",
        how=how,
        key=key,
        is_without_memory=key == CONTROL,
        model_name=of_model.name,
        metrics=rows,
        sentence=difference.get("sentence"),
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
