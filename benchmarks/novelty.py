"""How often ``predict`` notes a 4-mer composition or GC content beyond the training examples.

    python benchmarks/novelty.py DATA

DATA is a folder with ``plasmids`` (sequences, and labels with columns split and genus), and
``mitogenomes``. The training examples are plasmids of the train part, of all genera or of one;
compared are the plasmids of the other part (of the same genera), mitochondrial genomes, and
shuffled and random DNA. Prints a table, and the time that a comparison takes.
"""

import csv
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from rmt_genomics.dna import encode, read_records
from rmt_genomics.prediction.training_range import MAX_EXAMPLES, OTHER_KMERS, TrainingRange

GENERA = ("", "Escherichia", "Bacillus", "Staphylococcus")  # "" = all
NUM_OTHERS = 300


def fractions(train: Sequence[np.ndarray], others: Mapping[str, Sequence[np.ndarray]]) -> list[str]:
    """Return for each set how many have the note on 4-mers, and how many any note."""
    training_range = TrainingRange.fit(train[:MAX_EXAMPLES])
    assert training_range is not None
    cells = []
    for sequences in others.values():
        notes = [training_range.notes(codes) for codes in sequences]
        kmers, either = sum(OTHER_KMERS in each for each in notes), sum(map(bool, notes))
        cells.append(f"{kmers / len(notes):.1%} ({either / len(notes):.1%})")
    return cells


def main(data: Path) -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    with (data / "plasmids" / "labels.tsv").open() as file:
        rows = {row["record"]: row for row in csv.DictReader(file, delimiter="\t")}
    plasmids = [
        (rows[record.name], encode(record.sequence))
        for record in read_records(data / "plasmids" / "plasmids.fasta.gz")
    ]
    genomes = read_records(data / "mitogenomes" / "mitogenomes.fasta.gz")
    mitochondria = [encode(record.sequence) for record in islice(genomes, NUM_OTHERS)]
    uniform = [rng.integers(0, 4, 40_000).astype(np.uint8) for _ in range(NUM_OTHERS)]
    print("genus\ttrain\theld out\tother genera\tmitochondria\tshuffled\trandom")
    for genus in GENERA:
        chosen = [codes for row, codes in plasmids if genus in ("", row["genus"])]
        train = [
            c for row, c in plasmids if genus in ("", row["genus"]) and row["split"] == "train"
        ]
        held_out = [c for row, c in plasmids if not genus and row["split"] != "train"]
        if genus:  # too few are held out: a random quarter is
            order = rng.permutation(len(chosen))
            held_out = [chosen[index] for index in order[::4]]
            train = [chosen[index] for index in np.delete(order, np.s_[::4])]
        other = [codes for row, codes in plasmids if genus not in ("", row["genus"])]
        others = {
            "held out": held_out,
            "other genera": other[:: len(other) // NUM_OTHERS or 1] or held_out,
            "mitochondria": mitochondria,
            "shuffled": [rng.permutation(codes) for codes in held_out],
            "random": uniform,
        }
        print(genus or "all", len(train), *fractions(train, others), sep="\t", flush=True)
    start, num_bp = time.process_time(), sum(map(len, mitochondria))
    fractions(mitochondria[:100], {"all": mitochondria})
    print(f"{num_bp / (time.process_time() - start) / 1e6:.0f} Mb/s")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
