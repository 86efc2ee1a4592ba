"""Windows cover every base, have the same length, and none is repeated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna.alphabet import decode, encode
from rmt_genomics.dna.record_types import EncodedRecord, Interval, cut_windows, windows
from rmt_genomics.errors import ConfigError, RMTGenomicsWarning


@st.composite
def settings(draw: st.DrawFn) -> tuple[int, int, int]:
    length, window = draw(st.integers(1, 60)), draw(st.integers(1, 20))
    return length, window, draw(st.integers(1, window))


@given(settings())
def test_windows_have_the_same_length_and_cover_every_base(setting: tuple[int, int, int]) -> None:
    length, window, step = setting

    found = windows("chr1", length, window, step)

    assert {len(interval) for interval in found} == {min(window, length)}
    assert {base for interval in found for base in range(interval.start, interval.end)} == set(
        range(length)
    )
    assert len(set(found)) == len(found)
    assert [interval.start for interval in found[:-1]] == [n * step for n in range(len(found) - 1)]


@pytest.mark.parametrize(
    ("length", "starts"), [(7, [0]), (8, [0]), (9, [0, 1]), (12, [0, 4]), (13, [0, 4, 5])]
)
def test_the_last_window_ends_with_the_record(length: int, starts: list[int]) -> None:
    assert [interval.start for interval in windows("chr1", length, window=8, step=4)] == starts


@pytest.mark.parametrize("step", [0, 5])
def test_a_step_that_skips_bases_is_refused(step: int) -> None:
    with pytest.raises(ConfigError, match=f"4 bp long with a step of {step} bp, but the step must"):
        windows("chr1", 10, window=4, step=step)


def test_records_are_cut_as_they_come() -> None:
    record = EncodedRecord("chr1", "", encode("ACGTTGCAAC"))

    found = list(cut_windows([record], window=4, step=3))

    assert [decode(window.codes) for window in found] == ["ACGT", "TTGC", "CAAC"]
    assert [window.interval for window in found] == [
        Interval("chr1", start, start + 4) for start in (0, 3, 6)
    ]


def test_records_shorter_than_a_window_are_counted() -> None:
    records = [EncodedRecord(name, "", encode(name)) for name in ("ACGT", "AC", "G")]

    with pytest.warns(RMTGenomicsWarning, match="2 of 3 records are shorter than a window of 4 bp"):
        found = list(cut_windows(records, window=4, step=4))

    assert [decode(window.codes) for window in found] == ["ACGT", "AC", "G"]
