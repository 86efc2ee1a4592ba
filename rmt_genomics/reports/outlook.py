"""What training would do with some data, told before it does. Torch is loaded for settings only."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rmt_genomics.datasets.examples import SPLITS, Example, LabelScheme
from rmt_genomics.datasets.label_sources import LabelSource
from rmt_genomics.datasets.leakage import audit
from rmt_genomics.datasets.splits import Split, split_examples
from rmt_genomics.datasets.store import EncodedStore
from rmt_genomics.errors import DataError

if TYPE_CHECKING:
    from rmt_genomics.training import ExperimentConfig

DEFAULTS: dict[str, Any] = {"split": "auto", "validation_fraction": 0.2, "task": "auto"}
"""What ``training.config.DataSettings`` says of dividing data; here too, as that loads torch."""


def outlook(
    fasta: Path,
    labels: LabelSource,
    examples: Sequence[Example],
    config: "ExperimentConfig | None" = None,
) -> str:
    """Divide the data as ``train`` does with seed 0, and say what it would work on.

    Args:
        fasta: A file of sequences, or a folder of such files.
        labels: Where their labels are.
        examples: What was read there.
        config: Settings of the training to come; without them, how much a training reads at once
            is not told, and data are divided as by default.

    Returns:
        A line a finding; the findings of the leakage audit last. If training would refuse the
        data, that is the finding.
    """
    chosen = {name: getattr(config.data, name) for name in DEFAULTS} if config else DEFAULTS
    task: str = chosen["task"]
    try:
        labels.check_classes(examples)
        split = split_examples(
            examples,
            how=chosen["split"],
            validation_fraction=chosen["validation_fraction"],
            seed=0,
            task=task,
        )
        scheme = LabelScheme.of(examples, task)
    except DataError as error:
        return f"Training would refuse these data: {error}"
    lines = [*_parts(scheme, split)]
    if config is not None:
        lines += _reading(split.train, config)
    lines += audit(EncodedStore.open(fasta), split, scheme).summary().splitlines()
    return "\n".join(["What training would do (seed 0):", *(f"  {line}" for line in lines)])


def _parts(scheme: LabelScheme, split: Split) -> Iterator[str]:
    parts: dict[str, tuple[Example, ...]] = {name: getattr(split, name) for name in SPLITS}
    yield f"task: {scheme.task}"
    yield f"parts: {', '.join(f'{name} {len(part):,}' for name, part in parts.items())} examples"
    if scheme.task == "regression":
        return
    for label in scheme.classes:
        counts = Counter(
            name for name, part in parts.items() for each in part if label in each.labels
        )
        shown = ", ".join(f"{name} {counts[name]:,}" for name, part in parts.items() if part)
        yield f"  {label}: {shown}"


def _reading(train: tuple[Example, ...], config: "ExperimentConfig") -> Iterator[str]:
    """Say how much an epoch reads, in how many batches and segments."""
    lengths = [len(each.interval) for each in train]
    batch = config.training.batch_size
    steps = "" if isinstance(batch, str) else f" in {-(-len(train) // batch):,} batches of {batch}"
    yield f"an epoch: {sum(lengths):,} bp{steps}"
    model = config.classifier(("any", "other"), "binary")
    tokens = [model.tokenizer.num_tokens(length) for length in (int(median(lengths)), max(lengths))]
    per_segment = model.rmt().tokens_a_segment
    segments = [max(1, -(-each // per_segment)) for each in tokens]
    yield (
        f"an example of median length: {tokens[0]:,} tokens in {_segments(segments[0])}; the "
        f"longest: {tokens[1]:,} in {_segments(segments[1])}"
    )


def _segments(count: int) -> str:
    return "1 segment" if count == 1 else f"{count:,} segments"
