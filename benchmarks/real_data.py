"""Train on real data sets with the settings in ``configs/`` and judge on their validation parts.

    python benchmarks/real_data.py DATA --sets tf_0 mitogenomes --seeds 0 1 2

DATA holds ``plasmids/``, ``mitogenomes/`` (``*.fasta.gz`` and ``labels.tsv``) and ``gue/SET/``
(``train.csv.gz`` and ``dev.csv.gz``, as published). The 16S genes are those of this project.
Figures are of the validation part, chosen epoch included: a test part would be lower.
"""

import argparse
import csv
import gzip
from pathlib import Path
from statistics import mean, stdev

from rmt_genomics.datasets import LabelSource
from rmt_genomics.training import read_config, train

HERE = Path(__file__).parent
SETS = {
    **{f"tf_{number}": "gue_tf.toml" for number in range(5)},
    "prom_core_all": "gue_promoters.toml",
    "prom_300_tata": "gue_tata.toml",
    "mitogenomes": "mitogenomes.toml",
    "plasmids": "plasmids.toml",
    "rrna16s": "rrna16s.toml",
}
METRICS = ("val_mcc", "val_accuracy", "val_auroc")


def main() -> None:
    """Train each set with each seed; print a row a set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/real_data"))
    options = parser.parse_args()
    print(f"| set | {' | '.join(METRICS)} | seeds |\n| --- | --- | --- | --- | --- |", flush=True)
    for name in options.sets:
        rows = [_validation(name, options.data, seed, options.out) for seed in options.seeds]
        cells = [_spread([row[metric] for row in rows]) for metric in METRICS]
        print(f"| {name} | {' | '.join(cells)} | {len(rows)} |", flush=True)


def _validation(name: str, data: Path, seed: int, out: Path) -> dict[str, float]:
    """Train once; return the validation metrics of the best epoch."""
    sequences, labels = _inputs(name, data, out)
    config = read_config(HERE / "configs" / SETS[name], [])
    run = out / f"{name}_{seed}"
    return train(sequences, labels, run, config, seed=seed, overwrite=True).metrics


def _inputs(name: str, data: Path, out: Path) -> tuple[Path, LabelSource]:
    """Return the sequences of a set and where its labels are."""
    if name == "rrna16s":
        folder = HERE.parent / "data" / name
        return folder / "rrna16s.fasta.gz", LabelSource(folder / "labels.tsv", None)
    if (data / "gue" / name).is_dir():
        return _one_table(data / "gue" / name, out / f"{name}.csv"), LabelSource(
            Path("column"), None
        )
    return data / name / f"{name}.fasta.gz", LabelSource(data / name / "labels.tsv", None)


def _one_table(folder: Path, table: Path) -> Path:
    """Join the training and the dev part into one table with a split column."""
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sequence", "label", "split"])
        for part, split in (("train", "train"), ("dev", "validation")):
            with gzip.open(folder / f"{part}.csv.gz", "rt", newline="") as rows:
                for row in csv.DictReader(rows):
                    writer.writerow([row["sequence"], row["label"], split])
    return table


def _spread(values: list[float | None]) -> str:
    """Write mean and standard deviation."""
    if None in values:
        return "-"
    return f"{mean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
