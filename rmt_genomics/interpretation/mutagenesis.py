"""In-silico mutagenesis: the score of a record with each base of an interval changed to another.

Every variant is read in the context of the whole record; the memory before the first segment that
reads it is that of the record (``occlusion.PrefixMemory``).
"""

from collections.abc import Callable

import numpy as np

from rmt_genomics.dna.alphabet import UNKNOWN
from rmt_genomics.interpretation.occlusion import Edit, PrefixMemory
from rmt_genomics.interpretation.tracks import Target


def mutate(
    prefix: PrefixMemory,
    target: Target,
    start: int,
    end: int,
    on_done: Callable[[int], object] = lambda _: None,
) -> np.ndarray:
    """Return how each base would change the score, ``(4, end - start)`` float32.

    The change is centred: the mean over the four bases is subtracted, so that the entry of the base
    that is there is positive where others lower the score. The entries of an N are zero.

    Args:
        prefix: The record.
        target: The score.
        start: First base that is changed, 0-based, forward strand.
        end: The base after the last one.
        on_done: Called with the number of variants that were read since the last call.
    """
    codes = prefix.codes
    edits = [
        Edit(position, np.array([base], np.uint8))
        for position in range(start, end)
        for base in range(UNKNOWN)
        if base != codes[position] < UNKNOWN
    ]
    changes = np.zeros((UNKNOWN, end - start))
    reference = float(target.of_logits(prefix.logits)[0])
    done = 0
    for logits, _ in prefix.logits_of(edits):
        scores = target.of_logits(logits).double().cpu().numpy()
        for edit, score in zip(edits[done:], scores, strict=False):
            changes[edit.codes[0], edit.start - start] = score - reference
        done += len(scores)
        on_done(len(scores))
    centred: np.ndarray = (changes - changes.mean(axis=0)).astype(np.float32)
    return centred
