"""Short patterns of DNA to plant: which ones, where they occur, and how to take them out.

A motif is searched for on both strands; occurrences may overlap.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from rmt_genomics.dna.alphabet import Codes, reverse_complement_codes

SHORTEST_BP, LONGEST_BP = 6, 64
_LONGEST_RUN = 3


def choose_motifs(number: int, length_bp: int) -> list[Codes]:
    """Return motifs that are unlike each other on both strands.

    They depend on the two arguments alone, so that data of another length or seed ask for the
    same ones. Each holds all four bases and no base more than three times in a row; any two differ
    in at least a third of their places; none arises where two of them meet.

    Args:
        number: How many, at most 4.
        length_bp: Base pairs of each, between 6 and 64.
    """
    random = np.random.default_rng((number, length_bp))
    motifs: list[Codes] = []
    while len(motifs) < number:
        motif = random.integers(0, 4, length_bp, dtype=np.uint8)
        if _is_varied(motif) and _stands_apart(motif, motifs):
            motifs.append(motif)
    return motifs


def occurrences(codes: Codes, motifs: Sequence[Codes]) -> Iterator[int]:
    """Yield where a motif or its reverse complement begins, motif by motif (0-based)."""
    text = codes.tobytes()
    for motif in motifs:
        for pattern in {motif.tobytes(), reverse_complement_codes(motif).tobytes()}:
            start = text.find(pattern)
            while start >= 0:
                yield start
                start = text.find(pattern, start + 1)


def remove_motifs(
    codes: Codes,
    motifs: Sequence[Codes],
    random: np.random.Generator,
    *,
    planted: Sequence[int] = (),
) -> None:
    """Change single bases of ``codes``, in place, until no motif is left but those planted.

    Args:
        codes: Base codes of one strand.
        motifs: All of one length.
        random: Decides which base is changed, and to what.
        planted: Where motifs begin that are to stay; their bases are never changed.
    """
    length = len(motifs[0])
    kept = {base for start in planted for base in range(start, start + length)}
    while unwanted := sorted(set(occurrences(codes, motifs)) - set(planted)):
        for start in unwanted:
            free = [base for base in range(start, start + length) if base not in kept]
            base = free[random.integers(len(free))]
            codes[base] = (codes[base] + random.integers(1, 4)) % 4


def _is_varied(motif: Codes) -> bool:
    """Whether all four bases occur, and none too often in a row."""
    changes = np.flatnonzero(np.diff(motif)) + 1
    runs = np.diff([0, *changes, len(motif)])
    return len(set(motif.tolist())) == 4 and int(runs.max()) <= _LONGEST_RUN


def _stands_apart(motif: Codes, others: Sequence[Codes]) -> bool:
    """Whether a motif may join others; it must also be unlike its own other strand."""
    compared = [reverse_complement_codes(motif)]
    compared += [strand for each in others for strand in (each, reverse_complement_codes(each))]
    if any((motif != each).mean() < 1 / 3 for each in compared):
        return False
    together = [*others, motif]
    return all(
        set(occurrences(np.concatenate(pair), together)) == {0, len(motif)}
        for pair in product(together, repeat=2)
    )
