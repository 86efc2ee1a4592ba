"""Leakage audit: check a split for what makes scores too good, before every training.

The parts of a split are compared with each other: near-duplicates on either strand (by the measure
that ``split --by homology`` groups by, see ``similarity``), and overlapping intervals. Baseline
probes show how well the labels can be predicted without the sequence itself: from length, GC
content and N content.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets.clusters import overlaps_across
from rmt_genomics.datasets.examples import SPLITS, Example, LabelScheme, Numbers
from rmt_genomics.datasets.label_sources import NEW_SPLIT
from rmt_genomics.datasets.sequence_store import SequenceStore
from rmt_genomics.datasets.similarity import (
    IDENTITY,
    estimated_identity,
    percent,
    similar_pairs,
    sketch,
)
from rmt_genomics.datasets.splits import Split
from rmt_genomics.dna.alphabet import LETTERS, UNKNOWN
from rmt_genomics.errors import DataError, RMTGenomicsWarning, counted

MAX_TOUCHED = 0.01
"""Fraction of a part that may have near-duplicates in other parts without a warning."""

MAX_AUROC = 0.9  # AUROC that a probe may reach without a warning
MIN_PROBED = 20
"""Validation examples from which on probes give warnings: with fewer, AUROC is too noisy."""

FEATURES = {"length": "length", "gc": "GC content", "n": "N content"}
"""Features of the probes, by key of ``Audit.probes``, and what they are called in messages."""

_SHOWN = 5
_MAX_EXAMPLES = 20_000
_MAX_TARGETS = 1_000_000
_NUM_TREES = 50
_MIN_IN_LEAF = 5


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two examples of different parts that are nearly the same."""

    first: str
    first_part: str
    second: str
    second_part: str

    similarity: float  # fraction of the smaller one's k-mers that both have, on either strand
    identity: float  # estimated from it


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Results of the audit. ``to_json`` returns the content of ``leakage.json``."""

    examples: dict[str, int]  # number of examples of each part
    k: int
    identity: float  # estimated identity from which on two are near-duplicates
    highest_identity: float | None
    """Of two examples of different parts; None if no two have enough k-mers in common."""

    not_compared: int  # examples without any k-mer to compare: too short, or full of N
    near_duplicate_pairs: int
    near_duplicates: tuple[NearDuplicate, ...]  # the most similar pairs, at most five
    touched: dict[str, float]
    """Fraction of validation and of test with a near-duplicate in another part."""

    overlapping: int  # examples that overlap an example of another part
    overlaps: tuple[tuple[str, str], ...]  # at most five such pairs
    probes: dict[str, float | None]
    """AUROC on validation of each probe: of length, GC and N content, alone and all three."""

    of_sources: bool = False
    """Whether the parts are of source records; the probes then are of the simulated examples."""

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, numbers and strings."""
        return asdict(self) | {"warnings": list(self.warnings())}

    def summary(self) -> str:
        """Return results and warnings as text, one per line."""
        return "\n".join((*self.results(), *(f"Warning: {text}" for text in self.warnings())))

    def results(self) -> Iterator[str]:
        """Yield the results as sentences."""
        highest = ""
        if self.highest_identity is not None:
            highest = f"; the highest estimate is {percent(self.highest_identity)}"
        yield (
            f"Near-duplicates in different parts: {counted(self.near_duplicate_pairs, 'pair')} "
            f"of at least {percent(self.identity)} estimated identity, on either strand "
            f"({self._touched_text()}){highest}."
        )
        for pair in self.near_duplicates:
            yield (
                f"  {pair.first} ({pair.first_part}) and {pair.second} ({pair.second_part}): "
                f"{percent(pair.identity)} identity, {pair.similarity:.1%} of the {self.k}-mers "
                "shared."
            )
        if self.not_compared:
            yield (
                "Not compared, because they have no k-mers without N, or none in the sample: "
                f"{counted(self.not_compared, 'example')}."
            )
        yield f"Examples that overlap an example of another part: {self.overlapping:,}."
        names = FEATURES | {"all": "all three"}
        probes = [
            f"{names[key]} {'undefined' if auroc is None else f'{auroc:.3f}'}"
            for key, auroc in self.probes.items()
        ]
        yield f"AUROC on validation without the sequence, from {', '.join(probes)}."

    def warnings(self, remedy: str = NEW_SPLIT) -> Iterator[str]:
        """Yield what makes the scores too good, and what to do about it.

        ``remedy`` is for examples that are near-duplicates.
        """
        if any(fraction > MAX_TOUCHED for fraction in self.touched.values()):
            pair = self.near_duplicates[0]
            what = "examples"
            if self.of_sources:
                what, remedy = "source records", "Put them into one group of simulation.groups."
            yield (
                f"{self._touched_text()} are near-duplicates of {what} in another part (such as "
                f"{pair.first} in {pair.first_part} and {pair.second} in {pair.second_part}, of "
                f"{percent(pair.identity)} estimated identity), but scores are only meaningful on "
                f"new sequences. {remedy}"
            )
        if self.overlapping:
            one, other = self.overlaps[0]
            verb = "overlaps" if self.overlapping == 1 else "overlap"
            yield (
                f"{counted(self.overlapping, 'example')} {verb} an example of another part (such "
                f"as {other} and {one}), but no base should be in two parts. "
                "Make a new split: rmt-genomics split --by record or --by homology."
            )
        if self.examples["validation"] < MIN_PROBED:
            return
        for key, name in FEATURES.items():
            auroc = self.probes[key]
            if auroc is not None and auroc > MAX_AUROC:
                yield (
                    f"{name} alone predicts the labels (AUROC {auroc:.3f} on validation), but a "
                    f"model should need the sequence. Balance the labels by {name}, or compare "
                    "the model with this AUROC."
                )

    def _touched_text(self) -> str:
        return " and ".join(f"{fraction:.1%} of {part}" for part, fraction in self.touched.items())


def audit(
    store: SequenceStore,
    split: Split,
    scheme: LabelScheme,
    identity: float = IDENTITY,
    *,
    simulated: tuple[SequenceStore, Split] | None = None,
) -> Audit:
    """Compare the parts of a split with each other; train the probes.

    ``identity`` is the estimated identity from which on two examples are near-duplicates. If
    examples are ``simulated``, ``store`` and ``split`` are those of their source records, and the
    probes are trained on them.
    """
    parts: dict[str, tuple[Example, ...]] = {name: getattr(split, name) for name in SPLITS}
    examples = [example for part in parts.values() for example in part]
    sketches = sketch(store, [example.interval for example in examples])
    part_of = np.repeat(np.arange(len(parts)), [len(part) for part in parts.values()])
    k, not_compared = sketches.k, int((sketches.sizes == 0).sum())
    pairs = similar_pairs(sketches, identity, part_of)
    del sketches  # much memory
    is_touched = np.zeros(len(examples), dtype=bool)
    is_touched[pairs.first] = is_touched[pairs.second] = True
    most_similar = np.argsort(-pairs.similarity, kind="stable")[:_SHOWN]
    overlaps = overlaps_across(parts)

    def near_duplicate(pair: int) -> NearDuplicate:
        one, other = (
            (examples[index].name, SPLITS[part_of[index]])
            for index in (pairs.first[pair], pairs.second[pair])
        )
        similarity = float(pairs.similarity[pair])
        return NearDuplicate(*one, *other, similarity, estimated_identity(similarity, k))

    return Audit(
        examples={name: len(part) for name, part in parts.items()},
        k=k,
        identity=identity,
        highest_identity=estimated_identity(pairs.highest, k) if pairs.highest else None,
        not_compared=not_compared,
        near_duplicate_pairs=len(pairs.first),
        near_duplicates=tuple(map(near_duplicate, most_similar.tolist())),
        touched={
            name: float(is_touched[part_of == index].mean())
            for index, name in enumerate(SPLITS)
            if name != "train" and parts[name]
        },
        overlapping=len(overlaps),
        overlaps=tuple((one.name, other.name) for one, other in overlaps[:_SHOWN]),
        probes=probe_labels(*(simulated or (store, split)), scheme),
        of_sources=simulated is not None,
    )


def check_leakage(result: Audit, *, strict: bool, remedy: str = NEW_SPLIT) -> None:
    """Warn of each problem that an audit found; if ``strict``, raise DataError with all of them."""
    texts = list(result.warnings(remedy))
    if texts and strict:
        raise DataError("the split leaks, but --strict refuses such splits. " + " ".join(texts))
    for text in texts:
        warnings.warn(text, RMTGenomicsWarning, stacklevel=2)


def probe_labels(
    store: SequenceStore, split: Split, scheme: LabelScheme
) -> dict[str, float | None]:
    """Train baseline probes: random forests on one feature each, and on all of them.

    Return the AUROC of each feature and of ``all`` on the validation part, averaged over classes
    that some of its examples have and others do not: 0.5 is uninformative, 1 is perfect. None if
    there is no such class. For a regression, the one class is "above the median of the training
    part". If a part is very large, evenly spaced examples are used.
    """
    most = max(1, min(_MAX_EXAMPLES, _MAX_TARGETS // len(scheme.classes)))
    train, validation = (
        part[:: max(1, -(-len(part) // most))] for part in (split.train, split.validation)
    )
    if scheme.task == "regression":
        median = np.median(scheme.numbers(train))
        targets, truth = (
            (scheme.numbers(part) > median)[:, None].astype(np.float32)
            for part in (train, validation)
        )
    else:
        targets, truth = scheme.multi_hot(train), scheme.multi_hot(validation)
    train_features, features = _features(store, train), _features(store, validation)
    columns = {key: [column] for column, key in enumerate(FEATURES)} | {"all": [0, 1, 2]}
    return {
        key: _auroc(truth, _predict(train_features[:, chosen], targets, features[:, chosen]))
        for key, chosen in columns.items()
    }


def _features(store: SequenceStore, examples: Sequence[Example]) -> Numbers:
    """Return length (bp), GC content of the known bases and N content, one row per example."""
    rows = []
    for example in examples:
        codes = store.codes(example.interval)
        gc = sum(int(np.count_nonzero(codes == LETTERS.index(letter))) for letter in "CG")
        unknown = int(np.count_nonzero(codes == UNKNOWN))
        rows.append((float(len(codes)), gc / max(1, len(codes) - unknown), unknown / len(codes)))
    store.release()
    return np.array(rows)


def _predict(train: Numbers, targets: npt.NDArray[np.float32], features: Numbers) -> Numbers:
    """Return a score per example and class, ``(n, c)``; all equal if the feature is constant."""
    if np.all(train == train[0]):
        return np.zeros((len(features), targets.shape[1]))
    from sklearn.ensemble import RandomForestRegressor  # here: it takes a second to import

    # Regression on 0 and 1 gives class fractions, whether examples have one label or several.
    forest = RandomForestRegressor(_NUM_TREES, min_samples_leaf=_MIN_IN_LEAF, random_state=0)
    forest.fit(train, targets[:, 0] if targets.shape[1] == 1 else targets)
    scores: Numbers = forest.predict(features)
    return scores.reshape(len(features), targets.shape[1])


def _auroc(truth: npt.NDArray[np.float32], scores: Numbers) -> float | None:
    from sklearn.metrics import roc_auc_score

    defined = np.flatnonzero((truth.min(axis=0) == 0) & (truth.max(axis=0) == 1))
    return float(roc_auc_score(truth[:, defined], scores[:, defined])) if len(defined) else None
