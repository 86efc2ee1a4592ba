"""Does context matter? How good a model is when it sees less, and when it may not remember.

Two questions to the same examples: what if only their first base pairs were there, and what if
the memory were emptied before each segment. Of a large set, some examples are drawn, so that this
costs no more than a fixed number of base pairs.

Dimensions: n examples, c classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from rmt_genomics.evaluation.bootstrap import difference
from rmt_genomics.evaluation.evaluation_set import EvaluationSet
from rmt_genomics.model import ClassifierConfig, RMTClassifier
from rmt_genomics.model.batching import batches_of_similar_length, pad
from rmt_genomics.model.bidirectional_encoder import BothStrands
from rmt_genomics.rmt.runtime import evaluating


class _Piece(NamedTuple):
    """A stretch of one sequence that is one segment; ``own_bp`` of it are in no later piece."""

    owner: int
    codes: np.ndarray
    own_bp: int


class Averages(NamedTuple):
    """Answers ``(n, c)`` float64, as of ``predict_codes``; alike if nothing is beside the memory.

    Attributes:
        beside_whole: What stands beside the memory is that of the whole sequence.
        alone: It is that of the segment.
    """

    beside_whole: np.ndarray
    alone: np.ndarray


def segment_bp(model: RMTClassifier) -> int:
    """Return the base pairs from the start of one segment to the start of the next."""
    return model.config.rmt().tokens_per_segment * model.config.stride


def forgetful(model: RMTClassifier) -> RMTClassifier:
    """Return the same network, sharing its weights, with the memory emptied before each segment.

    With ``last`` pooling only the last segment of each strand, one at either end, is then heard.
    """
    config = model.config
    without_memory = replace(config.rmt(), memory_reset="segment")
    with torch.device("meta"):  # no first weights are drawn: they are shared below
        twin = RMTClassifier(config)
        twin.encoder = BothStrands(config.tokenizer, without_memory, config.pooling)
    twin.load_state_dict(model.state_dict(), assign=True)
    return twin.train(model.training)


def average_of_segments(model: RMTClassifier, sequences: Sequence[np.ndarray]) -> Averages:
    """Return what the mean of the logits of single segments says.

    Each segment is read on both strands as if it were the whole sequence, so that nothing passes
    from one to another; it counts by the base pairs it adds. All segments of a batch are read
    together, since they are independent.

    Args:
        model: A trained model.
        sequences: Base codes.
    """
    pieces = [piece for owner, codes in enumerate(sequences) for piece in _cut(model, owner, codes)]
    weights = np.array([piece.own_bp for piece in pieces], dtype=float)[:, None]
    owners = np.array([piece.owner for piece in pieces])
    length = np.bincount(owners, weights[:, 0], minlength=len(sequences))
    answers = []
    with evaluating(model), torch.inference_mode():
        for logits in _logits_of(model, [piece.codes for piece in pieces], sequences, owners):
            total = np.zeros((len(sequences), logits.shape[1]))
            np.add.at(total, owners, weights * logits)
            answers.append(np.asarray(model.answers(torch.from_numpy(total / length[:, None]))))
    return Averages(*answers)


def _cut(model: RMTClassifier, owner: int, codes: np.ndarray) -> Iterator[_Piece]:
    """Yield the segments of a sequence; neighbours share the bases that a k-mer may span."""
    step, shared = segment_bp(model), model.config.k - model.config.stride
    for start in range(0, max(1, len(codes) - shared), step):
        piece = codes[start : start + step + shared]
        is_last = start + step + shared >= len(codes)
        yield _Piece(owner, piece, len(piece) if is_last else step)


def _logits_of(
    model: RMTClassifier,
    pieces: Sequence[np.ndarray],
    sequences: Sequence[np.ndarray],
    owners: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of many short pieces ``(n, c)``: beside what their owners have, and what
    they have themselves."""
    of_owners = [model.shared_features(torch.from_numpy(codes)[None]) for codes in sequences]
    rows = np.empty((2, len(pieces), len(model.classes_)))
    for batch in batches_of_similar_length([len(each) for each in pieces]):
        codes = [pieces[place] for place in batch]
        strands = model.encode_codes(codes, shared=False)
        whole = torch.cat([of_owners[owners[place]] for place in batch])
        own = model.shared_features(pad(codes)[0]) if whole.shape[1] else whole
        for which, beside in enumerate((whole, own)):
            logits = model.head(torch.cat([strands, beside], dim=-1))
            rows[which, batch] = logits.cpu().double().numpy()
    return rows[0], rows[1]


MOST_BP = 16_000_000
_FIRST, _FACTOR = 1024, 4
_FEWEST = 10  # examples, below which figures of a drawn part would say nothing
_WORDS = "itself with the memory emptied before each segment"


@dataclass(frozen=True, slots=True)
class Context:
    """What was found, and what a reader must know of it."""

    found: dict[str, Any] | None
    notes: tuple[str, ...] = ()


def visible_lengths(longest: int) -> list[int]:
    """Return 1,024 bp, four times that and so on, below the length of the longest example."""
    lengths = []
    length = _FIRST
    while length < longest:
        lengths.append(length)
        length *= _FACTOR
    return lengths


def context_of(judged: EvaluationSet, *, most_bp: int = MOST_BP, seed: int = 0) -> Context:
    """Judge the model on shortened examples, and without memory.

    Args:
        judged: Examples with the answers of the whole model.
        most_bp: Base pairs that may be read for this.
        seed: Of the draw, if not all examples can be read again.

    Returns:
        ``found`` is the part ``context`` of ``metrics.json``; None if nothing is longer than a
        segment and 1,024 bp, or too little could be read.
    """
    one_segment = segment_bp(judged.model)
    longest = int(judged.lengths.max())
    levels = visible_lengths(longest)
    if longest <= one_segment and not levels:
        note = f"No example is longer than one segment ({one_segment:,} bp): memory has no part."
        return Context(None, (note,))
    places = _affordable(judged.lengths, levels, one_segment, most_bp, seed)
    if len(places) < min(_FEWEST, len(judged.examples)):
        note = (
            f"What context is worth was not measured: {_FEWEST} examples of this length are more "
            f"than the {most_bp:,} bp that are read for it."
        )
        return Context(None, (note,))
    notes: tuple[str, ...] = ()
    if len(places) < len(judged.examples):
        notes = (
            f"What context is worth was measured on {len(places)} of the {len(judged.examples)} "
            f"examples, drawn at random (seed {seed}), so as to read at most {most_bp:,} bp.",
        )
    return Context(_measured(judged.some(places), levels, one_segment), notes)


def _affordable(
    lengths: np.ndarray, levels: Sequence[int], one_segment: int, most_bp: int, seed: int
) -> np.ndarray:
    """Return the places of as many examples as may be read again, in their order."""
    costs = np.where(lengths > one_segment, lengths, 0)
    for level in levels:
        costs = costs + np.where(lengths > level, level, 0)
    if costs.sum() <= most_bp:
        return np.arange(len(lengths))
    order = np.random.default_rng(seed).permutation(len(lengths))
    count = int(np.searchsorted(np.cumsum(costs[order]), most_bp, side="right"))
    return np.sort(order[:count])


def _measured(judged: EvaluationSet, levels: Sequence[int], one_segment: int) -> dict[str, Any]:
    """Judge at each visible length, then everything, then everything without memory."""
    metric = judged.truth.metric
    visible = [_visible(judged, level) for level in levels]
    visible.append({"bp": None, "share_shortened": 0.0, **judged.brief()})
    twin = forgetful(judged.model)
    without = _outputs(twin, judged, judged.lengths > one_segment, None)
    found = {
        "metric": metric,
        "visible": visible,
        "memory_reset": judged.brief(without),
    }
    compared = difference(judged.truth, judged.probabilities, without, name=_WORDS)
    if compared is not None:
        found["difference"] = compared
    return {**found, "sentence": _sentence(found, judged.model.config)}


def _visible(judged: EvaluationSet, level: int) -> dict[str, Any]:
    """Judge when only the first ``level`` bp of each example are seen."""
    is_longer = judged.lengths > level
    outputs = _outputs(judged.model, judged, is_longer, level)
    return {
        "bp": level,
        "share_shortened": float(is_longer.mean()),
        **judged.brief(outputs),
    }


def _outputs(
    model: RMTClassifier, judged: EvaluationSet, is_changed: np.ndarray, level: int | None
) -> np.ndarray:
    """Return the answers ``(n, c)`` to the first bp; what has not changed is not computed."""
    places = np.flatnonzero(is_changed)
    rows = judged.probabilities.copy()
    seen = np.minimum(judged.lengths[places], level or judged.lengths.max())
    for batch in batches_of_similar_length(seen.tolist()):
        chosen = places[batch]
        codes = [judged.store.codes(judged.examples[place].interval) for place in chosen]
        rows[chosen] = model.predict_codes([each[:level] for each in codes])
    return rows


def _sentence(found: dict[str, Any], config: ClassifierConfig) -> str:
    """Say what was found."""
    metric = found["metric"]
    name = metric.upper()
    *shorter, whole = found["visible"]
    if whole[metric] is None:
        return f"{name} is not defined on these examples, so nothing can be said."
    words = []
    if shorter:
        words.append(
            f"On the first {shorter[0]['bp']:,} bp alone {name} is {shorter[0][metric]:.2f}, on "
            f"whole sequences {whole[metric]:.2f}."
        )
    if "difference" in found:
        words.append(found["difference"]["sentence"])
    heard = "the last segment of each strand" if config.pooling == "last" else "every segment"
    if config.beside_memory:
        words.append(f"(Emptied, it hears {heard}, and {config.beside_memory} of the whole.)")
    elif config.pooling == "last":
        words.append(f"(Emptied, the model hears {heard} only.)")
    return " ".join(words)
