"""What a reader must know before believing the figures, in plain sentences."""

import warnings
from collections.abc import Iterator

import numpy as np

from rmt_genomics.errors import RMTGenomicsWarning
from rmt_genomics.inference.judged import Judged

_FEW, _FEW_OF_A_CLASS = 100, 10
_FEWEST = 20  # judged examples, below which one answer for all may be chance


def notes_on(judged: Judged) -> Iterator[str]:
    """Yield what is doubtful about the examples and the answers; warns of a collapsed model."""
    collapsed = collapse_of(judged)
    if collapsed is not None:
        warnings.warn(collapsed, RMTGenomicsWarning, stacklevel=3)
        yield collapsed
    if len(judged.examples) < _FEW:
        yield (
            f"Only {len(judged.examples)} examples were judged: figures from so few move a lot by "
            "chance."
        )
    if judged.task == "regression":
        return
    few = [
        f"{each['class']} ({each['n']})"
        for each in judged.per_class()
        if each["n"] < _FEW_OF_A_CLASS
    ]
    if few:
        yield f"Classes with fewer than {_FEW_OF_A_CLASS} judged examples: {', '.join(few)}."


def collapse_of(judged: Judged) -> str | None:
    """Say so if the model gives every example the same answer although the truth differs."""
    if len(judged.examples) < _FEWEST or len(np.unique(judged.targets, axis=0)) < 2:
        return None
    if judged.task == "regression":
        values = judged.probabilities.ravel()
        spread, wanted = float(values.std()), float(np.std(judged.targets))
        if spread > 1e-3 * wanted:
            return None
        return (
            f"The model has collapsed: it gives every example about the same value "
            f"({values.mean():.4g})."
        )
    labels = {judged.model.label_of(row) for row in judged.probabilities}
    if len(labels) > 1:
        return None
    label = labels.pop()
    answer = f"the label {label!r}" if label else "no label"
    return (
        f"The model has collapsed: it gives every one of {len(judged.examples)} examples {answer}. "
        "Its probabilities may still rank them (see auroc), but its labels say nothing."
    )
