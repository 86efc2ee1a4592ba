"""Simulated sequences: the label is what was planted, and nothing else can tell."""

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
    occurrences,
    write_simulation,
)
from rmt_genomics.dna import decode, encode
from rmt_genomics.errors import ConfigError, DataError
from tests.datasets.toys import MemoryStore, dna
from tests.prediction.toys import write_fasta


@given(st.sampled_from(list(TASKS)), st.integers(30, 600), st.integers(0, 2**32 - 1))
def test_exactly_the_motifs_of_the_label_are_there(task: str, length_bp: int, seed: int) -> None:
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

    orders = Counter(motif for each in examples for _, motif in each.sites[:1])

    assert set(orders) == set("ABCD")


def test_two_motifs_keep_their_distance_and_use_all_there_is() -> None:
    simulation = Simulation(task="order", length_bp=60, distance_bp=33)

    starts = [[start for start, _ in each.sites] for each in simulation.examples(400)]

    assert {second - first - 12 for first, second in starts} == {33, 34, 35, 36}
    assert {first for first, _ in starts} == {0, 1, 2, 3}


def test_by_default_motifs_are_at_least_half_of_what_fits_apart() -> None:
    for each in Simulation(task="order", length_bp=1024).examples(50):
        (first, _), (second, _) = each.sites
        assert second - first - 12 >= 500


def test_what_is_to_be_memorised_stands_at_the_start() -> None:
    starts = {
        each.sites[0][0] for each in Simulation(task="memorise", length_bp=5000).examples(800)
    }

    assert starts == set(range(START_BP - 12 + 1))


def test_what_is_to_be_detected_may_stand_anywhere() -> None:
    examples = [
        each for each in Simulation(task="detect", length_bp=20).examples(200) if each.sites
    ]

    assert {each.sites[0][0] for each in examples} == set(range(9))


def test_labels_are_equally_frequent_in_a_random_order() -> None:
    labels = [each.label for each in Simulation(task="two_facts", length_bp=40).examples(400)]

    assert set(Counter(labels).values()) == {100}
    assert len({tuple(labels[turn : turn + 4]) for turn in range(0, 400, 4)}) > 15


def test_the_first_of_more_are_the_same_and_the_seed_decides() -> None:
    def letters(number: int, seed: int) -> list[str]:
        simulation = Simulation(task="detect", length_bp=50, seed=seed)
        return [decode(each.codes) for each in simulation.examples(number)]

    assert letters(9, 1)[:4] == letters(4, 1)
    assert not set(letters(9, 1)) & set(letters(9, 2))


def test_the_background_is_a_stretch_of_the_genome() -> None:
    genome = MemoryStore({"short": dna(50, 1), "long": dna(400, 2), "other": dna(101, 3)})
    simulation = Simulation(task="detect", length_bp=100)

    found = set()
    for _, label, codes, _ in simulation.examples(600, genome):
        if label == "absent":
            at = genome._sequences["long"].tobytes().find(codes.tobytes())
            found.add(("long", at) if at >= 0 else ("other", decode(codes)))

    longs = {at for name, at in found if name == "long"}
    assert {0, 300} & longs
    assert len(longs) > 150
    assert 1 <= sum(name == "other" for name, _ in found) <= 2


def test_every_record_of_the_genome_is_taken_from_start_to_end() -> None:
    genome = MemoryStore({name: dna(101, seed) for seed, name in enumerate("abc")})
    simulation = Simulation(task="detect", length_bp=100)

    found = {decode(each.codes) for each in simulation.examples(100, genome) if not each.sites}

    assert found == {dna(101, seed)[start : start + 100] for seed in range(3) for start in (0, 1)}


def test_a_chance_motif_of_the_genome_is_taken_out() -> None:
    genome = MemoryStore({"g": dna(40, 1) + "ATCAGAGATCCA" + "CGGTCAAATATT" + dna(40, 2)})
    simulation = Simulation(task="detect", length_bp=len(next(iter(genome._sequences.values()))))

    for _, _, codes, sites in simulation.examples(10, genome):
        found = sorted(occurrences(codes, list(simulation.motifs().values())))
        assert found == [start for start, _ in sites]


def test_stretches_of_unknown_bases_are_passed_over(tmp_path: Path) -> None:
    fasta = write_fasta(tmp_path / "g.fa", {"g": dna(200, 1) + "N" * 5000 + dna(200, 2)})
    store = EncodedStore.open(fasta, tmp_path / "cache")

    for each in Simulation(task="detect", length_bp=100).examples(20, store):
        assert (each.codes == 4).mean() <= 0.05

    unknown = EncodedStore.open(
        write_fasta(tmp_path / "n.fa", {"n": "N" * 500}), tmp_path / "cache"
    )
    with pytest.raises(DataError, match=r"n\.fa: of 1000 random stretches of 100 bp each has more"):
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
        ({"length_bp": 11}, "a length of 11 bp is too short: 1 motifs of 12 bp must fit in"),
        ({"task": "order", "length_bp": 23}, "too short: 2 motifs of 12 bp must fit in"),
        ({"task": "order", "distance_bp": 977}, "2 motifs of 12 bp and 977 bp between them must"),
        ({"task": "memorise", "distance_bp": 9}, "a distance of 9 bp has no effect: memorise"),
        ({"motif_length_bp": 5}, "the motif length is 5 bp, but must be between 6 and 64 bp"),
        ({"motif_length_bp": 65}, "the motif length is 65 bp, but must be between 6 and 64 bp"),
    ],
)
def test_what_cannot_be_made_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Simulation(**{"task": "detect", "length_bp": 1000, **settings})


def test_long_sequences_are_written_in_flat_memory(tmp_path: Path) -> None:
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
