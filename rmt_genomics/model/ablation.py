"""A trained classifier with less context: what it says without memory, or segment by segment.

Both ask what the recurrence is worth. ``forgetful`` empties the memory before each segment and
pools as before; ``average_of_segments`` takes each segment for a whole sequence and averages the
logits, which is what people do who have no recurrence. What the model reads beside its memory is
there that of the whole sequence, so that memory is taken away and nothing else; and, a second
answer, that of the segment alone, as it is for people who cut windows.

Dimensions: n sequences, c classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from rmt_genomics.model.batching import batches_of_similar_length, pad
from rmt_genomics.model.classifier import RMTClassifier
from rmt_genomics.model.strands import BothStrands
from rmt_genomics.rmt.modes import evaluating


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
    return model.config.rmt().tokens_a_segment * model.config.stride


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
