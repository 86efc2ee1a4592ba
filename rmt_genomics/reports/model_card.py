"""The model card: ``README.md`` of a model folder, as the Hugging Face hub shows it.

It is written from the files of the run. A card that somebody has edited is never written over:
the last line of ours holds a checksum of the rest, which an edit breaks.
"""

import hashlib
import re
import warnings
from pathlib import Path
from typing import Any

from rmt_genomics.atomic_io import write_text
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from rmt_genomics.model.config import ClassifierConfig
from rmt_genomics.model.pretrained import CONFIG, read_config
from rmt_genomics.reports.html_page import Cell, number
from rmt_genomics.reports.metric_names import METRICS, baseline_name, baselines_of, metric_name
from rmt_genomics.reports.run_results import Findings, read_findings
from rmt_genomics.reports.summary_sections import headline

CARD = "README.md"

_HUB_METRICS = {  # the names that the hub knows
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
_MARK = re.compile(r"\n<!-- rmt-genomics wrote this card: ([0-9a-f]{16})[^>]*-->\n\Z")
_SHOWN = 50  # classes by name


def write_model_card(folder: Path) -> Path:
    """Write ``README.md`` into a model folder, whole or not at all.

    A card that was edited is kept, with a warning; the bare one of ``save_pretrained`` is replaced.

    Args:
        folder: A model folder; the more files of its run are in it, the more the card tells.

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
            f"{path}: was edited, so it is kept, and may tell of an earlier model. "
            "Remove it to get a new one.",
            RMTGenomicsWarning,
            stacklevel=2,
        )
        return path
    found = read_findings(folder)
    write_text(path, _signed(_card(found, read_config(folder / CONFIG))))
    return path


def _may_be_replaced(card: str) -> bool:
    """Whether a card is ours as we wrote it, or the bare one that every saved model has."""
    from rmt_genomics.model import RMTClassifier

    mark = _MARK.search(card)
    if mark:
        return mark[1] == _checksum(card[: mark.start()])
    bare = str(RMTClassifier.__new__(RMTClassifier).generate_model_card())
    return card.split() == bare.split()


def _signed(card: str) -> str:
    mark = f"<!-- rmt-genomics wrote this card: {_checksum(card)}. Edited, it is kept. -->"
    return f"{card}\n{mark}\n"


def _checksum(card: str) -> str:
    return hashlib.sha256(card.encode()).hexdigest()[:16]


def _card(found: Findings, config: ClassifierConfig) -> str:
    parts = [
        f"---\n{_front_matter(found)}\n---\n",
        f"# {_plain(found.name)}\n\n{_what(config)}",
        f"## Results\n\n{_results(found)}" if found.metrics else "",
        f"## Data\n\n{_data(found)}" if found.split else "",
        f"## How it was trained\n\n{_training(found)}" if found.config else "",
        f"## How to use it\n\n{_use()}",
        f"## Limits\n\n{_limits(found, config)}",
    ]
    return "\n".join(f"{part.rstrip()}\n" for part in parts if part)


def _front_matter(found: Findings) -> str:
    """Return YAML; what has no value (the licence is yours to choose) is left out."""
    from huggingface_hub import ModelCardData

    metrics = [hub for key, hub in _HUB_METRICS.items() if found.metrics.get(key) is not None]
    tags = ["dna", "genomics", "recurrent-memory-transformer"]
    front: str = ModelCardData(
        library_name="rmt-genomics",
        tags=[*tags, f"{found.task}"] if found.task else tags,
        metrics=metrics or None,
    ).to_yaml(line_break="\n")
    return f"{front.rstrip()}\n# license: yours to choose before you publish this model"


def _what(config: ClassifierConfig) -> str:
    names = [_code(name) for name in config.classes]
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    shown = f"{', '.join(names[:_SHOWN])}{more}"
    answer = {
        "binary": f"which of two classes a sequence is of: {shown}",
        "multiclass": f"which of {len(names)} classes a sequence is of: {shown}",
        "multilabel": f"which of {len(names)} labels a sequence has, none or several: {shown}",
        "regression": f"a number for a sequence: {shown}",
    }[config.task]
    token = "one base" if config.tokenizer_kind == "base" else f"{config.k} bases"
    read = []
    if config.composition_k:
        read.append(f"of all {config.composition_k}-mers")
    if config.protein_k:
        read.append(
            f"of all words of {config.protein_k} amino acids, in ten classes, in open reading "
            f"frames of {config.orf_codons} codons and more"
        )
    composition = f", which also reads the shares {' and '.join(read)}" if read else ""
    if config.wide_k:
        lengths = ", ".join(map(str, config.wide_k))
        composition += f"; to its logits each k-mer of {lengths} bases adds a weight of its own"
    return (
        f"This model reads a whole DNA sequence, both strands, and says {answer}.\n\n"
        "It is a bidirectional Recurrent Memory Transformer, made by "
        f"`rmt-genomics`: width {config.dim}, {_counted(config.depth, 'layer')}, "
        f"{_counted(config.heads, 'head')}, "
        f"segments of {config.segment_length} tokens ({token} each), "
        f"{_counted(config.num_memory_tokens, 'memory token')}, pooling `{config.pooling}`, "
        f"head `{config.strand_head}`{composition}."
    )


def _results(found: Findings) -> str:
    metrics: dict[str, Any] = dict(found.metrics)
    baselines = baselines_of(metrics)
    columns = {"model": metrics, **{baseline_name(k, v): v for k, v in baselines.items()}}
    keys = [key for key in METRICS if key in metrics]
    rows = [[metric_name(key), *(each.get(key) for each in columns.values())] for key in keys]
    differences = metrics.get("differences", {}).values()
    sentences = [each["sentence"] for each in differences if each.get("sentence")]
    context = (metrics.get("context") or {}).get("sentence")
    return "\n\n".join(
        [
            _plain(headline(found)[0]),
            _table(["metric", *columns], rows),
            *map(_plain, [*sentences, *([context] if context else [])]),
        ]
    )


def _data(found: Findings) -> str:
    parts = list(dict.fromkeys(row.get("split", "") for row in found.split))
    counts = {part: [row for row in found.split if row.get("split") == part] for part in parts}
    lengths = [int(row["end"]) - int(row["start"]) for row in found.split]
    shown = ", ".join(f"{len(rows):,} for {part}" for part, rows in counts.items())
    sha256 = found.environment.get("fasta_sha256")
    lines = [
        f"{len(found.split):,} labelled examples of {min(lengths):,} to {max(lengths):,} bp: "
        f"{shown}.",
        *([f"Checksum of the sequences (SHA-256): `{sha256}`."] if sha256 else []),
        *(f"**{_plain(str(text))}**" for text in found.leakage.get("warnings", ())),
    ]
    return "\n\n".join(lines)


def _training(found: Findings) -> str:
    lines = []
    if found.epochs:
        seconds = sum(row.get("seconds") or 0.0 for row in found.epochs)
        lines.append(f"{_counted(len(found.epochs), 'epoch')} in {seconds:,.0f} s.")
    told = ("seed", "rmt-genomics", "torch", "device", "gpu", "processor")
    known = [f"{key} {found.environment[key]}" for key in told if found.environment.get(key)]
    if known:
        lines.append(_plain(f"Made with: {', '.join(known)}."))
    return "\n\n".join([*lines, f"```toml\n{found.config.strip()}\n```"])


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


def _limits(found: Findings, config: ClassifierConfig) -> str:
    lengths = [int(row["end"]) - int(row["start"]) for row in found.split]
    lines = [str(note) for note in found.metrics.get("notes", ())]
    if lengths:
        lines.append(
            f"It has seen sequences of {min(lengths):,} to {max(lengths):,} bp; what it says of "
            "shorter or longer ones was not measured."
        )
    if config.task in ("binary", "multiclass"):
        lines.append("It always names one of its classes, also for DNA that is of none of them.")
    lines.append("It is for research, not for clinical decisions.")
    return "\n".join(f"- {_plain(line)}" for line in lines)


def _table(header: list[str], rows: list[list[Cell]]) -> str:
    lines = [header, ["---"] * len(header), *([number(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(map(_plain, line))} |" for line in lines)


def _counted(count: int, thing: str) -> str:
    return f"1 {thing}" if count == 1 else f"{count:,} {thing}s"


def _code(text: str) -> str:
    """Return text between as many backticks as it takes."""
    line = " ".join(text.split())
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    gap = " " if "`" in line else ""
    return f"{fence}{gap}{line}{gap}{fence}"


def _plain(text: str) -> str:
    """Return text that Markdown shows as it stands, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#$])", r"\\\1", " ".join(text.split()))
