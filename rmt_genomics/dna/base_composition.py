"""What a sequence is made of: length, GC, unknown bases, soft masking."""

from dataclasses import dataclass

import numpy as np

from rmt_genomics.dna.alphabet import check_letters

_PIECE_BP = 1 << 20  # counted in pieces, since bincount widens every letter to eight bytes


@dataclass(frozen=True, slots=True)
class Composition:
    """The make-up of one sequence, counted on its letters as they stand in the file."""

    length: int
    """Letters, in bp."""

    gc: float | None
    """Share of G and C among A, C, G, T and U; None if there is none of these."""

    n: float
    """Share of N in the length."""

    ambiguous: int
    """IUPAC letters other than N that stand for several bases, such as R; the model reads N."""

    lower_case: float
    """Share of lower-case letters (soft-masked, mostly repeats) in the length."""


def composition_of(sequence: str) -> Composition:
    """Count the letters of a sequence.

    Raises:
        DataError: If a letter is not DNA.

    Examples:
        >>> composition_of("GGCAnnRT")
        Composition(length=8, gc=0.6, n=0.25, ambiguous=1, lower_case=0.25)
    """
    check_letters(sequence)
    counts = _count_bytes(sequence.encode("ascii"))
    either_case = counts[65:91] + counts[97:123]  # A-Z and a-z
    of = {letter: int(either_case[ord(letter) - 65]) for letter in "ACGTUN"}
    strong, known = of["G"] + of["C"], sum(of.values()) - of["N"]
    length = len(sequence)
    return Composition(
        length=length,
        gc=strong / known if known else None,
        n=of["N"] / length if length else 0.0,
        ambiguous=length - known - of["N"],
        lower_case=int(counts[97:123].sum()) / length if length else 0.0,
    )


def _count_bytes(letters: bytes) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    values = np.frombuffer(letters, dtype=np.uint8)
    counts = np.zeros(256, dtype=np.int64)
    for start in range(0, len(values), _PIECE_BP):
        counts += np.bincount(values[start : start + _PIECE_BP], minlength=256)
    return counts
