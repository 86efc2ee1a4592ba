"""Simulated sequences: the label is what was planted, and nothing else gives it away."""

import io
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import EncodedStore
from rmt_genomics.datasets.simulation import (
    START_BP,
    TASKS,
    Simulation,
    choose_motifs,
    occurrences,
    remove_motifs,
    write_simulation,
)
from rmt_genomics.dna import decode, encode, reverse_complement
from rmt_genomics.errors import ConfigError, DataError
from tests.datasets.toys import MemoryStore, dna
from tests.prediction.toys import write_fasta


def test_motifs_occur_on_both_strands_and_may_overlap() -> None:
    codes = encode("AACGTTTAACG" + "CGTT")

    assert sorted(occurrences(codes, [encode("AACG")])) == [0, 2, 7, 11]  # CGTT is the other strand


@pytest.mark.parametrize("length", [6, 7, 12, 64])
def test_chosen_motifs_differ_from_each_other_on_both_strands(length: int) -> None:
    motifs = [decode(item) for item in choose_motifs(length)]

    strands = [*motifs, *map(reverse_complement, motifs)]
    for place, one in enumerate(strands):
        assert set(one) == set("ACGT")
        for other in strands[:place]:
            assert sum(a != b for a, b in zip(one, other, strict=True)) >= length / 3


def test_the_motifs_are_always_the_same() -> None:
    motifs = [decode(item) for item in choose_motifs(12)]

    assert motifs == ["ATCAGAGATCCA", "CGGTCAAATATT", "CATTATAGCCGT", "AATTCTGCGCGA"]


@given(st.text("ACGTN", min_size=40, max_size=400), st.integers(0, 2**32 - 1))
def test_only_planted_motifs_are_left(letters: str, seed: int) -> None:
    motifs = choose_motifs(6)
    codes = encode(letters)
    codes[10:16], codes[16:22] = motifs[0], motifs[1]

    remove_motifs(codes, motifs, np.random.default_rng(seed), planted=[10, 16])

    assert sorted(occurrences(codes, motifs)) == [10, 16]
    assert decode(codes[10:22]) == decode(np.concatenate(motifs[:2]))


def test_one_base_is_changed_per_unwanted_motif() -> None:
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


@given(st.sampled_from(list(TASKS)), st.integers(30, 600), st.integers(0, 2**32 - 1))
def test_a_sequence_has_exactly_the_motifs_of_its_label(
    task: str, length_bp: int, seed: int
) -> None:
    simulation = Simulation(task=task, length_bp=length_bp, seed=seed)
    motifs = simulation.motifs()

    for name, label, codes, sites in simulation.examples(4):
        assert name.startswith(task)
        assert len(codes) == length_bp
        assert sorted(occurrences(codes, list(motifs.values()))) == [start for start, _ in sites]
        assert all(decode(codes[at : at + 12]) == decode(motifs[motif]) for at, motif in sites)
        assert sorted(motif for _, motif in sites) == sorted(TASKS[task][label])


def test_the_order_of_motifs_is_the_label() -> None:
    for _, label, codes, _ in Simulation(task="order", length_bp=300).examples(20):
        a, b = (decode(codes).index(motif) for motif in ("ATCAGAGATCCA", "CGGTCAAATATT"))
        assert label == ("A_first" if a < b else "B_first")


def test_two_facts_come_in_either_order() -> None:
    examples = Simulation(task="two_facts", length_bp=300).examples(80)

    orders = Counter(motif for item in examples for _, motif in item.sites[:1])

    assert set(orders) == set("ABCD")


def test_two_motifs_keep_their_distance_and_use_the_whole_length() -> None:
    simulation = Simulation(task="order", length_bp=60, distance_bp=33)

    starts = [[start for start, _ in item.sites] for item in simulation.examples(400)]

    assert {second - first - 12 for first, second in starts} == {33, 34, 35, 36}
    assert {first for first, _ in starts} == {0, 1, 2, 3}


def test_by_default_motifs_are_at_least_half_of_what_fits_apart() -> None:
    for item in Simulation(task="order", length_bp=1024).examples(50):
        (first, _), (second, _) = item.sites
        assert second - first - 12 >= 500


def test_motifs_to_be_memorised_are_at_the_start() -> None:
    starts = {
        item.sites[0][0] for item in Simulation(task="memorise", length_bp=5000).examples(800)
    }

    assert starts == set(range(START_BP - 12 + 1))


def test_motifs_to_be_detected_may_be_anywhere() -> None:
    examples = [
        item for item in Simulation(task="detect", length_bp=20).examples(200) if item.sites
    ]

    assert {item.sites[0][0] for item in examples} == set(range(9))


def test_labels_are_equally_frequent_in_a_random_order() -> None:
    labels = [item.label for item in Simulation(task="two_facts", length_bp=40).examples(400)]

    assert set(Counter(labels).values()) == {100}
    assert len({tuple(labels[turn : turn + 4]) for turn in range(0, 400, 4)}) > 15


def test_a_larger_number_begins_with_the_same_sequences_and_the_seed_matters() -> None:
    def letters(number: int, seed: int) -> list[str]:
        simulation = Simulation(task="detect", length_bp=50, seed=seed)
        return [decode(item.codes) for item in simulation.examples(number)]

    assert letters(9, 1)[:4] == letters(4, 1)
    assert not set(letters(9, 1)) & set(letters(9, 2))


def test_the_background_is_an_interval_of_the_genome() -> None:
    genome = MemoryStore({"short": dna(50, 1), "long": dna(400, 2), "other": dna(101, 3)})
    simulation = Simulation(task="detect", length_bp=100)

    result = set()
    for _, label, codes, _ in simulation.examples(600, genome):
        if label == "absent":
            at = genome._sequences["long"].tobytes().find(codes.tobytes())
            result.add(("long", at) if at >= 0 else ("other", decode(codes)))

    longs = {at for name, at in result if name == "long"}
    assert {0, 300} & longs
    assert len(longs) > 150
    assert 1 <= sum(name == "other" for name, _ in result) <= 2


def test_every_record_of_the_genome_is_taken_from_start_to_end() -> None:
    genome = MemoryStore({name: dna(101, seed) for seed, name in enumerate("abc")})
    simulation = Simulation(task="detect", length_bp=100)

    result = {decode(item.codes) for item in simulation.examples(100, genome) if not item.sites}

    assert result == {dna(101, seed)[start : start + 100] for seed in range(3) for start in (0, 1)}


def test_a_motif_that_occurs_in_the_genome_is_removed() -> None:
    genome = MemoryStore({"g": dna(40, 1) + "ATCAGAGATCCA" + "CGGTCAAATATT" + dna(40, 2)})
    simulation = Simulation(task="detect", length_bp=len(next(iter(genome._sequences.values()))))

    for _, _, codes, sites in simulation.examples(10, genome):
        result = sorted(occurrences(codes, list(simulation.motifs().values())))
        assert result == [start for start, _ in sites]


def test_intervals_of_unknown_bases_are_skipped(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "g.fa", {"g": dna(200, 1) + "N" * 5000 + dna(200, 2)})
    store = EncodedStore.open(fasta, tmp_path / "cache")

    for item in Simulation(task="detect", length_bp=100).examples(20, store):
        assert (item.codes == 4).mean() <= 0.05

    unknown = EncodedStore.open(
        write_fasta(tmp_path / "n.fa", {"n": "N" * 500}), tmp_path / "cache"
    )
    with pytest.raises(DataError, match=r"n\.fa: all 1000 random intervals of 100 bp have more"):
        next(Simulation(task="detect", length_bp=100).examples(1, unknown))


def test_a_genome_that_is_too_short_is_refused(tmp_path: Path) -> None:
    store = EncodedStore.open(
        write_fasta(tmp_path / "g.fa", {"g": dna(200, 1)}), tmp_path / "cache"
    )

    with pytest.raises(DataError, match="the longest record of the background has 200 bp, but"):
        Simulation(task="detect", length_bp=201).check_background(store)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"task": "count"}, "task is 'count', but must be one of memorise, detect, two_facts"),
        ({"length_bp": 11}, "a length of 11 bp is too short: 1 motif of 12 bp must fit in"),
        ({"task": "order", "length_bp": 23}, "too short: 2 motifs of 12 bp must fit in"),
        ({"task": "order", "distance_bp": 977}, "2 motifs of 12 bp and 977 bp between them must"),
        ({"task": "memorise", "distance_bp": 9}, "a distance of 9 bp has no effect: memorise"),
        ({"motif_length_bp": 5}, "the motif length is 5 bp, but must be between 6 and 64 bp"),
        ({"motif_length_bp": 65}, "the motif length is 65 bp, but must be between 6 and 64 bp"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Simulation(**{"task": "detect", "length_bp": 1000, **settings})


def test_long_sequences_are_written_in_constant_memory(tmp_path: Path) -> None:
    simulation = Simulation(task="order", length_bp=200_000)

    def peak(number: int) -> int:
        tracemalloc.start()
        with (tmp_path / "x.fa").open("w") as fasta:
            write_simulation(simulation, number, fasta=fasta, labels=io.StringIO())
        return (tracemalloc.get_traced_memory()[1], tracemalloc.stop())[0]

    assert peak(12) < 1.3 * peak(3)


def test_the_written_motif_is_where_the_header_says(tmp_path: Path) -> None:
    del tmp_path
    fasta, labels = io.StringIO(), io.StringIO()

    counts = write_simulation(
        Simulation(task="order", length_bp=200), 2, fasta=fasta, labels=labels
    )

    assert counts == {"A_first": 1, "B_first": 1}
    header, *lines = fasta.getvalue().split(">")[1].splitlines()
    assert [len(line) for line in lines] == [80, 80, 40]
    name, *sites = header.split()
    assert name == "order_1"
    assert labels.getvalue().splitlines()[1].split("\t")[0] == name
    starts = {site.split("=")[0]: int(site.split("=")[1]) for site in sites}
    codes = encode("".join(lines))
    assert decode(codes[starts["B"] : starts["B"] + 12]) == "CGGTCAAATATT"
    assert labels.getvalue().splitlines()[0] == "record\tlabel"
    assert np.array_equal(codes, next(Simulation(task="order", length_bp=200).examples(1)).codes)
