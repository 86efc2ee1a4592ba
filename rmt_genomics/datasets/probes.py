"""What length, GC and unknown bases alone tell of the labels, without a look at any motif.

A probe is a small forest that sees nothing of a sequence but these. Where it is right, a model may
be right for the same dull reason: positives from another instrument, negatives of another length.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rmt_genomics.datasets.examples import Example, LabelScheme
from rmt_genomics.datasets.splits import Split
from rmt_genomics.datasets.store import EncodedStore
from rmt_genomics.dna.alphabet import LETTERS, UNKNOWN

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
