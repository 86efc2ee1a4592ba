"""Tracks for genome browsers: sorted, and not overlapping in bedGraph."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.dna import Interval, windows
from rmt_genomics.errors import ConfigError
from rmt_genomics.prediction.output_formats import (
    Bed,
    BedGraph,
    PredictionTable,
    class_column,
    middle,
)
from rmt_genomics.prediction.predictor import Prediction
from tests.model.toys import toy

steps = st.tuples(st.integers(1, 12), st.integers(1, 12)).filter(lambda pair: pair[1] <= pair[0])


def prediction(interval: Interval | None = None, label: str = "b") -> Prediction:
    return Prediction("chr1", 8, label, 0.6254, np.array([0.3746, 0.6254]), interval)


@given(length=st.integers(1, 60), pair=steps)
def test_middles_do_not_overlap_are_sorted_and_lie_inside_their_windows(
    length: int, pair: tuple[int, int]
) -> None:
    intervals = windows("chr1", length, *pair)

    found = [middle(each, *pair) for each in intervals]

    assert all(start < end for start, end in found)
    assert all(end <= start for (_, end), (start, _) in pairwise(found))
    for interval, (start, end) in zip(intervals, found, strict=True):
        assert interval.start <= start < end <= interval.end


@given(length=st.integers(1, 60), window=st.integers(1, 12))
def test_windows_side_by_side_cover_every_base(length: int, window: int) -> None:
    found = [middle(each, window, window) for each in windows("chr1", length, window, window)]

    assert (found[0][0], found[-1][1]) == (0, length)
    assert all(end == start for (_, end), (start, _) in pairwise(found))


def test_a_bed_line_has_six_columns() -> None:
    assert Bed("m").line(prediction()) == "chr1\t0\t8\tb\t625\t."
    assert Bed("m").line(prediction(Interval("chr1", 3, 11))) == "chr1\t3\t11\tb\t625\t."
    of_interval = Bed("m", has_strand=True).line(prediction(Interval("chr1", 3, 11, "-")))
    assert of_interval == "chr1\t3\t11\tb\t625\t-"
    assert Bed("m").line(Prediction("chr1", 8, "", None, np.zeros(2))) == "chr1\t0\t8\t.\t0\t."


def test_a_bedgraph_line_shows_one_class() -> None:
    interval = Interval("chr1", 0, 8)

    assert BedGraph("m", 1).line(prediction()) == "chr1\t0\t8\t0.6254"
    assert BedGraph("m", 0, window=8, step=2).line(prediction(interval)) == "chr1\t3\t5\t0.3746"


def test_a_track_line_comes_first_whatever_the_model_is_called() -> None:
    assert Bed('my "best"').header() == ["track name=\"my 'best'\" useScore=1"]
    assert BedGraph("m b", 1).header() == ['track type=bedGraph name="m b"']


def test_the_class_shown_is_the_second_of_two_or_the_one_named() -> None:
    two, three = toy(classes=("a", "b"), task="binary").config, toy().config

    assert class_column(two, None) == 1
    assert class_column(two, "a") == 0
    with pytest.raises(ConfigError, match="no class was named, but bedGraph shows one of a, b, c"):
        class_column(three, None)
    with pytest.raises(ConfigError, match="the model has no class 'x', but"):
        class_column(three, "x")


def test_what_is_not_available_is_na_and_the_note_is_last() -> None:
    nan = float("nan")
    unknown = Prediction(
        "r", 8, "NA", nan, np.array([nan, nan]), labels=("NA",), note="no known base"
    )
    table = PredictionTable(("a", "b"), has_sets=True)

    assert table.header()[0].split("\t")[-1] == "note"
    assert table.line(unknown) == "r\t8\tNA\tNA\tNA\tNA\tNA\tno known base"
    regression = PredictionTable(("x",), task="regression")
    assert regression.line(unknown) == "r\t8\tNA\tno known base"
    assert regression.header() == ["record\tlength\tprediction\tnote"]
    assert Bed("m").line(unknown) == "r\t0\t8\tNA\t0\t."
    assert BedGraph("m", 1).line(unknown) == "r\t0\t8\tnan"
