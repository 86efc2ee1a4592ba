"""Time several programs against each other in one run, each in a process of its own.

Machines are noisy and shared, so contestants take turns: one job each, round after round. What is
reported is the median of the counted rounds and the peak memory of the process. Ratios of medians
from one run are comparable; seconds from two runs are not.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Result:
    """What one contestant needed: median seconds a job, and peak memory above its start."""

    seconds: float
    slowest: float
    fastest: float
    peak_mib: float


def take_part(job: Callable[[], object]) -> None:
    """Be a contestant: run the job once for each line on stdin and say how long it took."""
    start = _peak_mib()
    for _ in sys.stdin:
        began = time.perf_counter()
        job()
        report = {"seconds": time.perf_counter() - began, "peak_mib": _peak_mib() - start}
        print(json.dumps(report), flush=True)


def hold(
    script: str,
    contestants: list[list[str]],
    *,
    rounds: int,
    warmup: int = 1,
    alone: bool = False,
) -> list[Result | None]:
    """Start one process a contestant (``script`` with its arguments) and let them take turns.

    With ``alone`` one after the other, where they do not fit into memory together. One that stops
    before the end (out of memory, say) has no result.
    """
    if alone:
        each = [hold(script, [one], rounds=rounds, warmup=warmup) for one in contestants]
        return [result for (result,) in each]
    processes = [
        subprocess.Popen(
            [sys.executable, script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for arguments in contestants
    ]
    reports: list[list[dict[str, float]]] = [[] for _ in processes]
    for _ in range(warmup + rounds):
        for process, mine in zip(processes, reports, strict=True):
            if (report := _one_job(process)) is not None:
                mine.append(report)
    for process in processes:
        process.communicate()
    return [_result(mine[warmup:]) if len(mine) == warmup + rounds else None for mine in reports]


def _one_job(process: subprocess.Popen[str]) -> dict[str, float] | None:
    """Ask for one job and wait for its report; None from one that has stopped."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write("go\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    line = process.stdout.readline()
    return json.loads(line) if line else None


def _result(reports: list[dict[str, float]]) -> Result:
    seconds = [report["seconds"] for report in reports]
    peak = max(report["peak_mib"] for report in reports)
    return Result(median(seconds), max(seconds), min(seconds), peak)


def _peak_mib() -> float:
    """Peak resident memory of this process so far."""
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / (1024 * 1024 if sys.platform == "darwin" else 1024)
