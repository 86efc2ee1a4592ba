"""Small saved models and data sets for the tests of prediction, evaluation and the commands."""

import random
from pathlib import Path
from typing import Any

from tests.model.toys import toy

TWO = {"classes": ("at", "gc"), "task": "binary"}


def saved_model(folder: Path, **changes: Any) -> Path:
    """Save a tiny seeded model; by default for two classes."""
    toy(**{**TWO, **changes}).float().save_pretrained(folder)
    return folder


def dna(length: int, *, seed: int = 0, letters: str = "ACGT") -> str:
    """Random letters."""
    return "".join(random.Random(seed).choices(letters, k=length))


def write_fasta(path: Path, sequences: dict[str, str]) -> Path:
    """Write one line a sequence."""
    path.write_text("".join(f">{name}\n{letters}\n" for name, letters in sequences.items()))
    return path


def write_table(path: Path, *rows: str) -> Path:
    """Write rows whose columns are separated by blanks here, by tabs in the file."""
    path.write_text("".join("\t".join(row.split(" ")) + "\n" for row in rows))
    return path


def two_kinds(folder: Path, *, per_kind: int = 6, splits: str = "train") -> tuple[Path, Path]:
    """Write records rich in A and T, and others rich in G and C; and their labels.

    ``splits`` names the parts that records of each kind go to, in turn; empty = no such column.
    """
    sequences, words = {}, splits.split()
    rows = ["record label split" if words else "record label"]
    for number in range(2 * per_kind):
        label = ("at", "gc")[number % 2]
        letters = {"at": "AATTC", "gc": "GGCCA"}[label]
        name = f"{label}{number // 2}"
        sequences[name] = dna(40 + number, seed=number, letters=letters)
        split = [words[number // 2 % len(words)]] if words else []
        rows.append(" ".join([name, label, *split]))
    fasta = write_fasta(folder / "toy.fa", sequences)
    return fasta, write_table(folder / "labels.tsv", *rows)
