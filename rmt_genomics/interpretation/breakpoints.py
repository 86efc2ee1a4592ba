"""Where a record falls into two parts that, each read alone, look most like one class.

For chimeric contigs, insertions and other mosaics: the classes of a model say *that* a record is
made of two sources, and occlusion does not say where they meet, since what decides is the
comparison of all segments. So the record is cut at each border in turn, and the model is asked
whether the parts look intact. One breakpoint gives a left and a right part; two give a part in
between and the rest, joined, as a host is without its insertion.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from rmt_genomics.dna.alphabet import UNKNOWN, Codes
from rmt_genomics.errors import ConfigError, counted
from rmt_genomics.interpretation.occlusion import segment_pieces
from rmt_genomics.interpretation.tracks import Target
from rmt_genomics.model import RMTClassifier
from rmt_genomics.model.batching import compute_in_batches, encode_sequences

MOST_BORDERS = {1: 256, 2: 32}
"""By the number of breakpoints; the borders of longer records are further apart."""

MOST_PLACES = 1 << 16
"""For one record: of a breakpoint, or of a pair."""

_LEAST = 1e-6  # of a probability, before its logarithm
_PLACES_AT_ONCE, _BP_AT_ONCE = 256, 1 << 26


@dataclass(frozen=True, slots=True)
class Breakpoints:
    """One or two breakpoints of a record; ``score`` compares places, not records."""

    record: str
    length: int
    class_name: str
    positions: tuple[int, ...]
    """The first base after each breakpoint, 0-based, forward strand; none in a record that is too
    short for a cut, or has no known base."""

    score: float
    """Sum over the two parts of the natural logarithm of the probability of the class; NaN if there
    is no breakpoint."""

    whole: float
    """The same of the record as it is, once; NaN if it has no known base."""


def find_breakpoints(
    model: RMTClassifier | str | Path,
    sequence: Any,
    class_name: str,
    number: int = 1,
    *,
    piece_bp: int | None = None,
    record: str = "sequence",
) -> Breakpoints:
    """Find the breakpoints at which both parts of a sequence look most like a class.

    One breakpoint costs as much as one prediction per border; two as many as there are pairs of
    borders. ``number`` is how many there are, which is not found: compare the predicted class.

    Args:
        model: A classifier, or its folder, with a class of sequences from one source, such as
            ``intact``.
        sequence: DNA letters, 5' to 3': text, ``Bio.Seq`` or ``SeqRecord``.
        class_name: That class.
        number: 1, or 2: a part in between, and the rest joined.
        piece_bp: Distance of the borders in bp; default: the segments of the model, but at most
            ``MOST_BORDERS`` borders.
        record: Its name.

    Raises:
        ConfigError: If the model has no such class, or predicts a number; another ``number`` is
            given, or a ``piece_bp`` so small that there are more than ``MOST_PLACES`` places.
        DataError: If it is not DNA.
    """
    if not isinstance(model, RMTClassifier):
        model = RMTClassifier.from_pretrained(model)
    (codes,) = encode_sequences([sequence], caller="find_breakpoints")
    return breakpoints_of(model, codes, class_name, number, piece_bp=piece_bp, record=record)


def breakpoints_of(
    model: RMTClassifier,
    codes: Codes,
    class_name: str,
    number: int = 1,
    *,
    piece_bp: int | None = None,
    record: str = "sequence",
    on_read: Callable[[int], object] = lambda _: None,
) -> Breakpoints:
    """Find them in base codes; see ``find_breakpoints``."""
    target = target_of_parts(model, class_name)
    check_number(number, piece_bp)
    if not (codes < UNKNOWN).any():  # no known base: nothing is predicted
        return Breakpoints(record, len(codes), class_name, (), float("nan"), float("nan"))
    borders = _borders(model, len(codes), number, piece_bp)
    (whole,) = _log_probabilities(model, [codes], target.index, on_read)
    if (count := comb(len(borders), number)) > MOST_PLACES:
        raise ConfigError(
            f"{record}: pieces of {piece_bp} bp have {len(borders):,} borders, so {count:,} places "
            f"for {counted(number, 'breakpoint')}, but at most {MOST_PLACES:,} are tried. Give "
            "longer pieces."
        )
    places = list(combinations(borders, number))
    together = max(1, min(_PLACES_AT_ONCE, _BP_AT_ONCE // len(codes)))
    scores = [
        score
        for at in range(0, len(places), together)
        for score in _scores(model, codes, places[at : at + together], target.index, on_read)
    ]
    best = int(np.argmax(scores)) if scores else None
    return Breakpoints(
        record,
        len(codes),
        class_name,
        () if best is None else tuple(places[best]),
        float("nan") if best is None else float(scores[best]),
        float(whole),
    )


def target_of_parts(model: RMTClassifier, class_name: str) -> Target:
    """Return the class that the parts are to look like.

    Raises:
        ConfigError: If the model has no such class, or predicts a number.
    """
    target = Target.of(model, class_name)
    if model.config.task == "regression":
        raise ConfigError(
            f"{class_name}: the model predicts a number, but breakpoints need the probability of a "
            "class. Give a classifier."
        )
    return target


def check_number(number: int, piece_bp: int | None) -> None:
    """Raise ConfigError unless there may be so many breakpoints, and borders so far apart."""
    if number not in MOST_BORDERS:
        raise ConfigError(f"the number of breakpoints is {number}, but must be 1 or 2.")
    if piece_bp is not None and piece_bp < 1:
        raise ConfigError(f"piece_bp is {piece_bp}, but must be at least 1.")


def table_lines(found: Sequence[Breakpoints]) -> Iterator[str]:
    """Yield the lines of ``breakpoints.tsv``."""
    yield "\t".join(["record", "length", "class", "breakpoints", "score", "whole"])
    for each in found:
        positions = ",".join(map(str, each.positions))
        scores = f"{each.score:.6g}", f"{each.whole:.6g}"
        yield "\t".join([each.record, str(each.length), each.class_name, positions, *scores])


def _borders(model: RMTClassifier, length_bp: int, number: int, piece_bp: int | None) -> list[int]:
    """Return the borders of the segments, or of as many joined as needed."""
    starts = np.array([start for start, _ in segment_pieces(model, length_bp, piece_bp)][1:])
    if piece_bp is None and len(starts) > MOST_BORDERS[number]:
        starts = starts[np.linspace(0, len(starts) - 1, MOST_BORDERS[number]).astype(int)]
    return [int(start) for start in starts]


def _scores(
    model: RMTClassifier,
    codes: Codes,
    places: Sequence[tuple[int, ...]],
    index: int,
    on_read: Callable[[int], object],
) -> np.ndarray:
    parts = [part for place in places for part in _cut(codes, place)]
    found = _log_probabilities(model, parts, index, on_read)
    scores: np.ndarray = found.reshape(-1, 2).sum(axis=1)
    return scores


def _cut(codes: Codes, place: tuple[int, ...]) -> tuple[Codes, Codes]:
    if len(place) == 1:
        return codes[: place[0]], codes[place[0] :]
    start, end = place
    return codes[start:end], np.concatenate([codes[:start], codes[end:]])


def _log_probabilities(
    model: RMTClassifier,
    parts: Sequence[Codes],
    index: int,
    on_read: Callable[[int], object],
) -> np.ndarray:
    """Return the natural logarithm of the probability of a class for each part."""

    def predict(batch: Sequence[int]) -> np.ndarray:
        probabilities: np.ndarray = model.predict_codes([parts[each] for each in batch])
        on_read(sum(len(parts[each]) for each in batch))
        return probabilities

    outputs = compute_in_batches([len(part) for part in parts], predict, (len(model.classes_),))
    logarithms: np.ndarray = np.log(np.maximum(outputs[:, index], _LEAST))
    return logarithms
