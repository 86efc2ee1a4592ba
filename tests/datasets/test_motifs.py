"""Motifs: which are chosen, where they occur, and how they are taken out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets.simulation import choose_motifs, occurrences, remove_motifs
from rmt_genomics.dna import decode, encode, reverse_complement


def test_motifs_occur_on_both_strands_and_may_overlap() -> None:
    codes = encode("AACGTTTAACG" + "CGTT")

    assert sorted(occurrences(codes, [encode("AACG")])) == [0, 2, 7, 11]  # CGTT is the other strand


@pytest.mark.parametrize("length", [6, 7, 12, 64])
def test_chosen_motifs_are_unlike_each_other_on_both_strands(length: int) -> None:
    motifs = [decode(each) for each in choose_motifs(4, length)]

    strands = [*motifs, *map(reverse_complement, motifs)]
    for place, one in enumerate(strands):
        assert set(one) == set("ACGT")
        for other in strands[:place]:
            assert sum(a != b for a, b in zip(one, other, strict=True)) >= length / 3


def test_the_motifs_are_always_the_same() -> None:
    motifs = [decode(each) for each in choose_motifs(4, 12)]

    assert motifs == ["ATCAGAGATCCA", "CGGTCAAATATT", "CATTATAGCCGT", "AATTCTGCGCGA"]


@given(st.text("ACGTN", min_size=40, max_size=400), st.integers(0, 2**32 - 1))
def test_no_motif_is_left_but_those_planted(letters: str, seed: int) -> None:
    motifs = choose_motifs(4, 6)
    codes = encode(letters)
    codes[10:16], codes[16:22] = motifs[0], motifs[1]

    remove_motifs(codes, motifs, np.random.default_rng(seed), planted=[10, 16])

    assert sorted(occurrences(codes, motifs)) == [10, 16]
    assert decode(codes[10:22]) == decode(np.concatenate(motifs[:2]))


def test_only_what_is_needed_is_changed() -> None:
    motif = encode("ACGGTA")
    codes = encode("TTTTTACGGTATTTTT" + reverse_complement("ACGGTA") + "NNTTT")
    before = codes.copy()

    remove_motifs(codes, [motif], np.random.default_rng(0))

    changed = np.flatnonzero(codes != before)
    assert len(changed) == 2
    assert 5 <= changed[0] < 11
    assert 16 <= changed[1] < 22


def test_a_planted_motif_is_not_changed_where_an_unwanted_one_overlaps_it() -> None:
    motif = encode("ACGGTA")
    for seed in range(20):
        codes = encode("ACGGTACGGTA")

        remove_motifs(codes, [motif], np.random.default_rng(seed), planted=[0])

        assert decode(codes[:6]) == "ACGGTA"
        assert list(occurrences(codes, [motif])) == [0]
