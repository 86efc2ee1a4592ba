"""Compare the files that ``golden.py`` writes: bit for bit, as text, or to 1e-6."""

import csv
import fnmatch
import json
import math
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

# Text that was replaced in tables and JSON files since the earlier commit: old -> new.
WORDS: dict[str, str] = {}

TOLERANCE = 1.001e-6  # tables print six decimals: the last may differ by one
FREE_TEXT = re.compile(r"(^|\.)(sentence|(notes|warnings)\.\d+)$")  # prose in JSON files
TIMES = ("seconds", "bp_per_second")  # columns and keys that hold times
MEASURED = re.compile(r"^(chosen_|free_|segments_kept)|_(memory|speed|time|time_at_most)$")
NOT_COMPARED = ("report.html", "README.md", "environment.txt", "*.svg", "*.png")

Items = dict[str, Any]


def read_tensors(path: Path) -> Items:
    """Read the tensors of a safetensors file, or weights and optimiser state of a checkpoint."""
    if path.suffix == ".safetensors":
        return dict(load_file(path))
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    parts = {key: checkpoint.get(key) for key in ("state_dict", "optimizer_states", "global_step")}
    return dict(_flatten(parts))


def read_values(path: Path) -> Items:
    """Read the values of a JSON, JSON Lines or TOML file by their dotted keys, without times."""
    text = path.read_text()
    if path.suffix == ".toml":
        values = tomllib.loads(text)
    elif path.suffix == ".jsonl":
        values = [json.loads(line) for line in text.splitlines()]
    else:
        values = json.loads(text)
    return {key: value for key, value in _flatten(values) if key.split(".")[-1] not in TIMES}


SHARD_LINES = ("#rmt-genomics shard", "#end")


def read_table(path: Path) -> Items:
    """Read the cells of a table as text, without what was measured on this machine."""
    delimiter = "," if path.suffix == ".csv" else "\t"
    with path.open(newline="") as file:
        rows = list(csv.reader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE))
    # The first and last line of a shard hold checksums; the last gained that of the input.
    rows = [row for row in rows if not row or not row[0].startswith(SHARD_LINES)]
    if path.name == "plan.tsv":
        rows = [row for row in rows if not MEASURED.search(row[0])]
    columns = [name in TIMES for name in rows[0]] if rows else []
    return {
        f"line {line}, column {column}": cell
        for line, row in enumerate(rows, 1)
        for column, cell in enumerate(row, 1)
        if not (column <= len(columns) and columns[column - 1])
    }


def read_arrays(path: Path) -> Items:
    """Read the arrays of an .npy or .npz file."""
    content = np.load(path)
    return {"array": content} if path.suffix == ".npy" else dict(content)


def read_bytes(path: Path) -> Items:
    """Read a file of any other kind as one text."""
    return {"content": path.read_bytes().decode(errors="replace")}


def _flatten(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list | tuple):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in pairs:
            yield from _flatten(inner, f"{key}.{name}" if key else str(name))
    else:
        yield key, value.numpy() if isinstance(value, torch.Tensor) else value


KINDS: tuple[tuple[str, str, Callable[[Path], Items], float], ...] = (
    ("*.safetensors", "weights", read_tensors, 0.0),
    ("*.ckpt", "checkpoints", read_tensors, 0.0),
    ("metrics.jsonl", "losses", read_values, 0.0),
    ("metrics.csv", "losses", read_table, 0.0),
    ("*.toml", "settings", read_values, 0.0),
    ("*.json", "metrics", read_values, TOLERANCE),
    ("*.np[yz]", "embeddings", read_arrays, TOLERANCE),
    ("embed*", "embeddings", read_table, TOLERANCE),
    ("predict[._]*", "predictions", read_table, TOLERANCE),
    ("*.tsv", "tables", read_table, 0.0),
    ("*", "other files", read_bytes, 0.0),
)  # the first pattern that fits counts


@dataclass
class Row:
    """One line of the printed table."""

    what: str
    compared: int = 0
    equal: int = 0
    largest: float = 0.0
    problems: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def add(self, path: Path, base: Items, new: Items, allowed: float) -> None:
        """Compare the items of one file."""
        for item in sorted(base.keys() | new.keys()):
            old, now = base.get(item), new.get(item)
            if isinstance(old, str):
                for word, replacement in WORDS.items():
                    old = old.replace(word, replacement)
            is_in_both = item in base and item in new
            distance = difference(old, now) if is_in_both else math.inf
            if distance and FREE_TEXT.search(item):
                self.texts.append(f"{path}: {item}: {old} -> {now}")
                continue
            self.compared += 1
            self.equal += distance == 0
            self.largest = max(self.largest, distance)
            if distance > allowed:
                self.problems.append(f"{path}: {item}: {_short(old)} -> {_short(now)}")


def difference(old: Any, new: Any) -> float:
    """Return 0 for equal values, the largest difference of numbers, infinity for all else."""
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        if old.dtype != new.dtype or old.shape != new.shape:
            return math.inf
        if old.tobytes() == new.tobytes():
            return 0.0
        old, new = (array.astype(np.float64) for array in (old, new))
        largest = float(np.abs(old - new).max())
    elif type(old) is type(new) and old == new:
        return 0.0
    else:
        try:
            largest = abs(float(old) - float(new))
        except (TypeError, ValueError):
            return math.inf
    return largest if 0 < largest < math.inf else math.inf  # written differently, or NaN


def _short(value: Any) -> str:
    return "array" if isinstance(value, np.ndarray) else str(value)[:100]


def compare(base: Path, new: Path) -> list[Row]:
    """Compare all files of two folders, one row for each part and kind of file."""
    rows: dict[str, Row] = {}
    files = {
        path.relative_to(folder)
        for folder in (base, new)
        for path in folder.rglob("*")
        if path.is_file() and not any(fnmatch.fnmatch(path.name, each) for each in NOT_COMPARED)
    }
    for path in sorted(files):
        kind, read, allowed = next(
            rest for pattern, *rest in KINDS if fnmatch.fnmatch(path.name, pattern)
        )
        row = rows.setdefault(f"{path.parts[0]}: {kind}", Row(f"{path.parts[0]}: {kind}"))
        absent = [tree for tree, folder in (("base", base), ("new", new))
                  if not (folder / path).is_file()]  # fmt: skip
        if absent:
            row.compared += 1
            row.largest = math.inf
            row.problems.append(f"{path}: is missing in {absent[0]}")
        else:
            row.add(path, read(base / path), read(new / path), allowed)
    return list(rows.values())


def report(rows: list[Row]) -> bool:
    """Print the table and what differs; return whether nothing differs beyond what is allowed."""
    print("| what | compared | equal | largest difference |\n| --- | --- | --- | --- |")
    for row in rows:
        mark = " **differs**" if row.problems else ""
        print(f"| {row.what} | {row.compared} | {row.equal} | {row.largest:.3g}{mark} |")
    texts = [text for row in rows for text in row.texts]
    print(f"\nSentences in JSON files that have changed (not compared): {len(texts)}")
    for text in texts[:5]:
        print(f"  {text}")
    for row in rows:
        if row.problems:
            print(f"\n{row.what}: differences: {len(row.problems)}")
            print(*(f"  {problem}" for problem in row.problems[:10]), sep="\n")
    return bool(rows) and not any(row.problems for row in rows)
