"""Codons to classes of amino acids: DNA translated with a reduced amino acid alphabet.

The genetic code is the standard one (NCBI table 1; table 11, of bacteria, archaea and plastids,
translates the same way). Amino acids that often replace each other in related proteins are one
class: the ten classes of Murphy et al. 2000 (doi:10.1093/protein/13.3.149).
"""

from functools import reduce
from itertools import product

import numpy as np
from Bio.Data.CodonTable import unambiguous_dna_by_id

from rmt_genomics.dna.alphabet import LETTERS

AMINO_ACID_CLASSES = ("LVIM", "C", "A", "G", "ST", "P", "FYW", "EDNQ", "KR", "H")
"""One-letter codes of the amino acids in each class."""

STOP = len(AMINO_ACID_CLASSES)
"""The class of stop codons, and of codons that contain an N: a reading frame ends there."""


def _class_of(codon: str) -> int:
    amino_acid = unambiguous_dna_by_id[1].forward_table.get(codon)
    if amino_acid is None:
        return STOP
    return next(i for i, acids in enumerate(AMINO_ACID_CLASSES) if amino_acid in acids)


CLASS_OF_CODON = np.array(
    [_class_of("".join(codon)) for codon in product(LETTERS, repeat=3)], dtype=np.uint8
)
"""The class of the codon with base codes x, y, z, at 25 x + 5 y + z."""


def expected_kmer_frequencies(k: int) -> np.ndarray:
    """Return the frequency of each k-mer of classes in random DNA: all sense codons are as likely.

    They are ``(classes ** k,)``; the first class of a k-mer is the highest digit of its index.
    """
    num_codons = np.bincount(CLASS_OF_CODON, minlength=STOP + 1)[:STOP]
    of_kmers: np.ndarray = reduce(np.kron, [num_codons / num_codons.sum()] * k)
    return of_kmers
