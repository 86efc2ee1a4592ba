"""The genetic code agrees with the translation by Biopython."""

from itertools import product

import numpy as np
import pytest
from Bio.Seq import translate

from rmt_genomics.dna import encode
from rmt_genomics.dna.genetic_code import (
    AMINO_ACID_CLASSES,
    CLASS_OF_CODON,
    STOP,
    expected_kmer_frequencies,
)


def class_of(codon: str) -> int:
    x, y, z = encode(codon).tolist()
    return int(CLASS_OF_CODON[25 * x + 5 * y + z])


@pytest.mark.parametrize("table", [1, 11])
def test_every_codon_is_of_the_class_of_its_amino_acid(table: int) -> None:
    for letters in product("ACGT", repeat=3):
        codon = "".join(letters)
        amino_acid = translate(codon, table=table)
        if amino_acid == "*":
            assert class_of(codon) == STOP
        else:
            assert amino_acid in AMINO_ACID_CLASSES[class_of(codon)]


def test_a_codon_with_an_unknown_base_ends_a_reading_frame() -> None:
    assert {class_of(codon) for codon in ("NAA", "GNA", "GCN", "NNN")} == {STOP}


def test_each_amino_acid_is_in_one_class() -> None:
    assert sorted("".join(AMINO_ACID_CLASSES)) == sorted("ACDEFGHIKLMNPQRSTVWY")


def test_expected_frequencies_are_those_of_random_codons() -> None:
    rng = np.random.default_rng(0)
    sense = np.flatnonzero(CLASS_OF_CODON != STOP)
    classes = CLASS_OF_CODON[rng.choice(sense, (200_000, 2))].astype(int)

    drawn = np.bincount(classes @ [STOP, 1], minlength=STOP**2) / len(classes)

    assert expected_kmer_frequencies(2).sum() == pytest.approx(1)
    np.testing.assert_allclose(expected_kmer_frequencies(2), drawn, atol=2e-3)
