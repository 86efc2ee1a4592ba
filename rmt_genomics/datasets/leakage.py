"""Look for what makes scores too good: the leakage audit that begins every training.

It compares the parts of a split with each other: near-duplicates on either strand, overlapping
intervals, and what the labels can be told from without any sequence (see ``probes``).
"""

import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rmt_genomics.datasets.alike import AlikePairs, alike_pairs
from rmt_genomics.datasets.examples import SPLITS, Example, LabelScheme
from rmt_genomics.datasets.overlaps import overlaps_across
from rmt_genomics.datasets.probes import probe_labels
from rmt_genomics.datasets.sketches import Places, sketch
from rmt_genomics.datasets.splits import Split
from rmt_genomics.datasets.store import EncodedStore
from rmt_genomics.errors import DataError, RMTGenomicsWarning

SIMILARITY = 0.5
"""Share of the smaller sequence's k-mers from which on two are near-duplicates."""

MOST_TOUCHED = 0.01
"""Share of a part that may have near-duplicates elsewhere without a warning."""

MOST_AUROC = 0.9
"""What a probe may reach without a warning."""

FEWEST_PROBED = 20
"""Validation examples from which on a probe is warned of: with fewer, it may just be lucky."""

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two examples of different parts that are nearly the same."""

    first: str
    first_part: str
    second: str
    second_part: str

    similarity: float
    """Share of the smaller one's k-mers that both have, on either strand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was found. Its JSON form is ``to_json``."""

    examples: dict[str, int]
    """How many each part has."""

    k: int
    """Bases in the k-mers compared."""

    not_compared: int
    """Examples without any k-mer to compare: too short, or full of N."""

    near_duplicate_pairs: int
    """Pairs in different parts."""

    near_duplicates: tuple[NearDuplicate, ...]
    """The most similar pairs, five at most."""

    touched: dict[str, float]
    """Share of validation and test with a near-duplicate in another part."""

    overlapping: int
    """Examples that overlap one of another part."""

    overlaps: tuple[tuple[str, str], ...]
    """Such pairs, five at most."""

    probes: dict[str, float | None]
    """AUROC on validation of length, GC and N share, alone and all three."""

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, numbers and strings."""
        return asdict(self) | {"warnings": list(self.warnings())}

    def summary(self) -> str:
        """Say what was found, in one sentence a finding."""
        return "\n".join((*self._findings(), *(f"Warning: {text}" for text in self.warnings())))

    def warnings(self) -> Iterator[str]:
        """Say what makes the scores too good to be believed, and what to do about it."""
        if any(share > MOST_TOUCHED for share in self.touched.values()):
            worst = self.near_duplicates[0]
            yield (
                f"{self._touched()} are near-duplicates of examples in another part (such as "
                f"{worst.first} in {worst.first_part} and {worst.second} in {worst.second_part}, "
                f"{worst.similarity:.0%} of their {self.k}-mers shared), but a score is only fair "
                "on what is new. Split anew with: rmt-genomics split --by homology."
            )
        if self.overlapping:
            one, other = self.overlaps[0]
            yield (
                f"{self.overlapping:,} examples overlap an example of another part (such as "
                f"{other} and {one}), but no base should be in two parts. "
                "Split anew with: rmt-genomics split --by record or --by homology."
            )
        is_sure = self.examples["validation"] >= FEWEST_PROBED
        for name, auroc in self.probes.items():
            if is_sure and name != "all" and auroc is not None and auroc > MOST_AUROC:
                yield (
                    f"{_PROBED[name]} alone tells the labels apart (AUROC {auroc:.3f} on "
                    f"validation), but a model should need the sequence. Balance the labels in "
                    "it, or judge the model against this figure."
                )

    def _findings(self) -> Iterator[str]:
        yield (
            f"Near-duplicates in different parts: {self.near_duplicate_pairs:,} pairs share at "
            f"least {SIMILARITY:.0%} of their {self.k}-mers, on either strand ({self._touched()})."
        )
        for pair in self.near_duplicates:
            yield (
                f"  {pair.first} ({pair.first_part}) and {pair.second} ({pair.second_part}): "
                f"{pair.similarity:.1%} shared."
            )
        if self.not_compared:
            yield f"Not compared, for lack of k-mers without N: {self.not_compared:,} examples."
        yield f"Examples that overlap one of another part: {self.overlapping:,}."
        told = [
            f"{_PROBED[name]} {'undefined' if auroc is None else f'{auroc:.3f}'}"
            for name, auroc in self.probes.items()
        ]
        yield f"AUROC on validation of what is not sequence: {', '.join(told)}."

    def _touched(self) -> str:
        parts = [f"{share:.1%} of {part}" for part, share in self.touched.items()]
        return " and ".join(parts)


_PROBED = {"length": "length", "gc": "GC", "n": "N share", "all": "all three"}


def audit(store: EncodedStore, split: Split, scheme: LabelScheme) -> Audit:
    """Compare the parts of a split with each other.

    Args:
        store: Where the sequences are.
        split: The parts.
        scheme: The labels, for the probes.
    """
    parts: dict[str, tuple[Example, ...]] = {name: getattr(split, name) for name in SPLITS}
    everyone = [example for part in parts.values() for example in part]
    sketches = sketch(store, [example.interval for example in everyone])
    part_of = np.repeat(np.arange(len(parts)), [len(part) for part in parts.values()])
    across = _across(alike_pairs(sketches, SIMILARITY), part_of)
    is_touched = np.zeros(len(everyone), dtype=bool)
    is_touched[across.first] = is_touched[across.second] = True
    overlaps = overlaps_across(parts)
    return Audit(
        examples={name: len(part) for name, part in parts.items()},
        k=sketches.k,
        not_compared=int((sketches.sizes == 0).sum()),
        near_duplicate_pairs=len(across.first),
        near_duplicates=_most_similar(across, everyone, part_of),
        touched={
            name: float(is_touched[part_of == place].mean())
            for place, name in enumerate(SPLITS)
            if place > 0 and parts[name]
        },
        overlapping=len(overlaps),
        overlaps=tuple((one.name, other.name) for one, other in overlaps[:_SHOWN]),
        probes=probe_labels(store, split, scheme),
    )


def warn_of(found: Audit, *, strict: bool) -> None:
    """Warn of each thing that makes scores too good.

    Raises:
        DataError: With all of them, if ``strict``.
    """
    texts = list(found.warnings())
    if texts and strict:
        raise DataError(
            "the split leaks, but --strict trains on none that does. " + " ".join(texts)
        )
    for text in texts:
        warnings.warn(text, RMTGenomicsWarning, stacklevel=2)


def _across(pairs: AlikePairs, part_of: Places) -> AlikePairs:
    is_across = part_of[pairs.first] != part_of[pairs.second]
    return AlikePairs(pairs.first[is_across], pairs.second[is_across], pairs.similarity[is_across])


def _most_similar(
    pairs: AlikePairs,
    examples: list[Example],
    part_of: Places,
) -> tuple[NearDuplicate, ...]:
    best = np.argsort(-pairs.similarity, kind="stable")[:_SHOWN].tolist()
    return tuple(
        NearDuplicate(
            examples[first].name,
            SPLITS[part_of[first]],
            examples[second].name,
            SPLITS[part_of[second]],
            float(pairs.similarity[place]),
        )
        for place in best
        for first, second in [(int(pairs.first[place]), int(pairs.second[place]))]
    )
