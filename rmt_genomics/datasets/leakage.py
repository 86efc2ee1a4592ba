"""Look for what makes scores too good: the leakage audit that begins every training.

It compares the parts of a split with each other: near-duplicates on either strand, overlapping
intervals, and what the labels can be told from without any sequence (see ``probes``).
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets.clusters import overlaps_across
from rmt_genomics.datasets.examples import SPLITS, Example, LabelScheme
from rmt_genomics.datasets.sequence_store import EncodedStore
from rmt_genomics.datasets.similarity import AlikePairs, Places, alike_pairs, sketch
from rmt_genomics.datasets.splits import Split
from rmt_genomics.dna.alphabet import LETTERS, UNKNOWN
from rmt_genomics.errors import DataError, RMTGenomicsWarning

FEATURES = ("length", "gc", "n")

_Table = npt.NDArray[np.float64]

_MOST_EXAMPLES = 20_000
_MOST_TARGETS = 1_000_000
_TREES = 50
_FEWEST_IN_LEAF = 5


def probe_labels(store: EncodedStore, split: Split, scheme: LabelScheme) -> dict[str, float | None]:
    """Learn the labels of the training part from each feature, and from ``all`` of them.

    Of a very large part, evenly spaced examples are used.

    Returns:
        The AUROC on the validation part, mean over the classes it has and lacks somewhere: 0.5
        knows nothing, 1 all. None if there is no such class. For labels that are numbers, the
        classes are above the median of the training part, and not.
    """
    most = max(1, min(_MOST_EXAMPLES, _MOST_TARGETS // len(scheme.classes)))
    train, validation = _evenly(split.train, most), _evenly(split.validation, most)
    seen, asked = _features(store, train), _features(store, validation)
    targets, truth = _hot(scheme, train, train), _hot(scheme, train, validation)
    columns = {name: [place] for place, name in enumerate(FEATURES)} | {"all": [0, 1, 2]}
    return {
        name: _auroc(truth, _forest(seen[:, chosen], targets, asked[:, chosen]))
        for name, chosen in columns.items()
    }


def _hot(
    scheme: LabelScheme, train: Sequence[Example], examples: Sequence[Example]
) -> npt.NDArray[np.float32]:
    """Return 1 for each class an example has, ``(n, c)``."""
    if scheme.task != "regression":
        return scheme.multi_hot(examples)
    is_high = scheme.numbers(examples) > np.median(scheme.numbers(train))
    return is_high[:, None].astype(np.float32)


def _evenly(examples: Sequence[Example], most: int) -> Sequence[Example]:
    return examples[:: -(-len(examples) // most)] if len(examples) > most else examples


def _features(store: EncodedStore, examples: Sequence[Example]) -> _Table:
    """Return length (bp), GC share of the known bases and N share, a row an example."""
    return np.array([_features_of(store, example) for example in examples])


def _features_of(store: EncodedStore, example: Example) -> tuple[float, float, float]:
    codes = store.codes(example.interval)
    strong = sum(int(np.count_nonzero(codes == LETTERS.index(letter))) for letter in "CG")
    unknown = int(np.count_nonzero(codes == UNKNOWN))
    return float(len(codes)), strong / max(1, len(codes) - unknown), unknown / len(codes)


def _forest(seen: _Table, targets: npt.NDArray[np.float32], asked: _Table) -> _Table:
    """Return a score an example and class, ``(n, c)``; the same for all if nothing varies."""
    if np.all(seen == seen[0]):
        return np.zeros((len(asked), targets.shape[1]))
    from sklearn.ensemble import RandomForestRegressor  # here: it takes a second to import

    # Regression on 0 and 1 gives class shares, for one label an example and for many alike.
    forest = RandomForestRegressor(_TREES, min_samples_leaf=_FEWEST_IN_LEAF, random_state=0)
    wanted = targets[:, 0] if targets.shape[1] == 1 else targets
    scores: _Table = forest.fit(seen, wanted).predict(asked)
    return scores.reshape(len(asked), targets.shape[1])


def _auroc(truth: npt.NDArray[np.float32], scores: _Table) -> float | None:
    from sklearn.metrics import roc_auc_score

    on_both_sides = np.flatnonzero((truth.min(axis=0) == 0) & (truth.max(axis=0) == 1))
    if not len(on_both_sides):
        return None
    areas = [roc_auc_score(truth[:, place], scores[:, place]) for place in on_both_sides]
    return float(np.mean(areas))


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
