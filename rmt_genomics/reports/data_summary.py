"""What is in sequence files: one row a record, and what stands out in all of them. No torch.

Records are looked at one after the other; what is kept of each is a few numbers and 16 bytes, by
which another record of the same sequence, on either strand, is known.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rmt_genomics.datasets.examples import LABEL, SPLITS, Example, LabelScheme
from rmt_genomics.datasets.label_checks import are_continuous
from rmt_genomics.datasets.label_sources import LabelSource
from rmt_genomics.datasets.leakage import audit
from rmt_genomics.datasets.sequence_store import EncodedStore
from rmt_genomics.datasets.splits import Split, split_examples
from rmt_genomics.dna import Composition, composition_of
from rmt_genomics.dna.alphabet import encode, reverse_complement_codes
from rmt_genomics.errors import DataError

if TYPE_CHECKING:
    from rmt_genomics.training import ExperimentConfig


COLUMNS = (
    "record",
    "length",
    "gc",
    "n",
    "ambiguous",
    "lower_case",
    "duplicate_of",
    "duplicate_strand",
)
_PIECE_BP = 1 << 20
_DIGEST_BYTES = 16
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Looked:
    """What one record is like."""

    name: str
    made_of: Composition

    duplicate_of: str | None
    """The first record of the same sequence, as the model reads it; None if it is the first."""

    strand: str
    """``+`` if it is the same as it stands, ``-`` if its reverse complement is; else empty."""

    def line(self) -> str:
        """Return the record as a row of the table."""
        found = self.made_of
        gc = "" if found.gc is None else f"{found.gc:.4f}"
        cells = [self.name, str(found.length), gc, f"{found.n:.4f}", str(found.ambiguous)]
        return "\t".join([*cells, f"{found.lower_case:.4f}", self.duplicate_of or "", self.strand])


@dataclass(slots=True)
class Inspection:
    """All records looked at so far, in file order."""

    records: list[Looked] = field(default_factory=list)
    _first: dict[bytes, tuple[str, bool]] = field(default_factory=dict)

    def look_at(self, name: str, sequence: str) -> Looked:
        """Look at the next record.

        Args:
            name: Its name, given to no other record.
            sequence: DNA letters, 5' to 3'.
        """
        made_of = composition_of(sequence)
        digest, is_forward = _strandless_digest(sequence)
        first, was_forward = self._first.setdefault(digest, (name, is_forward))
        is_new = first == name
        strand = "" if is_new else "+" if is_forward == was_forward else "-"
        self.records.append(Looked(name, made_of, None if is_new else first, strand))
        return self.records[-1]

    def summary(self) -> str:
        """Say in a line a finding what stands out."""
        return "\n".join(self._findings())

    def _findings(self) -> Iterator[str]:
        found = [each.made_of for each in self.records]
        lengths = [each.length for each in found]
        total = sum(lengths)
        yield (
            f"{_counted(len(found), 'record')}, {total:,} bp; shortest {min(lengths):,} bp, "
            f"median {median(lengths):,.0f} bp, longest {max(lengths):,} bp"
        )
        shares = [each.gc for each in found if each.gc is not None]
        if shares:
            yield f"GC {min(shares):.1%} to {max(shares):.1%}, median {median(shares):.1%}"
        unknown = round(sum(each.n * each.length for each in found))
        if unknown:
            yield f"N: {unknown:,} bp ({unknown / total:.2%})"
        ambiguous = sum(each.ambiguous for each in found)
        if ambiguous:
            yield f"Letters that stand for several bases: {ambiguous:,}, read as N"
        lower = round(sum(each.lower_case * each.length for each in found))
        if lower:
            yield f"Lower case: {lower:,} bp ({lower / total:.2%}), read as upper case"
        yield from self._repeats()

    def _repeats(self) -> Iterator[str]:
        repeats = [each for each in self.records if each.duplicate_of is not None]
        if repeats:
            reverse = sum(each.strand == "-" for each in repeats)
            pairs = ", ".join(f"{each.name} of {each.duplicate_of}" for each in repeats[:_SHOWN])
            yield (
                f"Duplicates of an earlier record: {len(repeats):,}, {reverse:,} of them on the "
                f"other strand (such as {pairs})"
            )

    def labels_summary(self, examples: Sequence[Example], task: str = "auto") -> str:
        """Count examples by label and, where the labels say so, by part; of numbers say the range.

        Args:
            examples: Those labelled.
            task: As in ``LabelScheme.of``.
        """
        measured = task == "auto" and are_continuous([example.labels for example in examples])
        if task == "regression" or measured:
            return "\n".join([_range_of(examples), *self._contradictions(examples)])
        counts = Counter(label for example in examples for label in example.labels)
        lines = [f"{_counted(len(examples), 'labelled example')}, {len(counts):,} classes:"]
        for name, count in sorted(counts.items()):
            parts = Counter(each.split for each in examples if name in each.labels and each.split)
            shown = ", ".join(f"{part} {parts[part]:,}" for part in SPLITS if parts[part])
            lines.append(f"  {name}: {count:,}" + (f" ({shown})" if shown else ""))
        return "\n".join([*lines, *self._contradictions(examples)])

    def _contradictions(self, examples: Sequence[Example]) -> Iterator[str]:
        """Name records of one sequence that have different labels."""
        labels = {each.interval.record: set(each.labels) for each in examples if each.whole}
        pairs = [
            (each.name, each.duplicate_of)
            for each in self.records
            if each.duplicate_of is not None
            and each.name in labels
            and each.duplicate_of in labels
            and labels[each.name] != labels[each.duplicate_of]
        ]
        if pairs:
            shown = ", ".join(f"{one} and {other}" for one, other in pairs[:_SHOWN])
            yield (
                f"Duplicates with another label, which nothing can learn: {len(pairs):,} "
                f"(such as {shown})"
            )

    def by_label(self, examples: Sequence[Example] = ()) -> dict[str, list[Composition]]:
        """Return what the records of each label are made of; without labels, all as one.

        Where an example is a part of a record, the labels say nothing of whole records: then too.
        """
        if not examples or not all(each.whole for each in examples):
            return {"records": [each.made_of for each in self.records]}
        made_of = {each.name: each.made_of for each in self.records}
        found: dict[str, list[Composition]] = {}
        for each in examples:
            for label in each.labels or ("no label",):
                found.setdefault(label, []).append(made_of[each.interval.record])
        return dict(sorted(found.items()))


def _strandless_digest(sequence: str) -> tuple[bytes, bool]:
    """Return a digest that both strands share, and whether it is the one of this strand."""
    forward = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    reverse = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for start in range(0, len(sequence), _PIECE_BP):
        forward.update(encode(sequence[start : start + _PIECE_BP]).tobytes())
    for end in range(len(sequence), 0, -_PIECE_BP):
        codes = encode(sequence[max(0, end - _PIECE_BP) : end])
        reverse.update(reverse_complement_codes(codes).tobytes())
    one, other = forward.digest(), reverse.digest()
    return min(one, other), one <= other


def _counted(count: int, thing: str) -> str:
    return f"1 {thing}" if count == 1 else f"{count:,} {thing}s"


def _range_of(examples: Sequence[Example]) -> str:
    values = LabelScheme((LABEL,), "regression").numbers(examples).tolist()
    return (
        f"{_counted(len(values), 'labelled example')}, {len(set(values)):,} different numbers: "
        f"lowest {min(values):g}, median {median(values):g}, highest {max(values):g}"
    )


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
    per_segment = model.rmt().tokens_per_segment
    segments = [max(1, -(-each // per_segment)) for each in tokens]
    yield (
        f"an example of median length: {tokens[0]:,} tokens in {_segments(segments[0])}; the "
        f"longest: {tokens[1]:,} in {_segments(segments[1])}"
    )


def _segments(count: int) -> str:
    return "1 segment" if count == 1 else f"{count:,} segments"
