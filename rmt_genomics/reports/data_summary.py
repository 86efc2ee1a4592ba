"""A summary of sequence files and labels, and of what a training would do with them. No torch.

Records are read one after the other. Of each, a few numbers are kept, and 16 bytes by which
another record with the same sequence, on either strand, is recognised.
"""

import hashlib
import warnings
from collections import Counter, defaultdict
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
from rmt_genomics.datasets.similarity import IDENTITY
from rmt_genomics.datasets.splits import Split, split_examples
from rmt_genomics.dna import Composition, NameOptions, composition_of
from rmt_genomics.dna.alphabet import encode, reverse_complement_codes
from rmt_genomics.errors import DataError, counted

if TYPE_CHECKING:
    from rmt_genomics.training import ExperimentConfig

_COMPOSITION = ("length", "gc", "n", "ambiguous", "lower_case")
COLUMNS = ("record", *_COMPOSITION, "duplicate_of", "duplicate_strand")

SPLIT_DEFAULTS: dict[str, Any] = {"split": "auto", "validation_fraction": 0.2, "task": "auto"}
"""The defaults of ``training.config.DataSettings``, repeated here because that loads torch."""

_CHUNK_BP = 1 << 20
_DIGEST_BYTES = 16
_MAX_SHOWN = 3


@dataclass(frozen=True, slots=True)
class RecordSummary:
    """Composition of one record, and whether its sequence occurred before."""

    name: str
    composition: Composition

    duplicate_of: str | None
    """The first record with the same sequence, as the model reads it; None if it is the first."""

    strand: str
    """``+`` for a duplicate on the same strand, ``-`` for a reverse complement; else empty."""

    def row(self) -> str:
        """Return the cells of ``COLUMNS``, tab-separated."""
        made_of = self.composition
        gc = "" if made_of.gc is None else f"{made_of.gc:.4f}"
        cells = [self.name, made_of.length, gc, f"{made_of.n:.4f}", made_of.ambiguous]
        cells += [f"{made_of.lower_case:.4f}", self.duplicate_of or "", self.strand]
        return "\t".join(map(str, cells))


@dataclass(slots=True)
class DataSummary:
    """All records added so far, in file order."""

    records: list[RecordSummary] = field(default_factory=list)
    _first_by_digest: dict[bytes, tuple[str, bool]] = field(default_factory=dict)

    def add(self, name: str, sequence: str) -> RecordSummary:
        """Add the next record: a name that no other record has, and its letters, 5' to 3'."""
        forward, reverse = _digests(sequence)
        key, is_forward = min(forward, reverse), forward <= reverse
        first, first_is_forward = self._first_by_digest.setdefault(key, (name, is_forward))
        strand = "" if first == name else "+" if is_forward == first_is_forward else "-"
        duplicate_of = first if strand else None
        record = RecordSummary(name, composition_of(sequence), duplicate_of, strand)
        self.records.append(record)
        return record

    def lines(self) -> Iterator[str]:
        """Yield one line per finding: lengths, GC, unknown bases, lower case, duplicates."""
        compositions = [record.composition for record in self.records]
        lengths = [composition.length for composition in compositions]
        total = sum(lengths)
        yield (
            f"{counted(len(lengths), 'record')}, {total:,} bp; shortest {min(lengths):,} bp, "
            f"median {median(lengths):,.0f} bp, longest {max(lengths):,} bp"
        )
        gc = [composition.gc for composition in compositions if composition.gc is not None]
        if gc:
            yield f"GC {min(gc):.1%} to {max(gc):.1%}, median {median(gc):.1%}"
        unknown = round(sum(made_of.n * made_of.length for made_of in compositions))
        if unknown:
            yield f"N: {unknown:,} bp ({unknown / total:.2%})"
        ambiguous = sum(composition.ambiguous for composition in compositions)
        if ambiguous:
            yield f"Ambiguous IUPAC codes: {ambiguous:,}, read as N"
        lower = round(sum(made_of.lower_case * made_of.length for made_of in compositions))
        if lower:
            yield f"Lower case: {lower:,} bp ({lower / total:.2%}), read as upper case"
        duplicates = [record for record in self.records if record.duplicate_of is not None]
        if duplicates:
            reverse = sum(record.strand == "-" for record in duplicates)
            shown = ", ".join(
                f"{record.name} of {record.duplicate_of}" for record in duplicates[:_MAX_SHOWN]
            )
            yield (
                f"Duplicates of an earlier record: {len(duplicates):,}, {reverse:,} of them on the "
                f"other strand (such as {shown})"
            )

    def label_lines(self, examples: Sequence[Example], task: str = "auto") -> Iterator[str]:
        """Yield the number of examples per label and split, or the range of numeric labels."""
        header = counted(len(examples), "labelled example")
        is_auto = task == "auto" and are_continuous([example.labels for example in examples])
        if is_auto or task == "regression":
            values = LabelScheme((LABEL,), "regression").numbers(examples).tolist()
            yield (
                f"{header}, {counted(len(set(values)), 'distinct value')}: "
                f"lowest {min(values):g}, median {median(values):g}, highest {max(values):g}"
            )
        else:
            counts = Counter(label for example in examples for label in example.labels)
            yield f"{header}, {len(counts):,} {'class' if len(counts) == 1 else 'classes'}:"
            for label, count in sorted(counts.items()):
                by_split = Counter(example.split for example in examples if label in example.labels)
                shown = ", ".join(f"{part} {by_split[part]:,}" for part in SPLITS if by_split[part])
                yield f"  {label}: {count:,}" + (f" ({shown})" if shown else "")
        yield from self._contradictions(examples)

    def _contradictions(self, examples: Sequence[Example]) -> Iterator[str]:
        """Yield a line if records with the same sequence have different labels."""
        labels: dict[str | None, set[str]] = {
            example.interval.record: set(example.labels) for example in examples if example.whole
        }
        pairs = [
            f"{record.name} and {record.duplicate_of}"
            for record in self.records
            if {record.name, record.duplicate_of} <= labels.keys()
            and labels[record.name] != labels[record.duplicate_of]
        ]
        if pairs:
            shown = ", ".join(pairs[:_MAX_SHOWN])
            yield f"Duplicates with contradictory labels: {len(pairs):,} (such as {shown})"

    def compositions_by_label(
        self, examples: Sequence[Example] = ()
    ) -> dict[str, list[Composition]]:
        """Group the compositions of records by label.

        Without labels, and where an example is only part of a record (so that its label does not
        hold for the whole record), all records are one group.
        """
        if not examples or not all(example.whole for example in examples):
            return {"records": [record.composition for record in self.records]}
        by_name = {record.name: record.composition for record in self.records}
        by_label = defaultdict(list)
        for example in examples:
            for label in example.labels or ("no label",):
                by_label[label].append(by_name[example.interval.record])
        return dict(sorted(by_label.items()))


def _digests(sequence: str) -> tuple[bytes, bytes]:
    """Return a digest of the base codes of each strand."""
    forward = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    reverse = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for start in range(0, len(sequence), _CHUNK_BP):
        forward.update(encode(sequence[start : start + _CHUNK_BP]).tobytes())
    for end in range(len(sequence), 0, -_CHUNK_BP):
        codes = encode(sequence[max(0, end - _CHUNK_BP) : end])
        reverse.update(reverse_complement_codes(codes).tobytes())
    return forward.digest(), reverse.digest()


def training_preview(
    fasta: Path,
    labels: LabelSource,
    examples: Sequence[Example],
    config: "ExperimentConfig | None" = None,
    names: NameOptions = NameOptions(),
) -> Iterator[str]:
    """Split the data as ``train`` does with seed 0, and describe what it would train on.

    Without settings the default split is used, and batches and segments are not described. If
    training would refuse the data, the only line says why.
    """
    chosen, identity = dict(SPLIT_DEFAULTS), IDENTITY
    if config is not None:
        identity = config.data.identity
        chosen = {name: getattr(config.data, name) for name in SPLIT_DEFAULTS}
    try:
        labels.check_classes(examples)
        if config is not None and config.data.windows is not None:
            examples = config.data.windows.cut(examples)
        split = split_examples(examples, how=chosen.pop("split"), seed=0, **chosen)
        scheme = LabelScheme.of(examples, chosen["task"])
    except DataError as error:
        yield f"Training would refuse these data: {error}"
        return
    yield "What training would do (seed 0):"
    lines = [*_split_lines(scheme, split)]
    if config is not None:
        lines += _epoch_lines(split.train, config)
    lines += audit(_store(fasta, names), split, scheme, identity).summary().splitlines()
    yield from (f"  {line}" for line in lines)


def _store(fasta: Path, names: NameOptions) -> EncodedStore:
    with warnings.catch_warnings(action="ignore"):  # given when the records were summarised
        return EncodedStore.open(fasta, names=names)


def _split_lines(scheme: LabelScheme, split: Split) -> Iterator[str]:
    parts: dict[str, tuple[Example, ...]] = {name: getattr(split, name) for name in SPLITS}
    yield f"task: {scheme.task}"
    yield f"split: {', '.join(f'{name} {len(part):,}' for name, part in parts.items())} examples"
    for label in () if scheme.task == "regression" else scheme.classes:
        counts = (
            f"{name} {sum(label in example.labels for example in part):,}"
            for name, part in parts.items()
            if part
        )
        yield f"  {label}: {', '.join(counts)}"


def _epoch_lines(train: tuple[Example, ...], config: "ExperimentConfig") -> Iterator[str]:
    """Describe an epoch: bases, batches, tokens and segments."""
    lengths = [len(example.interval) for example in train]
    batch, size = config.training.batch_size, config.training.examples_per_epoch or len(train)
    size, sample, bp = min(size, len(train)), "", f"{sum(lengths):,}"
    if size < len(train):
        sample = f"{size:,} of {len(train):,} examples, "
        bp = f"about {round(sum(lengths) / len(train) * size):,}"
    steps = "" if isinstance(batch, str) else f" in {-(-size // batch):,} batches of {batch}"
    yield f"one epoch: {sample}{bp} bp{steps}"
    model = config.classifier(("any", "other"), "binary")
    tokens = [model.tokenizer.num_tokens(length) for length in (int(median(lengths)), max(lengths))]
    segments = [max(1, -(-count // model.rmt().tokens_per_segment)) for count in tokens]
    yield (
        f"an example of median length: {tokens[0]:,} tokens in {counted(segments[0], 'segment')}; "
        f"the longest: {tokens[1]:,} tokens in {counted(segments[1], 'segment')}"
    )
