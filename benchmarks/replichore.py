"""Which half of a bacterial chromosome is a 10-kb window from? Composition of one strand decides.

    apt-get download ragout-examples && dpkg-deb -x ragout-examples_*.deb ragout
    python benchmarks/replichore.py \\
        ragout/usr/share/doc/ragout/examples/E.Coli/references/MG1655-K12.fasta.gz

The chromosome is copied from the origin in both directions, to the terminus. On the leading strand
there is more G than C, so the given strand of a window tells its half (replichore), while counts
of both strands taken together do not. The baselines on stranded k-mers must come within 0.05 MCC of
the model, and the summary must say so.
"""

import argparse
import random
from pathlib import Path

from rmt_genomics.dna import read_records
from rmt_genomics.evaluation import evaluate_run
from rmt_genomics.evaluation.tables import metric_lines, summary_sentences
from rmt_genomics.reports import write_model_card, write_report
from rmt_genomics.training import read_config, train

ORIGIN, TERMINUS = 3_926_000, 1_590_000  # of E. coli K-12 MG1655, in bp
WINDOW_BP = 10_000
BLOCK = 10  # neighbouring windows that are in one part of the split
SETTINGS = [  # those of the published figures, all given
    *("model.preset=tiny", "model.stem_pool=16", "model.pooling=last", "model.stem_width=11"),
    *("model.dropout=0", "model.features=none", "training.max_epochs=15"),
    *("training.batch_size=8", "training.learning_rate=5e-4", "training.weight_decay=0.01"),
    "training.weight_average=0",
]


def main() -> None:
    """Train, evaluate, and print the table of metrics and the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fasta", type=Path, help="one record: E. coli K-12 MG1655")
    parser.add_argument("--out", type=Path, default=Path("runs/replichore"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    labels = write_labels(options.fasta, options.out / "labels.tsv")
    run = options.out / f"run_{options.seed}"
    config = read_config(None, [*SETTINGS, *options.settings])
    result = train(options.fasta, labels, run, config, seed=options.seed, overwrite=True)
    metrics = evaluate_run(run, options.fasta, trained=result)
    write_report(run)
    write_model_card(run)
    print(*metric_lines(metrics), "", *summary_sentences(metrics), sep="\n")


def write_labels(fasta: Path, path: Path) -> Path:
    """Write the replichore and the part of the split of each window that is in one replichore."""
    (record,) = read_records(fasta)
    draw = random.Random(0)
    parts = draw.choices(("train", "validation", "test"), (3, 1, 1), k=record.length)
    rows = ["record\tstart\tend\tstrand\tlabel\tgroup\tsplit"]
    for index in range(record.length // WINDOW_BP):
        start, end = index * WINDOW_BP, (index + 1) * WINDOW_BP
        if start < TERMINUS < end or start < ORIGIN < end:
            continue
        label = "left" if TERMINUS <= start < ORIGIN else "right"
        block = index // BLOCK
        cells = [record.name, start, end, "+", label, f"block{block}", parts[block]]
        rows.append("\t".join(map(str, cells)))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
