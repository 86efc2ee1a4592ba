"""Training speed with one process and with several, each on one core, in turns.

    python benchmarks/processes.py [--devices 1 2] [--rounds 3]

Both read the same made-up records in the same global batches. The first epoch of each run does not
count; what is reported is the median of the others, and the part of a step that is not shared:
``t(n) = t(1) x (a / n + 1 - a)``, solved for ``1 - a``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

SETTINGS = {
    "model.preset": "tiny",
    "training.batch_size": 8,
    "training.max_epochs": 4,
    "training.patience": 99,
}


def main() -> None:
    """Print one line for each number of processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, default=40)
    parser.add_argument("--longest-bp", type=int, default=4096)
    options = parser.parse_args()
    speeds: dict[int, list[float]] = {devices: [] for devices in options.devices}
    with tempfile.TemporaryDirectory() as folder:
        data = write(Path(folder), options.records, options.longest_bp)
        for number in range(options.rounds):
            for devices in options.devices:
                speeds[devices] += train(data, Path(folder) / f"{number}-{devices}", devices)
    report(speeds)


def write(folder: Path, records: int, longest_bp: int) -> list[str]:
    """Write records of a quarter of the greatest length to all of it."""
    random = np.random.default_rng(0)
    with (folder / "made.fasta").open("w") as fasta, (folder / "labels.tsv").open("w") as labels:
        labels.write("record\tlabel\n")
        for number in range(records):
            length = int(random.integers(longest_bp // 4, longest_bp + 1))
            fasta.write(f">r{number}\n{''.join(random.choice(list('ACGT'), length))}\n")
            labels.write(f"r{number}\t{'ab'[number % 2]}\n")
    return [str(folder / "made.fasta"), "--labels", str(folder / "labels.tsv")]


def train(data: list[str], out: Path, devices: int) -> list[float]:
    """Train, one thread a process; return base pairs a second of each epoch but the first."""
    code = (
        "import sys; from pathlib import Path\n"
        "from rmt_genomics.training import read_config, train\n"
        "train(Path(sys.argv[1]), Path(sys.argv[3]), Path(sys.argv[4]),"
        " read_config(None, sys.argv[6:]), device='cpu', devices=int(sys.argv[5]))"
    )
    script = out.with_suffix(".py")
    script.write_text(code)
    settings = [f"{key}={value}" for key, value in SETTINGS.items()]
    subprocess.run(
        [sys.executable, str(script), *data, str(out), str(devices), *settings],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        capture_output=True,
    )
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [row["bp_per_second"] for row in rows[1:]]


def report(speeds: dict[int, list[float]]) -> None:
    """Print medians, and how far they are from a share of the work each."""
    one = median(speeds[min(speeds)])
    print("processes\tbp/s\tslowest\tfastest\tspeed-up\tnot shared")
    for devices, found in speeds.items():
        gain = median(found) / one
        alone = (1 / gain - 1 / devices) / (1 - 1 / devices) if devices > 1 else 0.0
        print(
            f"{devices}\t{median(found):,.0f}\t{min(found):,.0f}\t{max(found):,.0f}\t"
            f"{gain:.2f}\t{alone:.0%}"
        )


if __name__ == "__main__":
    main()
