"""Probes know length, GC and N share, and nothing else."""

import numpy as np
import pytest

from rmt_genomics.datasets import Example, LabelScheme, Split
from rmt_genomics.datasets import leakage as module
from rmt_genomics.datasets.leakage import FEATURES, probe_labels
from rmt_genomics.dna.record_types import Interval
from tests.datasets.toys import MemoryStore, dna, whole

COUNT = 60


def split_of(examples: list[Example]) -> Split:
    return Split(tuple(examples[: COUNT // 2]), tuple(examples[COUNT // 2 :]), ())


def probe(sequences: list[str]) -> dict[str, float | None]:
    """Records are labelled a and b in turn."""
    store = MemoryStore({f"r{place}": each for place, each in enumerate(sequences)})
    examples = whole(store)
    return probe_labels(store, split_of(examples), LabelScheme.of(examples))


TELLING = {
    "length": [dna(100 + 50 * (place % 2), place) for place in range(COUNT)],
    "gc": [("GC" if place % 2 else "AC") * 50 for place in range(COUNT)],
    "n": ["ACGT" * 20 + ("N" if place % 2 else "ACGT") * 20 for place in range(COUNT)],
}


def test_random_sequences_of_one_length_tell_little() -> None:
    found = probe([dna(100, place) for place in range(COUNT)])

    assert (found["length"], found["n"]) == (0.5, 0.5)
    assert found["gc"] is not None
    assert 0.1 < found["gc"] < 0.9


@pytest.mark.parametrize("feature", FEATURES)
def test_each_probe_sees_its_feature(feature: str) -> None:
    found = probe(TELLING[feature])

    assert found[feature] == found["all"] == 1.0


def test_a_probe_may_lean_on_a_middle_value() -> None:
    lengths = [100 if place % 2 else (50, 150)[place // 2 % 2] for place in range(COUNT)]

    assert probe(["A" * length for length in lengths])["length"] == 1.0


def test_several_labels_are_judged_class_by_class() -> None:
    store = MemoryStore({"r": "A" * 5000})
    examples = [
        Example(
            Interval("r", place, place + (50 if place % 2 else 20)),
            whole=False,
            labels=("all", "long") if place % 2 else ("all",),
        )
        for place in range(COUNT)
    ]

    found = probe_labels(store, split_of(examples), LabelScheme.of(examples))

    assert found["length"] == 1.0  # of the class long; all have the other one


def test_one_class_in_validation_has_no_area() -> None:
    store = MemoryStore({f"r{place}": "ACGT" for place in range(4)})
    first, second, third, _ = whole(store)

    found = probe_labels(
        store, Split((first, second), (third,), ()), LabelScheme.of((first, second))
    )

    assert set(found.values()) == {None}


def test_of_many_examples_some_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Interval] = []
    codes = MemoryStore.codes

    def watched(store: MemoryStore, interval: Interval) -> np.ndarray:
        read.append(interval)
        return codes(store, interval)

    monkeypatch.setattr(MemoryStore, "codes", watched)
    monkeypatch.setattr(module, "_MOST_EXAMPLES", 7)

    probe(TELLING["length"])

    assert len(read) == 12  # 30 a part, every fifth
