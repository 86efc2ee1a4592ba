"""Does context matter? The model on the first base pairs only, and with memory reset.

The same examples are evaluated again with only their first base pairs visible, and with the memory
reset before each segment: at prediction, not in training (for that see ``control``). Of a large set
some examples are drawn, so that this costs at most a fixed number of base pairs.

Dimensions: n examples, c classes.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import chain, count, takewhile
from typing import Any, NamedTuple

import numpy as np
import torch

from rmt_genomics.errors import three_digits
from rmt_genomics.evaluation.bootstrap import difference
from rmt_genomics.evaluation.evaluation_set import EvaluationSet
from rmt_genomics.model import ClassifierConfig, RMTClassifier
from rmt_genomics.model.batching import compute_in_batches, pad
from rmt_genomics.model.classifier import Encoding
from rmt_genomics.model.fold_ensemble import FoldEnsemble
from rmt_genomics.model.metrics import metric_name
from rmt_genomics.rmt import RMTConfig
from rmt_genomics.rmt.runtime import evaluating

MAX_BP = 16_000_000
_SHORTEST_BP, _FACTOR = 1024, 4
_MIN_EXAMPLES = 10  # metrics of fewer drawn examples would be uninformative
_RESET = "the same model with memory reset at prediction"


class ContextAblation(NamedTuple):
    """Results of the ablation, and notes on how they were obtained."""

    results: dict[str, Any] | None
    notes: tuple[str, ...] = ()


def ablate_context(eval_set: EvaluationSet, *, max_bp: int = MAX_BP) -> ContextAblation:
    """Evaluate the model on shortened examples, and with memory reset before each segment.

    At most ``max_bp`` base pairs are read. ``results`` is the entry ``context`` of
    ``metrics.json``; None if nothing is longer than a segment and 1,024 bp, or too little could be
    read.
    """
    if isinstance(eval_set.model, FoldEnsemble):
        note = "The effect of context was not measured on the mean of several models."
        return ContextAblation(None, (note,))
    one_segment = segment_bp(eval_set.model)
    longest, available = int(eval_set.lengths.max()), len(eval_set.examples)
    levels = visible_lengths(longest)
    if longest <= one_segment and not levels:
        note = f"No example is longer than one segment ({one_segment:,} bp): memory has no effect."
        return ContextAblation(None, (note,))
    indices = _affordable(eval_set.lengths, levels, one_segment, max_bp)
    if len(indices) < min(_MIN_EXAMPLES, available):
        note = (
            f"The effect of context was not measured: {_MIN_EXAMPLES} examples of this length "
            f"exceed the limit of {max_bp:,} bp."
        )
        return ContextAblation(None, (note,))
    notes: tuple[str, ...] = ()
    if len(indices) < available:
        notes = (
            f"The effect of context was measured on {len(indices)} of the {available} examples, "
            f"drawn at random (seed 0), to read at most {max_bp:,} bp.",
        )
    return ContextAblation(_results(eval_set.subset(indices), levels, one_segment), notes)


def visible_lengths(longest: int) -> list[int]:
    """Return 1,024 bp, four times that and so on, below the length of the longest example."""
    lengths = (_SHORTEST_BP * _FACTOR**exponent for exponent in count())
    return list(takewhile(lambda length: length < longest, lengths))


def _affordable(
    lengths: np.ndarray, levels: Sequence[int], one_segment: int, max_bp: int
) -> np.ndarray:
    """Return the sorted indices of as many examples as can be read again within ``max_bp``."""
    costs = np.where(lengths > one_segment, lengths, 0)
    for level in levels:
        costs = costs + np.where(lengths > level, level, 0)
    order = np.random.default_rng(0).permutation(len(lengths))
    return np.sort(order[costs[order].cumsum() <= max_bp])


def _results(eval_set: EvaluationSet, levels: Sequence[int], one_segment: int) -> dict[str, Any]:
    """Evaluate at each visible length, then on whole sequences, then with memory reset."""
    visible, model = [], eval_set.model
    assert isinstance(model, RMTClassifier), "not of a cross-validation: see above"
    for level in levels:
        is_longer = eval_set.lengths > level
        outputs = _outputs(model, eval_set, is_longer, level)
        metrics = eval_set.scalar_metrics(outputs, eval_set.thresholds)
        visible.append({"bp": level, "share_shortened": float(is_longer.mean()), **metrics})
    visible.append({"bp": None, "share_shortened": 0.0, **eval_set.scalar_metrics()})
    has_memory = model.config.memory_reset == "never"
    without_memory = eval_set.probabilities
    if has_memory:
        twin, is_longer = with_memory_reset(model), eval_set.lengths > one_segment
        without_memory = _outputs(twin, eval_set, is_longer, None)
    results = {
        "metric": eval_set.truth.metric,
        "visible": visible,
        "memory_reset": eval_set.scalar_metrics(without_memory, eval_set.thresholds),
    }
    compared = difference(
        eval_set.truth,
        eval_set.probabilities,
        without_memory,
        name=_RESET,
        called=eval_set.called,
        baseline_called=eval_set.called_by(without_memory, eval_set.thresholds),
    )
    if compared is not None and has_memory:
        results["difference"] = compared
    return {**results, "sentence": _sentence(results, eval_set.model.config)}


def _outputs(
    model: RMTClassifier, eval_set: EvaluationSet, is_changed: np.ndarray, level: int | None
) -> np.ndarray:
    """Return predictions ``(n, c)`` for the first ``level`` bp, computed only where they change."""
    changed = eval_set.subset(np.flatnonzero(is_changed))
    visible = np.minimum(changed.lengths, level or eval_set.lengths.max())
    rows = eval_set.probabilities.copy()
    rows[is_changed] = compute_in_batches(
        visible.tolist(),
        lambda batch: model.predict_codes(changed.codes(batch, level)),
        rows.shape[1:],
    )
    return rows


def _sentence(results: dict[str, Any], config: ClassifierConfig) -> str:
    metric = results["metric"]
    name = metric_name(metric)
    *shorter, whole = results["visible"]
    if whole[metric] is None:
        return f"{name} is not defined on these examples, so the effect of context is unknown."
    sentences = []
    if shorter:
        sentences.append(
            f"On the first {shorter[0]['bp']:,} bp alone {name} is "
            f"{three_digits(shorter[0][metric])}, on whole sequences {three_digits(whole[metric])}."
        )
    if "difference" in results:
        sentences.append(results["difference"]["sentence"])
    without = "With memory reset at prediction"
    if config.memory_reset == "segment":
        without = "Trained without memory"
    segments = "the last segment of each strand" if config.pooling == "last" else "every segment"
    if config.beside_memory:
        sentences.append(
            f"({without}, the model uses {segments}, and {config.beside_memory} of the "
            "whole sequence.)"
        )
    elif config.pooling == "last":
        sentences.append(f"({without}, the model uses {segments} only.)")
    return " ".join(sentences)


def segment_bp(model: RMTClassifier) -> int:
    """Return the base pairs from the start of one segment to the start of the next."""
    return model.config.rmt().tokens_per_segment * model.config.stride


def with_memory_reset(model: RMTClassifier) -> RMTClassifier:
    """Return the same network, sharing its weights, with memory reset before each segment.

    With ``last`` pooling only the last segment of each strand, one at either end, is then used.
    """
    tensors = [*model.parameters(), *model.buffers()]
    twin = deepcopy(model, {id(tensor): tensor for tensor in tensors})  # the same tensors
    without_memory = replace(model.config.rmt(), memory_reset="segment")
    for part in twin.encoder.modules():
        if isinstance(getattr(part, "config", None), RMTConfig):
            part.config = without_memory  # type: ignore[assignment]  # a setting, no tensor
    return twin


class Averages(NamedTuple):
    """Predictions ``(n, c)`` float64 from mean logits of single segments.

    The two are equal if the model reads no composition beside its memory.
    """

    with_whole: np.ndarray  # with the composition of the whole sequence
    alone: np.ndarray  # with the composition of the segment


def average_of_segments(model: RMTClassifier, sequences: Sequence[np.ndarray]) -> Averages:
    """Return the predictions from the mean of the logits of single segments of base codes.

    Each segment is read on both strands as if it were the whole sequence, so that nothing passes
    from one to another; it is weighted by the base pairs it adds. All segments of a batch are read
    together, since they are independent.
    """
    cuts = [list(_cut(model, codes)) for codes in sequences]
    owners = np.repeat(np.arange(len(cuts)), [len(pieces) for pieces in cuts])
    pieces, own_bp = zip(*chain.from_iterable(cuts), strict=True)
    weights = np.array(own_bp, dtype=float)[:, None]
    length = np.array([[len(codes)] for codes in sequences])
    averages = []
    with evaluating(model), torch.inference_mode():
        for logits in _logits_of(model, pieces, sequences, owners):
            total = np.zeros((len(sequences), logits.shape[1]))
            np.add.at(total, owners, weights * logits)
            averages.append(np.asarray(model.outputs(torch.from_numpy(total / length))))
    return Averages(*averages)


def _cut(model: RMTClassifier, codes: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the segments of a sequence, and how many bases of each are in no later one.

    Neighbours share the bases that a k-mer may span.
    """
    step, shared = segment_bp(model), model.config.k - model.config.stride
    for start in range(0, max(1, len(codes) - shared), step):
        piece = codes[start : start + step + shared]
        is_last = start + step + shared >= len(codes)
        yield piece, len(piece) if is_last else step


def _logits_of(
    model: RMTClassifier,
    pieces: Sequence[np.ndarray],
    sequences: Sequence[np.ndarray],
    owners: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of many short pieces ``(n, c)``, as in ``Averages``."""
    of_owners = [model.sequence_features(torch.from_numpy(codes)[None]) for codes in sequences]

    def logits_of(batch: list[int]) -> np.ndarray:
        alone = model.encode(*pad([pieces[index] for index in batch], model.device))
        whole = (
            None if parts[0] is None else torch.cat(parts)
            for parts in zip(*(of_owners[owners[index]] for index in batch), strict=True)
        )
        logits = [model.logits(Encoding(alone.strands, *whole)), model.logits(alone)]
        return torch.stack(logits, dim=1).cpu().double().numpy()

    rows = compute_in_batches([len(piece) for piece in pieces], logits_of, (2, len(model.classes_)))
    return rows[:, 0], rows[:, 1]
