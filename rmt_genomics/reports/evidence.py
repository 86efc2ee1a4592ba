"""Where the evidence lies: the clearest right predictions of each class, piece by piece.

``write_evidence`` replaces each piece of a few evaluated examples by N, and writes what that does
to their predictions into ``evidence.json``. It ends within a small fraction of the time of the run:
an example whose pieces would take too long is not chosen. ``evidence`` is the section of the
report.
"""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rmt_genomics.atomic_io import write_text
from rmt_genomics.errors import counted
from rmt_genomics.reports import plots
from rmt_genomics.reports.formatting import number
from rmt_genomics.reports.plot_files import plot
from rmt_genomics.reports.run_results import EVIDENCE, RunResults

if TYPE_CHECKING:
    from rmt_genomics.dna.alphabet import Codes
    from rmt_genomics.evaluation.evaluation_set import EvaluationSet
    from rmt_genomics.model import RMTClassifier

FRACTION, LEAST_SECONDS, MOST_SECONDS = 0.05, 0.5, 5.0  # of the time of a run
_MOST_CLASSES, _FEW_CLASSES = 10, 3  # of few classes there are two examples each
_FEWEST_PIECES, _MOST_PIECES, _FEWEST_SEGMENTS = 8, 32, 4
_PROBE_BP = 8192


class _Choice(NamedTuple):
    """A class, and the rows of its right predictions, the clearest first."""

    class_index: int
    rows: list[int]


def evidence_seconds(run_seconds: float) -> float:
    """Return the time that ``write_evidence`` may take in a run that has taken so long.

    Examples:
        >>> [evidence_seconds(each) for each in (2.0, 40.0, 3600.0)]
        [0.5, 2.0, 5.0]
    """
    return min(MOST_SECONDS, max(LEAST_SECONDS, FRACTION * run_seconds))


def write_evidence(folder: str | Path, eval_set: "EvaluationSet", *, seconds: float) -> None:
    """Write ``evidence.json`` into the folder of an evaluation, in about ``seconds``.

    There is none of a regression, and none of the model of a cross-validation, which is several
    networks; then a file of an earlier evaluation is removed.
    """
    from rmt_genomics.model import RMTClassifier

    path = Path(folder) / EVIDENCE
    model = eval_set.model
    if eval_set.task == "regression" or not isinstance(model, RMTClassifier):
        path.unlink(missing_ok=True)
        return
    end = time.monotonic() + seconds
    names, choices = eval_set.classes, list(_choices(eval_set))
    notes = []
    if len(choices) < len(names):
        notes.append(f"Shown are the {len(choices)} most common of {len(names)} classes.")
    for name in (names[each.class_index] for each in choices if not each.rows):
        notes.append(f"No evaluated example of {name} was predicted as {name}.")
    wanted = [each for each in choices if each.rows]
    per_bp = _seconds_per_bp(model, eval_set.codes([wanted[0].rows[0]])[0]) if wanted else 0.0
    examples: list[dict[str, Any]] = []
    too_long = []
    for left, choice in zip(range(len(wanted), 0, -1), wanted, strict=True):
        found = _explained(model, eval_set, choice, (end - time.monotonic()) / left, per_bp)
        examples += found
        if not found:
            too_long.append(names[choice.class_index])
    if too_long:
        notes.append(
            f"Left out, to end within {FRACTION:.0%} of the time of the run: "
            f"{', '.join(too_long)}. rmt-genomics explain shows any example."
        )
    examples.sort(key=lambda each: (names.index(each["class"]), -each["probability"]))
    write_text(path, json.dumps({"examples": examples, "notes": notes}, allow_nan=False) + "\n")


def _choices(eval_set: "EvaluationSet") -> Iterator[_Choice]:
    """Yield the most common classes, with their right predictions: of equal ones the shortest."""
    targets, called = np.asarray(eval_set.targets), eval_set.called
    assert called is not None
    has_class = targets.astype(bool)
    if targets.ndim == 1:
        has_class = targets[:, None] == np.arange(len(eval_set.classes))
    common = np.argsort(-has_class.sum(axis=0), kind="stable")[:_MOST_CLASSES]
    for index in common.tolist():
        rows = np.flatnonzero(has_class[:, index] & called[:, index].astype(bool))
        scores = eval_set.probabilities[rows, index]
        order = np.lexsort((eval_set.lengths[rows], -scores))
        yield _Choice(index, rows[order].tolist())


def _explained(
    model: "RMTClassifier",
    eval_set: "EvaluationSet",
    choice: _Choice,
    seconds: float,
    per_bp: float,
) -> list[dict[str, Any]]:
    """Return the clearest one or two examples of a class whose pieces can be read in time."""
    end = time.monotonic() + seconds
    number_wanted = 2 if len(eval_set.classes) <= _FEW_CLASSES else 1
    found: list[dict[str, Any]] = []
    for row in choice.rows:
        if len(found) == number_wanted:
            break
        left = (end - time.monotonic()) / (number_wanted - len(found))
        # a record is read once, and each piece costs about half of a reading
        readings = left / (per_bp * eval_set.lengths[row])
        num_pieces = min(_MOST_PIECES, int(2 * (readings - 1)))
        if num_pieces < _FEWEST_PIECES:
            continue
        found.append(_example(model, eval_set, row, choice.class_index, num_pieces))
    return found


def _seconds_per_bp(model: "RMTClassifier", codes: "Codes") -> float:
    """Measure how long a reading of the beginning of a record takes."""
    from rmt_genomics.interpretation import PrefixMemory

    start, beginning = time.monotonic(), codes[:_PROBE_BP]
    PrefixMemory(model, beginning)
    return (time.monotonic() - start) / len(beginning)


def _example(
    model: "RMTClassifier", eval_set: "EvaluationSet", row: int, class_index: int, num_pieces: int
) -> dict[str, Any]:
    """Return an example with the effects of its pieces on the logit of its class."""
    from rmt_genomics.interpretation import PrefixMemory, occlude

    (codes,) = eval_set.codes([row])
    pieces, kind = _pieces(model, len(codes), num_pieces)
    found = occlude(PrefixMemory(model, codes), pieces)
    effects, memory = (
        [float(f"{value:.6g}") for value in each[:, class_index]]
        for each in (found.effects, found.through_memory)
    )
    return {
        "record": eval_set.examples[row].name,
        "class": eval_set.classes[class_index],
        "probability": float(eval_set.probabilities[row, class_index]),
        "pieces": kind,
        "starts": found.starts.tolist(),
        "ends": found.ends.tolist(),
        "effects": effects,
        "through_memory": memory,
    }


def _pieces(model: "RMTClassifier", length_bp: int, most: int) -> tuple[list[tuple[int, int]], str]:
    """Return at most ``most`` pieces and what they are: the segments, or equal parts of a few."""
    from rmt_genomics.interpretation import segment_pieces

    segments = segment_pieces(model, length_bp)
    if len(segments) < _FEWEST_SEGMENTS:
        size = -(-length_bp // most)
        pieces = segment_pieces(model, length_bp, size)
        return pieces, f"{counted(len(pieces), 'piece')} of {size:,} bp"
    together = -(-len(segments) // most)
    starts = [start for start, _ in segments[::together]]
    pieces = list(zip(starts, [*starts[1:], length_bp], strict=True))
    kind = counted(len(pieces), "segment") if together == 1 else f"{len(pieces)} groups of segments"
    return pieces, kind


def evidence(results: RunResults) -> dict[str, Any] | None:
    """Draw what each piece of the clearest examples adds to the logit of their class."""
    found = results.evidence
    if not found or not results.metrics:
        return None
    return {
        "plots": [_plot(index, each) for index, each in enumerate(found["examples"])],
        "has_memory": any(any(each["through_memory"]) for each in found["examples"]),
        "notes": found["notes"],
    }


def _plot(index: int, example: Mapping[str, Any]) -> Any:
    figure = plots.piece_effects(
        *(example[key] for key in ("starts", "ends", "effects", "through_memory"))
    )
    caption = (
        f"{example['class']}: {example['record']}, {example['ends'][-1]:,} bp, probability "
        f"{number(example['probability'])}; {example['pieces']}."
    )
    return plot(figure, f"evidence-{index}", caption)
