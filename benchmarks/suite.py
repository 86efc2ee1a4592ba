"""What does a user get who gives sequences and labels, and no setting? Twenty real questions.

    python benchmarks/fetch_suite.py DATA
    python benchmarks/suite.py --data DATA --shared SHARED --out suite.jsonl
    python benchmarks/suite.py --out suite.jsonl --table

For each set and seed: ``rmt-genomics train`` without a setting, then ``evaluate`` on the test part,
which is the same for all seeds. The validation part, by which epoch and settings are chosen, is
drawn from the training part by ``train``, except where a set of DATA or of ``data/`` has one.
SHARED has ``plasmids/`` (``val`` is the test part), ``mitogenomes/`` (the test part is drawn by
group) and ``gue/`` (the published dev part is the test part); without it these are left out. Sets
of more than 20 Mb are run with the first seed only.

A line of JSON is appended for each run, one with ``error`` for a run that failed. Runs that are in
the file are not repeated, failed ones with ``--retry`` only. ``--features-none`` does the same
without features of the whole sequence. Run folders, logs and tables of labels are in a folder
beside the file.
"""

import argparse
import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, NamedTuple

from rmt_genomics.dna import read_records
from rmt_genomics.errors import counted

CLONE = Path(__file__).resolve().parents[1]
PROGRAM = [sys.executable, "-m", "rmt_genomics.cli"]
SHIPPED = ("genomes", "rrna16s")
FETCHED = (
    *("capsule_species", "capsule_transferases", "chromosome_species", "plasmid_windows"),
    *("replichore", "recombination_spots", "recombination_rate", "mosaics", "order"),
)
GUE = ("tf_0", "tf_3", "prom_core_all", "prom_300_tata", "mouse_0")
PLASMIDS = {  # set: column of the label
    "plasmids_relaxase": "label",
    "plasmids_conjugation": "conjugation",
    "plasmids_resistance": "resistance",
}
SHARED = (*GUE, "mitogenomes", *PLASMIDS)
SETS = (*SHIPPED, *FETCHED, *SHARED)
REGRESSION = ("recombination_rate",)
LARGE_BP = 20_000_000  # above, one seed
LIMITS = ((50_000_000, 600.0), (float("inf"), 900.0))  # up to so many bp, a run may take seconds
VARIANTS: dict[str, tuple[str, ...]] = {"auto": (), "none": ("--set", "model.features=none")}
CHOSEN = {  # settings of config.toml that go into the line of a run
    "model": "features composition_k protein_k wide_k stem_pool dim depth segment_length pooling "
    "num_memory_tokens memory_gate dropout",
    "training": "max_epochs batch_size learning_rate",
    "data": "window_bp step_bp",
}
INTERRUPTED = (130, -signal.SIGINT)  # exit status after Ctrl-C
Row = dict[str, Any]
Key = tuple[str, int, str]


class Inputs(NamedTuple):
    """What ``train`` is given, and what it is like."""

    fasta: Path
    labels: str  # a table, or column
    lengths: list[int]  # of each example in bp
    num_labels: int  # different ones


def main() -> None:
    """Run what is missing, and print the table."""
    options = _options()
    if not options.table:
        began = time.monotonic()
        run_missing(options)
        print(f"This pass took {(time.monotonic() - began) / 60:.1f} minutes.\n")
    print(table(read_rows(options.out)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", type=Path, help="folder written by fetch_suite.py")
    add("--shared", type=Path, help="folder with plasmids/, mitogenomes/ and gue/")
    add("--out", type=Path, required=True, help="file of results, one line a run")
    add("--sets", nargs="+", choices=SETS)
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--features-none", action="store_true", help="with --set model.features=none")
    add("--retry", action="store_true", help="repeat runs that failed")
    add("--processes", type=int, default=1, help="runs at a time")
    add("--timeout", type=float, default=1800, help="seconds after which train is stopped")
    add("--table", action="store_true", help="print the table of what is there, run nothing")
    options = parser.parse_args()
    if options.sets is None:
        options.sets = [name for name in SETS if options.shared or name not in SHARED]
    if not options.table:
        if options.data is None and set(FETCHED) & set(options.sets):
            parser.error("--data is missing: make its folder with benchmarks/fetch_suite.py")
        if options.shared is None and set(SHARED) & set(options.sets):
            parser.error(f"--shared is missing, but needed for {', '.join(SHARED)}")
    return options


def run_missing(options: argparse.Namespace) -> None:
    """Run each set and seed that is not in the file yet, and append its line."""
    done = latest(read_rows(options.out))
    lock, is_stopped = threading.Lock(), threading.Event()

    def run_and_append(key: Key, inputs: Inputs) -> None:
        if is_stopped.is_set():
            return
        try:
            row = run(key, inputs, options)
        except BaseException:
            is_stopped.set()
            raise
        with lock, options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)

    def is_missing(key: Key) -> bool:
        return key not in done or (options.retry and "error" in done[key])

    variant = "none" if options.features_none else "auto"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    jobs = []
    with ThreadPoolExecutor(options.processes) as pool:
        try:
            for name in options.sets:
                if not any(is_missing((name, seed, variant)) for seed in options.seeds):
                    continue
                inputs = inputs_of(name, options)
                seeds = options.seeds[:1] if sum(inputs.lengths) > LARGE_BP else options.seeds
                keys = [(name, seed, variant) for seed in seeds]
                jobs += [
                    pool.submit(run_and_append, key, inputs) for key in keys if is_missing(key)
                ]
            for job in jobs:
                job.result()  # raises what went wrong
        except BaseException:  # Ctrl-C too: no further run
            is_stopped.set()
            raise


def read_rows(path: Path) -> list[Row]:
    """Read the lines of the file; none if there is no file yet."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def latest(rows: Iterable[Row]) -> dict[Key, Row]:
    """Return the last line of each set, seed and variant."""
    return {(row["set"], row["seed"], row["variant"]): row for row in rows}


# --- the sets ------------------------------------------------------------------------------------


def inputs_of(name: str, options: argparse.Namespace) -> Inputs:
    """Return the sequences and labels of a set; write a table of labels where one must be made."""
    work = options.out.with_suffix("").resolve() / "inputs"
    work.mkdir(parents=True, exist_ok=True)
    labels = work / f"{name}.tsv"
    if name in GUE:
        fasta = _write_gue(options.shared / "gue" / name, work / f"{name}.csv")
        return _described(fasta, "column", _read_table(fasta, ","))
    if name in PLASMIDS:
        fasta = options.shared / "plasmids/plasmids.fasta.gz"
        _write_table(labels, _plasmid_rows(fasta.with_name("labels.tsv"), PLASMIDS[name]))
    elif name == "mitogenomes":
        fasta = options.shared / "mitogenomes/mitogenomes.fasta.gz"
        _write_table(labels, with_test_part(_mitogenome_rows(fasta.with_name("labels.tsv"))))
    elif name in SHIPPED:
        fasta = CLONE / f"data/{name}/{name}.fasta.gz"
        labels = fasta.with_name("labels.tsv")
    else:
        fasta, labels = (options.data / name / each for each in ("sequences.fasta", "labels.tsv"))
        if not labels.is_file():
            sys.exit(f"{labels}: is missing. Make it with benchmarks/fetch_suite.py {options.data}")
    return _described(fasta, str(labels.resolve()), _read_table(labels, "\t"))


def _described(fasta: Path, labels: str, rows: Sequence[Mapping[str, str]]) -> Inputs:
    """Add the length of each example."""
    by_record = {record.name: record.length for record in read_records(fasta)}
    if "end" in rows[0]:
        lengths = [int(row["end"]) - int(row["start"]) for row in rows]
    elif "record" in rows[0]:
        lengths = [by_record[row["record"]] for row in rows]
    else:
        lengths = list(by_record.values())
    return Inputs(fasta.resolve(), labels, lengths, len({row["label"] for row in rows}))


def _read_table(path: Path, delimiter: str) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def _write_table(path: Path, rows: Sequence[Mapping[str, str]], delimiter: str = "\t") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _plasmid_rows(path: Path, column: str) -> list[dict[str, str]]:
    """Return the plasmids with one of their labels; the published val part is the test part."""
    parts = {"train": "train", "val": "test"}
    return [
        {
            "record": row["record"],
            "label": row[column],
            "group": row["group"],
            "split": parts[row["split"]],
        }
        for row in _read_table(path, "\t")
    ]


def _mitogenome_rows(path: Path) -> list[dict[str, str]]:
    """Return the table of mitochondria; the group of NC_012920.1 (Homo sapiens) is repaired.

    It is the printed form of a pandas series over several lines, "id", "NC_012920.1    3201", ...
    """
    rows = _read_table(path, "\t")
    for row in rows:
        if "\n" in row["group"]:
            row["group"] = row["group"].splitlines()[1].split()[-1]
    return rows


def with_test_part(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Draw a fifth of every class as test part, by group; always the same."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels, groups = [row["label"] for row in rows], [row["group"] for row in rows]
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(labels, labels, groups)
    test = set(next(folds)[1].tolist())
    return [
        {**row, "split": "test" if index in test else "train"} for index, row in enumerate(rows)
    ]


def _write_gue(folder: Path, path: Path) -> Path:
    """Join the published train and dev parts into one table; dev is the test part."""
    rows = []
    for part, split in (("train", "train"), ("dev", "test")):
        with gzip.open(folder / f"{part}.csv.gz", "rt", newline="") as file:
            rows += [{**row, "split": split} for row in csv.DictReader(file)]
    _write_table(path, rows, ",")
    return path


# --- one run -------------------------------------------------------------------------------------


def run(key: Key, inputs: Inputs, options: argparse.Namespace) -> Row:
    """Train and evaluate once, each in a process of its own; return the line of the file."""
    name, seed, variant = key
    folder = options.out.with_suffix("").resolve() / f"{name}-{seed}-{variant}"
    folder.mkdir(parents=True, exist_ok=True)
    model, evaluation = folder / "run", folder / "evaluation"
    data = [str(inputs.fasta), "--labels", inputs.labels, "--overwrite"]
    row: Row = {
        "set": name,
        "seed": seed,
        "variant": variant,
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "median_bp": int(median(inputs.lengths)),
        "longest_bp": max(inputs.lengths),
        "total_bp": sum(inputs.lengths),
        "examples": len(inputs.lengths),
        "classes": None if name in REGRESSION else inputs.num_labels,
    }
    commands = {
        "train": ["train", *data, "--out", str(model), "--seed", str(seed), *VARIANTS[variant]],
        "evaluate": ["evaluate", str(model), *data, "--out", str(evaluation)],
    }
    for step, command in commands.items():
        log = folder / f"{step}.log"
        code, seconds, cpu_seconds = execute(command, log, options.timeout)
        row |= {f"{step}_seconds": round(seconds, 1), f"{step}_cpu_seconds": round(cpu_seconds, 1)}
        if code in INTERRUPTED:
            raise KeyboardInterrupt
        if code:
            is_late = seconds >= options.timeout
            reason = f"stopped after {options.timeout:g} s" if is_late else _last_message(log)
            return {**row, "error": f"{step}: {reason}"}
    metrics = json.loads((evaluation / "metrics.json").read_text(encoding="utf-8"))
    return {**row, **results(metrics), **_settings(model)}


def execute(command: Sequence[str], log: Path, timeout: float) -> tuple[int, float, float]:
    """Run the program; return its exit status, wall-clock seconds and seconds of processor time."""
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [*PROGRAM, *command], cwd=CLONE, stdout=file, stderr=subprocess.STDOUT
        )
        timer = threading.Timer(timeout, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    return process.returncode, seconds, usage.ru_utime + usage.ru_stime


def results(metrics: Mapping[str, Any]) -> Row:
    """Return what the line of a run has of ``metrics.json``."""
    baseline = metrics["summary"]["baseline"]
    metric = "r2" if metrics["task"] == "regression" else "mcc"
    row = {
        "test_examples": metrics["n"],
        "metric": metric,
        "model": metrics[metric],
        "interval": metrics["intervals"].get(metric),
        "rating": metrics["summary"]["rating"],
        "baseline": baseline,
    }
    if baseline is None:
        return row
    compared = metrics["differences"][baseline]
    return {
        **row,
        "baseline_k": metrics["baselines"][baseline].get("k"),
        "baseline_value": metrics["baselines"][baseline][metric],
        **{key: compared[key] for key in ("difference", "low", "high")},
    }


def _settings(model: Path) -> Row:
    """Return the settings that were chosen, and the number of epochs that were trained."""
    config = tomllib.loads((model / "config.toml").read_text(encoding="utf-8"))
    epochs = (model / "metrics.jsonl").read_text(encoding="utf-8").count('"val_loss"')
    chosen = {
        f"{section}.{key}": config[section][key]
        for section, keys in CHOSEN.items()
        for key in keys.split()
        if key in config.get(section, {})
    }
    return {"epochs": epochs, "settings": chosen}


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    found = subprocess.run(command, cwd=CLONE, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def _last_message(log: Path) -> str:
    """Return the message of the error in a log, else its last line."""
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error")]
    return (errors or lines or ["no output"])[-1].strip()


# --- the table -----------------------------------------------------------------------------------


def table(rows: Iterable[Row]) -> str:
    """Return the table of all sets in Markdown, and below it what it adds up to."""
    by_set: dict[str, dict[str, list[Row]]] = {}
    for (name, _, variant), row in latest(rows).items():
        by_set.setdefault(name, {}).setdefault(variant, []).append(row)
    lines = [
        "| set | length (longest) | examples | classes | time | model | best baseline | difference "
        "| features none | difference |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    names = [name for name in SETS if name in by_set]
    for name in names:
        cells = [name, *_cells(by_set[name])]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for variant in VARIANTS:
        tried = [by_set[name][variant] for name in names if variant in by_set[name]]
        lines += _counts(variant, [_mean(rows) for rows in tried])
    return "\n".join(lines)


def _cells(variants: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Yield the cells of a set, but for its name."""
    row = next(iter(variants.values()))[-1]
    yield f"{row['median_bp']:,} ({row['longest_bp']:,})"
    yield f"{row['examples']:,}"
    yield "numbers" if row["classes"] is None else str(row["classes"])
    auto, none = (_mean(variants.get(variant, [])) for variant in VARIANTS)
    if auto is None:
        yield from ("-", _failures(variants.get("auto", [])), "-", "-")
    else:
        yield f"{auto['seconds'] / 60:.1f} min{' (over its limit)' if auto['is_late'] else ''}"
        yield from (auto["model"], auto["baseline"], auto["compared"])
    if none is None:
        yield from (_failures(variants.get("none", [])), "-")
    else:
        yield from (none["model"], none["compared"])


def _failures(rows: Sequence[Row]) -> str:
    """Return how many runs failed, and why the last one did; "-" if there is none."""
    reasons = [row["error"] for row in rows if "error" in row]
    if not reasons:
        return "-"
    return f"{len(reasons)} of {len(rows)} failed: {reasons[-1]}".replace("|", "\\|")


def _mean(rows: Sequence[Row]) -> Row | None:
    """Return the means over seeds; None without a finished run.

    The interval of the difference is that of the mean of its ends: the test examples are the same
    for all seeds, so their part of the uncertainty does not shrink with seeds.
    """
    from rmt_genomics.evaluation.tables import baseline_name  # loads torch

    finished = [row for row in rows if "error" not in row]
    if not finished:
        return None
    first, values = finished[0], [row["model"] for row in finished]
    spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    failures = f" ({_failures(rows)})" if len(finished) < len(rows) else ""
    metric = {"mcc": "MCC", "r2": "R2"}[first["metric"]]
    seconds = mean(row["train_seconds"] + row["evaluate_seconds"] for row in finished)
    limit = next(limit for most, limit in LIMITS if first["total_bp"] <= most)
    summary: Row = {
        "metric": first["metric"],
        "seconds": seconds,
        "is_late": seconds > limit,
        "model": f"{metric} {mean(values):.3f}{spread}{failures}",
    }
    if any(row["baseline"] is None for row in finished):
        return summary | {"baseline": "-", "compared": "-", "difference": None}
    middle, low, high = (
        mean(row[key] for row in finished) for key in ("difference", "low", "high")
    )
    names = Counter(baseline_name(row["baseline"], {"k": row["baseline_k"]}) for row in finished)
    baseline = mean(row["baseline_value"] for row in finished)
    text = f"{middle:+.3f} ({low:+.3f} to {high:+.3f})"
    return summary | {
        "baseline": f"{baseline:.3f}, {names.most_common(1)[0][0]}",
        "compared": f"**{text}**" if low > 0 or high < 0 else text,
        "difference": middle,
        "rating": "better" if low > 0 else "worse" if high < 0 else "not different",
    }


def _counts(variant: str, summaries: Sequence[Row | None]) -> list[str]:
    """Say how many sets are worse and better than the best baseline, and the median difference."""
    if not summaries:
        return []
    finished = [each for each in summaries if each is not None]
    compared = [each for each in finished if each["difference"] is not None]
    count = Counter(each["rating"] for each in compared)
    of_mcc = [each["difference"] for each in compared if each["metric"] == "mcc"]
    middle = f"{median(of_mcc):+.3f}" if of_mcc else "-"
    late = sum(each["is_late"] for each in finished)
    title = {"auto": "No settings", "none": "Features none"}[variant]
    return [
        f"{title}, {counted(len(summaries), 'set')}: significantly worse than the best independent "
        f"baseline {count['worse']}, better {count['better']}, no difference "
        f"{count['not different']}, without a result {len(summaries) - len(compared)}; over the "
        f"limit of time {late}; median difference in MCC {middle}.",
        "",
    ]


if __name__ == "__main__":
    main()
