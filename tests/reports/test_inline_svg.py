"""Inline figures: text stays text, in the colour of the page, and ids never clash."""

import re
import warnings
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from rmt_genomics.dna import composition_of
from rmt_genomics.reports.plot_files import plot
from rmt_genomics.reports.plots import (
    composition,
    confusion_matrix,
    length_histogram,
    literal,
    loss_curve,
    predicted_against_true,
    reliability,
    roc_curves,
    score_curve,
    score_over_visible,
)

BINS = [
    {"low": 0.0, "high": 0.5, "n": 0, "confidence": None, "accuracy": None},
    {"low": 0.5, "high": 1.0, "n": 5, "confidence": 0.8, "accuracy": 0.6},
]


def a_figure(label: str = "curve") -> Figure:
    figure = Figure(figsize=(4, 3))
    axes = figure.subplots()
    axes.plot([1, 2], label=label)
    axes.legend()
    return figure


def test_text_stays_text_in_the_page_font_and_black_is_the_text_colour() -> None:
    html = plot(a_figure("<i>&"), "one", "What is seen: <b>").svg

    assert "&lt;i&gt;&amp;</text>" in html
    assert 'aria-label="What is seen: &lt;b&gt;"' in html
    assert "DejaVu" not in html
    assert "#000000" not in html
    assert "stroke: currentColor" in html
    assert "<style" not in html
    assert "xmlns" not in html


def test_two_figures_share_no_id_and_each_refers_to_its_own() -> None:
    ids, uses = [], []
    for name in ("one", "two"):
        html = plot(a_figure(), name, "").svg
        ids += re.findall(r' id="([^"]*)"', html)
        uses += re.findall(r'(?:href="#|url\(#)([^")]*)', html)

    assert len(ids) == len(set(ids))
    assert uses
    assert set(uses) <= set(ids)


def test_the_same_figure_gives_the_same_text() -> None:
    assert plot(a_figure(), "one", "") == plot(a_figure(), "one", "")


def test_a_small_figure_shrinks_and_a_wide_one_scrolls() -> None:
    wide = Figure(figsize=(8, 3))

    assert "width:384px;max-width:100%" in plot(a_figure(), "one", "").svg
    assert 'style="width:768px"' in plot(wide, "two", "").svg


@pytest.mark.parametrize("name", ["_hidden", "US$ to $", r"$\frac{1}{$", "属", "a\x01b"])
def test_any_name_is_drawn_unchanged(name: str) -> None:
    truth, probabilities = (
        np.eye(2, dtype=int)[[0, 1, 1]],
        np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        html = plot(roc_curves(truth, probabilities, ["x", name]), "roc", "").svg
        html += plot(confusion_matrix([[1, 0], [1, 1]], ["x", name]), "confusion", "").svg
        html += plot(length_histogram({"x": [5, 6], name: [7]}), "lengths", "").svg

    assert html.replace("\u200b", "").count(name.replace("\x01", "\ufffd")) == 4


def test_a_plain_name_is_not_escaped() -> None:
    assert literal("plain name") == "plain name"


def test_reliability_omits_empty_bins_but_counts_all() -> None:
    upper, lower = reliability(BINS).axes

    assert np.array(upper.lines[1].get_xydata()).tolist() == [[0.8, 0.6]]
    assert [bar.get_height() for bar in lower.patches] == [0, 5]


def ablation(visible: list[dict[str, Any]], reset: float | None) -> dict[str, Any]:
    return {"metric": "mcc", "visible": visible, "memory_reset": {"mcc": reset}}


def test_context_is_drawn_on_a_logarithmic_axis_with_the_whole_sequence_last() -> None:
    visible = [{"bp": None, "mcc": 0.9}, {"bp": 4096, "mcc": 0.5}, {"bp": 1024, "mcc": 0.1}]

    (axes,) = score_over_visible(ablation(visible, 0.3)).axes

    curve = next(line for line in axes.lines if line.get_label() == "only these bases visible")
    assert np.array(curve.get_xydata()).tolist() == [[1024, 0.1], [4096, 0.5], [8192, 0.9]]
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1 kb", "4.1 kb", "all"]
    reset = next(line for line in axes.lines if "memory reset" in str(line.get_label()))
    assert set(np.array(reset.get_ydata()).tolist()) == {0.3}


def test_context_without_a_defined_score_is_drawn_empty() -> None:
    visible = [{"bp": 1024, "mcc": None}, {"bp": None, "mcc": None}]

    plot(score_over_visible(ablation(visible, None)), "context", "")


def test_many_dots_become_a_bitmap() -> None:
    few, many = np.arange(10.0), np.arange(3000.0)

    assert "<image" not in plot(predicted_against_true(few, few, "x"), "few", "").svg
    html = plot(predicted_against_true(many, many, "x"), "many", "").svg
    assert "data:image/png;base64" in html
    assert len(html) < 200_000


@pytest.mark.parametrize("lengths", [{"a": [7]}, {"a": [7, 7]}, {"a": [1, 10_000_000]}, {"a": []}])
def test_every_example_is_in_the_histogram(lengths: dict[str, list[int]]) -> None:
    (axes,) = length_histogram(lengths).axes

    (drawn, *_) = axes.patches
    assert sum(drawn.get_data().values) == len(lengths["a"])  # type: ignore[attr-defined]


def test_too_many_classes_are_merged() -> None:
    many = {str(index): [composition_of("ACGTN" * (index + 1))] for index in range(9)}

    for axes in composition(many).axes:
        labels = {patch.get_label() for patch in axes.patches} - {""}
        assert {label for label in labels if not str(label).startswith("_")} == {"all"}


def test_a_regression_has_its_own_curve() -> None:
    epochs = [
        {"epoch": epoch, "train_loss": 0.5, "val_loss": 0.4, "val_r2": 0.5} for epoch in (1, 2)
    ]

    assert score_curve(epochs).axes[0].get_ylabel() == "R2 (1 = all variance explained)"
    assert loss_curve(epochs).axes[0].get_ylabel() == "loss (per example)"
