"""The content of ``metrics.json``: metrics, intervals, baselines, differences, context, and more.

It costs a few times one prediction of the evaluated examples, whatever their number.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmt_genomics.errors import RMTGenomicsWarning, three_digits
from rmt_genomics.evaluation.baselines import (
    BaselinePredictions,
    KmerBaselines,
    baseline_predictions,
    specs_of,
)
from rmt_genomics.evaluation.bootstrap import difference, intervals_by_class
from rmt_genomics.evaluation.calibration_metrics import (
    calibration_intervals,
    calibration_metrics,
    cross_fitted,
)
from rmt_genomics.evaluation.context_ablation import ablate_context
from rmt_genomics.evaluation.control import TrainedControl
from rmt_genomics.evaluation.evaluation_set import EvaluationSet, log_stage
from rmt_genomics.evaluation.linear_probe import LinearProbe
from rmt_genomics.evaluation.summary import summary_of
from rmt_genomics.evaluation.tables import baseline_name
from rmt_genomics.model import ClassifierConfig
from rmt_genomics.model.metrics import metric_keys, metric_name
from rmt_genomics.prediction.calibration import Calibration

_FACTOR = 4  # from one length bin to the next
_FEW, _FEW_OF_A_CLASS = 100, 10
_FEWEST = 20  # examples below which equal predictions for all may be chance


@dataclass(frozen=True, slots=True, eq=False)
class FittedReferences:
    """What was fitted beside the model: baselines, calibration, control, and on which examples."""

    train_targets: np.ndarray | None  # targets of the train rows; None = unknown
    kmers: KmerBaselines | None  # fitted on the train rows
    calibration: Calibration | None  # fitted on the validation part
    control: TrainedControl | None = None  # the same network trained without memory
    probe: LinearProbe | None = None  # of the pretrained encoder, if the model has one
    is_fitted_on_evaluated: bool = False
    """There is no test part: the evaluated validation part also fitted the calibration."""

    is_chosen_on_evaluated: bool = False
    """There is no validation part: the evaluated rows chose the k-mer baseline."""


def predicted_baselines(
    eval_set: EvaluationSet, references: FittedReferences
) -> list[BaselinePredictions]:
    """Return the predictions of all baselines, and of the control, in the order of tables."""
    log_stage("baselines", eval_set.examples)
    is_chosen = not (references.is_fitted_on_evaluated or references.is_chosen_on_evaluated)
    baselines = baseline_predictions(
        eval_set, references.train_targets, references.kmers, has_validation=is_chosen
    )
    if references.probe is not None:
        baselines.append(references.probe.predictions(eval_set))
    if references.control is not None:
        baselines += references.control.predictions(eval_set)
    return baselines


def predictions_to_keep(
    eval_set: EvaluationSet, baselines: Sequence[BaselinePredictions]
) -> dict[str, np.ndarray]:
    """Return the outputs of the model and of each baseline, and which classes they predict.

    The keys are ``model`` and those of the baselines, with ``/called`` for the classes.
    """
    kept = {"model": eval_set.probabilities}
    kept |= {baseline.key: baseline.outputs for baseline in baselines}
    thresholds = {baseline.key: baseline.thresholds for baseline in baselines}
    for key, outputs in list(kept.items()):
        called = eval_set.called_by(outputs, thresholds.get(key, eval_set.thresholds))
        if called is not None:
            kept[f"{key}/called"] = called
    return {key: np.ascontiguousarray(array) for key, array in kept.items()}


def metrics_report(
    eval_set: EvaluationSet,
    split: str,
    references: FittedReferences,
    baselines: Sequence[BaselinePredictions] | None = None,
) -> dict[str, Any]:
    """Return the content of ``metrics.json``.

    It is the metrics of the model (``model.metrics.METRICS``), n, classes and confusion; and
    intervals (low and high, by metric: ``bootstrap.intervals``; per_class and calibration have
    their own), task, thresholds (if the model has any), split (test, validation or all), baselines
    (their metrics), differences (model minus baseline), per_class, length_bins, context,
    calibration, notes and the summary. A metric that is not defined is None; a note says why.
    """
    if baselines is None:
        baselines = predicted_baselines(eval_set, references)
    differences = _differences(eval_set, baselines)
    log_stage("effect of context", eval_set.examples)
    context = ablate_context(eval_set)
    overall, of_classes = intervals_by_class(
        eval_set.truth, eval_set.probabilities, called=eval_set.called
    )
    metrics = {
        **eval_set.metrics(),
        "intervals": overall,
        "task": eval_set.task,
        "thresholds": list(eval_set.thresholds) if eval_set.thresholds else None,
        "split": split,
        "baselines": {
            baseline.key: {
                **eval_set.metrics(baseline.outputs, baseline.thresholds),
                **baseline.extra,
            }
            for baseline in baselines
        },
        "differences": differences,
        "per_class": [
            {**row, "intervals": of_class}
            for row, of_class in zip(eval_set.per_class(), of_classes, strict=True)
        ],
        "length_bins": length_bins(eval_set),
        "context": context.results,
        "calibration": _calibration(eval_set, references),
        "notes": [
            *_notes_on_thresholds(eval_set.model.config),
            *notes_on_predictions(eval_set),
            *_notes_on_metrics(eval_set),
            *_notes_on_references(eval_set, references, differences),
            *context.notes,
            *(references.control.notes if references.control is not None else ()),
        ],
    }
    for key in ("context", "calibration", "thresholds"):
        if metrics[key] is None:
            del metrics[key]
    return {**metrics, "summary": summary_of(metrics)}


def _differences(
    eval_set: EvaluationSet, baselines: Sequence[BaselinePredictions]
) -> dict[str, dict[str, Any]]:
    """Compare the model with each baseline that has a description, where that is defined."""
    compared = {
        baseline.key: difference(
            eval_set.truth,
            eval_set.probabilities,
            baseline.outputs,
            name=baseline.description,
            called=eval_set.called,
            baseline_called=eval_set.called_by(baseline.outputs, baseline.thresholds),
        )
        for baseline in baselines
        if baseline.description is not None
    }
    return {key: value for key, value in compared.items() if value is not None}


def _notes_on_thresholds(config: ClassifierConfig) -> Iterator[str]:
    """Yield from which probabilities on the labels are given, and where that was chosen."""
    if config.thresholds is None:
        return
    classes = config.classes[-len(config.thresholds) :]
    pairs = zip(classes, config.thresholds, strict=True)
    shown = ", ".join(f"{name} {three_digits(threshold)}" for name, threshold in pairs)
    origin = "given with the training"
    if config.thresholds_from == "validation":
        origin = (
            "chosen for MCC on the validation part of the training; regressions on k-mers that "
            "were fitted with this model have thresholds chosen in the same way"
        )
    yield f"Labels are given from these probabilities on, instead of 0.5: {shown} ({origin})."


def length_bins(eval_set: EvaluationSet) -> list[dict[str, Any]]:
    """Return the metrics of each bin of lengths that is not empty.

    Also low_bp (included) and high_bp (excluded, four times low): both are powers of 4.
    """
    # The largest e with 4**e <= length, in whole numbers: logarithms would round.
    exponents = np.array([(int(length).bit_length() - 1) // 2 for length in eval_set.lengths])
    return [
        {
            "low_bp": _FACTOR**exponent,
            "high_bp": _FACTOR ** (exponent + 1),
            **eval_set.subset(np.flatnonzero(exponents == exponent)).scalar_metrics(),
        }
        for exponent in np.unique(exponents).tolist()
    ]


def _calibration(eval_set: EvaluationSet, references: FittedReferences) -> dict[str, Any] | None:
    """Return metrics of the calibration, never on the examples of its own fit."""
    if references.calibration is None:
        return None
    scored, after = (eval_set.probabilities, eval_set.targets), None
    if references.is_fitted_on_evaluated:
        after = cross_fitted(*scored, eval_set.task, eval_set.classes)
    metrics = calibration_metrics(references.calibration, *scored, after=after)
    after = references.calibration.apply(scored[0]) if after is None else after
    return {**metrics, "intervals": calibration_intervals(eval_set.truth, scored[0], after)}


def notes_on_predictions(eval_set: EvaluationSet) -> Iterator[str]:
    """Yield what limits the metrics of these examples; warn of a collapsed model."""
    collapse = collapse_of(eval_set)
    if collapse is not None:
        warnings.warn(collapse, RMTGenomicsWarning, stacklevel=3)
        yield collapse
    count = len(eval_set.examples)
    if count < _FEW:
        examples = "1 example was" if count == 1 else f"{count} examples were"
        yield f"Only {examples} evaluated: metrics from so few vary widely by chance."
    few = [
        f"{row['class']} ({row['n']})" for row in eval_set.per_class() if row["n"] < _FEW_OF_A_CLASS
    ]
    if few:
        yield f"Classes with fewer than {_FEW_OF_A_CLASS} evaluated examples: {', '.join(few)}."


def _notes_on_metrics(eval_set: EvaluationSet) -> Iterator[str]:
    """Yield which metrics are not defined, and which intervals are not those of the bootstrap."""
    metrics, is_regression = eval_set.metrics(), eval_set.task == "regression"
    keys = metric_keys(eval_set.task)
    if undefined := [metric_name(key) for key in keys if metrics[key] is None]:
        reason = "the true values are all equal"
        if not is_regression:
            reason = "each class has all of the examples or none of them"
        elif metrics["r2"] is not None:
            reason = "the predictions are all equal"
        yield f"Not defined on the evaluated examples: {', '.join(undefined)} ({reason})."
    perfect = [metric_name(key) for key in keys if metrics[key] == 1 and key != "accuracy"]
    if perfect and not is_regression:
        yield (
            f"What is 1 here ({', '.join(perfect)}) is 1 in all draws of the bootstrap: its "
            "interval begins where the exact (binomial) one of the accuracy on the rarest class "
            "begins; for MCC at twice that minus 1."
        )


def collapse_of(eval_set: EvaluationSet) -> str | None:
    """Return a message if all predictions are the same although the targets differ."""
    count = len(eval_set.examples)
    if count < _FEWEST or len(np.unique(eval_set.targets, axis=0)) < 2:
        return None
    if eval_set.task == "regression":
        values = eval_set.probabilities.ravel()
        if float(values.std()) > 1e-3 * float(np.std(eval_set.targets)):
            return None
        return (
            "The model has collapsed: it predicts about the same value for every example "
            f"({values.mean():.4g})."
        )
    labels = {eval_set.model.label_of(row) for row in eval_set.probabilities}
    if len(labels) > 1:
        return None
    label = labels.pop()
    predicted = f"the label {label!r}" if label else "no label"
    return (
        f"The model has collapsed: it predicts {predicted} for all {count} examples. "
        "Its probabilities may still rank them (see auroc), but its labels are uninformative."
    )


def _notes_on_references(
    eval_set: EvaluationSet, references: FittedReferences, differences: Mapping[str, Any]
) -> Iterator[str]:
    """Yield what is missing, and what is less certain than it looks."""
    if references.is_fitted_on_evaluated:
        yield (
            "There is no test part. The validation part was evaluated, but it also chose the best "
            "epoch and the k-mer baselines, so the metrics are optimistic."
        )
        if references.calibration is not None:
            yield (
                "The calibration was fitted on the evaluated part; its metrics come from two "
                "halves, each calibrated by the other."
            )
    if references.is_chosen_on_evaluated:
        yield (
            "No row is marked as validation: k and regularization of the k-mer baselines were "
            "chosen on the evaluated rows, which favours the baselines."
        )
    if references.train_targets is None:
        yield "There are no train rows: the most common label is left out as a baseline."
    if references.kmers is None:
        yield "The k-mer baselines are left out: there are no train rows to fit them on."
    else:
        yield from references.kmers.notes
        for kind in specs_of(eval_set.model.config).keys() - references.kmers.best.keys():
            name = baseline_name(f"{kind}_logistic")
            yield f"The baseline {name!r} is left out: there is none in the model folder."
    if references.calibration is None and eval_set.task != "regression":
        yield "Calibration is left out: there are no validation rows."
    if not differences:
        yield (
            "No difference could be computed: the evaluated examples are all of one class, or of "
            "one group, or have equal values."
        )
