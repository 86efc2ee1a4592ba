"""Several runs side by side: how far figures move when nothing but the seed does.

One run is one draw. A gain smaller than the spread between seeds is no gain.
"""

import json
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rmt_genomics.errors import DataError, RMTGenomicsWarning
from rmt_genomics.evaluation.tables import metric_names

FILE_NAME = "metrics.json"
_NEEDED = ("n", "classes", "task", "split")


def summarise(metrics_of_runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return for each metric its mean and standard deviation over runs.

    Args:
        metrics_of_runs: The contents of ``metrics.json`` of runs of one task.

    Returns:
        By metric: mean, sd (of a sample, so None for one run) and n, the runs that have it; a
        metric that is not defined in any run has None.

    Raises:
        DataError: If there is no run.
    """
    if not metrics_of_runs:
        raise DataError("there is no run to summarise, but at least 1 must be.")
    return {
        name: _mean_and_sd([each[name] for each in metrics_of_runs if each.get(name) is not None])
        for name in metric_names(dict(metrics_of_runs[0]))
    }


def _mean_and_sd(values: Sequence[float]) -> dict[str, Any]:
    return {
        "mean": statistics.fmean(values) if values else None,
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "n": len(values),
    }


def compare_lines(runs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a table: a row a metric, a column a run, then mean and sd if there are several.

    Below the metrics stand the differences to the baselines, where the runs have them.

    Args:
        runs: The contents of ``metrics.json`` by the name of the run.
    """
    several = len(runs) > 1
    yield "\t".join(["metric", *runs, *(["mean", "sd"] if several else [])])
    contents = list(runs.values())
    rows = {name: [each[name] for each in contents] for name in metric_names(dict(contents[0]))}
    for baseline in contents[0].get("differences", {}):
        if all(baseline in each.get("differences", {}) for each in contents):
            found = [each["differences"][baseline] for each in contents]
            rows[f"{found[0]['metric']} minus {baseline}"] = [each["difference"] for each in found]
    for name, values in rows.items():
        numbers = values
        if several:
            summary = _mean_and_sd([value for value in values if value is not None])
            numbers = [*values, summary["mean"], summary["sd"]]
        yield "\t".join([name, *("" if each is None else f"{each:.4f}" for each in numbers)])


def read_runs(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Read the ``metrics.json`` of runs or evaluations, by the path that was given.

    Warns if they were not judged on as many examples of the same part.

    Raises:
        DataError: If one is missing or is none, is named twice, or has other classes than the
            first.
    """
    runs: dict[str, dict[str, Any]] = {}
    for path in paths:
        if str(path) in runs:
            raise DataError(f"{path}: is named twice, but a run counts once. Leave one out.")
        runs[str(path)] = _read(path)
        _check_alike(paths[0], runs[str(paths[0])], path, runs[str(path)])
    return runs


def _read(path: Path) -> dict[str, Any]:
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise DataError(
            f"{file}: there is no such file, but a finished run or evaluation has one. Give the "
            "--out folder of rmt-genomics train or evaluate."
        )
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if lacking := [name for name in _NEEDED if name not in found]:
            raise ValueError(f"it lacks {', '.join(lacking)}")
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{file}: is no metrics.json of this program ({error}), but must be one. "
            "Judge the model again with rmt-genomics evaluate."
        ) from error
    return found


def _check_alike(first: Path, expected: dict[str, Any], path: Path, found: dict[str, Any]) -> None:
    """Raise DataError if two runs cannot be compared; warn if they should rather not be."""
    if (found["task"], found["classes"]) != (expected["task"], expected["classes"]):
        raise DataError(
            f"{path}: has the classes {', '.join(found['classes'])} ({found['task']}), but "
            f"{first} has {', '.join(expected['classes'])} ({expected['task']}), and only runs of "
            "one task can be compared."
        )
    if (found["split"], found["n"]) != (expected["split"], expected["n"]):
        warnings.warn(
            f"{path}: was judged on {found['n']} examples ({found['split']}), but {first} on "
            f"{expected['n']} ({expected['split']}), so a difference may be one of examples.",
            RMTGenomicsWarning,
            stacklevel=3,
        )
