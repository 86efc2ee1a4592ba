"""Splits by homology: at the identity that was asked for, at a higher one, or none at all."""

import re

import pytest

from rmt_genomics.datasets import Example, LabelScheme
from rmt_genomics.datasets.clusters import Homology
from rmt_genomics.datasets.homology_split import check_identity, split_by_homology
from rmt_genomics.datasets.leakage import audit
from rmt_genomics.datasets.splits import Split
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsWarning
from tests.datasets.toys import MemoryStore, dna, mutated

FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}
STRANGERS = [dna(1500, 1000 + index) for index in range(30)]
FAMILY = [mutated(dna(1500, 0), 0.02, seed=index) for index in range(30)]
"""Any two are about 96% identical."""


def split(
    first: list[str], second: list[str], identity: float | None, labels: str = "ab"
) -> tuple[MemoryStore, list[Example], Split, float]:
    store = MemoryStore(
        {f"{name}{index}": item for name, items in zip("ab", (first, second), strict=True)
         for index, item in enumerate(items)}
    )  # fmt: skip
    examples = [
        Example(Interval(name, 0, length), whole=True, labels=(dict(zip("ab", labels))[name[0]],))  # noqa: B905
        for name, length in store.lengths.items()
    ]
    homology = Homology.of(store, examples, identity or 0.95)
    found = split_by_homology(
        examples,
        homology,
        FRACTIONS,
        group_index=range(len(examples)),
        identity=identity,
        seed=0,
        task="auto",
    )
    return store, examples, *found


def test_without_an_identity_the_lowest_one_that_can_be_split_is_taken() -> None:
    words = (
        r"the split was made at 9[78]% identity \(sequences of different parts may be nearly that "
        r"similar\): at 95% (validation|test) has 0 of 30 examples of 'a', not about 6, since "
        r"there are 31 groups of 60 examples, the largest of 30, 1, 1, 1 and 1\."
    )
    with pytest.warns(RMTGenomicsWarning, match=words):
        store, examples, parts, identity = split(FAMILY, STRANGERS, None)

    assert identity in (0.97, 0.98)
    assert {example.labels[0] for example in parts.test} == {"a", "b"}
    assert [len(parts.train), len(parts.validation), len(parts.test)] == [36, 12, 12]
    found = audit(store, parts, LabelScheme.of(examples), identity)
    assert found.near_duplicate_pairs == 0
    assert found.highest_identity is not None
    assert 0.94 < found.highest_identity < identity


def test_a_split_at_the_usual_identity_needs_no_warning() -> None:
    _, _, parts, identity = split(STRANGERS, [item[::-1] for item in STRANGERS], None)

    assert identity == 0.95
    assert len(parts.train) == 36


def test_an_identity_that_was_asked_for_is_kept_or_the_next_one_named() -> None:
    words = (
        r"no split by homology exists at 95% identity: (validation|test) has 0 of 30 examples of "
        r"'a', not about 6, since no group may be divided, and there are 31 groups of 60 examples, "
        r"the largest of 30, 1, 1, 1 and 1\. At 9"
    )
    with pytest.raises(DataError, match=words) as caught:
        split(FAMILY, STRANGERS, 0.95)

    named = re.search(r"there is one: --identity (0\.9[78])\.$", str(caught.value))
    assert named is not None
    assert split(FAMILY, STRANGERS, float(named[1]))[3] == float(named[1])


def test_a_split_far_from_its_fractions_is_warned_of_or_avoided() -> None:
    mixed = [*FAMILY[:26], *STRANGERS[26:]]
    words = (
        r"the split by homology at 95% identity is uneven: (validation|test) has 1 of 30 "
        r"examples of 'a', not about 6, since no group may be divided, and there are .*; "
        r"--identity 0\.9[78] gives an even one\."
    )
    with pytest.warns(RMTGenomicsWarning, match=words):
        identity = split(mixed, STRANGERS[:26], 0.95)[3]
    assert identity == 0.95

    with pytest.warns(RMTGenomicsWarning, match="of 30 examples of 'a', not about 6, since there"):
        identity = split(mixed, STRANGERS[:26], None)[3]
    assert identity in (0.97, 0.98)


def test_copies_cannot_be_split_at_any_identity() -> None:
    words = (
        r"no split by homology exists at 95% identity or above: even at 100% (validation|test) has "
        r"0 of 30 examples of 'a', not about 6, since there are 31 groups of 60 examples, .*\. Add "
        r"examples that are less similar, leave a class out, or change --fractions or --by\."
    )
    for identity in (None, 0.95):
        with pytest.raises(DataError, match=words):
            split([FAMILY[0]] * 30, STRANGERS, identity)


def test_a_small_class_in_one_group_does_not_raise_the_identity() -> None:
    words = "1 of 2 classes are too small to be in all 3 parts"
    with pytest.warns(RMTGenomicsWarning, match=words) as caught:
        _, _, parts, identity = split(FAMILY[:3], STRANGERS, None)

    assert identity == 0.95
    assert len(caught) == 1
    assert sum(example.labels == ("a",) for example in parts.train) == 3


def test_one_class_is_its_own_problem() -> None:
    with pytest.raises(DataError, match="all examples have the label 'a', but there must be"):
        split(FAMILY, STRANGERS, None, labels="aa")


@pytest.mark.parametrize("identity", [0.0, -0.1, 1.01, 95.0, float("nan")])
def test_an_identity_is_a_fraction(identity: float) -> None:
    message = f"the identity is {identity:g}, but must be above 0 and at most 1, such as 0.95."
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_identity(identity)
