"""Intervals are checked, and parsing undoes printing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna.record_types import STRANDS, Interval
from rmt_genomics.errors import DataError

intervals = st.builds(
    lambda record, start, length, strand: Interval(record, start, start + length, strand),
    st.text(min_size=1),
    st.integers(0, 10**12),
    st.integers(1, 10**6),
    st.sampled_from(STRANDS),
)


@given(intervals)
def test_parsing_undoes_printing(interval: Interval) -> None:
    assert Interval.parse(str(interval)) == interval


@given(intervals)
def test_the_length_is_end_minus_start(interval: Interval) -> None:
    assert len(interval) == interval.end - interval.start >= 1


def test_an_interval_is_written_as_genome_browsers_do() -> None:
    assert str(Interval("chr1", 0, 100)) == "chr1:0-100(+)"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("chr1", 4, 4), r"chr1:4-4 must satisfy 0 <= start < end. Coordinates are 0-based"),
        (("chr1", -1, 4), r"chr1:-1-4 must satisfy 0 <= start < end. Coordinates are 0-based"),
        (("chr1", 0, 4, "?"), r"strand '\?' is unknown, but must be one of \+ - \."),
        (("", 0, 4), r"the interval has no record name, but must have one"),
    ],
)
def test_a_wrong_interval_is_refused(values: tuple, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Interval(*values)


@pytest.mark.parametrize(
    "text", ["chr1", "chr1:5", "chr1:a-b", ":0-4", "chr1:0-4(x)", "c:0-4(+) ", "c:0-" + "9" * 5000]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="is not an interval, but must look like chr1:0-100"):
        Interval.parse(text)


def test_an_interval_past_the_end_is_refused() -> None:
    interval = Interval("chr1", 10000, 42768)

    interval.check_within(42768)
    with pytest.raises(DataError) as caught:
        interval.check_within(40000)

    assert str(caught.value) == (
        "chr1:10000-42768 must satisfy start < end <= 40000, the length of chr1. "
        "Coordinates are 0-based and half-open."
    )
