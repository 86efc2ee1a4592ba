"""``rmt_genomics.plots``: each figure from a folder, from metrics and from arrays."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from sklearn.metrics import average_precision_score, roc_auc_score

from rmt_genomics import plots
from rmt_genomics.errors import RMTGenomicsError

CLASSES = ["ant", "bee", "cow"]
TRUTH = ["ant", "bee", "cow", "ant", "bee", "cow", "ant", "bee"]
PROBABILITIES = np.random.default_rng(0).dirichlet([1, 1, 1], 8).round(6)
METRICS: dict[str, Any] = {
    "n": 8,
    "classes": CLASSES,
    "task": "multiclass",
    "confusion": [[2, 1, 0], [0, 1200, 2], [1, 0, 1]],
    "calibration": {
        "fitted_on": "validation",
        "ece": 0.05,
        "reliability": [
            {"low": 0.6, "high": 0.7, "n": 2, "confidence": 0.65, "accuracy": 0.5},
            {"low": 0.9, "high": 1.0, "n": 6, "confidence": 0.95, "accuracy": 1.0},
        ],
    },
    "length_bins": [
        {"low_bp": 1000, "high_bp": 4000, "n": 5, "mcc": 0.5, "auroc": 0.7},
        {"low_bp": 4000, "high_bp": 16000, "n": 3, "mcc": 0.8, "auroc": None},
    ],
    "context": {
        "metric": "mcc",
        "visible": [{"bp": None, "mcc": 0.9}, {"bp": 4096, "mcc": 0.6}, {"bp": 1024, "mcc": 0.2}],
        "memory_reset": {"mcc": 0.4},
        "sentence": "Context helps.",
    },
}
EPOCHS = [
    {"epoch": 1, "train_loss": 0.7, "val_loss": 0.8, "val_mcc": 0.1},
    {"epoch": 2, "train_loss": 0.5, "val_loss": 0.4, "val_mcc": 0.6},
    {"epoch": 3, "train_loss": 0.3, "val_loss": 0.6, "val_mcc": 0.5},
]


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder, as far as figures read it."""
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS))
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in EPOCHS))
    lines = ["\t".join(["record", "truth", "label", *(f"prob_{name}" for name in CLASSES)])]
    for row, (truth, values) in enumerate(zip(TRUTH, PROBABILITIES, strict=True)):
        lines.append("\t".join([f"r{row}", truth, "ant", *map(str, values)]))
    (tmp_path / "predictions.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    return [] if found is None else [text.get_text() for text in found.get_texts()]


def points(ax: Axes, line: int = 0) -> list[list[float]]:
    return np.array(ax.lines[line].get_xydata()).tolist()


def drawn(ax: Axes) -> list[Any]:
    """Everything on axes that depends on the data."""
    lines = [np.array(line.get_xydata()).tolist() for line in ax.lines]
    return [*lines, [text.get_text() for text in ax.texts], legend(ax), ax.get_xlabel()]


@pytest.mark.parametrize(
    "draw", [plots.calibration, plots.confusion_matrix, plots.length_curve, plots.context_curve]
)
def test_a_folder_a_file_and_its_content_give_the_same_figure(run: Path, draw: Any) -> None:
    of_folder = drawn(draw(run))

    assert drawn(draw(str(run / "metrics.json"))) == of_folder
    assert drawn(draw(json.loads((run / "metrics.json").read_text()))) == of_folder


@pytest.mark.parametrize("draw", [plots.roc_curve, plots.precision_recall_curve])
def test_curves_of_a_folder_and_of_arrays_are_the_same(run: Path, draw: Any) -> None:
    of_folder = drawn(draw(run))

    assert drawn(draw(run / "metrics.json")) == of_folder
    assert drawn(draw(TRUTH, PROBABILITIES)) == of_folder
    assert (
        drawn(draw([CLASSES.index(name) for name in TRUTH], PROBABILITIES, classes=CLASSES))
        == of_folder
    )


@pytest.mark.parametrize(
    ("draw", "arguments"),
    [
        (plots.training_curves, (EPOCHS,)),
        (plots.roc_curve, (TRUTH, PROBABILITIES)),
        (plots.precision_recall_curve, (TRUTH, PROBABILITIES)),
        (plots.calibration, (TRUTH, PROBABILITIES)),
        (plots.confusion_matrix, (TRUTH, TRUTH)),
        (plots.length_curve, ([1000, 2000], [0.5, 0.6])),
        (plots.context_curve, ([1000, 2000], [0.5, 0.6])),
        (plots.embedding_map, (PROBABILITIES, TRUTH)),
        (plots.track, ([0, 5], [1.0, -1.0])),
    ],
)
def test_each_draws_on_given_axes_and_has_names_on_both(draw: Any, arguments: Any) -> None:
    figure, axes = plt.subplots(1, 2)

    assert draw(*arguments, ax=axes[1]) is axes[1]
    assert plt.get_fignums() == [figure.number]
    assert not axes[0].lines
    assert axes[1].get_xlabel()
    assert axes[1].get_ylabel()
    new = draw(*arguments)
    assert new.figure is not figure


def test_the_roc_curve_has_the_area_of_each_class() -> None:
    ax = plots.roc_curve(TRUTH, PROBABILITIES)

    hot = np.array(TRUTH)[:, None] == CLASSES
    areas = [roc_auc_score(hot[:, column], PROBABILITIES[:, column]) for column in range(3)]
    named = zip(CLASSES, areas, strict=True)
    assert legend(ax) == ["chance", *(f"{name} (area {area:#.3g})" for name, area in named)]
    styles = [(line.get_color(), line.get_linestyle()) for line in ax.lines]
    assert len(set(styles)) == 4


def test_of_two_classes_the_second_is_drawn_from_one_column_or_two() -> None:
    truth, second = np.array([0, 1, 1, 0, 1]), np.array([0.2, 0.9, 0.4, 0.5, 0.8])
    ax = plots.precision_recall_curve(truth, second, classes=["no", "yes"])

    average = average_precision_score(truth, second)
    assert legend(ax) == [f"yes (average precision {average:#.3g})"]
    both = np.column_stack([1 - second, second])
    assert drawn(ax) == drawn(plots.precision_recall_curve(truth, both, classes=["no", "yes"]))


def test_many_classes_are_named_beside_the_axes() -> None:
    truth = np.arange(40) % 10
    ax = plots.roc_curve(truth, np.random.default_rng(0).dirichlet(np.ones(10), 40))

    ax.figure.draw_without_rendering()
    box = ax.get_legend().get_window_extent()
    assert box.x0 >= ax.get_window_extent().x1
    assert box.x1 <= ax.figure.bbox.x1


def test_training_curves_show_each_value_and_the_best_epoch(run: Path) -> None:
    ax = plots.training_curves(run)

    assert points(ax) == [[1, 0.7], [2, 0.5], [3, 0.3]]
    assert points(ax, 1) == [[1, 0.8], [2, 0.4], [3, 0.6]]
    assert legend(ax) == ["train", "validation", "best (epoch 2)"]
    of_mcc = plots.training_curves(EPOCHS, metric="mcc")
    assert points(of_mcc) == [[1, 0.1], [2, 0.6], [3, 0.5]]
    assert drawn(plots.training_curves(run / "metrics.json")) == drawn(
        plots.training_curves(EPOCHS)
    )


def test_training_curves_on_shared_axes_all_fit() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    figure, axes = plt.subplots(1, 2, sharey=True)
    higher = [row | {"train_loss": 9.0} for row in EPOCHS]

    plots.training_curves(EPOCHS, ax=axes[0])
    plots.training_curves(higher, ax=axes[1])

    low, high = axes[0].get_ylim()
    plt.close(figure)
    assert low == 0.0
    assert high > 9.0


def test_the_calibration_shows_bins_and_their_sizes() -> None:
    ax = plots.calibration(METRICS)

    assert points(ax, 1) == [[0.65, 0.5], [0.95, 1.0]]
    assert [bar.get_height() for bar in ax.patches] == [0.25, 0.75]
    assert "this model (calibration error 0.0500)" in legend(ax)
    of_arrays = plots.calibration(["a", "b"] * 5, [0.9] * 10)
    assert points(of_arrays, 1) == [[pytest.approx(0.9), 0.5]]


def test_the_confusion_matrix_has_each_count() -> None:
    ax = plots.confusion_matrix(METRICS)

    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert cells[1, 1] == "1,200"
    assert cells[2, 1] == "2"  # column, row
    assert [label.get_text() for label in ax.get_yticklabels()] == CLASSES
    of_labels = plots.confusion_matrix(["a", "a", "b"], ["a", "b", "b"])
    assert [text.get_text() for text in of_labels.texts] == ["1", "1", "0", "1"]
    of_counts = plots.confusion_matrix([[5, 1], [0, 2]], classes=["x", "y"])
    assert [text.get_text() for text in of_counts.texts] == ["5", "1", "0", "2"]


def test_of_several_labels_one_is_drawn() -> None:
    metrics = {"classes": ["a", "b"], "confusion": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}

    ax = plots.confusion_matrix(metrics, label="b")

    assert [text.get_text() for text in ax.texts] == ["5", "6", "7", "8"]
    assert ax.get_title() == "b"


def test_a_length_curve_has_the_size_of_each_bin_and_the_metric_asked_for() -> None:
    ax = plots.length_curve(METRICS)

    assert points(ax) == [[2000, 0.5], [8000, 0.8]]
    assert [text.get_text() for text in ax.texts] == ["n = 5", "n = 3"]
    assert ax.get_ylabel() == "MCC"
    assert points(plots.length_curve(METRICS, metric="auroc")) == [[2000, 0.7]]


def test_the_context_curve_ends_with_all_bases() -> None:
    ax = plots.context_curve(METRICS)

    assert [label.get_text() for label in ax.get_xticklabels()] == ["1 kb", "4.1 kb", "all"]
    assert points(ax, 1) == [[1024, 0.2], [4096, 0.6], [8192, 0.9]]
    assert drawn(plots.context_curve(METRICS["context"])) == drawn(ax)


def test_an_embedding_map_shows_the_directions_of_most_variance(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(30, 5)).astype(np.float32) * [10, 3, 0.1, 0.1, 0.1]
    ax = plots.embedding_map(vectors, ["b", "a", "_c"] * 10)

    assert legend(ax) == ["\u200b_c", "a", "b"]
    dots = np.concatenate([np.asarray(each.get_offsets()) for each in ax.collections])
    assert np.ptp(dots[:, 0]) > 2 * np.ptp(dots[:, 1]) > 5
    assert ax.get_xlabel().startswith("PC 1 (8")
    np.save(tmp_path / "x.npy", vectors)
    np.savez(tmp_path / "x.npz", embedding=vectors, record=["r"] * 30)
    lines = ["record\tlength\tfeature_0\tfeature_1\tfeature_2\tfeature_3\tfeature_4"]
    lines += ["r\t9\t" + "\t".join(map(repr, row)) for row in vectors.tolist()]
    (tmp_path / "x.tsv").write_text("\n".join(lines))
    plain = np.asarray(plots.embedding_map(vectors).collections[0].get_offsets())
    for name in ("x.npy", "x.npz", "x.tsv"):
        found = plots.embedding_map(tmp_path / name).collections[0].get_offsets()
        np.testing.assert_allclose(np.asarray(found), plain, atol=1e-5)
    of_numbers = plots.embedding_map(vectors, vectors[:, 0])
    np.testing.assert_array_equal(of_numbers.collections[0].get_array(), vectors[:, 0])


def test_a_track_of_a_bedgraph_file_is_that_of_its_arrays(tmp_path: Path) -> None:
    path = tmp_path / "x.bedgraph"
    path.write_text("track type=bedGraph\nchr1\t0\t10\t0.5\nchr1\t10\t20\t-1\nchr2\t3\t4\tnan\n")

    ax = plots.track(path, record="chr1")

    (above, below) = (each.get_paths()[0].vertices for each in ax.collections)
    assert (above[:, 1].max(), below[:, 1].min()) == (0.5, -1)
    assert above[above[:, 1] == 0.5][:, 0].max() == 10
    assert ax.get_xlabel() == "chr1 (bp)"
    same = plots.track([0, 10], [0.5, -1.0], record="chr1")
    for one, other in zip(ax.collections, same.collections, strict=True):
        np.testing.assert_array_equal(one.get_paths()[0].vertices, other.get_paths()[0].vertices)


def test_between_intervals_of_a_track_there_is_nothing() -> None:
    ax = plots.track([0, 100], [1.0, 1.0], ends=[10, 110])

    paths = ax.collections[0].get_paths()
    ends = [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in paths]
    assert ends == [(0, 10), (100, 110)]


def test_a_long_track_keeps_its_highest_and_lowest_values() -> None:
    values = np.zeros(1_000_000)
    values[[123_456, 777_777]] = 3.0, -2.0
    ax = plots.track(np.arange(1_000_000), values)

    (above, below) = (each.get_paths()[0].vertices for each in ax.collections)
    peak = above[above[:, 1] == 3.0][:, 0]
    assert peak.min() <= 123_456 <= peak.max()
    assert below[:, 1].min() == -2
    assert len(above) < 50_000
    assert ax.get_xlabel() == "record (kb)"


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda _: plots.roc_curve(METRICS), "got a dict, but a curve needs the probabilities"),
        (lambda _: plots.roc_curve(TRUTH[:-1], PROBABILITIES), "must have a row for each of 7"),
        (lambda _: plots.roc_curve(TRUTH, PROBABILITIES, classes=["x", "y", "z"]), "label 'ant'"),
        (lambda _: plots.roc_curve([0, 1], [0.5, np.nan]), "a probability is not a number"),
        (lambda run: plots.roc_curve(run / "gone"), "gone"),
        (lambda _: plots.calibration({"n": 3}), "the metrics: has no calibration"),
        (lambda _: plots.confusion_matrix([[1, 2, 3]]), r"shape \(1, 3\), but must be square"),
        (lambda _: plots.confusion_matrix(["a"], ["a", "b"]), r"shape \(1,\) and .* \(2,\)"),
        (
            lambda _: plots.confusion_matrix(METRICS, label="ant"),
            "for several labels per example",
        ),
        (
            lambda _: plots.confusion_matrix({"classes": ["a"], "confusion": [[[1, 2], [3, 4]]]}),
            "label is None, but a model of several labels has a matrix for each of a",
        ),
        (lambda _: plots.length_curve(METRICS, metric="r2"), "has no r2 of examples of similar"),
        (lambda _: plots.length_curve([1, 2], [0.5]), r"shapes \(2,\) and \(1,\)"),
        (lambda _: plots.length_curve(3), "got an int, but needs the folder of a run"),
        (lambda _: plots.context_curve({"n": 3}), "has no context ablation"),
        (lambda _: plots.training_curves(METRICS), "has no row per epoch"),
        (
            lambda run: plots.training_curves(run, metric="auroc"),
            "no metric 'auroc', but it must be one of loss, mcc",
        ),
        (lambda _: plots.embedding_map([[1, 2]]), r"shape \(1, 2\), but must be at least 3"),
        (lambda _: plots.embedding_map(np.full((4, 2), np.nan)), "vector 0 is not finite"),
        (lambda _: plots.embedding_map(PROBABILITIES, ["a"]), "1 label for 8 vectors"),
        (lambda _: plots.embedding_map(PROBABILITIES, method="tsne"), "must be pca or umap"),
        (lambda run: plots.embedding_map(run / "predictions.tsv"), "holds no embeddings"),
        (lambda _: plots.track([5, 0], [1, 2]), "are not sorted"),
        (lambda run: plots.track(run / "predictions.tsv"), "predictions.tsv:1: .*line of bedGraph"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_sentence(run: Path, draw: Any, words: str) -> None:
    with pytest.raises(RMTGenomicsError, match=words):
        draw(run)


def test_umap_is_used_if_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class UMAP:
        def __init__(self, **options: int) -> None:
            assert options["n_neighbors"] == 7  # there are 8 vectors
            assert options["random_state"] == 0

        def fit_transform(self, vectors: np.ndarray) -> np.ndarray:
            return vectors[:, 1:]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    ax = plots.embedding_map(PROBABILITIES, method="umap")

    assert ax.get_xlabel() == "UMAP 1"
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), PROBABILITIES[:, 1:])


def test_umap_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(RMTGenomicsError, match="pip install umap-learn"):
        plots.embedding_map(PROBABILITIES, method="umap")


def test_a_track_of_several_records_needs_the_name_of_one(tmp_path: Path) -> None:
    path = tmp_path / "x.bedgraph"
    path.write_text("chr1\t0\t10\t0.5\nchr2\t3\t4\t0.5\n")

    with pytest.raises(RMTGenomicsError, match=r"no record was named, but .* chr1, chr2"):
        plots.track(path)
    with pytest.raises(RMTGenomicsError, match="there is no record 'chr9'"):
        plots.track(path, record="chr9")
