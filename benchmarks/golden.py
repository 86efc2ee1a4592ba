"""Compare the results of this tree with those of an earlier commit, on the same machine.

    python benchmarks/golden.py [--base 89958c7] [--keep FOLDER] [--only kmer tables]

Small data is generated, and both trees run the same commands on it (``python cli.py train ...``,
one thread, fixed seeds). ``golden_compare.py`` then compares the files that they write: weights,
checkpoints and losses must be equal bit for bit; predictions, embeddings and metrics may differ by
1e-6; tables, tracks and splits must be equal as text. The part ``old_run`` uses and resumes run
folders of the earlier commit with this tree.

Not compared: reports, model cards and plots, messages on stderr, and whatever is a time or a memory
size. Sentences in JSON files may differ; their number is printed. The exit code is 1 if anything
else differs.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from golden_compare import compare, report

ROOT = Path(__file__).resolve().parents[1]

SIZE = {
    "model.dim": 16,
    "model.depth": 2,
    "model.heads": 2,
    "model.segment_length": 128,
    "model.num_memory_tokens": 4,
    "model.stem_width": 5,
    "training.max_epochs": 2,
    "training.batch_size": 6,
    "training.learning_rate": 0.005,
}
REGULARIZED = {
    "model.dropout": 0.2,
    "training.shift_bp": 20,
    "training.weight_average": 0.8,
    "training.accumulate_batches": 2,
}
CURRICULUM = {
    "curriculum.segments": "[1,4]",
    "curriculum.shorten": "random_window",
    "curriculum.advance_at": 0.4,
    "curriculum.patience": 1,
}
CHANGES = " ".join(f"--set {key}={value}" for key, value in SIZE.items())
TRAININGS: dict[str, tuple[str, dict[str, Any]]] = {  # name: labels, settings (keys of both trees)
    "base": ("binary.tsv", {}),
    "kmer": ("classes.tsv", {
        "tokenizer.kind": "kmer", "tokenizer.k": 4, "tokenizer.stride": 2,
        "model.strand_head": "symmetric", "model.pooling": "mean", "training.replay": "true",
    }),
    "composition": ("classes.tsv", {
        "model.composition_k": 3, "model.protein_k": 2, "model.orf_codons": 20,
        "model.pooling": "attention", "training.replay": "false",
    }),
    "curriculum": ("binary.tsv", {
        **CURRICULUM, "model.memory_gate": "hard", "model.strand_head": "symmetric",
        "training.max_epochs": 4,
    }),
    "regression": ("numbers.tsv", {"model.pooling": "max", "training.bptt_depth": 2}),
    "regularized": ("classes.tsv", {**REGULARIZED, "model.stem_pool": 2, "training.max_epochs": 3}),
    "multilabel": ("intervals.tsv", {
        "model.wide_k": "[3,5]", "model.memory_gate": "true", "model.segment_length": 64,
        "training.class_weights": "none",
    }),
}  # fmt: skip
FASTA = "{data}/records.fasta"
PREDICT, EMBED = f"predict {{out}}/run {FASTA}", f"embed {{out}}/run {FASTA}"
AFTER_TRAINING: dict[str, dict[str, str]] = {  # name: output (a file gets stdout), command
    "base": {
        "predict.tsv": PREDICT,
        "predict_windows.tsv": f"{PREDICT} --window 400 --step 150",
        "predict_windows.bed": f"{PREDICT} --window 500 --format bed",
        "predict_windows.bedgraph": f"{PREDICT} --window 500 --step 200 --format bedgraph",
        "predict_calibrated.tsv": f"{PREDICT} --calibrated --coverage 0.9 --abstain-below 0.6",
        "shard_1": f"{PREDICT} --shard 1/2 --out {{out}}/predict_1.tsv",
        "shard_2": f"{PREDICT} --shard 2/2 --out {{out}}/predict_2.tsv",
        "processes": f"{PREDICT} --processes 2 --out {{out}}/predict_processes.tsv",
        "joined.tsv": "join {out}/predict_1.tsv {out}/predict_2.tsv",
        "embed.tsv": EMBED,
        "npy": f"{EMBED} --window 700 --out {{out}}/embed_windows.npy",
    },
    "kmer": {
        "predict_intervals.tsv": f"{PREDICT} --intervals {{data}}/sites.bed",
        "predict_intervals.bed": f"{PREDICT} --intervals {{data}}/sites.bed --format bed",
        "predict.bedgraph": f"{PREDICT} --format bedgraph --class gc_rich",
        "npz": f"{EMBED} --intervals {{data}}/sites.bed --out {{out}}/embed_intervals.npz",
    },
    "composition": {
        "evaluate": f"evaluate {{out}}/run {FASTA} --labels {{data}}/classes.tsv "
        "--out {out}/evaluate",
        "embed.tsv": EMBED,
    },
    "curriculum": {"predict.tsv": PREDICT},
    "regression": {
        "predict.tsv": PREDICT,
        "predict_windows.bedgraph": f"{PREDICT} --window 600 --format bedgraph",
        "evaluate": f"evaluate {{out}}/run {FASTA} --labels {{data}}/numbers.tsv "
        "--out {out}/evaluate",
    },
    "multilabel": {"predict_windows.tsv": f"{PREDICT} --window 300"},
}
SPLIT = f"split {FASTA} --labels {{data}}/binary.tsv --seed 3"
TABLES = {  # commands that need no model
    "split_group": f"split {FASTA} --labels {{data}}/classes.tsv --out {{out}}/split_group.tsv",
    "split_homology": f"{SPLIT} --by homology --out {{out}}/split_homology.tsv",
    "split_stratified": f"{SPLIT} --by stratified --out {{out}}/split_stratified.tsv",
    "split_record": f"split {FASTA} --labels {{data}}/intervals.tsv --out {{out}}/split_record.tsv",
    "split_numbers": f"split {FASTA} --labels {{data}}/numbers.tsv --out {{out}}/split_numbers.tsv",
    "inspect.tsv": f"inspect {FASTA} --labels {{data}}/classes.tsv",
    "plan.tsv": f"plan {FASTA} --labels {{data}}/classes.tsv --device cpu {CHANGES}",
    "simulate": "simulate --task two_facts --number 40 --length 400 --out {out}/simulated --seed 3",
}  # fmt: skip


@dataclass(frozen=True)
class Tree:
    """One version of the program, and the folder for what it reads and writes."""

    name: str
    source: Path
    folder: Path

    def start(self, command: str, out: Path) -> "subprocess.Popen[str]":
        """Start a command of the command line; ``{data}`` and ``{out}`` are folders."""
        words = [
            word.format(data=self.folder / "data", out=out, base=self.folder.parent / "base")
            for word in command.split()
        ]
        env = {
            **os.environ,
            **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
            "OMP_WAIT_POLICY": "PASSIVE",
            "PYTHONPATH": str(self.source),
            "RMT_GENOMICS_CACHE": str(self.folder / "cache"),
            "HF_HUB_OFFLINE": "1",
            "MPLBACKEND": "Agg",
        }
        return subprocess.Popen(
            [sys.executable, "cli.py", *words], cwd=self.source, env=env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, command: str, out: Path, output: str = "") -> None:
        """Run a command to its end; standard output goes to a file if the output has a suffix."""
        print(f"{self.name}: {command}", file=sys.stderr)
        stdout, stderr = (process := self.start(command, out)).communicate()
        if process.returncode:
            message = f"{self.name}: {command}\nfailed: {stderr}"
            if self.name == "base":
                raise SystemExit(message)
            print(message, file=sys.stderr)  # its missing files are reported as differences
            return
        path = out / (output if Path(output).suffix else f"{output or 'train'}.stdout.tsv")
        path.write_text(stdout)


def main() -> None:
    """Run both trees, compare their files and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="89958c7", metavar="COMMIT")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write here and keep the files")
    parser.add_argument("--only", nargs="+", choices=[*TRAININGS, "tables", "old_run"])
    parser.add_argument("--one-at-a-time", action="store_true", help="use one core, not two")
    options = parser.parse_args()
    names = options.only or [*TRAININGS, "tables", "old_run"]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        source = Path(temporary) / "source"
        _git("worktree", "add", "--detach", str(source), options.base)
        try:
            base, new = Tree("base", source, folder / "base"), Tree("new", ROOT, folder / "new")
            for tree in (base, new):
                shutil.rmtree(tree.folder, ignore_errors=True)
                write_data(tree.folder / "data")
            with ThreadPoolExecutor(1 if options.one_at_a_time else 2) as pool:
                list(pool.map(lambda tree: run_all(tree, names), (base, new)))
            if "old_run" in names:
                run_with_old_folders(new, base)
        finally:
            _git("worktree", "remove", "--force", str(source))
        rows = compare(base.folder / "out", new.folder / "out")
    is_equal = report(rows)
    here = _git("describe", "--always", "--dirty").strip()
    print(f"\nBase {options.base}, this tree {here}; {time.monotonic() - began:.0f} s.")
    raise SystemExit(0 if is_equal else 1)


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# Data


def write_data(folder: Path) -> None:
    """Write 60 records of 300 to 3,000 bp in three kinds of composition, and their labels.

    Every tenth record is the mutated reverse complement of an earlier one; some have N, lower case
    or other IUPAC letters.
    """
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    shares = {"at_rich": 0.35, "gc_rich": 0.65, "repeat": 0.5}
    records: list[tuple[str, str, str]] = []
    for index in range(60):
        label = list(shares)[index % 3]
        if index % 10 == 9:
            _, label, earlier = records[index - 9]
            letters = list(earlier[::-1].translate(str.maketrans("ACGTacgt", "TGCAtgca")))
            for position in random.choice(len(letters), len(letters) // 50, replace=False):
                letters[position] = "ACGT"[random.integers(4)]
        else:
            gc = shares[label] + random.uniform(-0.1, 0.1)
            weights = [(1 - gc) / 2, gc / 2, gc / 2, (1 - gc) / 2]
            letters = list(random.choice(list("ACGT"), size=random.integers(300, 3001), p=weights))
            if label == "repeat":
                letters[100:220] = "GATACA" * 20
            if index % 7 == 3:
                letters[40:60] = "N" * 20
                letters[60:90] = [letter.lower() for letter in letters[60:90]]
                letters[90:95] = "RYSWK"
        records.append((f"r{index}", label, "".join(letters)))
    (folder / "records.fasta").write_text(
        "".join(f">{name} number {index}\n{letters}\n" for index, (name, _, letters) in
                enumerate(records))
    )  # fmt: skip
    _write_labels(folder, records, random)


def _write_labels(
    folder: Path, records: list[tuple[str, str, str]], random: np.random.Generator
) -> None:
    classes, binary, numbers = ["record\tlabel\tgroup"], ["record\tlabel"], ["record\tlabel"]
    intervals, sites = ["record\tstart\tend\tstrand\tlabel"], []
    for index, (name, label, letters) in enumerate(records):
        gc = sum(letters.count(letter) for letter in "GCgc") / len(letters)
        classes.append(f"{name}\t{label}\tg{index // 3}")
        binary.append(f"{name}\t{'repeat' if label == 'repeat' else 'other'}")
        numbers.append(f"{name}\t{20 + 30 * gc:.4f}")
        middle = len(letters) // 2
        labels = [";".join([label, "long"] if len(letters) > 1500 else [label]), label]
        for start, end, strand in ((0, middle, "+"), (middle, len(letters), "-")):
            intervals.append(f"{name}\t{start}\t{end}\t{strand}\t{labels[strand == '-']}")
        start = int(random.integers(0, 100))
        sites.append(f"{name}\t{start}\t{start + 180}\ts{index}\t0\t{'+-'[index % 2]}")
    for file, lines in (("classes.tsv", classes), ("binary.tsv", binary), ("sites.bed", sites),
                        ("numbers.tsv", numbers), ("intervals.tsv", intervals)):  # fmt: skip
        (folder / file).write_text("\n".join(lines) + "\n")


# Commands


def train_command(labels: str, settings: Mapping[str, Any], run: str = "run") -> str:
    """Return the command that trains a tiny model in ``{out}``."""
    more = " ".join(f"--set {key}={value}" for key, value in settings.items())
    return (
        f"train {FASTA} --labels {{data}}/{labels} --out {{out}}/{run} --device cpu --seed 1 "
        f"{CHANGES} {more}"
    )


def run_all(tree: Tree, names: list[str]) -> None:
    """Run the commands of the named parts."""
    for name in names:
        out = tree.folder / "out" / name
        out.mkdir(parents=True)
        if name in TRAININGS:
            tree.run(train_command(*TRAININGS[name]), out)
            for output, command in AFTER_TRAINING.get(name, {}).items():
                tree.run(command, out, output)
        elif name == "tables":
            for output, command in TABLES.items():
                tree.run(command, out, output)


OLD_RUN = ("classes.tsv", {**REGULARIZED, **CURRICULUM, "training.max_epochs": 4})


def run_with_old_folders(new: Tree, base: Tree) -> None:
    """Let ``new`` use and resume folders of ``base``; ``base`` does the same without a stop."""
    command = train_command(*OLD_RUN)
    new_out, base_out = (tree.folder / "out/old_run" for tree in (new, base))
    base.run(command, base_out)
    stopped = base.folder / "stopped"
    stop_after_one_epoch(base, command, stopped)
    shutil.copytree(stopped / "run", new_out / "run")
    new.run(f"{command} --resume", new_out)
    for tree, out in ((base, base_out), (new, new_out)):
        shutil.copytree(base_out / "run", out / "finished")
        tree.run(f"{train_command(*OLD_RUN, 'finished')} --resume", out, "resume_finished")
        for output, used in {
            "predict.tsv": f"predict {{base}}/out/old_run/run {FASTA}",
            "embed.tsv": f"embed {{base}}/out/old_run/run {FASTA}",
            "evaluate": f"evaluate {{base}}/out/old_run/run {FASTA} --labels {{data}}/classes.tsv "
            "--out {out}/evaluate",
        }.items():
            tree.run(used, out, output)


def stop_after_one_epoch(tree: Tree, command: str, out: Path) -> None:
    """Train, and send SIGTERM when the first epoch has been recorded."""
    print(f"{tree.name}: the same training, to be stopped", file=sys.stderr)
    out.mkdir(parents=True)
    record = out / "run/metrics.jsonl"
    process = tree.start(command, out)
    while process.poll() is None and not (record.is_file() and "\n" in record.read_text()):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate()
    epochs = len(record.read_text().splitlines()) if record.is_file() else 0
    if process.returncode == 0 or not 1 <= epochs < OLD_RUN[1]["training.max_epochs"]:
        raise SystemExit(f"{tree.name}: the training was not stopped midway: {stderr}")


if __name__ == "__main__":
    main()
