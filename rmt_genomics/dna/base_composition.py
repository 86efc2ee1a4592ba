"""Base composition of a sequence: length, GC content, unknown bases, soft masking."""

from dataclasses import dataclass
from string import ascii_lowercase

from rmt_genomics.dna.alphabet import check_letters


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
    upper, length = sequence.upper(), len(sequence)
    num = {letter: upper.count(letter) for letter in "ACGTUN"}
    known = sum(num.values()) - num["N"]
    num_lower = length - len(sequence.encode("ascii").translate(None, ascii_lowercase.encode()))
    return Composition(
        length=length,
        gc=(num["G"] + num["C"]) / known if known else None,
        n=num["N"] / length if length else 0.0,
        ambiguous=length - known - num["N"],
        lower_case=num_lower / length if length else 0.0,
    )
