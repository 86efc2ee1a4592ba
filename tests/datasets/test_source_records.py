"""Source records: groups are read and checked, and are never in two parts."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import EncodedStore
from rmt_genomics.datasets.source_records import SourceRecords, divide_groups, read_groups
from rmt_genomics.errors import DataError, RMTGenomicsWarning
from tests.datasets.toys import dna
from tests.prediction.toys import write_fasta, write_table

LENGTHS = {"a": 10, "b": 20, "c": 30}


@given(st.integers(6, 60), st.integers(0, 99))
def test_all_groups_are_divided_and_each_part_has_two(number: int, seed: int) -> None:
    names = [f"g{each}" for each in range(number)]

    parts = divide_groups(names, seed=seed)

    counts = {part: list(parts.values()).count(part) for part in ("train", "validation", "test")}
    assert parts.keys() == set(names)
    assert min(counts.values()) >= 2
    assert abs(counts["validation"] - max(2, 0.15 * len(names))) <= 0.5
    assert counts["validation"] == counts["test"]


def test_the_division_depends_on_the_names_and_the_seed_alone() -> None:
    names = [f"species{number}" for number in range(20)]

    assert divide_groups(names, seed=1) == divide_groups([*names[::-1], *names], seed=1)
    assert divide_groups(names, seed=1) != divide_groups(names, seed=2)


def test_the_part_of_a_group_does_not_depend_on_the_length(tmp_path: Path) -> None:
    genomes = {f"r{number}": dna(100 + 10 * number, number) for number in range(12)}
    store = EncodedStore.open(write_fasta(tmp_path / "g.fa", genomes), tmp_path / "cache")
    sources = SourceRecords.of(store, None, seed=0)

    for part in ("train", "validation", "test"):
        longer = sources.part(part, 150)
        assert longer.items() <= sources.part(part, 100).items()
        assert all(store.lengths[record] >= 150 for record in longer)


def test_groups_are_read_in_the_order_of_the_records(tmp_path: Path) -> None:
    table = write_table(tmp_path / "g.tsv", "record group", "c x", "a y", "b x")

    assert list(read_groups(table, LENGTHS).items()) == [("a", "y"), ("b", "x"), ("c", "x")]


def test_other_columns_give_a_warning(tmp_path: Path) -> None:
    table = write_table(tmp_path / "g.tsv", "group label record", "x l a", "x l b", "y l c")

    with pytest.warns(RMTGenomicsWarning, match=r"g\.tsv:1: 1 column not used: label\."):
        assert read_groups(table, LENGTHS)["c"] == "y"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "the file is empty, but must have the columns record and group once each"),
        (["a x", "b y"], "g.tsv:1: the header is ['a', 'x'], but must have the columns record"),
        (["record group group"], "the header is ['record', 'group', 'group'], but must have"),
        (
            ["record group", "a x", "b x", "a y", "c y"],
            "g.tsv:4: the record 'a' was already at line 2, but must have one line. Remove one",
        ),
        (["record group", "a x", "b ", "c y"], "g.tsv:3: the group is empty, but every line must"),
        (["record group", "a x", " x", "c y"], "g.tsv:3: the record is empty, but every line"),
        (["record group", "a x y"], "g.tsv:2: the line has 3 tab-separated cells, but must have 2"),
        (["record group", "a x", "d x"], "lacks 1 of 2 records named here ('d' (line 3))"),
        (
            ["record group", "a x", "d x"],
            "It has 'a', 'b', 'c'. Remove these lines, or add the records to the genomes.",
        ),
        (["record group", "a x", "b x"], "no group for 1 of 3 records of the genomes ('c'), but"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    tmp_path: Path, rows: list[str], words: str
) -> None:
    table = write_table(tmp_path / "g.tsv", *rows)

    with pytest.raises(DataError, match=re.escape(words)):
        read_groups(table, LENGTHS)


def checked(tmp_path: Path, num_groups: int, length_bp: int) -> None:
    genomes = {f"r{number}": dna(60, number) for number in range(2 * num_groups)}
    rows = [f"{record} g{number // 2}" for number, record in enumerate(genomes)]
    table = write_table(tmp_path / "groups.tsv", "record group", *rows)
    store = EncodedStore.open(write_fasta(tmp_path / "g.fa", genomes), tmp_path / "cache")
    sources = SourceRecords.of(store, table, seed=0)
    sources.check(("train", "validation", "test"), length_bp, least_groups=2)


def test_six_groups_are_enough_and_fewer_are_refused(tmp_path: Path) -> None:
    checked(tmp_path, 6, 60)

    words = r"groups\.tsv: there are 5 groups with a record of at least 60 bp, but at least 6 are"
    with pytest.raises(DataError, match=words):
        checked(tmp_path, 5, 60)
    with pytest.raises(DataError, match="there is 1 group with a record of at least 60 bp, but"):
        checked(tmp_path, 1, 60)


def test_genomes_that_are_too_short_are_refused(tmp_path: Path) -> None:
    words = r"g\.fa: the longest record has 60 bp, but sequences of 61 bp are to be cut from it"
    with pytest.raises(DataError, match=words):
        checked(tmp_path, 6, 61)


def test_a_part_without_two_groups_that_are_long_enough_is_refused(tmp_path: Path) -> None:
    lengths = dict.fromkeys(("train", "validation"), (100, 100, 100)) | {"test": (100, 10)}
    names = [f"{part}{number}" for part, each in lengths.items() for number in range(len(each))]
    genomes = {
        f"{part}{number}": dna(length_bp, number)
        for part, each in lengths.items()
        for number, length_bp in enumerate(each)
    }
    store = EncodedStore.open(write_fasta(tmp_path / "g.fa", genomes), tmp_path / "cache")
    sources = SourceRecords(
        store, {name: name for name in names}, {name: name[:-1] for name in names}
    )

    with pytest.raises(
        DataError,
        match="the test part has 1 group with a record of at least 50 bp, but needs 2",
    ):
        sources.check(("train", "validation", "test"), 50, least_groups=2)
    sources.check(("train", "validation"), 50, least_groups=2)
