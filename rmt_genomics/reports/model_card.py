"""The model card: ``README.md`` of a model folder, as the Hugging Face hub shows it.

It is written from the files of the run. A card that was edited is never replaced: the last line
of a generated card holds a checksum of the rest, which no longer fits after an edit.
"""

import hashlib
import re
import warnings
from pathlib import Path

from rmt_genomics.atomic_io import write_text
from rmt_genomics.errors import DataError, RMTGenomicsWarning, counted
from rmt_genomics.evaluation.tables import summary_sentences
from rmt_genomics.model.config import ClassifierConfig
from rmt_genomics.model.metrics import METRICS, metric_name
from rmt_genomics.model.pretrained import CONFIG, read_config
from rmt_genomics.reports.html_page import Cell, number
from rmt_genomics.reports.run_results import RunResults, length_bp, read_run_results
from rmt_genomics.reports.summary_sections import headline

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
_MAX_NAMED_CLASSES = 50


def write_model_card(folder: Path) -> Path:
    """Write ``README.md`` into a model folder, atomically.

    A card that was edited is kept, with a warning; that of ``save_pretrained`` is replaced.

    Args:
        folder: A model folder; files of its run that do not exist are left out of the card.

    Returns:
        The path of the card.

    Raises:
        DataError: If there is no model, or a file is damaged.
    """
    if not (folder / CONFIG).is_file():
        raise DataError(
            f"{folder}: has no {CONFIG}, but a model card describes a model. "
            "Name the --out folder of a finished training."
        )
    path = folder / CARD
    if path.is_file() and not _may_be_replaced(path.read_text(encoding="utf-8")):
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
    return hashlib.sha256(card.encode()).hexdigest()[:16]


def _card(results: RunResults, config: ClassifierConfig) -> str:
    parts = [
        f"---\n{_front_matter(results)}\n---\n",
        f"# {_plain(results.name)}\n\n{_description(config)}",
        f"## Results\n\n{_results(results)}" if results.metrics else "",
        f"## Data\n\n{_data(results)}" if results.split else "",
        f"## How it was trained\n\n{_training(results)}" if results.config else "",
        f"## How to use it\n\n{_use()}",
        f"## Limits\n\n{_limits(results, config)}",
    ]
    return "\n".join(f"{part.rstrip()}\n" for part in parts if part)


def _front_matter(results: RunResults) -> str:
    """Return the YAML header without a licence, which the user chooses."""
    from huggingface_hub import ModelCardData

    metrics = [hub for key, hub in _HUB_METRICS.items() if results.metrics.get(key) is not None]
    tags = ["dna", "genomics", "recurrent-memory-transformer"]
    front: str = ModelCardData(
        library_name="rmt-genomics",
        tags=[*tags, f"{results.task}"] if results.task else tags,
        metrics=metrics or None,
    ).to_yaml(line_break="\n")
    return f"{front.rstrip()}\n# license: yours to choose before you publish this model"


def _description(config: ClassifierConfig) -> str:
    names = [_code(name) for name in config.classes]
    hidden = len(names) - _MAX_NAMED_CLASSES
    shown = ", ".join(names[:_MAX_NAMED_CLASSES]) + (f" and {hidden:,} more" if hidden > 0 else "")
    output = {
        "binary": f"one of two classes: {shown}",
        "multiclass": f"one of {len(names)} classes: {shown}",
        "multilabel": f"any number of {len(names)} labels: {shown}",
        "regression": f"a number: {shown}",
    }[config.task]
    token = "one base" if config.tokenizer_kind == "base" else f"{config.k} bases"
    frequencies = []
    if config.composition_k:
        frequencies.append(f"{config.composition_k}-mers")
    if config.protein_k:
        frequencies.append(
            f"{config.protein_k}-mers of amino acids (in ten classes) in open reading frames of at "
            f"least {config.orf_codons} codons"
        )
    features = ""
    if frequencies:
        features = f", which also reads the frequencies of {' and of '.join(frequencies)}"
    if config.wide_k:
        lengths = ", ".join(map(str, config.wide_k))
        features += f"; a linear model on k-mers of {lengths} bases is added to its logits"
    return (
        "This model reads a whole DNA sequence, both strands, and predicts "
        f"{output}.\n\n"
        "It is a bidirectional Recurrent Memory Transformer, made by "
        f"`rmt-genomics`: width {config.dim}, {counted(config.depth, 'layer')}, "
        f"{counted(config.heads, 'attention head')}, "
        f"segments of {config.segment_length} tokens ({token} each), "
        f"{counted(config.num_memory_tokens, 'memory token')}, pooling `{config.pooling}`, "
        f"head `{config.strand_head}`{features}."
    )


def _results(results: RunResults) -> str:
    metrics, columns = results.metrics, results.metric_columns
    keys = [key for key in METRICS if key in metrics]
    rows = [[metric_name(key), *(values.get(key) for values in columns.values())] for key in keys]
    main_result, _ = headline(results)
    others = [text for text in summary_sentences(metrics) if text not in main_result]
    return "\n\n".join(
        [_plain(main_result), _table(["metric", *columns], rows), *map(_plain, others)]
    )


def _data(results: RunResults) -> str:
    parts = list(dict.fromkeys(row.get("split", "") for row in results.split))
    counts = {part: [row for row in results.split if row.get("split") == part] for part in parts}
    lengths = [length_bp(row) for row in results.split]
    shown = ", ".join(f"{len(rows):,} for {part}" for part, rows in counts.items())
    sha256 = results.environment.get("fasta_sha256")
    lines = [
        f"{len(results.split):,} labelled examples of {min(lengths):,} to {max(lengths):,} bp: "
        f"{shown}.",
        *([f"Checksum of the sequences (SHA-256): `{sha256}`."] if sha256 else []),
        *(f"**{_plain(str(text))}**" for text in results.leakage.get("warnings", ())),
    ]
    return "\n\n".join(lines)


def _training(results: RunResults) -> str:
    lines = []
    if results.epochs:
        seconds = sum(row.get("seconds") or 0.0 for row in results.epochs)
        lines.append(f"{counted(len(results.epochs), 'epoch')} in {seconds:,.0f} s.")
    keys = ("seed", "rmt-genomics", "torch", "device", "gpu", "processor")
    versions = [f"{key} {results.environment[key]}" for key in keys if results.environment.get(key)]
    if versions:
        lines.append(_plain(f"Made with: {', '.join(versions)}."))
    return "\n\n".join([*lines, f"```toml\n{results.config.strip()}\n```"])


def _use() -> str:
    return """```python
from rmt_genomics import RMTClassifier

model = RMTClassifier.from_pretrained("this folder, or owner/name on the hub")
model.predict(["ACGT" * 500])
model.predict_proba(["ACGT" * 500])
```

```
rmt-genomics predict FOLDER_OR_HUB_ID sequences.fasta --out predictions.tsv
```"""


def _limits(results: RunResults, config: ClassifierConfig) -> str:
    lengths = [length_bp(row) for row in results.split]
    lines = [str(note) for note in results.metrics.get("notes", ())]
    if lengths:
        lines.append(
            f"It was trained and tested on sequences of {min(lengths):,} to {max(lengths):,} bp; "
            "its performance on shorter or longer ones was not measured."
        )
    if config.task in ("binary", "multiclass"):
        lines.append(
            "It always predicts one of its classes, also for DNA that belongs to none of them."
        )
    lines.append("It is for research, not for clinical decisions.")
    return "\n".join(f"- {_plain(line)}" for line in lines)


def _table(header: list[str], rows: list[list[Cell]]) -> str:
    lines = [header, ["---"] * len(header), *([number(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(map(_plain, line))} |" for line in lines)


def _code(text: str) -> str:
    """Return text as inline code, whatever backticks it contains."""
    line = " ".join(text.split())
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    gap = " " if "`" in line else ""
    return f"{fence}{gap}{line}{gap}{fence}"


def _plain(text: str) -> str:
    """Return text escaped for Markdown, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#$])", r"\\\1", " ".join(text.split()))
