"""Several runs side by side: how much metrics vary when only the seed differs.

A gain smaller than the standard deviation between seeds is no gain.
"""

import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rmt_genomics.errors import DataError, RMTGenomicsWarning
from rmt_genomics.evaluation.result_files import read_metrics
from rmt_genomics.evaluation.tables import format_metric
from rmt_genomics.model.metrics import metric_keys

FILE_NAME = "metrics.json"
_REQUIRED = ("n", "classes", "task", "split")


def read_runs(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Read the ``metrics.json`` of runs or evaluations, by their path.

    Warns if they were evaluated on other examples than the first: another number or another part.

    Raises:
        DataError: If a file is missing or is not a ``metrics.json``, is named twice, or has other
            classes than the first.
    """
    runs: dict[str, dict[str, Any]] = {}
    for path in paths:
        if str(path) in runs:
            raise DataError(f"{path}: is named twice, but a run counts once. Leave one out.")
        runs[str(path)] = metrics = _read(path)
        _check_comparable(paths[0], runs[str(paths[0])], path, metrics)
    return runs


def compare_lines(runs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a table: one row per metric, one column per run, then mean and sd of several runs.

    Below the metrics are the differences to the baselines that all runs have. ``runs`` has the
    content of ``metrics.json`` by the name of the run.
    """
    contents = list(runs.values())
    first = contents[0]
    rows = {key: [run.get(key) for run in contents] for key in metric_keys(first["task"])}
    for baseline, compared in (first.get("differences") or {}).items():
        if all(baseline in (run.get("differences") or {}) for run in contents):
            name = f"{compared['metric']} minus {baseline}"
            rows[name] = [run["differences"][baseline]["difference"] for run in contents]
    has_summary = len(runs) > 1
    yield "\t".join(["metric", *runs, *(["mean", "sd"] if has_summary else [])])
    for name, values in rows.items():
        cells = [*values, *_mean_and_sd(values)] if has_summary else values
        yield "\t".join([name, *map(format_metric, cells)])


def _mean_and_sd(values: Sequence[int | float | None]) -> tuple[float | None, float | None]:
    """Return the mean and the sample standard deviation of the runs that have a value."""
    defined = [value for value in values if value is not None]
    return (
        statistics.fmean(defined) if defined else None,
        statistics.stdev(defined) if len(defined) > 1 else None,
    )


def _read(path: Path) -> dict[str, Any]:
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise DataError(
            f"{file}: there is no such file, but a finished run or evaluation has one. Give the "
            "--out folder of rmt-genomics train or evaluate."
        )
    metrics = read_metrics(file)
    if lacking := [name for name in _REQUIRED if name not in metrics]:
        raise DataError(
            f"{file}: lacks {', '.join(lacking)}, but a metrics.json of this program has them. "
            "Evaluate the model again with rmt-genomics evaluate."
        )
    return metrics


def _check_comparable(
    first: Path, expected: dict[str, Any], path: Path, metrics: dict[str, Any]
) -> None:
    """Raise DataError if two runs cannot be compared; warn if their examples differ."""
    if (metrics["task"], metrics["classes"]) != (expected["task"], expected["classes"]):
        raise DataError(
            f"{path}: has the classes {', '.join(metrics['classes'])} ({metrics['task']}), but "
            f"{first} has {', '.join(expected['classes'])} ({expected['task']}), and only runs of "
            "one task can be compared. Leave one out."
        )
    if (metrics["split"], metrics["n"]) != (expected["split"], expected["n"]):
        warnings.warn(
            f"{path}: was evaluated on {metrics['n']} examples ({metrics['split']}), but {first} "
            f"on {expected['n']} ({expected['split']}), so a difference may be one of examples.",
            RMTGenomicsWarning,
            stacklevel=3,
        )
