"""Sequences in memory, and examples of them, for the tests of clusters and leakage."""

import random
from collections.abc import Mapping
from pathlib import Path

from rmt_genomics.datasets import EncodedStore, Example
from rmt_genomics.dna import encode, reverse_complement_codes
from rmt_genomics.dna.alphabet import Codes
from rmt_genomics.dna.record_types import Interval


class MemoryStore(EncodedStore):
    """An encoded store without a file, so that hypothesis can make many."""

    def __init__(self, sequences: Mapping[str, str]) -> None:
        self._sequences = {name: encode(letters) for name, letters in sequences.items()}
        self.lengths = {name: len(letters) for name, letters in sequences.items()}
        self.sha256, self.files = "", (Path("toy.fa"),)

    def codes(self, interval: Interval) -> Codes:
        forward = self._sequences[interval.record][interval.start : interval.end]
        return reverse_complement_codes(forward) if interval.strand == "-" else forward.copy()


def dna(length: int, seed: int) -> str:
    """Random letters."""
    return "".join(random.Random(seed).choices("ACGT", k=length))


def mutated(sequence: str, fraction: float, seed: int) -> str:
    """Mutate this fraction of the letters, each to a different one."""
    dice, letters = random.Random(seed), list(sequence)
    for index in dice.sample(range(len(letters)), round(fraction * len(letters))):
        letters[index] = dice.choice("ACGT".replace(letters[index], ""))
    return "".join(letters)


def whole(store: EncodedStore, **options: str) -> list[Example]:
    """One example per record, labelled a and b in turn."""
    return [
        Example(Interval(name, 0, length), True, ("ab"[index % 2],), **options)  # noqa: FBT003
        for index, (name, length) in enumerate(store.lengths.items())
    ]
