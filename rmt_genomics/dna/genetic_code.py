"""Codons to classes of amino acids: what a stretch of DNA would mean as protein.

The code is the standard one (NCBI table 1; table 11, of bacteria, archaea and plastids, reads
codons alike). Amino acids that stand for each other in related proteins are one class: the ten of
Murphy et al. 2000 (doi:10.1093/protein/13.3.149).
"""

from itertools import product

import numpy as np
from Bio.Data.CodonTable import unambiguous_dna_by_id

from rmt_genomics.dna.alphabet import LETTERS

AMINO_ACID_CLASSES = ("LVIM", "C", "A", "G", "ST", "P", "FYW", "EDNQ", "KR", "H")
"""One-letter codes of the amino acids in each class."""

STOP = len(AMINO_ACID_CLASSES)
"""The class of stop codons, and of codons that hold an N: a reading frame ends there."""


def _class_of(codon: str) -> int:
    amino_acid = unambiguous_dna_by_id[1].forward_table.get(codon)
    if amino_acid is None:
        return STOP
    return next(i for i, members in enumerate(AMINO_ACID_CLASSES) if amino_acid in members)


CLASS_OF_CODON = np.array(
    [_class_of("".join(codon)) for codon in product(LETTERS, repeat=3)], dtype=np.uint8
)
"""The class of the codon with base codes x, y, z, at 25 x + 5 y + z."""


def word_shares(k: int) -> np.ndarray:
    """Return the share that chance gives each word of k classes, all sense codons being equal.

    Returns:
        ``(classes ** k,)`` float64, with the sum 1; words in the order of their digits.
    """
    codons = np.bincount(CLASS_OF_CODON, minlength=STOP + 1)[:STOP]
    shares: np.ndarray = codons / codons.sum()
    words = shares
    for _ in range(k - 1):
        words = np.outer(words, shares).ravel()
    return words
