"""Judged examples for the tests of what an evaluation says of them."""

from pathlib import Path
from typing import Any

import numpy as np

from rmt_genomics.datasets import EncodedStore, Example
from rmt_genomics.dna import Interval
from rmt_genomics.evaluation.evaluation_set import EvaluationSet
from tests.model.toys import toy
from tests.prediction.toys import TWO, dna, write_fasta


def judged_of(folder: Path, lengths: list[int], **changes: Any) -> EvaluationSet:
    """Judge a seeded float64 model on records of these lengths, labelled in turn."""
    model = toy(**{**TWO, **changes})
    sequences = {f"r{place}": dna(length, seed=place) for place, length in enumerate(lengths)}
    store = EncodedStore.open(write_fasta(folder / "toy.fa", sequences))
    labels = [f"{place}.5" for place in range(9)] if model.config.task == "regression" else None
    examples = [
        Example(
            Interval(f"r{place}", 0, length),
            whole=True,
            labels=((labels or model.classes_)[place % len(labels or model.classes_)],),
        )
        for place, length in enumerate(lengths)
    ]
    return EvaluationSet.of(model, store, examples, where="toy")


def sequences_of(judged: EvaluationSet) -> list[np.ndarray]:
    """Base codes of the judged examples."""
    return [judged.store.codes(example.interval) for example in judged.examples]
