"""What figures are drawn from: run folders, files and arrays, read and checked.

Dimensions: n examples, c classes.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rmt_genomics.errors import ConfigError, DataError
from rmt_genomics.parsing import as_path, read_number, read_text, shown, shown_type

EVALUATE = "Train or evaluate again."
_MAX_TRACK_POINTS = 5000  # more than a figure has pixels


class Scored(NamedTuple):
    """The truth of some examples, and the probabilities that a model gives."""

    truth: np.ndarray  # (n, c) of 0 and 1
    probabilities: np.ndarray  # (n, c)
    classes: list[str]

    @property
    def is_multilabel(self) -> bool:
        """Whether an example has none or several of the classes."""
        return bool((self.truth.sum(axis=1) != 1).any())


def read_scored(source: Any, probabilities: Any, classes: Sequence[Any] | None) -> Scored:
    """Return truth and probabilities of a folder, or of arrays."""
    if probabilities is None:
        return _read_predictions(source)
    truth, scores = np.asarray(source), np.asarray(probabilities, dtype=float)
    if scores.ndim == 1:  # of the second of two classes
        scores = np.column_stack([1 - scores, scores])
    if truth.ndim == 2:
        names = range(truth.shape[1]) if classes is None else classes
        hot = truth.astype(int)
    else:
        names = np.unique(truth).tolist() if classes is None else list(classes)
        are_indices = np.issubdtype(truth.dtype, np.integer) and not set(truth.tolist()) <= set(
            names
        )
        columns = np.arange(len(names)) if are_indices else np.array(names)
        hot = (truth[:, None] == columns).astype(int)
        if (hot.sum(axis=1) != 1).any():
            wrong = truth[hot.sum(axis=1) != 1][0]
            raise DataError(
                f"the label {shown(wrong.item())} is unknown, but must be one of "
                f"{', '.join(map(str, names))}."
            )
    names = [str(name) for name in names]
    if hot.shape != scores.shape or len(names) != hot.shape[1]:
        raise DataError(
            f"probabilities have shape {np.shape(probabilities)}, but must have a row for each of "
            f"{len(hot)} examples and a column for each of {', '.join(names[:5])}."
        )
    if not np.isfinite(scores).all():
        raise DataError("a probability is not a number, but all must be. Leave the example out.")
    return Scored(hot, scores, names)


def _read_predictions(source: Any) -> Scored:
    """Read ``predictions.tsv`` of a folder, or ``out_of_fold.tsv`` of a cross-validation."""
    if isinstance(source, Mapping) or not isinstance(source, str | Path):
        raise DataError(
            f"got {shown_type(source)}, but a curve needs the probabilities of examples: the "
            "folder of a run, or truth and probabilities."
        )
    path = Path(source)
    if path.suffix == ".json":
        path = path.parent
    if path.is_dir():
        files = [path / name for name in ("predictions.tsv", "out_of_fold.tsv")]
        path = next((file for file in files if file.is_file()), files[0])
    text = read_text(path, "the predictions of an evaluation")
    rows = list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    columns = [name for name in (rows[0] if rows else ()) if str(name).startswith("prob_")]
    if not columns or "truth" not in rows[0]:
        raise DataError(
            f"{path}: has no columns of truth and probabilities, but a curve needs them. Give the "
            "folder of a classifier that was evaluated."
        )
    classes = [name.removeprefix("prob_") for name in columns]
    truths = [(row["truth"] or "").split(";") for row in rows]
    values = [[read_number(row[name] or "") for name in columns] for row in rows]
    if any(value is None for row in values for value in row):
        raise DataError(f"{path}: has a probability that is no number, but must not. {EVALUATE}")
    truth = np.array([[name in labels for name in classes] for labels in truths], dtype=int)
    return Scored(truth, np.array(values, dtype=float), classes)


def read_run_metrics(source: Any) -> tuple[dict[str, Any], str]:
    """Return the content of ``metrics.json``, and its name for messages."""
    from rmt_genomics.evaluation.result_files import read_metrics  # loads torch

    if isinstance(source, Mapping):
        return dict(source), "the metrics"
    if not isinstance(source, str | Path):
        raise DataError(
            f"got {shown_type(source)}, but needs the folder of a run, a metrics.json or its "
            "content; or two arrays."
        )
    path = Path(source)
    path = path / "metrics.json" if path.is_dir() else path
    return read_metrics(path), str(path)


def read_run_epochs(source: Any) -> tuple[list[Mapping[str, Any]], str]:
    """Return one row per epoch, and the name of the source for messages."""
    from rmt_genomics.evaluation.result_files import read_epochs  # loads torch

    if isinstance(source, str | Path):
        path = Path(source)
        folder = path if path.is_dir() else path.parent
        path = folder / "metrics.jsonl" if path.is_dir() or path.suffix == ".json" else path
        rows: list[Mapping[str, Any]] = list(read_epochs(path))
        where = str(path)
    else:
        is_rows = isinstance(source, Iterable) and not isinstance(source, Mapping)
        rows, where = list(source) if is_rows else [], "the epochs"
    if not rows or not all(isinstance(row, Mapping) and "epoch" in row for row in rows):
        raise DataError(
            f"{where}: has no row per epoch, but they are to be drawn. Give the folder of a run, "
            "or the history_ of an RMTEstimator."
        )
    return rows, where


def read_pairs(first: Any, second: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays of numbers of the same length."""
    arrays = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if arrays[0].ndim != 1 or arrays[0].shape != arrays[1].shape or not len(arrays[0]):
        raise DataError(
            f"the arrays have shapes {arrays[0].shape} and {arrays[1].shape}, but must be one "
            "number for each of the same points."
        )
    return arrays


def read_confusion(
    source: Any, predicted: Any, classes: Sequence[Any] | None
) -> tuple[np.ndarray, list[str]]:
    """Return counts ``(c, c)``, or ``(c, 2, 2)`` of several labels, and the names of classes."""
    if predicted is not None:
        from sklearn.metrics import confusion_matrix as compute

        truth, called = np.asarray(source), np.asarray(predicted)
        if truth.ndim != 1 or truth.shape != called.shape:
            raise DataError(
                f"true labels have shape {truth.shape} and predicted ones {called.shape}, but both "
                "must be (n,). Pass one label per example."
            )
        names = np.unique(np.concatenate([truth, called])) if classes is None else classes
        return compute(truth, called, labels=list(names)), [str(name) for name in names]
    if not isinstance(source, str | Path | Mapping):
        counts = np.asarray(source)
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
            raise DataError(
                f"the matrix has shape {counts.shape}, but must be square: counts "
                "[truth][predicted]. Or pass true and predicted labels."
            )
        names = range(len(counts)) if classes is None else classes
        return counts, [str(name) for name in names]
    found, where = read_run_metrics(source)
    if found.get("confusion") is None:
        raise DataError(f"{where}: has no confusion matrix, but it is to be drawn. {EVALUATE}")
    return np.array(found["confusion"]), [str(name) for name in found["classes"]]


def read_vectors(source: Any) -> np.ndarray:
    """Return vectors ``(n, features)`` from a file of ``embed``, or as they are."""
    where = "the vectors"
    if isinstance(source, str | Path):
        path, where = Path(source), str(source)
        try:
            if path.suffix == ".tsv":
                lines = read_text(path, "a file of embeddings").splitlines()
                first = lines[0].split("\t").index("feature_0")
                source = [row.split("\t")[first:] for row in lines[1:]]
            else:
                loaded = np.load(path)
                source = loaded if isinstance(loaded, np.ndarray) else loaded["embedding"]
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise DataError(
                f"{where}: holds no embeddings ({error}), but must be a .npy, .npz or .tsv file of "
                "rmt-genomics embed."
            ) from error
    vectors = np.asarray(source, dtype=float)
    if vectors.ndim != 2 or len(vectors) < 3 or vectors.shape[1] < 2:
        raise DataError(
            f"{where}: have shape {vectors.shape}, but must be at least 3 vectors of 2 features."
        )
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise DataError(
            f"{where}: vector {row} is not finite, but must be. Leave out records without a "
            "sequence."
        )
    return vectors


def project(vectors: np.ndarray, method: str) -> tuple[np.ndarray, list[str]]:
    """Return points ``(n, 2)`` and the names of their axes."""
    if method == "pca":
        from sklearn.decomposition import PCA

        pca = PCA(n_components=2, random_state=0)
        points = pca.fit_transform(vectors)
        parts = pca.explained_variance_ratio_
        return points, [f"PC {i} ({part:.0%} of the variance)" for i, part in enumerate(parts, 1)]
    if method != "umap":
        raise ConfigError(f"method is {method!r}, but must be pca or umap.")
    try:
        from umap import UMAP
    except ImportError as error:
        raise ConfigError(
            "method is 'umap', but the package umap-learn is not installed. Install it: "
            "pip install umap-learn. Or use method='pca'."
        ) from error
    neighbours = min(15, len(vectors) - 1)
    umap = UMAP(n_components=2, n_neighbors=neighbours, random_state=0, n_jobs=1)
    return umap.fit_transform(vectors), ["UMAP 1", "UMAP 2"]


def read_bedgraph(
    source: Any, record: str | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Return starts, ends and values of a record, and its name."""
    path = as_path(source, "a bedGraph file")
    rows: dict[str, list[list[float]]] = {}
    for number, line in enumerate(read_text(path, "a bedGraph file").splitlines(), 1):
        if not line.strip() or line.startswith(("track", "browser", "#")):
            continue
        cells = line.split("\t")
        values = [read_number(cell) for cell in cells[1:]]
        if len(values) == 3 and cells[3] == "nan":
            values[2] = float("nan")
        if len(values) != 3 or any(value is None for value in values):
            raise DataError(
                f"{path}:{number}: is {shown(line)}, but a line of bedGraph must be record, start, "
                "end and value, separated by tabs."
            )
        rows.setdefault(cells[0], []).append(
            [float(value) for value in values if value is not None]
        )
    names = list(rows)
    if record is None and len(names) == 1:
        record = names[0]
    if record not in rows:
        problem = "no record was named" if record is None else f"there is no record {record!r}"
        raise DataError(
            f"{path}: {problem}, but a track shows one of {', '.join(names[:5]) or 'some'}. Pass "
            "record=..."
        )
    starts, stops, heights = np.array(sorted(rows[record])).T
    return starts, stops, heights, record


def thinned(
    starts: np.ndarray, stops: np.ndarray, heights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join neighbouring intervals if there are more than can be seen; the largest value stays."""
    if len(starts) <= _MAX_TRACK_POINTS:
        return starts, stops, heights
    first = np.linspace(0, len(starts), _MAX_TRACK_POINTS + 1).astype(int)[:-1]
    size = np.where(np.isnan(heights), -1, np.abs(heights))
    largest = [low + int(size[low:high].argmax()) for low, high in _ranges(first, len(starts))]
    return starts[first], stops[np.append(first[1:], len(starts)) - 1], heights[largest]


def _ranges(first: np.ndarray, total: int) -> Iterable[tuple[int, int]]:
    return zip(first.tolist(), [*first[1:].tolist(), total], strict=True)
