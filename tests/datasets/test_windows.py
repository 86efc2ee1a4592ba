"""Windows for training: every base is in one, and those of a record stay together."""

import logging
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_genomics.datasets import Example
from rmt_genomics.datasets.windows import Windows
from rmt_genomics.dna.record_types import Interval
from rmt_genomics.errors import ConfigError, DataError, RMTGenomicsWarning


def record(name: str, length: int, **options: str) -> Example:
    return Example(Interval(name, 0, length), whole=True, labels=("a",), **options)


def test_windows_have_the_label_and_the_record_as_group(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    cut = Windows(4, 4).cut([record("one", 10, split="test"), record("two", 8)])

    assert [window.name for window in cut] == [
        *("one:0-4(+)", "one:4-8(+)", "one:6-10(+)"),
        *("two:0-4(+)", "two:4-8(+)"),
    ]
    assert [window.group for window in cut] == ["one"] * 3 + ["two"] * 2
    assert {window.labels for window in cut} == {("a",)}
    assert [window.split for window in cut] == ["test"] * 3 + [None] * 2
    assert caplog.messages == [
        "Cut 2 examples of 2 records into 5 windows of 4 bp (step 4 bp; the last window of each "
        "ends with it)."
    ]


def test_intervals_are_cut_on_their_strand_and_groups_stay() -> None:
    interval = Example(Interval("chr", 100, 110, "-"), whole=False, labels=("a",), group="g")

    cut = Windows(4, 3).cut([interval])

    assert [window.name for window in cut] == ["chr:100-104(-)", "chr:103-107(-)", "chr:106-110(-)"]
    assert {window.group for window in cut} == {"g"}


def test_shorter_records_are_one_window_each_and_counted() -> None:
    words = r"1 of 2 examples are shorter than a window of 4 bp; each of them is one shorter window"
    with pytest.warns(RMTGenomicsWarning, match=words):
        cut = Windows(4, 4).cut([record("short", 3), record("long", 8)])

    assert [window.name for window in cut] == ["short", "long:0-4(+)", "long:4-8(+)"]
    assert cut[0].whole
    assert cut[0].group == "short"


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 20))
def test_every_base_is_in_a_window(length: int, window: int, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)
        cut = Windows(window, min(window, step)).cut([record("r", length)])

    covered = {base for item in cut for base in range(item.interval.start, item.interval.end)}
    assert covered == set(range(length))
    assert {len(item.interval) for item in cut} == {min(window, length)}


def test_one_record_in_two_groups_is_refused() -> None:
    halves = [
        Example(Interval("chr", start, start + 10), whole=False, labels=("a",), group=group)
        for start, group in ((0, "g"), (10, "h"))
    ]

    message = (
        "the record 'chr' has examples of the groups 'g' and 'h', but all windows of a record must "
        "be in one. Give the record one group, or leave out --window."
    )
    with pytest.raises(DataError, match=re.escape(message)):
        Windows(4, 4).cut(halves)


def test_the_step_is_by_default_the_window_and_at_most_that() -> None:
    assert Windows.of(None) is None
    assert Windows.of(0, 0) is None
    assert Windows.of(5) == Windows(5, 5)
    with pytest.raises(ConfigError, match="the windows are 5 bp long with a step of 6 bp, but the"):
        Windows.of(5, 6)


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("[data]\nwindow_bp = 5\nstep_bp = 2\n", Windows(5, 2)),
        ("[data]\nwindow_bp = 5\n", Windows(5, 5)),
        ("[data]\nwindow_bp = 0\nstep_bp = 0\n", None),
        ("[model]\ndim = 5\n", None),
    ],
)
def test_the_windows_of_a_run_are_in_its_settings(
    tmp_path: Path, text: str, windows: Windows | None
) -> None:
    assert Windows.of_run(tmp_path) is None  # a model without settings
    (tmp_path / "config.toml").write_text(text)

    assert Windows.of_run(tmp_path) == windows


@pytest.mark.parametrize("text", ["data = 1\n", '[data]\nwindow_bp = "5"\n'])
def test_damaged_settings_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_text(text)

    with pytest.raises(
        DataError, match=r"config.toml: data.window_bp is .* but they must be whole"
    ):
        Windows.of_run(tmp_path)
