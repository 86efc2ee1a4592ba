"""Homology groups, files of clusters, overlaps."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import Example
from rmt_genomics.datasets.clusters import (
    Homology,
    clusters_from_file,
    connected_components,
    overlapping_pairs,
    overlaps_across,
    read_clusters,
)
from rmt_genomics.dna import reverse_complement
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import DataError
from tests.datasets.toys import MemoryStore, dna, mutated, whole

FAMILIES = {
    f"{family}{copy}": mutated(dna(1500, family), 0.01 * copy, seed=copy)
    for family in range(3)
    for copy in range(4)
}


def groups_of(sequences: dict[str, str]) -> dict[str, str]:
    store = MemoryStore(sequences)
    groups = Homology.of(store, whole(store), 0.9).groups(0.9)
    return dict(zip(sequences, groups, strict=True))


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(
            st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))
        )
    )
)
def test_connected_components_are_the_finest_partition_that_joins_all_pairs(
    drawn: tuple[int, Sequence[tuple[int, int]]],
) -> None:
    count, pairs = drawn
    sets = [{index} for index in range(count)]
    for one, other in pairs:
        joined = sets[one] | sets[other]
        for member in joined:
            sets[member] = joined
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2)

    groups = connected_components(count, ends[:, 0], ends[:, 1]).tolist()

    assert [groups.index(group) for group in groups] == [min(item) for item in sets]


def test_a_pair_that_is_given_many_times_is_one_pair() -> None:
    first, second = (
        np.zeros(256, dtype=np.int64),
        np.ones(256, dtype=np.int64),
    )  # 256 is 0 in a byte

    assert connected_components(3, first, second).tolist() == [0, 0, 1]


def test_families_are_found_and_named_after_their_first_member() -> None:
    assert groups_of(FAMILIES) == {name: f"{name[0]}0" for name in FAMILIES}


@given(st.permutations(list(FAMILIES)), st.sets(st.sampled_from(list(FAMILIES))))
def test_neither_order_nor_strand_matters(order: list[str], flipped: set[str]) -> None:
    turned = {
        name: reverse_complement(FAMILIES[name]) if name in flipped else FAMILIES[name]
        for name in order
    }

    assert groups_of(turned) == groups_of(FAMILIES)


@pytest.mark.parametrize("length", [100, 300, 1000, 30_000])
def test_a_copy_with_one_percent_mutations_is_grouped_and_an_unrelated_sequence_is_not(
    length: int,
) -> None:
    original = dna(length, 0)
    copy = reverse_complement(mutated(original, 0.01, seed=1))

    result = groups_of({"original": original, "copy": copy, "stranger": dna(length, 2)})

    assert result == {"original": "copy", "copy": "copy", "stranger": "stranger"}


def test_with_half_the_bases_mutated_a_sequence_is_unrelated() -> None:
    original = dna(3000, 0)

    assert len(set(groups_of({"a": original, "b": mutated(original, 0.5, 1)}).values())) == 2


def test_intervals_that_overlap_by_one_base_are_in_one_group() -> None:
    store = MemoryStore({"chr1": dna(5000, 0)})
    places = [(0, 1500), (1500, 3000), (2999, 4500)]
    examples = [Example(Interval("chr1", *index), whole=False, labels=("a",)) for index in places]

    groups = Homology.of(store, examples, 0.9).groups(0.9)

    assert groups == ["chr1:0-1500(+)", "chr1:1500-3000(+)", "chr1:1500-3000(+)"]
    assert len(set(Homology.of(store, examples, 0.9, by_record=True).groups(1.0))) == 1


MMSEQS = "r1\tr1\nr1\tr2\nr3\tr3\n"
CDHIT = """>Cluster 0
0\t10nt, >r2... at +/98.50%
1\t12nt, >r1... *
>Cluster 1
0\t9aa, >r3... *
"""
THREE_RECORDS = whole(MemoryStore(dict.fromkeys(("r1", "r2", "r3"), "ACGT")))


@pytest.mark.parametrize("text", [MMSEQS, CDHIT, "\n" + MMSEQS.replace("\n", "\r\n") + "\n"])
def test_both_formats_give_the_cluster_of_each_record(tmp_path: Path, text: str) -> None:
    path = tmp_path / "clusters"
    path.write_bytes(text.encode())

    assert clusters_from_file(path, THREE_RECORDS) == ["r1", "r1", "r3"]


def test_clusters_may_have_records_that_are_not_labelled(tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_text(MMSEQS + "x\ty\n")

    assert clusters_from_file(tmp_path / "c.tsv", THREE_RECORDS) == ["r1", "r1", "r3"]


FORMS = (
    "but a clusters file must be a representative and a member with a tab between (MMseqs2), or a "
    "CD-HIT .clstr file that begins with '>Cluster 0'. Check how it was made."
)
MALFORMED = {
    "empty": ("\n", "c: the file is empty, but must hold a representative and a member"),
    "three columns": ("r1\tr2\tr3\n", f"c:1: the line is 'r1\\tr2\\tr3', {FORMS}"),
    "blanks": (MMSEQS + "r1 r4\n", f"c:4: the line is 'r1 r4', {FORMS}"),
    "no member": ("r1\t\n", "c:1: the line is 'r1', but a clusters file"),
    "FASTA": (">r1\nACGT\n", "c:1: the line is '>r1', but a clusters file"),
    "binary": ("\x00\x01\n", "c:1: the line is '\\x00\\x01', but a clusters file"),
    "a broken CD-HIT line": (">Cluster 0\n0\tr1\n", "c:2: the line is '0\\tr1', but a clusters"),
    "no representative": (
        ">Cluster 0\n0\t10nt, >r2... at +/98.50%\n>Cluster 1\n0\t9nt, >r3... *\n",
        "c:1: '>Cluster 0' has no representative, but one of its lines must end in '*'. "
        "Is the file complete?",
    ),
    "two clusters": (
        MMSEQS + "r3\tr2\n",
        "c:4: 'r2' is in the cluster of 'r3', but was in that of 'r1' at line 2: a record must "
        "be in one cluster. Keep one of the two lines.",
    ),
    "a circle": (
        "r1\tr2\nr2\tr1\n",
        "c:2: 'r1' is in the cluster of 'r2', but was in that of 'r1' at line 1: a record must",
    ),
    "a chain": ("r1\tr2\nr2\tr3\n", "c:2: 'r2' is in the cluster of 'r2', but was in that of 'r1'"),
}


@pytest.mark.parametrize(("text", "message"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c").write_text(text)

    with pytest.raises(DataError, match=re.escape(message)):
        read_clusters(Path("c"))


LACKING = {
    "other records": (
        "r1\tr1\nx\ty\n",
        "c: no cluster for 2 of 3 labelled records ('r2', 'r3'), but each must be in one. Cluster "
        "the same FASTA file.",
    ),
    "names cut short": (
        CDHIT.replace(">r3", ">r"),
        "no cluster for 1 of 3 labelled records ('r3'), but each must be in one. 'r' looks like a "
        "truncated name: run cd-hit with -d 0.",
    ),
}


@pytest.mark.parametrize(("text", "message"), LACKING.values(), ids=LACKING)
def test_a_record_in_no_cluster_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c").write_text(text)

    with pytest.raises(DataError, match=re.escape(message)):
        clusters_from_file(Path("c"), THREE_RECORDS)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file, but it must be a clusters file"):
        read_clusters(tmp_path / "none")


intervals = st.lists(
    st.builds(
        lambda record, start, length, strand: Interval(record, start, start + length, strand),
        st.sampled_from("xy"),
        st.integers(0, 40),
        st.integers(1, 10),
        st.sampled_from("+-"),
    ),
    unique=True,
    max_size=12,
)


def have_common_bases(one: Interval, other: Interval) -> bool:
    return one.record == other.record and one.start < other.end and other.start < one.end


def connected(count: int, pairs: list[tuple[int, int]]) -> set[frozenset[int]]:
    """The slow twin of union-find."""
    sets = [{index} for index in range(count)]
    for one, other in pairs:
        joined = sets[one] | sets[other]
        for member in joined:
            sets[member] = joined
    return {frozenset(item) for item in sets}


@given(intervals)
def test_overlapping_pairs_connect_all_overlapping_intervals_and_no_others(
    drawn: list[Interval],
) -> None:
    every_pair = [
        (one, other)
        for other in range(len(drawn))
        for one in range(other)
        if have_common_bases(drawn[one], drawn[other])
    ]

    pairs = overlapping_pairs(drawn)

    assert connected(len(drawn), pairs) == connected(len(drawn), every_pair)
    assert all(have_common_bases(drawn[one], drawn[other]) for one, other in pairs)


@given(intervals, intervals)
def test_an_overlap_across_parts_is_found_if_there_is_one(
    train: list[Interval], test: list[Interval]
) -> None:
    parts = {
        name: [Example(interval, whole=False, labels=("a",)) for interval in part]
        for name, part in (("train", train), ("test", test))
    }

    pairs = overlaps_across(parts)

    expected = any(have_common_bases(one, other) for one in train for other in test)
    assert bool(pairs) == expected
    for one, other in pairs:
        assert have_common_bases(one.interval, other.interval)


def test_overlapping_examples_are_counted_once_and_ends_are_excluded() -> None:
    def part(*places: tuple[int, int]) -> list[Example]:
        return [Example(Interval("chr1", *index), whole=False, labels=("a",)) for index in places]

    parts = {
        "train": part((0, 100), (50, 60)),
        "validation": part((99, 120)),
        "test": part((40, 45), (120, 130)),
    }

    assert [other.name for _, other in overlaps_across(parts)] == [
        "chr1:40-45(+)",
        "chr1:99-120(+)",
    ]
