"""Metrics by length: a mean over short and long examples may hide that one of them fails."""

from typing import Any

import numpy as np

from rmt_genomics.inference.judged import Judged

_FACTOR = 4


def length_bins(judged: Judged) -> list[dict[str, Any]]:
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
