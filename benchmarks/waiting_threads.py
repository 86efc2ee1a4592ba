"""Seconds of a training step with spinning and with sleeping OpenMP threads, idle and busy cores.

    python benchmarks/waiting_threads.py [--steps 8] [--limit 120]

One step trains both strands of 8 sequences of 8,192 bp (preset tiny, ``stem_pool = 16``). The
measured training runs alone, beside one and beside two other trainings with the same number of
threads. Each cell is the median over ``--steps`` steps after one that does not count; a run that
takes longer than ``--limit`` seconds is stopped and what it reached is printed.
"""

import argparse
import os
import subprocess
import sys
import time
from statistics import median

WORKER = """
import sys, time
import torch
from rmt_genomics.model import ClassifierConfig, RMTClassifier

config = ClassifierConfig(classes=("a", "b"), task="binary", dim=64, depth=3, heads=2,
                          segment_length=256, num_memory_tokens=8, stem_pool=16)
torch.manual_seed(0)
model = RMTClassifier(config)
codes = torch.randint(0, 4, (8, 8192), dtype=torch.uint8)
lengths = torch.full((8,), 8192)
optimizer = torch.optim.AdamW(model.parameters())
while True:
    began = time.perf_counter()
    optimizer.zero_grad()
    model(codes, lengths).square().sum().backward()
    optimizer.step()
    print(time.perf_counter() - began, flush=True)
"""


VARIABLES: dict[str, dict[str, str]] = {
    "unset": {},
    "ACTIVE": {"OMP_WAIT_POLICY": "ACTIVE"},
    "PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "PASSIVE, GOMP_SPINCOUNT=1000": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"},
}
"""Environment of each column; the last is what ``rmt_genomics`` sets. The worker loads torch first,
so that the package changes nothing."""


def main() -> None:
    """Print one row for each number of threads and of other trainings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for one cell")
    options = parser.parse_args()
    print(f"| threads | other trainings | {' | '.join(VARIABLES)} |")
    print("| --- | --- " + "| --- " * len(VARIABLES) + "|")
    for threads in (1, 2):
        for others in (0, 1, 2):
            seconds = (
                seconds_per_step(variables, threads, others, options.steps, options.limit)
                for variables in VARIABLES.values()
            )
            print(
                f"| {threads} | {others} | {' | '.join(f'{s:.2f}' for s in seconds)} |", flush=True
            )


def seconds_per_step(
    variables: dict[str, str], threads: int, others: int, steps: int, limit: float
) -> float:
    """Run one training beside ``others`` and return the median time of its steps."""
    workers = [_start(variables, threads) for _ in range(1 + others)]
    try:
        seconds: list[float] = []
        for worker in workers:  # all are in their second step before anything is counted
            _read(worker)
        began = time.monotonic()
        while len(seconds) < steps and (not seconds or time.monotonic() - began < limit):
            seconds.append(_read(workers[0]))
        return median(seconds)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _start(variables: dict[str, str], threads: int) -> subprocess.Popen[str]:
    env = {**os.environ, **variables, "OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(
        [sys.executable, "-c", WORKER], env=env, stdout=subprocess.PIPE, text=True
    )


def _read(worker: "subprocess.Popen[str]") -> float:
    assert worker.stdout is not None
    return float(worker.stdout.readline())


if __name__ == "__main__":
    main()
