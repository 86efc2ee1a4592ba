"""What ``metrics.json`` says of a model: metrics, baselines, differences, context, calibration.

The work is a few times one prediction of the judged examples, whatever their number.
"""

import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmt_genomics.datasets.examples import Example
from rmt_genomics.errors import RMTGenomicsWarning
from rmt_genomics.evaluation.baselines import (
    BaselinePredictions,
    KmerBaselines,
    baseline_predictions,
)
from rmt_genomics.evaluation.bootstrap import difference
from rmt_genomics.evaluation.calibration_metrics import calibration_figures, cross_fitted
from rmt_genomics.evaluation.context_ablation import context_of
from rmt_genomics.evaluation.evaluation_set import EvaluationSet
from rmt_genomics.prediction.calibration import Calibration

_FACTOR = 4


def length_bins(judged: EvaluationSet) -> list[dict[str, Any]]:
    """Judge examples of similar length by themselves.

    Returns:
        One dictionary for each bin that is not empty: low_bp (included), high_bp (excluded; each
        bin goes up to four times its low, from powers of 4) and the metrics, n first.
    """
    exponents = np.array([_exponent(int(length)) for length in judged.lengths])
    return [
        {
            "low_bp": _FACTOR**each,
            "high_bp": _FACTOR ** (each + 1),
            **judged.some(np.flatnonzero(exponents == each)).brief(),
        }
        for each in np.unique(exponents).tolist()
    ]


def _exponent(length: int) -> int:
    """Return the largest e with 4**e <= length, in whole numbers: logarithms would round."""
    return (length.bit_length() - 1) // 2


_FEW, _FEW_OF_A_CLASS = 100, 10
_FEWEST = 20  # judged examples, below which one answer for all may be chance


def notes_on(judged: EvaluationSet) -> Iterator[str]:
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


def collapse_of(judged: EvaluationSet) -> str | None:
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


_LONG_BP = 2_000_000  # reading more than this takes so long that one should be told


@dataclass(frozen=True, slots=True, eq=False)
class FittedReferences:
    """What there is beside the model and the judged examples."""

    train_targets: np.ndarray | None
    """Of the train rows; None = not known."""

    kmers: KmerBaselines | None
    """Fitted on the train rows."""

    calibration: Calibration | None
    """Fitted on the validation part."""

    is_fitted_on_judged: bool = False
    """There is no test part: the validation part chose, calibrated and is judged."""

    is_chosen_on_judged: bool = False
    """There is no validation part: the judged rows chose the k-mer baseline."""


def assess(judged: EvaluationSet, split: str, known: FittedReferences) -> dict[str, Any]:
    """Return the content of ``metrics.json``.

    Args:
        judged: Examples with the answers of the model.
        split: What rows they are: test, validation or all.
        known: What they are compared with.
    """
    say("the baselines", judged.examples)
    others = baseline_predictions(judged, known.train_targets, known.kmers)
    differences = _differences(judged, others)
    say("shorter stretches", judged.examples)
    context = context_of(judged)
    figures = _calibration(judged, known)
    metrics = {
        **judged.metrics(),
        "task": judged.task,
        "split": split,
        "baselines": {each.name: {**judged.metrics(each.outputs), **each.more} for each in others},
        "differences": differences,
        "per_class": judged.per_class(),
        "length_bins": length_bins(judged),
        "context": context.found,
        "calibration": figures,
        "notes": [
            *notes_on(judged),
            *_left_out(judged, known, differences),
            *context.notes,
        ],
    }
    return {name: value for name, value in metrics.items() if value is not None}


def say(what: str, examples: Sequence[Example]) -> None:
    """Tell a person who waits what is being judged; nothing if it is quick and nobody looks on."""
    total_bp = sum(len(example.interval) for example in examples)
    if total_bp > _LONG_BP or sys.stderr.isatty():
        size = f"{len(examples):,} examples, {total_bp / 1e6:,.1f} Mb"
        print(f"judging: {what} ({size})", file=sys.stderr, flush=True)


def _differences(judged: EvaluationSet, others: Sequence[BaselinePredictions]) -> dict[str, Any]:
    """Compare the model with each baseline that has a name for sentences."""
    found = {
        each.name: difference(judged.truth, judged.probabilities, each.outputs, name=each.words)
        for each in others
        if each.words is not None
    }
    return {name: each for name, each in found.items() if each is not None}


def _calibration(judged: EvaluationSet, known: FittedReferences) -> dict[str, Any] | None:
    """Measure the calibration on the judged examples, never by its own fit."""
    if known.calibration is None:
        return None
    after = None
    if known.is_fitted_on_judged:
        after = cross_fitted(judged.probabilities, judged.targets, judged.task, judged.classes)
    return calibration_figures(known.calibration, judged.probabilities, judged.targets, after=after)


def _left_out(
    judged: EvaluationSet, known: FittedReferences, differences: dict[str, Any]
) -> list[str]:
    """Say what is missing, and what is less sure than it looks."""
    notes = []
    if known.is_fitted_on_judged:
        notes.append(
            "There is no test part. The validation part was judged, but it also chose the best "
            "epoch and the k-mer baseline, so the figures are optimistic. The calibration was "
            "fitted on it too; its figures come from two halves, each calibrated by the other."
        )
    if known.is_chosen_on_judged:
        notes.append(
            "No row is marked as validation: k and strength of the k-mer baseline were chosen on "
            "the judged rows, which favours the baseline."
        )
    if known.train_targets is None:
        notes.append("No train row is known: the most common answer is left out as a baseline.")
    if known.kmers is None:
        notes.append("The k-mer baseline is left out: there are no train rows to fit it on.")
    else:
        notes.extend(known.kmers.notes)
        if judged.model.config.protein_k and known.kmers.proteins is None:
            notes.append("The protein k-mer baseline is left out: none lies beside the model.")
    if known.calibration is None and judged.task != "regression":
        notes.append("Calibration is left out: no validation row is known.")
    if not differences:
        notes.append("No difference could be told: the judged examples are all of one class.")
    return notes
