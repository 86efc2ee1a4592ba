"""How long ``rmt-genomics split`` takes with very many label lines, and how much memory.

    python benchmarks/split_scale.py [LINES]

LINES (1,000,000) labelled intervals of 100 bp that tile a genome, in random order, or as many
records of 100 bp. Prints seconds, and the peak memory of the process.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from subprocess import DEVNULL, Popen

LENGTH_BP = 100


def write_intervals(folder: Path, lines: int) -> None:
    """Write a genome, and labels of the intervals that tile it."""
    dice = Random(0)
    with (folder / "a.fa").open("w") as fasta:
        fasta.write(">chr1\n")
        fasta.writelines("".join(dice.choices("ACGT", k=LENGTH_BP)) + "\n" for _ in range(lines))
    starts = [number * LENGTH_BP for number in dice.sample(range(lines), lines)]
    with (folder / "l.tsv").open("w") as table:
        table.write("record\tstart\tend\tlabel\n")
        for start in starts:
            table.write(f"chr1\t{start}\t{start + LENGTH_BP}\t{dice.choice('abc')}\n")


def write_records(folder: Path, lines: int) -> None:
    """Write short records, and a label for each."""
    dice = Random(0)
    with (folder / "a.fa").open("w") as fasta, (folder / "l.tsv").open("w") as table:
        table.write("record\tlabel\n")
        for index in range(lines):
            fasta.write(f">record_{index}\n{''.join(dice.choices('ACGT', k=LENGTH_BP))}\n")
            table.write(f"record_{index}\t{dice.choice('abc')}\n")


def measure(folder: Path, method: str) -> tuple[float, float]:
    """Return seconds and peak MB of one split."""
    command = [
        "rmt_genomics.cli",
        "split",
        "a.fa",
        "--labels",
        "l.tsv",
        "--out",
        "s.tsv",
        "--overwrite",
    ]
    environment = os.environ | {"RMT_GENOMICS_CACHE": str(folder / "cache")}
    start = time.monotonic()
    process = Popen(
        [sys.executable, "-m", *command, "--by", method],
        cwd=folder,
        env=environment,
        stdout=DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"split ended with {status}"
    return time.monotonic() - start, usage.ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print("examples\tby\tseconds\tpeak MB")
    for write, methods in (
        (write_intervals, ("homology", "stratified")),
        (write_records, ("homology", "stratified")),
    ):
        with tempfile.TemporaryDirectory() as name:
            write(Path(name), lines)
            for method in methods:
                seconds, peak = measure(Path(name), method)
                kind = write.__name__.removeprefix("write_")
                print(f"{lines:,} {kind}\t{method}\t{seconds:.1f}\t{peak:.0f}", flush=True)


if __name__ == "__main__":
    main()
