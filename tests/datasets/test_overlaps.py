"""Overlaps: bases in common, whatever the strand; neighbours have none."""

from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import Example
from rmt_genomics.datasets.clusters import overlapping_neighbours, overlaps_across
from rmt_genomics.dna.record_types import Interval

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
    sets = [{place} for place in range(count)]
    for one, other in pairs:
        joined = sets[one] | sets[other]
        for member in joined:
            sets[member] = joined
    return {frozenset(each) for each in sets}


@given(intervals)
def test_neighbours_connect_all_that_overlap_and_nothing_else(drawn: list[Interval]) -> None:
    every_pair = [
        (one, other)
        for other in range(len(drawn))
        for one in range(other)
        if have_common_bases(drawn[one], drawn[other])
    ]

    found = overlapping_neighbours(drawn)

    assert connected(len(drawn), found) == connected(len(drawn), every_pair)
    assert all(have_common_bases(drawn[one], drawn[other]) for one, other in found)


@given(intervals, intervals)
def test_an_overlap_across_parts_is_found_if_there_is_one(
    train: list[Interval], test: list[Interval]
) -> None:
    parts = {
        name: [Example(interval, whole=False, labels=("a",)) for interval in part]
        for name, part in (("train", train), ("test", test))
    }

    found = overlaps_across(parts)

    expected = any(have_common_bases(one, other) for one in train for other in test)
    assert bool(found) == expected
    for one, other in found:
        assert have_common_bases(one.interval, other.interval)


def test_examples_are_counted_once_and_ends_are_excluded() -> None:
    def part(*places: tuple[int, int]) -> list[Example]:
        return [Example(Interval("chr1", *place), whole=False, labels=("a",)) for place in places]

    parts = {
        "train": part((0, 100), (50, 60)),
        "validation": part((99, 120)),
        "test": part((40, 45), (120, 130)),
    }

    assert [other.name for _, other in overlaps_across(parts)] == [
        "chr1:40-45(+)",
        "chr1:99-120(+)",
    ]
