"""Mosaics: the pieces are what they are said to be, and only their order is the label."""

import io
import json
import tracemalloc
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import EncodedStore
from rmt_genomics.datasets.mosaics import (
    LABELS,
    Mosaic,
    MosaicSimulation,
    MosaicSource,
    gc_fraction,
    write_mosaics,
)
from rmt_genomics.datasets.source_records import SourceRecords
from rmt_genomics.dna import decode, reverse_complement
from rmt_genomics.errors import ConfigError, DataError
from tests.datasets.toys import MemoryStore, dna
from tests.prediction.toys import write_fasta

GENOMES = {f"r{number}": dna(300, number) for number in range(12)}


def sources_of(
    genomes: Mapping[str, str], groups: Mapping[str, str] | None = None
) -> SourceRecords:
    """All records in the training part."""
    group_of = groups or {name: name for name in genomes}
    return SourceRecords(MemoryStore(genomes), group_of, dict.fromkeys(group_of.values(), "train"))


def draw(label: str, number: int, length_bp: int, sources: SourceRecords) -> list[Mosaic]:
    source = MosaicSource(sources, "train", length_bp)
    return [source.draw(label, length_bp, np.random.default_rng(seed)) for seed in range(number)]


@given(st.sampled_from(LABELS), st.integers(8, 300), st.integers(0, 2**32 - 1))
def test_the_sequence_is_made_of_its_pieces(label: str, length_bp: int, seed: int) -> None:
    source = MosaicSource(sources_of(GENOMES), "train", length_bp)

    codes, pieces, _ = source.draw(label, length_bp, np.random.default_rng(seed))

    letters = [GENOMES[piece.record][piece.start : piece.end] for piece in pieces]
    strands = [piece.strand for piece in pieces]
    assert len(codes) == length_bp
    assert decode(codes) == "".join(
        reverse_complement(text) if strand == "-" else text
        for text, strand in zip(letters, strands, strict=True)
    )


@given(st.sampled_from(LABELS), st.integers(8, 300), st.integers(0, 2**32 - 1))
def test_the_pieces_are_those_of_the_label(label: str, length_bp: int, seed: int) -> None:
    source = MosaicSource(sources_of(GENOMES), "train", length_bp)

    _, pieces, foreign = source.draw(label, length_bp, np.random.default_rng(seed))

    assert len(pieces) == {"intact": 1, "join": 2, "insertion": 3}[label]
    hosts = [piece for piece in pieces if piece.record != foreign]
    assert len({(piece.record, piece.strand) for piece in hosts}) == 1
    if label == "intact":
        assert foreign is None
        return
    (guest,) = set(pieces) - set(hosts)
    assert length_bp / 4 <= len(guest) <= length_bp / 2
    if label == "insertion":
        assert pieces[1] == guest
        first, second = sorted(hosts)
        assert first.end == second.start  # the DNA of the host goes on where it was interrupted
        assert hosts == ([first, second] if hosts[0].strand == "+" else [second, first])
        assert min(map(len, hosts)) >= length_bp / 8


def test_an_insertion_may_be_anywhere_but_at_the_ends() -> None:
    mosaics = draw("insertion", 400, 32, sources_of(GENOMES))

    assert {len(mosaic.pieces[0]) for mosaic in mosaics} == set(range(4, 21))
    assert {len(mosaic.pieces[1]) for mosaic in mosaics} == set(range(8, 17))


def test_foreign_dna_and_whole_sequences_are_reversed_half_of_the_time() -> None:
    joins = draw("join", 400, 32, sources_of(GENOMES))

    is_foreign_first = [mosaic.pieces[0].record == mosaic.foreign for mosaic in joins]
    is_same_strand = [len({piece.strand for piece in mosaic.pieces}) == 1 for mosaic in joins]
    counts = Counter(zip(is_foreign_first, is_same_strand, strict=True))
    assert len(counts) == 4
    assert all(70 < count < 130 for count in counts.values())


def test_the_two_sources_are_of_two_groups() -> None:
    groups = {name: f"g{number % 3}" for number, name in enumerate(GENOMES)}

    for label in ("insertion", "join"):
        for mosaic in draw(label, 100, 64, sources_of(GENOMES, groups)):
            assert len({groups[piece.record] for piece in mosaic.pieces}) == 2


def test_large_groups_are_drawn_as_if_they_had_twenty_records() -> None:
    sizes = {"a": 60, "b": 20, "c": 5}
    groups = {f"{group}{n}": group for group, size in sizes.items() for n in range(size)}
    sources = sources_of({name: dna(20, n) for n, name in enumerate(groups)}, groups)

    mosaics = draw("intact", 1350, 16, sources)

    counts = Counter(groups[mosaic.pieces[0].record] for mosaic in mosaics)
    # weights 20, 20 and 5; a host needs a guest of another group: 20 * 25, 20 * 25 and 5 * 40
    assert counts["a"] == pytest.approx(562, abs=80)
    assert counts["b"] == pytest.approx(562, abs=80)
    assert counts["c"] == pytest.approx(225, abs=60)


def test_the_group_of_a_sequence_does_not_give_its_label_away() -> None:
    groups = {name: "rare" if name == "r0" else "common" for name in GENOMES}
    sources = sources_of(GENOMES, groups)

    for label in LABELS:
        hosts = [
            next(piece.record for piece in mosaic.pieces if piece.record != mosaic.foreign)
            for mosaic in draw(label, 400, 64, sources)
        ]
        assert 150 < hosts.count("r0") < 250


def test_records_shorter_than_the_sequence_are_not_used() -> None:
    genomes = GENOMES | {"short": dna(99, 1)}

    records = {
        piece.record
        for label in LABELS
        for mosaic in draw(label, 200, 100, sources_of(genomes))
        for piece in mosaic.pieces
    }

    assert records == set(GENOMES)


def test_windows_with_unknown_bases_are_drawn_again() -> None:
    genomes = {"a": dna(300, 1) + "N" * 300, "b": dna(300, 2) + "N" * 300}

    for label in LABELS:
        mosaics = draw(label, 30, 100, sources_of(genomes))
        assert all((mosaic.codes == 4).sum() <= 5 for mosaic in mosaics)


def simulation(tmp_path: Path, genomes: Mapping[str, str], **settings: int) -> MosaicSimulation:
    store = EncodedStore.open(write_fasta(tmp_path / "g.fa", dict(genomes)), tmp_path / "cache")
    sources = SourceRecords.of(store, None, seed=settings.get("seed", 0))
    return MosaicSimulation(sources=sources, **{"length_bp": 100, **settings})


def test_genomes_of_unknown_bases_are_refused(tmp_path: Path) -> None:
    unknown = simulation(tmp_path, dict.fromkeys(GENOMES, "N" * 300))

    with pytest.raises(
        DataError,
        match=r"g\.fa: in each of 1000 draws of 100 bp from the train part, a window has more than",
    ):
        next(unknown.examples(1))


def test_a_part_has_the_records_of_its_groups_only(tmp_path: Path) -> None:
    toy = simulation(tmp_path, GENOMES)

    parts = {
        (piece.record, example.part)
        for example in toy.examples(300)
        for piece in example.mosaic.pieces
    }

    assert len(parts) == len(GENOMES)
    assert {toy.sources.part_of[record] for record, _ in parts} == {"train", "validation", "test"}
    assert all(toy.sources.part_of[record] == part for record, part in parts)


def test_parts_have_their_fractions_and_labels_are_equally_frequent(tmp_path: Path) -> None:
    examples = list(simulation(tmp_path, GENOMES).examples(120))

    counts = Counter((example.part, example.label) for example in examples)
    assert {counts["train", label] for label in LABELS} == {28}
    assert {counts["validation", label] for label in LABELS} == {6}
    assert {counts["test", label] for label in LABELS} == {6}
    assert {example.part for example in examples[:18]} == {"train", "validation", "test"}
    orders = {tuple(one.label for one in examples[at : at + 3]) for at in range(0, 120, 3)}
    assert len(orders) == 6


def test_a_larger_number_begins_with_the_same_sequences_and_the_seed_matters(
    tmp_path: Path,
) -> None:
    def letters(number: int, seed: int) -> list[str]:
        toy = simulation(tmp_path, GENOMES, seed=seed)
        return [decode(example.mosaic.codes) for example in toy.examples(number)]

    assert letters(9, 1)[:4] == letters(4, 1)
    assert not set(letters(9, 1)) & set(letters(9, 2))


def test_the_written_pieces_are_where_the_table_says(tmp_path: Path) -> None:
    fasta, labels, breakpoints = io.StringIO(), io.StringIO(), io.StringIO()

    counts = write_mosaics(
        simulation(tmp_path, GENOMES), 30, fasta=fasta, labels=labels, breakpoints=breakpoints
    )

    assert counts == {"intact": 10, "insertion": 10, "join": 10}
    records = {
        header.split()[0]: (header.split()[1:], "".join(lines))
        for header, *lines in (text.splitlines() for text in fasta.getvalue().split(">")[1:])
    }
    ends: dict[str, list[int]] = {name: [0] for name in records}
    for line in breakpoints.getvalue().splitlines():
        name, start, end, source, score, strand = line.split("\t")
        record, _, place = source.rpartition(":")
        begin, _, stop = place.removesuffix(f"({strand})").partition("-")
        letters = GENOMES[record][int(begin) : int(stop)]
        expected = reverse_complement(letters) if strand == "-" else letters
        assert records[name][1][int(start) : int(end)] == expected
        assert score == "0"
        assert int(start) == ends[name][-1]
        ends[name].append(int(end))
    assert {each[-1] for each in ends.values()} == {100}
    header, *rows = [line.split("\t") for line in labels.getvalue().splitlines()]
    assert header == ["record", "label", "split"]
    for name, label, _ in rows:
        assert len(ends[name]) - 1 == {"intact": 1, "join": 2, "insertion": 3}[label]
        foreign = [f"foreign={one}-{other}" for one, other in pairwise(ends[name])]
        assert (records[name][0] == []) == (label == "intact")
        assert set(records[name][0]) <= set(foreign)


def test_the_description_has_the_settings_and_the_groups(tmp_path: Path) -> None:
    toy = simulation(tmp_path, GENOMES, seed=3)

    description = json.loads(toy.description(7, Path("g.fa")))

    assert description["groups_of_part"].keys() == {"train", "validation", "test"}
    groups = [name for each in description["groups_of_part"].values() for name in each]
    assert sorted(groups) == sorted(GENOMES)
    assert (description["task"], description["seed"], description["number"]) == ("mosaic", 3, 7)


def test_a_length_that_is_too_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a length of 7 bp is too short: the parts of a mosaic"):
        simulation(tmp_path, GENOMES, length_bp=7)


def test_one_sequence_is_in_memory_at_a_time(tmp_path: Path) -> None:
    genomes = {name: dna(20_000, number) for number, name in enumerate("abcdef")}
    toy = simulation(tmp_path, genomes, length_bp=20_000)

    def peak(number: int) -> int:
        tracemalloc.start()
        with (tmp_path / "x.fa").open("w") as fasta:
            rest = {"labels": io.StringIO(), "breakpoints": io.StringIO()}
            write_mosaics(toy, number, fasta=fasta, **rest)
        return (tracemalloc.get_traced_memory()[1], tracemalloc.stop())[0]

    assert peak(24) < 1.3 * peak(6)


def with_gc(gc: float, seed: int) -> str:
    letters = np.random.default_rng(seed).choice(list("GA"), 300, p=[gc, 1 - gc])
    return "".join(letters)


def test_the_gc_fraction_is_that_of_known_bases() -> None:
    store = MemoryStore({"a": "GGCATTNNNN", "n": "NNN"})

    assert gc_fraction(store, "a") == 0.5
    assert gc_fraction(store, "n") == 0


def test_the_sources_differ_in_gc_as_asked_for() -> None:
    genomes = {f"r{n}": with_gc(n / 10, n) for n in range(1, 10)}
    source = MosaicSource(sources_of(genomes), "train", 100)

    for label in LABELS:
        for seed in range(60):
            random = np.random.default_rng(seed)
            mosaic = source.draw(label, 100, random, gc_difference=0.45)
            gc = [gc_fraction(source.store, piece.record) for piece in mosaic.pieces]
            assert label == "intact" or max(gc) - min(gc) >= 0.45


def test_a_gc_difference_that_no_two_groups_have_is_refused(tmp_path: Path) -> None:
    groups = {"a": "x", "b": "x", "c": "y", "d": "y"}
    genomes = {name: with_gc(gc, 1) for name, gc in zip("abcd", (0.1, 0.9, 0.4, 0.5), strict=True)}
    store = EncodedStore.open(write_fasta(tmp_path / "g.fa", genomes), tmp_path / "cache")
    source = MosaicSource(SourceRecords(store, groups, {"x": "train", "y": "train"}), "train", 100)
    greatest = gc_fraction(store, "b") - gc_fraction(store, "c")

    source.check_gc_difference(greatest)  # not that of a and b, which are of one group
    with pytest.raises(DataError, match=f"differ most in GC fraction differ by {greatest:.3f}"):
        source.check_gc_difference(greatest + 0.001)
    with pytest.raises(DataError, match="but fewer than 1 in 64,000 pairs of them do"):
        source.draw("join", 100, np.random.default_rng(0), gc_difference=greatest + 0.001)
