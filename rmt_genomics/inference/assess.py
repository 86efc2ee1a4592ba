"""What ``metrics.json`` says of a model: metrics, baselines, differences, context, calibration.

The work is a few times one prediction of the judged examples, whatever their number.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmt_genomics.datasets.examples import Example
from rmt_genomics.inference.baselines import KmerBaselines, Rival, rivals
from rmt_genomics.inference.calibration import Calibration
from rmt_genomics.inference.context import context_of
from rmt_genomics.inference.differences import difference
from rmt_genomics.inference.judged import Judged
from rmt_genomics.inference.length_bins import length_bins
from rmt_genomics.inference.notes import notes_on
from rmt_genomics.inference.reliability import calibration_figures, cross_fitted

_LONG_BP = 2_000_000  # reading more than this takes so long that one should be told


@dataclass(frozen=True, slots=True, eq=False)
class Known:
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


def assess(judged: Judged, split: str, known: Known) -> dict[str, Any]:
    """Return the content of ``metrics.json``.

    Args:
        judged: Examples with the answers of the model.
        split: What rows they are: test, validation or all.
        known: What they are compared with.
    """
    say("the baselines", judged.examples)
    others = rivals(judged, known.train_targets, known.kmers)
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


def _differences(judged: Judged, others: Sequence[Rival]) -> dict[str, Any]:
    """Compare the model with each baseline that has a name for sentences."""
    found = {
        each.name: difference(judged.truth, judged.probabilities, each.outputs, name=each.words)
        for each in others
        if each.words is not None
    }
    return {name: each for name, each in found.items() if each is not None}


def _calibration(judged: Judged, known: Known) -> dict[str, Any] | None:
    """Measure the calibration on the judged examples, never by its own fit."""
    if known.calibration is None:
        return None
    after = None
    if known.is_fitted_on_judged:
        after = cross_fitted(judged.probabilities, judged.targets, judged.task, judged.classes)
    return calibration_figures(known.calibration, judged.probabilities, judged.targets, after=after)


def _left_out(judged: Judged, known: Known, differences: dict[str, Any]) -> list[str]:
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
