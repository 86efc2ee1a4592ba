"""Base composition of a sequence: length, GC content, unknown bases, soft masking."""

from dataclasses import dataclass

import numpy as np

from rmt_genomics.dna.alphabet import check_letters

_BLOCK_BP = 1 << 20  # bincount widens every letter to eight bytes


@dataclass(frozen=True, slots=True)
class Composition:
    """The base composition of one sequence, counted on its letters as in the file."""

    length: int
    """Letters, in bp."""

    gc: float | None
    """Fraction of G and C among A, C, G, T and U; None if there is none of these."""

    n: float
    """Fraction of N in the length."""

    ambiguous: int
    """IUPAC letters other than N that stand for several bases, such as R; the model reads N."""

    lower_case: float
    """Fraction of lower-case letters (soft-masked, mostly repeats) in the length."""


def composition_of(sequence: str) -> Composition:
    """Count the letters of a sequence.

    Raises:
        DataError: If a letter is not DNA.

    Examples:
        >>> composition_of("GGCAnnRT")
        Composition(length=8, gc=0.6, n=0.25, ambiguous=1, lower_case=0.25)
    """
    check_letters(sequence)
    values = np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)
    counts = np.zeros(256, dtype=np.int64)
    for start in range(0, len(values), _BLOCK_BP):
        counts += np.bincount(values[start : start + _BLOCK_BP], minlength=256)
    either_case = counts[65:91] + counts[97:123]  # A-Z and a-z
    num = {letter: int(either_case[ord(letter) - 65]) for letter in "ACGTUN"}
    known = sum(num.values()) - num["N"]
    length = len(sequence)
    return Composition(
        length=length,
        gc=(num["G"] + num["C"]) / known if known else None,
        n=num["N"] / length if length else 0.0,
        ambiguous=length - known - num["N"],
        lower_case=int(counts[97:123].sum()) / length if length else 0.0,
    )
