"""Fresh examples: each follows from seed, part, epoch, number and length, and keeps its label."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import EncodedStore
from rmt_genomics.datasets.fresh_examples import FreshExamples, SimulatedStore
from rmt_genomics.datasets.simulation import TASKS as SIMULATED
from rmt_genomics.datasets.simulation import occurrences
from rmt_genomics.datasets.source_records import SourceRecords, divide_groups
from rmt_genomics.dna import Interval, decode
from rmt_genomics.errors import ConfigError, DataError
from tests.datasets.toys import MemoryStore, dna
from tests.prediction.toys import write_fasta

GENOMES = {f"r{number}": dna(300, number) for number in range(12)}
NUM_EXAMPLES = {"train": 30, "validation": 6, "test": 6}


def fresh(**settings: Any) -> FreshExamples:
    groups = {name: name for name in GENOMES}
    sources = SourceRecords(MemoryStore(GENOMES), groups, divide_groups(groups, seed=0))
    defaults = {"task": "mosaic", "length_range_bp": (100, 100), "num_examples": NUM_EXAMPLES}
    return FreshExamples(**{"sources": sources, "seed": 0, **defaults, **settings})


TASKS = ("mosaic", "memorise", "detect", "two_facts", "order")


@given(
    st.sampled_from(TASKS),
    st.sampled_from(("train", "validation", "test")),
    st.integers(0, 50),
    st.integers(0, 5),
    st.integers(30, 100),
)
def test_an_example_does_not_depend_on_those_read_before(
    task: str, part: str, epoch: int, index: int, length_bp: int
) -> None:
    examples, others = fresh(task=task), fresh(task=task)
    others.codes(part, epoch, index + 1, 100)

    one, other = (each.codes(part, epoch, index, length_bp) for each in (examples, others))

    assert len(one) == length_bp
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("task", TASKS)
def test_seed_epoch_part_and_number_change_the_example(task: str) -> None:
    keys = [("train", 0, 0), ("train", 1, 0), ("train", 0, 30), ("validation", 0, 0)]

    sequences = {fresh(task=task).codes(*key, 100).tobytes() for key in keys}
    sequences.add(fresh(task=task, seed=1).codes(*keys[0], 100).tobytes())

    assert len(sequences) == 5


@pytest.mark.parametrize("task", TASKS)
def test_examples_of_a_part_are_made_of_its_records(task: str) -> None:
    examples = fresh(task=task)
    genomes = dict(GENOMES)
    for record, part in examples.sources.part_of.items():
        genomes[record] = ("A" if part == "train" else "C") * 300
    examples.sources = SourceRecords(
        MemoryStore(genomes), examples.sources.group_of, examples.sources.part_of
    )
    examples.__post_init__()

    for index in range(20):
        for part, letters in (("train", "AT"), ("validation", "CG"), ("test", "CG")):
            text = decode(examples.codes(part, 0, index, 100))
            assert sum(text.count(letter) for letter in letters) >= 75  # but for two motifs


@pytest.mark.parametrize("task", TASKS[1:])
def test_planted_motifs_are_those_of_the_label(task: str) -> None:
    examples = fresh(task=task)
    examples.codes("train", 0, 0, 100)
    simulation, _ = examples._planted["train", 100]

    for index in range(8):
        codes = examples.codes("train", 2, index, 100)
        wanted = Counter(SIMULATED[task][examples.label(index)])
        found = {
            name: len(list(occurrences(codes, [motif])))
            for name, motif in simulation.motifs().items()
        }
        assert {name: count for name, count in found.items() if count} == wanted


def test_lengths_are_drawn_from_four_steps_per_doubling() -> None:
    examples = fresh(length_range_bp=(50, 200), num_examples=NUM_EXAMPLES | {"train": 900})

    lengths = Counter(examples.lengths("train", 3).tolist())

    assert sorted(lengths) == [50, 59, 71, 84, 100, 119, 141, 168, 200]
    assert all(60 < count < 140 for count in lengths.values())
    assert examples.lengths("train", 3).tolist() != examples.lengths("train", 4).tolist()
    assert fresh().lengths("train", 0).tolist() == [100] * 30
    assert set(fresh(length_range_bp=(100, 104)).lengths("train", 0).tolist()) == {100, 104}


def test_the_gc_difference_falls_to_zero_at_half_of_the_epochs() -> None:
    examples = fresh(gc_difference=0.01, max_epochs=8)

    least = [examples.gc_difference_at(epoch) for epoch in range(8)]

    assert least == pytest.approx([0.01, 0.0075, 0.005, 0.0025, 0, 0, 0, 0])


def test_the_sequences_that_do_not_change_are_a_store() -> None:
    examples = fresh()
    store = SimulatedStore(examples)

    split = store.split()

    assert [len(part) for part in (split.train, split.validation, split.test)] == [30, 6, 6]
    for part in ("train", "validation", "test"):
        each = getattr(split, part)
        labels = Counter(example.labels[0] for example in each)
        assert len(labels) == 3
        assert len(set(labels.values())) == 1
        assert each[4].name == f"{part}_5"
        codes = store.codes(each[4].interval)
        assert codes.tobytes() == examples.codes(part, 0, 4, 100).tobytes()
        inner = store.codes(Interval(each[4].name, 10, 30, "-"))
        assert inner.tobytes() == (3 - codes[10:30])[::-1].tobytes()
    assert {record.name: record.length for record in store.records()} == store.lengths
    assert set(store.lengths.values()) == {100}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"length_range_bp": (7, 90)}, "simulation.length_bp: a length of 7 bp is too short: the"),
        (
            {"task": "order", "length_range_bp": (20, 90)},
            "simulation.length_bp: a length of 20 bp is too short: 2 motifs of 12 bp must fit in",
        ),
        ({"stage_bp": (4, 64)}, "curriculum.segments: a length of 4 bp is too short"),
        (
            {"num_examples": NUM_EXAMPLES | {"train": 2}},
            "simulation.examples_per_epoch is 2, but must be at least 3: one example of each label",
        ),
        (
            {"num_examples": NUM_EXAMPLES | {"test": 1, "validation": 1}},
            "simulation.validation_examples is 1, but must be at least 3",
        ),
    ],
)
def test_settings_that_do_not_fit_the_task_are_refused(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        fresh(**settings)


def from_file(tmp_path: Path, number: int, **settings: Any) -> FreshExamples:
    genomes = {f"r{each}": dna(300, each) for each in range(number)}
    store = EncodedStore.open(write_fasta(tmp_path / "g.fa", genomes), tmp_path / "cache")
    return fresh(sources=SourceRecords.of(store, None, seed=0), **settings)


def test_too_few_or_too_short_genomes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"g\.fa: there are 5 groups with a record of at least 100"):
        from_file(tmp_path, 5)
    with pytest.raises(
        DataError, match=r"g\.fa: there are 2 groups .* at least 3 are needed: 1 fo"
    ):
        from_file(tmp_path, 2, task="order")
    with pytest.raises(DataError, match=r"g\.fa: the longest record has 300 bp, but sequences of"):
        from_file(tmp_path, 6, length_range_bp=(100, 301))
    assert len(from_file(tmp_path, 3, task="order").codes("test", 0, 0, 100)) == 100


def test_an_impossible_gc_difference_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"g\.fa: a GC difference of 0\.9 is asked for between records of two groups of the "
        r"train part, but the two that differ most in GC fraction differ by 0\.\d+\. Lower",
    ):
        from_file(tmp_path, 12, gc_difference=0.9)
